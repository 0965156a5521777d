"""Convolution with a kernel predicted for each image, and the layer that factors it (Nie et al., 2018, Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from posebook.compute.precision import in_float32, is_autocast

ORDERS = ("paper", "official")

# From this many values per image, channels innermost, a CPU is faster with a call per image: it leaves the layout as it
# is, and an image's maps in the cache. Below, a call's own cost of tens of microseconds is more than that.
_LARGE = 2**15
# From this side on, convolution of maps that are not channels-last is twenty times slower than of maps that are.
_WIDE = 15


def dynamic_depthwise_conv2d(
    features: Float[Tensor, "b c h w"], kernels: Float[Tensor, "b2 c2 k k2"]
) -> Float[Tensor, "b c h w"]:
    """Convolve each channel of each image with a kernel of its own: the `*_c` of eq. (3).

    As `torch.nn.functional.conv2d` it correlates (no kernel is turned), pads with zeros so that maps keep their size,
    and gives back the layout of `features` where it can. It has gradients to both, and these have gradients.

    Departs: the released code lays all images' channels side by side and calls a convolution with b * c groups. On a
    GPU this does the same; on a CPU the result is the same, and the kernels' gradient is made by another way, since
    torch's own takes several times as long as all the rest.

    Args:
        features: maps at least as large as the kernels.
        kernels: (b, c, k, k), one per image and channel, k odd; of the features' dtype unless under autocast.

    Raises:
        ValueError: kernels that are even, not square or larger than the maps, or whose images, channels or dtype are
            not the features'.

    Example:
        >>> kernels = torch.zeros(2, 1, 3, 3)
        >>> kernels[0, 0, 1, 1] = kernels[1, 0, 1, 0] = 1  # the first image stays, the second moves right by a cell
        >>> dynamic_depthwise_conv2d(torch.arange(9.0).view(1, 1, 3, 3).repeat(2, 1, 1, 1), kernels)[:, 0, 0]
        tensor([[0., 1., 2.],
                [0., 0., 1.]])
    """
    side, autocast = kernels.shape[-1], is_autocast(features.device)
    _check(features, kernels, same_dtype=not autocast)
    if features.device.type != "cpu":
        return _at_once(features, kernels, side // 2)
    if autocast:
        dtype = torch.get_autocast_dtype("cpu")
        features, kernels = features.to(dtype), kernels.to(dtype)
    by_image = side >= _WIDE or _is_large_channels_last(features)
    learns = torch.is_grad_enabled() and (features.requires_grad or kernels.requires_grad)
    # torch's own gradient of 3x3 kernels is fast enough.
    if not by_image and (side < 5 or not learns):
        return _at_once(features, kernels, side // 2)
    return _Dynamic.apply(_laid_out(features, by_image), kernels, by_image)


class AdaptiveConv(nn.Module):
    """A convolution whose kernels are predicted for each image, in three factors (eq. (3), Sec. 3.2).

    F^a = theta' * F^P with theta' = U * theta~ *_c V: V mixes channels, theta~ convolves each with the image's own
    kernel, U mixes again. Only theta~ is predicted; U and V are learnt, 1x1, and shared by all images. A full theta'
    would have k * k * c_in * c_out values to predict an image, 3.2 million for 7x7 kernels and 256 channels; this has
    k * k * c_in predicted (12,544) and c_in * c_in + c_in * c_out learnt (131,072).

    There are no biases, "due to the residual feature fusion" (Sec. 3.2): F^a is added to F^P, and a bias of U would add
    a constant that the linear classifier on their sum has anyway. It also makes F^a linear in the kernels: kernels of
    zero leave F^P as it is. The sum is the network's to make.

    Departs: with `order="official"` it is as the released code has it: U comes first and V last, both with a bias,
    then batch norm and ReLU (with VGG16 it leaves the norm out unless it is asked for). With as many channels out as
    in, which of the two is called U is only a name.
    Open: the code has as many channels out as in. Here the last of the 1x1 convolutions changes their number in
    either order, so that there is a kernel for each channel of the features.

    Args:
        channels: of the features, and kernels per image.
        out_channels: of what comes out; as many as come in, if None.
        order: "paper" (V, kernels, U) or "official" (U, kernels, V).
        norm: whether batch norm and ReLU come after it; None as `order` has it, not in the paper.

    Raises:
        ValueError: an unknown order, or no channels.

    Example:
        >>> layer = AdaptiveConv(256)
        >>> layer(torch.rand(2, 256, 64, 64), torch.rand(2, 256, 7, 7)).shape
        torch.Size([2, 256, 64, 64])
    """

    def __init__(
        self, channels: int, out_channels: int | None = None, order: str = "paper", norm: bool | None = None
    ) -> None:
        super().__init__()
        out = channels if out_channels is None else out_channels
        if order not in ORDERS:
            raise ValueError(f"orders are {', '.join(ORDERS)}; there is no '{order}'")
        if min(channels, out) < 1:
            raise ValueError(f"an adaptive convolution of {channels} to {out} channels has none; give at least 1")
        self.channels, self.out_channels, self.order = channels, out, order
        official = order == "official"
        self.U = nn.Conv2d(channels, channels if official else out, 1, bias=official)
        self.V = nn.Conv2d(channels, out if official else channels, 1, bias=official)
        self.norm = nn.BatchNorm2d(out) if (official if norm is None else norm) else None

    def forward(
        self, features: Float[Tensor, "b c h w"], kernels: Float[Tensor, "b c k k"]
    ) -> Float[Tensor, "b c_out h w"]:
        """F^a from F^P and theta~."""
        first, last = (self.U, self.V) if self.order == "official" else (self.V, self.U)
        y = dynamic_depthwise_conv2d(first(features), kernels)  # (b, c, h, w)
        y = last(y)  # (b, c_out, h, w)
        return y if self.norm is None else F.relu(self.norm(y))

    def parameter_counts(self, side: int) -> dict[str, int]:
        """Values of theta' that would have to be predicted an image without factors, and what there is instead.

        Args:
            side: of the kernels.

        Returns:
            Under "full" the k * k * c_in * c_out of theta'; under "predicted" the k * k * c_in of theta~; under
            "learnt" those of U and V, with their biases if there are any.

        Example:
            >>> AdaptiveConv(256).parameter_counts(7)
            {'full': 3211264, 'predicted': 12544, 'learnt': 131072}
        """
        return {
            "full": side * side * self.channels * self.out_channels,
            "predicted": side * side * self.channels,
            "learnt": sum(p.numel() for layer in (self.U, self.V) for p in layer.parameters()),
        }


class _Dynamic(torch.autograd.Function):
    """`dynamic_depthwise_conv2d` on a CPU, with both gradients written out; it does not go through torch.func.

    torch's own gradient of kernels, one a group, is slow where kernels are larger than 3x3. It is a sum over a map of
    what is in the input times what is in the output's gradient, and so again a convolution of each channel by
    itself: of the input, with the gradient as its kernel, as large as the map.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, features: Float[Tensor, "b c h w"], kernels: Float[Tensor, "b c k k"], by_image: bool
    ) -> Float[Tensor, "b c h w"]:
        ctx.save_for_backward(features, kernels)
        ctx.by_image = by_image
        padding = kernels.shape[-1] // 2
        if not by_image:
            return _at_once(features, kernels, padding)
        # Written into place, so that there are never two copies.
        out = torch.empty_like(features)
        for place, image in zip(out.split(1), _one_by_one(features, kernels, padding), strict=True):
            place.copy_(image)
        return out

    @staticmethod
    def backward(
        ctx: FunctionCtx, gradient: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h w"] | None, Float[Tensor, "b c k k"] | None, None]:
        # All in terms of what has a gradient, so that this has one too.
        features, kernels = ctx.saved_tensors
        gradient = _laid_out(gradient, ctx.by_image)
        padding = kernels.shape[-1] // 2
        by_features = by_kernels = None
        if ctx.needs_input_grad[0]:
            # Convolving back is correlating with the kernel turned by half a turn.
            by_features = _Dynamic.apply(gradient, kernels.flip(-1, -2), ctx.by_image)
        if ctx.needs_input_grad[1] and ctx.by_image:
            by_kernels = torch.cat(list(_one_by_one(features, gradient, padding)))
        elif ctx.needs_input_grad[1]:
            by_kernels = _at_once(features, gradient, padding)
        return by_features, by_kernels, None


def _at_once(
    features: Float[Tensor, "b c h w"], kernels: Float[Tensor, "b c kh kw"], padding: int
) -> Float[Tensor, "b c h2 w2"]:
    """All images in one call: their channels side by side, a group each."""
    b, c, h, w = features.shape
    weights = kernels.reshape(b * c, 1, *kernels.shape[-2:])
    together = F.conv2d(features.reshape(1, b * c, h, w), weights, padding=padding, groups=b * c)
    return together.view(b, c, *together.shape[-2:])


def _one_by_one(
    features: Float[Tensor, "b c h w"], kernels: Float[Tensor, "b c kh kw"], padding: int
) -> Iterator[Float[Tensor, "1 c h2 w2"]]:
    """A call per image."""
    dtype, (channels, side) = features.dtype, kernels.shape[1:3]
    # On some processors torch's convolution of few channels by large kernels never returns in bfloat16 (seen with torch
    # 2.13: up to 16 channels, from 15x15 on).
    exact = dtype == torch.bfloat16 and channels <= 16 and side >= 15
    if exact:
        features, kernels = features.float(), kernels.float()
    for image, weights in zip(features.split(1), kernels, strict=True):
        with in_float32(features.device) if exact else nullcontext():
            found = F.conv2d(image, weights[:, None], padding=padding, groups=len(weights))
        yield found.to(dtype) if exact else found


def _laid_out(maps: Float[Tensor, "b c h w"], by_image: bool) -> Float[Tensor, "b c h w"]:
    return maps.contiguous(memory_format=torch.channels_last if by_image else torch.contiguous_format)


def _is_large_channels_last(features: Float[Tensor, "b c h w"]) -> bool:
    _, c, h, w = features.shape
    return c * h * w >= _LARGE and features.is_contiguous(memory_format=torch.channels_last)


def _check(features: Tensor, kernels: Tensor, same_dtype: bool) -> None:
    (b, c, h, w), (kernel_b, kernel_c, side, other) = features.shape, kernels.shape
    if (b, c) != (kernel_b, kernel_c):
        raise ValueError(
            f"there are kernels for {kernel_b} images of {kernel_c} channels and features of {b} of {c}; "
            "give a kernel per image and channel"
        )
    if side != other or side % 2 == 0:
        raise ValueError(f"kernels are {side}x{other}; give square ones with an odd side, so that each has a middle")
    if side > min(h, w):
        raise ValueError(f"kernels of {side}x{side} are larger than the maps of {h}x{w}; give smaller ones")
    if same_dtype and features.dtype != kernels.dtype:
        raise ValueError(
            f"features are {features.dtype} and kernels {kernels.dtype}; give one dtype to both, or use autocast"
        )
