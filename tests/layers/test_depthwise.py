from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from posebook.layers import DepthwiseConv


def gradients(y: torch.Tensor, weight: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    return torch.autograd.grad(y, (x, weight), torch.randn(y.shape, generator=generator, dtype=y.dtype))


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("height", [2, 9])  # maps smaller than the kernel, and larger
def test_values_and_gradients_are_those_of_torch(kernel: int, height: int):
    torch.manual_seed(0)
    layer = DepthwiseConv(6, kernel).double()
    x = torch.randn(3, 6, height, 7, dtype=torch.float64, requires_grad=True)
    reference = F.conv2d(x, layer.weight, padding=kernel // 2, groups=6)
    found = layer(x)
    assert torch.equal(found, reference)
    for ours, theirs in zip(gradients(found, layer.weight, x), gradients(reference, layer.weight, x), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


def test_gradcheck():
    torch.manual_seed(0)
    layer = DepthwiseConv(2, 5).double()
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: torch.func.functional_call(layer, {"weight": w}, x), (x, layer.weight))


def test_half_precision_sums_kernels_gradients_in_float32():
    torch.manual_seed(0)
    layer = DepthwiseConv(8, 5)
    x = torch.randn(16, 8, 12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x.requires_grad_())
    assert y.dtype == torch.bfloat16
    y.float().square().sum().backward()
    assert layer.weight.grad.dtype == x.grad.dtype == torch.float32
    ours = layer.weight.grad
    exact = DepthwiseConv(8, 5)
    exact.load_state_dict(layer.state_dict())
    exact(x.detach()).square().sum().backward()
    assert (ours - exact.weight.grad).norm() < 0.02 * exact.weight.grad.norm()


def test_layout_of_the_input_does_not_matter():
    torch.manual_seed(0)
    layer = DepthwiseConv(4, 5)
    x = torch.randn(2, 4, 8, 8)
    plain = gradients(layer(a := x.clone().requires_grad_()), layer.weight, a)
    last = gradients(layer(b := x.to(memory_format=torch.channels_last).requires_grad_()), layer.weight, b)
    for one, other in zip(plain, last, strict=True):
        torch.testing.assert_close(one, other)


def test_without_gradients_it_is_a_convolution():
    layer = DepthwiseConv(4, 5)
    with torch.no_grad():
        assert layer(torch.randn(1, 4, 8, 8)).grad_fn is None
    assert sum(p.numel() for p in layer.parameters()) == 4 * 25


def test_a_second_derivative_is_refused_rather_than_wrong():
    layer, x = DepthwiseConv(4, 5), torch.randn(1, 4, 8, 8, requires_grad=True)
    with pytest.raises(RuntimeError, match="DepthwiseConv has no second derivative"):
        torch.autograd.grad(layer(x).sum(), x, create_graph=True)
