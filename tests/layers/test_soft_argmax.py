from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from posebook.compute.precision import autocast
from posebook.coordinates import pixel_centres
from posebook.layers.separable import SeparableConv, SeparableResidual
from posebook.layers.soft_argmax import RAMPS, _ramps, ramp, soft_argmax, spatial_softmax


def logits(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def plain(maps: Tensor, temperature: float = 1.0, ramps: str = "centres") -> Tensor:
    """Eqs. (1)-(4) as they stand, for autograd."""
    height, width = maps.shape[-2:]
    chances = torch.softmax(maps.flatten(-2) / temperature, -1).reshape(maps.shape)
    x, y = ramp(width, ramps, dtype=maps.dtype), ramp(height, ramps, dtype=maps.dtype)
    return torch.stack([(chances * x).sum((-2, -1)), (chances * y[:, None]).sum((-2, -1))], -1)


def gaussian(x: float, y: float, height: int, width: int, sigma: float = 1.0) -> Tensor:
    """Logits whose softmax is a Gaussian around (x, y), in cells."""
    across, down = pixel_centres(width).double() - x, pixel_centres(height).double() - y
    return -0.5 * (down[:, None].square() + across.square()) / sigma**2


@pytest.mark.parametrize("temperature", [1, 0.3, 2.5])
def test_it_is_the_sum_over_cells(temperature):
    maps = logits(2, 3, 5, 4)
    found = soft_argmax(maps, temperature)
    for b, j in itertools.product(range(2), range(3)):
        weights = {
            (row, column): math.exp(maps[b, j, row, column].item() / temperature)
            for row, column in itertools.product(range(5), range(4))
        }
        total = sum(weights.values())
        x = sum(weight * (column + 0.5) / 4 for (_, column), weight in weights.items()) / total
        y = sum(weight * (row + 0.5) / 5 for (row, _), weight in weights.items()) / total
        assert found[b, j].tolist() == pytest.approx([x, y], abs=1e-14)


@pytest.mark.parametrize("shape", [(6, 7), (3, 6, 7), (2, 3, 2, 6, 7), (0, 6, 7), (2, 1, 1)])
def test_any_leading_dimensions(shape):
    maps = logits(*shape)
    found = soft_argmax(maps)
    assert found.shape == (*shape[:-2], 2)
    torch.testing.assert_close(found, plain(maps))


def test_whole_cells_move_the_place_by_as_much():
    maps = torch.full((1, 12, 16), -60.0, dtype=torch.float64)
    maps[:, 2:7, 3:8] = logits(1, 5, 5)
    moved = maps.roll((4, 6), (-2, -1))
    expected = soft_argmax(maps) + torch.tensor([6 / 16, 4 / 12], dtype=torch.float64)
    torch.testing.assert_close(soft_argmax(moved), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("x", "y"), [(7.3, 8.1), (8.0, 6.5), (6.77, 9.49)])
def test_a_peak_within_a_cell_is_found(x, y):
    found = soft_argmax(gaussian(x, y, 16, 16))
    torch.testing.assert_close(found * 16, torch.tensor([x, y], dtype=torch.float64), atol=1e-6, rtol=0)


def test_a_flat_background_pulls_to_the_middle_and_a_sharp_temperature_does_not():
    maps = torch.zeros(1, 16, 16, dtype=torch.float64)
    maps[:, 3, 12] = 6.0
    cell = torch.tensor([[12.5, 3.5]], dtype=torch.float64) / 16
    middle = torch.full_like(cell, 0.5)
    pulled = soft_argmax(maps)
    # The cell has the weight e^6 against 255 of 1 each: an average between the cell and all cells' middle.
    share = (math.exp(6) - 1) / (math.exp(6) + 255)
    torch.testing.assert_close(pulled, share * cell + (1 - share) * middle)
    torch.testing.assert_close(soft_argmax(maps, 0.1), cell, atol=1e-12, rtol=0)


def test_temperature_runs_from_the_highest_cell_to_the_middle():
    maps = logits(4, 9, 11)
    place = maps.flatten(-2).argmax(-1)
    cell = torch.stack([(place % 11).double().add(0.5) / 11, (place // 11).double().add(0.5) / 9], -1)
    torch.testing.assert_close(soft_argmax(maps, 1e-4), cell, atol=1e-9, rtol=0)
    torch.testing.assert_close(soft_argmax(maps, 1e9), torch.full_like(cell, 0.5), atol=1e-8, rtol=0)
    sharpness = [spatial_softmax(maps, temperature).amax((-2, -1)) for temperature in (0.5, 1, 2)]
    assert (sharpness[0] > sharpness[1]).all()
    assert (sharpness[1] > sharpness[2]).all()


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan])
def test_a_temperature_of_nothing_is_named(temperature):
    for function in (soft_argmax, spatial_softmax):
        with pytest.raises(ValueError, match=f"temperature is {temperature}; give a number above 0"):
            function(torch.zeros(2, 2), temperature)


def test_spatial_softmax_is_a_distribution_over_the_cells():
    maps = logits(2, 3, 4, 5)
    chances = spatial_softmax(maps, 0.7)
    assert chances.shape == maps.shape
    torch.testing.assert_close(chances.sum((-2, -1)), torch.ones(2, 3, dtype=torch.float64))
    torch.testing.assert_close(chances, maps.div(0.7).exp() / maps.div(0.7).exp().sum((-2, -1), keepdim=True))


def test_ramps_differ_by_half_a_cell():
    count = 8
    centres, paper, official = (ramp(count, kind, dtype=torch.float64) for kind in RAMPS)
    torch.testing.assert_close(paper - centres, torch.full_like(centres, 0.5 / count))
    assert (official[0], official[-1]) == (0, 1)
    ends = (official - centres)[[0, -1]]
    torch.testing.assert_close(ends, torch.tensor([-0.5, 0.5], dtype=torch.float64) / count)
    torch.testing.assert_close(official - centres, torch.linspace(-0.5, 0.5, count, dtype=torch.float64) / count)
    # So the places do, wherever the mass lies: all of them are linear in the cell.
    maps = logits(3, count, count)
    half = torch.full((3, 2), 0.5 / count, dtype=torch.float64)
    torch.testing.assert_close(soft_argmax(maps, ramps="paper") - soft_argmax(maps), half)
    stretched = (soft_argmax(maps) * count - 0.5) / (count - 1)
    torch.testing.assert_close(soft_argmax(maps, ramps="official"), stretched)


def test_ramps_have_all_the_digits_of_their_type():
    for kind, third in zip(RAMPS, (0.5 / 3, 1 / 3, 0.0), strict=True):
        assert ramp(3, kind, dtype=torch.float64)[0].item() == third


def test_unknown_ramps_are_named():
    for call in (lambda: ramp(4, "corners"), lambda: soft_argmax(torch.zeros(4, 4), ramps="corners")):
        with pytest.raises(ValueError, match="ramps are centres, paper, official; there is no 'corners'"):
            call()


@pytest.mark.parametrize(("temperature", "ramps"), [(1, "centres"), (0.4, "paper"), (3.0, "official")])
def test_gradient_is_autograds(temperature, ramps):
    maps, weight = logits(2, 3, 6, 5).requires_grad_(), logits(2, 3, 2, seed=1)
    (ours,) = torch.autograd.grad(soft_argmax(maps, temperature, ramps), maps, weight)
    (theirs,) = torch.autograd.grad(plain(maps, temperature, ramps), maps, weight)
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)
    assert torch.autograd.gradcheck(lambda x: soft_argmax(x, temperature, ramps), maps)


def test_gradient_is_the_exact_formula_and_not_the_printed_one():
    maps = logits(6, 5).requires_grad_()
    jacobian = torch.autograd.functional.jacobian(soft_argmax, maps)
    chances = spatial_softmax(maps.detach())
    x = ramp(5, dtype=torch.float64).expand(6, 5)
    exact = chances * (x - soft_argmax(maps.detach())[0])
    printed = x * chances * (1 - chances)
    torch.testing.assert_close(jacobian[0], exact, atol=1e-10, rtol=0)
    assert (jacobian[0] - printed).abs().max() > 0.01
    # A constant added to all logits moves nothing: the exact gradient knows, the printed one is positive everywhere.
    assert exact.sum().abs() < 1e-15
    assert printed.sum() > 0.1


def test_gradient_of_a_view_laid_out_otherwise():
    base = logits(4, 5, 3, 2)
    maps = base.permute(3, 2, 0, 1).requires_grad_()  # channels innermost
    assert not maps.is_contiguous()
    (ours,) = torch.autograd.grad(soft_argmax(maps).square().sum(), maps)
    (theirs,) = torch.autograd.grad(plain(maps).square().sum(), maps)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


def test_backward_twice_and_after_changes_in_place():
    maps = logits(2, 4, 4).requires_grad_()
    work = maps.clone()
    places = soft_argmax(work)
    loss = places.sum()
    first = torch.autograd.grad(loss, maps, retain_graph=True)[0].clone()
    work.detach().zero_()  # neither the maps nor the place are needed again
    places.detach().zero_()
    assert torch.equal(torch.autograd.grad(loss, maps)[0], first)
    scaled = soft_argmax(maps.clone()).mul_(64)
    torch.testing.assert_close(torch.autograd.grad(scaled.sum(), maps)[0], 64 * first)


def test_a_second_derivative_is_refused_rather_than_wrong():
    maps = logits(4, 4).requires_grad_()
    with pytest.raises(RuntimeError, match="soft_argmax has no second derivative"):
        torch.autograd.grad(soft_argmax(maps).sum(), maps, create_graph=True)
    with pytest.raises(RuntimeError, match=r"torch\.func|functorch"):
        torch.func.grad(lambda x: soft_argmax(x).sum())(maps.detach())


def test_masked_cells_have_no_chance_and_no_gradient():
    maps = logits(4, 4)
    maps[:, 2:] = -math.inf
    maps.requires_grad_()
    places = soft_argmax(maps)
    torch.testing.assert_close(places * torch.tensor([2.0, 1.0]), plain(maps[:, :2]))
    places.sum().backward()
    assert maps.grad.isfinite().all()
    assert not maps.grad[:, 2:].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_taken_to_float32(dtype):
    maps = logits(2, 3, 16, 16, dtype=torch.float32).to(dtype).requires_grad_()
    places = soft_argmax(maps)
    assert places.dtype == torch.float32
    assert torch.equal(places, soft_argmax(maps.float()))
    places.sum().backward()
    assert maps.grad.dtype == dtype


def test_autocast_does_not_lower_it():
    maps = logits(2, 3, 16, 16, dtype=torch.float32).requires_grad_()
    (slope,) = torch.autograd.grad(soft_argmax(maps).sum(), maps)
    with autocast("cpu", True):
        places = soft_argmax(maps)
        (under,) = torch.autograd.grad(places.sum(), maps)
    assert places.dtype == torch.float32
    assert torch.equal(places, soft_argmax(maps))
    assert torch.equal(under, slope)


def test_shapes_alone_go_through():
    maps = torch.zeros(2, 3, 6, 5, device="meta", requires_grad=True)
    places = soft_argmax(maps)
    assert places.shape == (2, 3, 2)
    assert torch.autograd.grad(places.sum(), maps)[0].shape == maps.shape


def test_what_prediction_leaves_serves_training():
    _ramps.cache_clear()
    with torch.inference_mode():
        before = soft_argmax(torch.zeros(3, 7))
    maps = torch.zeros(3, 7, requires_grad=True)
    places = soft_argmax(maps)
    places.sum().backward()
    assert torch.equal(places, before)
    assert not any(kept.is_inference() for kept in _ramps(3, 7, "centres", maps.device, maps.dtype))


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("inputs", "outputs", "kernel"), [(6, 6, 5), (6, 10, 3), (10, 6, 1)])
def test_separable_shape_and_parameters(inputs, outputs, kernel):
    unit = SeparableConv(inputs, outputs, kernel)
    assert unit(torch.rand(2, inputs, 7, 9)).shape == (2, outputs, 7, 9)
    assert parameters(unit) == inputs * kernel**2 + inputs * outputs + 2 * outputs


def test_separable_is_each_channel_by_itself_and_then_a_mixture():
    torch.manual_seed(0)
    unit, x = SeparableConv(3, 4, 3).eval(), torch.randn(1, 3, 5, 6)
    unit.norm.running_mean.normal_()
    unit.norm.running_var.uniform_(0.5, 2)
    kernels, mixture = unit.depthwise.weight[:, 0], unit.pointwise.weight[..., 0, 0]  # (3, 3, 3), (4, 3)
    padded = torch.nn.functional.pad(x.relu(), (1, 1, 1, 1))
    alone = torch.zeros(1, 3, 5, 6)
    for channel, row, column in itertools.product(range(3), range(5), range(6)):
        window = padded[0, channel, row : row + 3, column : column + 3]
        alone[0, channel, row, column] = (window * kernels[channel]).sum()
    mixed = torch.einsum("oc,bchw->bohw", mixture, alone)
    mean, spread = unit.norm.running_mean[:, None, None], (unit.norm.running_var + unit.norm.eps)[:, None, None].sqrt()
    torch.testing.assert_close(unit(x), (mixed - mean) / spread)


def test_residual_adds_its_input():
    torch.manual_seed(0)
    same, x = SeparableResidual(4, 4, 3).eval(), torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(same(x) - same.convolution(x), x)
    assert parameters(same) == parameters(same.convolution)
    wider = SeparableResidual(4, 6, 3).eval()
    # The skip alone, ReLU first: what is below 0 has no part in it.
    torch.testing.assert_close(wider(x) - wider.convolution(x), wider.skip(x.relu()), atol=1e-6, rtol=0)
    assert parameters(wider) == parameters(wider.convolution) + 4 * 6 + 2 * 6
    assert wider(x).shape == (2, 6, 5, 5)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_a_learnt_temperature_has_the_gradient_that_autograd_gives(shape):
    maps = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    temperature = (0.5 + torch.rand(shape, dtype=torch.float64)).requires_grad_()
    weight = torch.randn(2, 3, 2, dtype=torch.float64)
    ours = torch.autograd.grad(soft_argmax(maps, temperature), (maps, temperature), weight)
    divided = plain(maps / temperature[..., None, None])
    theirs = torch.autograd.grad(divided, (maps, temperature), weight)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
        assert one.abs().max() > 0
    chances = spatial_softmax(maps, temperature)
    torch.testing.assert_close(chances.sum((-2, -1)), torch.ones(2, 3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("temperature", "sentence"),
    [
        (torch.tensor([1.0, -2.0, 1.0]), "temperature is -2 somewhere"),
        (torch.ones(4), r"\(4,\) and there are \(2, 3\)"),
    ],
)
def test_a_temperature_that_fits_no_map_is_named(temperature, sentence):
    for function in (soft_argmax, spatial_softmax):
        with pytest.raises(ValueError, match=sentence):
            function(torch.zeros(2, 3, 4, 4), temperature)
