"""Convolution of each channel by itself, with a gradient that a CPU computes fast."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx


class DepthwiseConv(nn.Conv2d):
    """`nn.Conv2d` with a group a channel, same-padded, stride 1, no bias; on a CPU its kernels' gradient is faster.

    torch's own gradient of 5x5 kernels in bfloat16 would take two fifths of a training step of `SoftArgmax` there.

    Args:
        channels: in and out.
        kernel: side of the kernels, odd.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        # 3x3 is fast as it is, and a GPU's library has its own way.
        if x.device.type != "cpu" or self.kernel_size[0] < 5 or not torch.is_grad_enabled():
            return super().forward(x)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        return _Depthwise.apply(x.to(dtype), self.weight.to(dtype))


class _Depthwise(torch.autograd.Function):
    """The convolution, with both gradients written out; it has no second derivative and no torch.func."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Float[Tensor, "b c h w"], weight: Float[Tensor, "c 1 side side"]
    ) -> Float[Tensor, "b c h w"]:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(
        ctx: FunctionCtx, gradient: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "c 1 side side"]]:
        # Grad mode is on where the gradients shall have one too; torch's once_differentiable may miss that.
        if torch.is_grad_enabled():
            raise RuntimeError("DepthwiseConv has no second derivative on a CPU: take nn.Conv2d with a group a channel")
        x, weight = ctx.saved_tensors
        b, c, h, w = x.shape
        side = weight.shape[-1]
        # The kernels are their own transposes once turned by half a turn.
        by_input = F.conv2d(gradient, weight.flip(-1, -2), padding=side // 2, groups=c)  # (b, c, h, w)
        # A kernel's gradient is the input correlated with the output's gradient: a depthwise convolution too, with
        # an image's channel a group and the gradient as its kernel. Summed over images in at least float32.
        exact = torch.promote_types(x.dtype, torch.float32)
        images = x.to(exact).contiguous().view(1, b * c, h, w)
        kernels = gradient.to(exact).contiguous().view(b * c, 1, h, w)
        by_kernel = F.conv2d(images, kernels, padding=side // 2, groups=b * c).view(b, c, side, side).sum(0)
        return by_input, by_kernel[:, None].to(weight.dtype)
