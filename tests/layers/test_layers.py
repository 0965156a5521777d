from __future__ import annotations

import pytest
import torch
from torch import nn

from posebook.layers import HourglassBlock, Residual


def silence(module: nn.Module) -> None:
    """Every residual unit adds nothing: its last convolution gives zeros."""
    for unit in module.modules():
        if isinstance(unit, Residual):
            nn.init.zeros_(unit.conv3.weight)
            nn.init.zeros_(unit.conv3.bias)


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (8, 12), (12, 8)])
def test_residual_shape_and_parameters(inputs, outputs):
    unit = Residual(inputs, outputs)
    assert unit(torch.rand(2, inputs, 5, 7)).shape == (2, outputs, 5, 7)
    half = outputs // 2
    norms = 2 * (inputs + half + half)
    convolutions = (inputs * half + half) + (9 * half * half + half) + (half * outputs + outputs)
    skip = 0 if inputs == outputs else inputs * outputs + outputs
    assert sum(p.numel() for p in unit.parameters()) == norms + convolutions + skip


def test_residual_is_its_input_plus_something():
    unit, x = Residual(8, 8), torch.randn(2, 8, 6, 6)
    silence(unit)
    torch.testing.assert_close(unit(x), x)
    changes = Residual(8, 4)
    silence(changes)
    torch.testing.assert_close(changes(x), changes.skip(x))


def test_residual_activates_before_it_convolves():
    # Were ReLU last, nothing negative could come out.
    unit = Residual(8, 8)
    assert (unit(torch.randn(4, 8, 6, 6)) < 0).any()
    # A shift of the input is taken out by the first norm: only the skip carries it.
    x = torch.randn(4, 8, 6, 6)
    torch.testing.assert_close(unit(x + 3) - unit(x), torch.full_like(x, 3.0), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("depth", "units"), [(1, 1), (3, 1), (2, 2), (4, 1)])
def test_hourglass_has_its_units_and_keeps_the_shape(depth, units):
    block = HourglassBlock(8, depth, units)
    assert sum(isinstance(module, Residual) for module in block.modules()) == units * (3 * depth + 1)
    x = torch.rand(2, 8, 2**depth, 2 ** (depth + 1))
    assert block(x).shape == x.shape


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_hourglass_adds_what_comes_back_from_below(depth):
    def by_hand(x: torch.Tensor, depth: int) -> torch.Tensor:
        if depth == 0:
            return x
        pooled = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax((3, 5))
        return x + by_hand(pooled, depth - 1).repeat_interleave(2, 2).repeat_interleave(2, 3)

    block, x = HourglassBlock(4, depth), torch.randn(2, 4, 16, 8)
    silence(block)
    torch.testing.assert_close(block(x), by_hand(x, depth))


def test_hourglass_sees_the_whole_map():
    # The branch alone reaches one pixel a unit; at the bottom, 8 cells further away lie next to each other.
    torch.manual_seed(0)
    block, x = HourglassBlock(8, 3).eval(), torch.randn(1, 8, 16, 16, requires_grad=True)
    block(x)[0, :, 0, 0].sum().backward()
    assert (x.grad[0, :, 15, 15] != 0).any()
