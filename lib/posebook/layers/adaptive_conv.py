"""Convolution with a kernel predicted for each image, and the layer that factors it (Nie et al., 2018, Sec. 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

ORDERS = ("paper", "official")

# Values in an image's features from which a CPU is faster with a call an image, on two cores of 2023 or so: a call
# costs tens of microseconds, and making one of all images costs a change of layout. At 16x16 cells one call is up to
# twice as fast, at 64x64 cells a call an image is two to four times as fast.
_LARGE = 2**16


def dynamic_depthwise_conv2d(
    features: Float[Tensor, "b c h w"], kernels: Float[Tensor, "b c k k2"]
) -> Float[Tensor, "b c h w"]:
    """Convolve each channel of each image with a kernel of its own: the `*_c` of eq. (3).

    As `torch.nn.functional.conv2d` it correlates (no kernel is turned), pads with zeros so that maps keep their size,
    and gives back the layout of `features` where it can. It has gradients to both, and these have gradients.

    Departs: the released code lays all images' channels side by side and calls a convolution with b * c groups. On a
    GPU this does the same; on a CPU the result is the same, and the kernels' gradient is made by another way, since
    torch's own takes several times as long as all the rest.

    Args:
        features: maps at least as large as the kernels.
        kernels: one an image and channel, square and odd; of the features' dtype unless under autocast.

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
    kind = features.device.type
    autocast = kind == "cpu" and torch.is_autocast_enabled("cpu")
    _check(features, kernels, same_dtype=kind != "meta" and not torch.is_autocast_enabled(kind))
    if kind != "cpu":
        return _at_once(features, kernels)
    if autocast:
        dtype = torch.get_autocast_dtype("cpu")
        features, kernels = features.to(dtype), kernels.to(dtype)
    if _large(features):
        return _Dynamic.apply(features, kernels)
    # torch's own gradient of 3x3 kernels is fast enough.
    if kernels.shape[-1] < 5 or not torch.is_grad_enabled():
        return _at_once(features, kernels)
    # Laid out as the call of all images wants it; backward then finds it so.
    return _Dynamic.apply(features.contiguous(), kernels)


class AdaptiveConv(nn.Module):
    """A convolution whose kernels are predicted for each image, in three factors (eq. (3), Sec. 3.2).

    F^a = theta' * F^P with theta' = U * theta~ *_c V: V mixes channels, theta~ convolves each with the image's own
    kernel, U mixes again. Only theta~ is predicted; U and V are learnt, 1x1, and shared by all images. A full theta'
    would have k * k * c_in * c_out values to predict an image, 3.2 million for 7x7 kernels and 256 channels; this has
    k * k * c_in predicted (12,544) and c_in * c_in + c_in * c_out learnt (131,072).

    There are no biases, "due to the residual feature fusion" (Sec. 3.2): F^a is added to F^P, and a constant in F^a
    would be one that the classifier on their sum has anyway. It also makes F^a linear in the kernels: kernels of zero
    leave F^P as it is. The sum is the network's to make.

    Departs: with `order="official"` it is as the released code has it: U comes first and V last, both with a bias,
    then batch norm and ReLU. With as many channels out as in, the first two are only names.
    Open: the code has as many channels out as in. Here the last of the 1x1 convolutions changes their number in
    either order, so that there is a kernel for each channel of the features.

    Args:
        channels: of the features, and kernels an image.
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
        self, features: Float[Tensor, "b c h w"], kernels: Float[Tensor, "b c k k2"]
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
        ctx: FunctionCtx, features: Float[Tensor, "b c h w"], kernels: Float[Tensor, "b c k k"]
    ) -> Float[Tensor, "b c h w"]:
        ctx.save_for_backward(features, kernels)
        if not _large(features):
            return _at_once(features, kernels)
        # An image at a time keeps the layout, whichever it is, and its maps in the cache.
        out = torch.empty_like(features)
        for image, kernel, place in zip(features, kernels, out, strict=True):
            place.copy_(_convolve(image, kernel, kernels.shape[-1] // 2))
        return out

    @staticmethod
    def backward(
        ctx: FunctionCtx, gradient: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h w"] | None, Float[Tensor, "b c k k"] | None]:
        features, kernels = ctx.saved_tensors
        if not _large(features):
            gradient = gradient.contiguous()
        by_features = by_kernels = None
        if ctx.needs_input_grad[0]:
            # Convolving back is correlating with the kernel turned by half a turn.
            by_features = _Dynamic.apply(gradient, kernels.flip(-1, -2))
        if ctx.needs_input_grad[1]:
            by_kernels = _kernel_gradient(features, gradient, kernels.shape[-1])
        return by_features, by_kernels


def _kernel_gradient(
    features: Float[Tensor, "b c h w"], gradient: Float[Tensor, "b c h w"], side: int
) -> Float[Tensor, "b c k k"]:
    """What the kernels' gradient is, a value for each of their places."""
    if not _large(features):
        return _at_once(features, gradient, side // 2)
    images = [_convolve(image, weights, side // 2) for image, weights in zip(features, gradient, strict=True)]
    return torch.stack(images)


def _at_once(
    features: Float[Tensor, "b c h w"], kernels: Float[Tensor, "b c kh kw"], padding: int | None = None
) -> Float[Tensor, "b c h2 w2"]:
    """All images in one call: their channels side by side, a group each."""
    b, c, h, w = features.shape
    padding = kernels.shape[-1] // 2 if padding is None else padding
    together = F.conv2d(features.reshape(1, b * c, h, w), kernels.reshape(b * c, 1, *kernels.shape[-2:]),
                        padding=padding, groups=b * c)  # fmt: skip
    return together.view(b, c, *together.shape[-2:])


def _convolve(
    image: Float[Tensor, "c h w"], kernels: Float[Tensor, "c kh kw"], padding: int
) -> Float[Tensor, "c h2 w2"]:
    """One image, each channel with its kernel."""
    return F.conv2d(image[None], kernels[:, None], padding=padding, groups=len(image))[0]


def _large(features: Float[Tensor, "b c h w"]) -> bool:
    _, c, h, w = features.shape
    return c * h * w >= _LARGE


def _check(features: Tensor, kernels: Tensor, same_dtype: bool) -> None:
    (b, c, h, w), (kernel_b, kernel_c, side, other) = features.shape, kernels.shape
    if (b, c) != (kernel_b, kernel_c):
        raise ValueError(
            f"there are kernels for {kernel_b} images of {kernel_c} channels and features of {b} of {c}; "
            "give a kernel an image and channel"
        )
    if side != other or side % 2 == 0:
        raise ValueError(f"kernels are {side}x{other}; give square ones with an odd side, so that each has a middle")
    if side > min(h, w):
        raise ValueError(f"kernels of {side}x{side} are larger than the maps of {h}x{w}; give smaller ones")
    if same_dtype and features.dtype != kernels.dtype:
        raise ValueError(
            f"features are {features.dtype} and kernels {kernels.dtype}; give one dtype to both, or use autocast"
        )
