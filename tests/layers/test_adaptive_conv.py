from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from posebook.compute.precision import autocast, channels_last
from posebook.layers import AdaptiveConv, adaptive_conv, dynamic_depthwise_conv2d


def drawn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def maps_and_kernels(shape: tuple[int, ...], side: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return drawn(*shape, dtype=dtype), drawn(*shape[:2], side, side, dtype=dtype, seed=1)


def one_by_one(features: Tensor, kernels: Tensor) -> Tensor:
    """An image at a time, with torch's own gradients."""
    return torch.cat(
        [
            F.conv2d(image[None], kernel[:, None], padding=kernel.shape[-1] // 2, groups=len(image))
            for image, kernel in zip(features, kernels, strict=True)
        ]
    )


def with_gradients(way, features: Tensor, kernels: Tensor) -> list[Tensor]:
    features, kernels = features.detach().requires_grad_(), kernels.detach().requires_grad_()
    maps = way(features, kernels)
    weights = drawn(*maps.shape, seed=2).to(maps)
    return [maps.detach(), *torch.autograd.grad(maps, (features, kernels), weights)]


@pytest.fixture(params=["at once", "an image at a time"])
def way(request, monkeypatch):
    """Both ways that a CPU has, whatever the size of the maps, as a change of layout that leads there."""
    if request.param == "at once":
        return lambda maps: maps
    monkeypatch.setattr(adaptive_conv, "_LARGE", 1)
    return channels_last


def test_it_is_the_sum_over_the_places_of_a_kernel():
    features, kernels = maps_and_kernels((2, 3, 4, 5), 3)
    expected = torch.zeros_like(features)
    cells = itertools.product(range(4), range(5), range(3), range(3))
    for y, x, i, j in cells:
        row, column = y + i - 1, x + j - 1
        if 0 <= row < 4 and 0 <= column < 5:
            expected[:, :, y, x] += kernels[:, :, i, j] * features[:, :, row, column]
    torch.testing.assert_close(dynamic_depthwise_conv2d(features, kernels), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("side", [1, 3, 5, 7, 15, 17])
@pytest.mark.parametrize("shape", [(3, 4, 17, 17), (2, 5, 18, 23), (1, 1, 20, 17)])
def test_values_and_gradients_are_those_of_a_loop_over_images(way, side, shape):
    features, kernels = maps_and_kernels(shape, side)
    found = with_gradients(dynamic_depthwise_conv2d, way(features), kernels)
    for ours, theirs in zip(found, with_gradients(one_by_one, features, kernels), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


def test_the_papers_size_takes_an_image_at_a_time_and_agrees(monkeypatch):
    calls = []
    by_image = adaptive_conv._one_by_one
    monkeypatch.setattr(adaptive_conv, "_one_by_one", lambda *given: calls.append(1) or by_image(*given))
    features, kernels = maps_and_kernels((2, 64, 64, 64), 7, torch.float32)
    found = with_gradients(dynamic_depthwise_conv2d, channels_last(features), kernels)
    assert len(calls) == 3  # the maps and two gradients
    for ours, theirs in zip(found, with_gradients(one_by_one, features, kernels), strict=True):
        assert (ours - theirs).norm() < 1e-5 * theirs.norm()
    with_gradients(dynamic_depthwise_conv2d, features, kernels)
    with_gradients(dynamic_depthwise_conv2d, channels_last(features[..., :9, :9]), kernels)
    assert len(calls) == 3


@pytest.mark.parametrize("side", [3, 5])
def test_first_and_second_derivatives_by_differences(way, side):
    features, kernels = maps_and_kernels((2, 1, 5, 5), side)
    leaves = way(features).requires_grad_(), kernels.requires_grad_()
    assert torch.autograd.gradcheck(dynamic_depthwise_conv2d, leaves)
    assert torch.autograd.gradgradcheck(dynamic_depthwise_conv2d, leaves)


@pytest.mark.parametrize("wanted", [0, 1])
def test_a_gradient_to_one_of_the_two(way, wanted):
    leaves = [way(drawn(2, 3, 8, 8)), drawn(2, 3, 5, 5, seed=1)]
    reference = with_gradients(one_by_one, *leaves)[1 + wanted]
    leaves[wanted].requires_grad_()
    maps = dynamic_depthwise_conv2d(*leaves)
    (found,) = torch.autograd.grad(maps, leaves[wanted], drawn(*maps.shape, seed=2))
    torch.testing.assert_close(found, reference, atol=1e-10, rtol=0)


@pytest.mark.parametrize("side", [3, 7])
def test_bfloat16_sums_in_float32(way, side):
    features, kernels = (t.bfloat16() for t in maps_and_kernels((2, 8, 32, 32), side))
    found = with_gradients(dynamic_depthwise_conv2d, way(features), kernels)
    exact = with_gradients(one_by_one, features.double(), kernels.double())
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.dtype == torch.bfloat16
        # Rounding what comes out is all that is lost: half a step of 1 in 256, on average less.
        assert (ours.double() - theirs).norm() < 0.003 * theirs.norm()


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float32), (torch.bfloat16, torch.float32)])
def test_autocast_takes_both_to_bfloat16_and_gives_gradients_as_they_came(way, dtypes):
    features, kernels = (
        t.to(d).requires_grad_() for t, d in zip(maps_and_kernels((2, 4, 9, 9), 5), dtypes, strict=True)
    )
    with autocast("cpu", bf16=True):
        maps = dynamic_depthwise_conv2d(way(features), kernels)
    assert maps.dtype == torch.bfloat16
    maps.float().square().sum().backward()
    assert (features.grad.dtype, kernels.grad.dtype) == dtypes
    assert kernels.grad.abs().sum() > 0


@pytest.mark.parametrize("side", [3, 7])
def test_the_kernels_layout_does_not_matter_and_maps_keep_theirs_where_that_is_faster(way, side):
    features, kernels = maps_and_kernels((2, 6, 9, 10), side)
    plain = with_gradients(dynamic_depthwise_conv2d, features, kernels)
    found = with_gradients(dynamic_depthwise_conv2d, way(features), channels_last(kernels))
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)
    assert found[0].stride() == way(features).stride()


def test_a_gradient_that_is_one_number_spread_out(way):
    features, kernels = way(drawn(2, 3, 8, 8)).requires_grad_(), drawn(2, 3, 5, 5, seed=1).requires_grad_()
    dynamic_depthwise_conv2d(features, kernels).sum().backward()
    # Far from the border, each value of the features is multiplied with each of the kernel's.
    torch.testing.assert_close(features.grad[:, :, 4, 4], kernels.detach().sum((-2, -1)))
    torch.testing.assert_close(kernels.grad[:, :, 2, 2], features.detach().sum((-2, -1)))


def test_images_do_not_mix(way):
    features, kernels = maps_and_kernels((3, 4, 8, 8), 5)
    both = dynamic_depthwise_conv2d(way(features), kernels)
    swapped = dynamic_depthwise_conv2d(way(features), kernels[[1, 0, 2]])
    alone = dynamic_depthwise_conv2d(way(features[2:]), kernels[2:])
    torch.testing.assert_close(swapped[2:], alone, atol=1e-12, rtol=0)
    torch.testing.assert_close(both[2:], alone, atol=1e-12, rtol=0)
    assert (swapped[:2] - both[:2]).abs().mean() > 0.1


def test_shapes_alone():
    features, kernels = torch.empty(2, 256, 64, 64, device="meta"), torch.empty(2, 256, 7, 7, device="meta")
    assert dynamic_depthwise_conv2d(features, kernels).shape == (2, 256, 64, 64)


@pytest.mark.parametrize(
    ("features", "kernels", "said"),
    [
        (
            (2, 3, 8, 8),
            (2, 3, 4, 4),
            r"^kernels are 4x4; give square ones with an odd side, so that ",
        ),
        ((2, 3, 8, 8), (2, 3, 3, 5), r"^kernels are 3x5; give square ones with an odd side"),
        ((2, 3, 8, 8), (1, 3, 3, 3), r"^there are kernels for 1 images of 3 channels and features of 2 of 3; give a "),
        ((2, 3, 8, 8), (2, 4, 3, 3), r"^there are kernels for 2 images of 4 channels and features of 2 of 3; give a "),
        ((2, 3, 8, 6), (2, 3, 7, 7), r"^kernels of 7x7 are larger than the maps of 8x6; give smaller ones$"),
    ],
)
def test_what_cannot_be_convolved_is_refused_in_a_sentence(features, kernels, said):
    with pytest.raises(ValueError, match=said):
        dynamic_depthwise_conv2d(drawn(*features), drawn(*kernels))


def test_two_dtypes_are_refused_outside_of_autocast():
    with pytest.raises(ValueError, match=r"features are torch.float64 and kernels torch.float32; give one dtype to "):
        dynamic_depthwise_conv2d(drawn(1, 1, 3, 3), drawn(1, 1, 3, 3).float())


def full_tensor(first: Tensor, kernels: Tensor, last: Tensor) -> Tensor:
    """theta' of one image, (out, in, k, k), from the two 1x1 convolutions and its kernels: eq. (3)."""
    return torch.einsum("om,mkl,mi->oikl", last, kernels, first)


@pytest.mark.parametrize("order", ["paper", "official"])
@pytest.mark.parametrize("out", [None, 2, 7])
def test_the_factors_are_a_convolution_with_the_full_tensor(order, out):
    torch.manual_seed(0)
    layer = AdaptiveConv(4, out, order, norm=False).double()
    features, kernels = maps_and_kernels((3, 4, 9, 8), 5)
    for part in (layer.U, layer.V):
        if part.bias is not None:
            torch.nn.init.zeros_(part.bias)
    first, last = (layer.V, layer.U) if order == "paper" else (layer.U, layer.V)
    found = layer(features, kernels)
    assert found.shape == (3, out or 4, 9, 8)
    for image, kernel, maps in zip(features, kernels, found, strict=True):
        theta = full_tensor(first.weight[:, :, 0, 0], kernel, last.weight[:, :, 0, 0])
        torch.testing.assert_close(maps, F.conv2d(image[None], theta, padding=2)[0], atol=1e-10, rtol=0)


def test_the_papers_order_is_linear_in_the_kernels():
    torch.manual_seed(0)
    layer = AdaptiveConv(4).double()
    features, kernels = maps_and_kernels((2, 4, 7, 7), 3)
    assert layer.norm is None
    assert {name for name, _ in layer.named_parameters()} == {"U.weight", "V.weight"}
    assert not layer(features, torch.zeros_like(kernels)).any()
    torch.testing.assert_close(layer(features, -2 * kernels), -2 * layer(features, kernels), atol=1e-10, rtol=0)


def test_the_official_order_has_biases_norm_and_relu():
    torch.manual_seed(0)
    layer = AdaptiveConv(4, 3, "official").double()
    features, kernels = maps_and_kernels((2, 4, 7, 7), 3)
    found = layer(features, kernels)
    mixed = F.conv2d(features, layer.U.weight, layer.U.bias)
    mixed = F.conv2d(one_by_one(mixed, kernels), layer.V.weight, layer.V.bias)
    normal = (mixed - mixed.mean((0, 2, 3), keepdim=True)) / (mixed.var((0, 2, 3), False, True) + 1e-5).sqrt()
    torch.testing.assert_close(found, normal.clamp_min(0), atol=1e-10, rtol=0)
    assert layer.U.bias.shape == (4,)
    assert layer.V.bias.shape == (3,)


def test_norm_can_be_had_in_either_order():
    features, kernels = maps_and_kernels((2, 4, 7, 7), 3, torch.float32)
    assert AdaptiveConv(4, norm=True)(features, kernels).min() == 0
    assert AdaptiveConv(4, order="official", norm=False)(features, kernels).min() < 0


def test_parameters_at_the_papers_size():
    layer = AdaptiveConv(256)
    counts = layer.parameter_counts(7)
    assert counts == {"full": 7 * 7 * 256 * 256, "predicted": 7 * 7 * 256, "learnt": 2 * 256 * 256}
    assert sum(p.numel() for p in layer.parameters()) == counts["learnt"]
    assert AdaptiveConv(8, 4, "official").parameter_counts(3) == {"full": 288, "predicted": 72, "learnt": 72 + 36}


def test_the_layer_trains_under_autocast_in_either_layout():
    torch.manual_seed(0)
    layer = AdaptiveConv(8)
    features, kernels = maps_and_kernels((2, 8, 16, 16), 7, torch.float32)
    exact = with_gradients(layer, features, kernels)
    for laid_out in (features, channels_last(features)):
        with autocast("cpu", bf16=True):
            found = with_gradients(layer, laid_out, kernels)
        for ours, theirs in zip(found[1:], exact[1:], strict=True):
            assert ours.dtype == torch.float32
            assert (ours - theirs).norm() < 0.03 * theirs.norm()


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="orders are paper, official; there is no 'papers'"):
        AdaptiveConv(4, order="papers")
    with pytest.raises(ValueError, match="an adaptive convolution of 4 to 0 channels has none; give at least 1"):
        AdaptiveConv(4, 0)


@pytest.mark.parametrize("autocast", [False, True])
def test_few_channels_and_large_kernels_return(autocast):
    """In bfloat16, channels last, where torch's own convolution never does on some processors."""
    features = torch.randn(2, 16, 32, 32).contiguous(memory_format=torch.channels_last)
    given = [features.bfloat16().requires_grad_(), torch.randn(2, 16, 15, 15).bfloat16().requires_grad_()]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = dynamic_depthwise_conv2d(*given)
        found.sum().backward()
    expected = dynamic_depthwise_conv2d(*(value.detach().float() for value in given))
    torch.testing.assert_close(found.float(), expected, rtol=2e-2, atol=2e-1)
    assert all(value.grad.isfinite().all() for value in given)
