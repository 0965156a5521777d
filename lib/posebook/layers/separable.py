"""Separable convolutions and the residual unit made of one."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from posebook.layers.depthwise import DepthwiseConv


class SeparableConv(nn.Module):
    """ReLU, a k x k convolution of each channel by itself, a 1x1 convolution across channels, batch norm.

    With C channels in and out that is C (k^2 + C) weights, where a full convolution has C^2 k^2. Chollet, *Xception*,
    2017; Luvizon et al. (2017), Sec. 3.1.

    Open: where ReLU and batch norm stand is not in the text; this is the authors' order, ReLU first.

    Args:
        inputs, outputs: channels.
        kernel: side of the depthwise kernel, odd.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 5) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv(inputs, kernel)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h w"]:
        return self.norm(self.pointwise(self.depthwise(F.relu(x))))


class SeparableResidual(nn.Module):
    """Res-SepConv: a separable convolution with the input added (Luvizon et al., 2017, Fig. 3b).

    Where the width changes, the input comes through ReLU, a 1x1 convolution and batch norm.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 5) -> None:
        super().__init__()
        self.convolution = SeparableConv(inputs, outputs, kernel)
        self.skip = nn.Identity()
        if inputs != outputs:
            self.skip = nn.Sequential(nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h w"]:
        return self.skip(x) + self.convolution(x)
