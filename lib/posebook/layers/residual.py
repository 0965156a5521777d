"""The residual unit that hourglasses are made of."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Residual(nn.Module):
    """A bottleneck residual unit in pre-activation order (He et al., ECCV 2016, *Identity mappings*, Fig. 4e).

    Three times batch norm, ReLU, convolution: 1x1 to half the width, 3x3, 1x1 to the full width; the input is added,
    through a 1x1 convolution where the width changes. Newell et al. (ECCV 2016), Fig. 4 left.

    Args:
        inputs, outputs: channels; `outputs` is even.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = outputs // 2
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, middle, 1)
        self.norm2 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1)
        self.norm3 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, outputs, 1)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h w"]:
        y = self.conv1(F.relu(self.norm1(x)))  # (b, outputs / 2, h, w)
        y = self.conv2(F.relu(self.norm2(y)))  # (b, outputs / 2, h, w)
        y = self.conv3(F.relu(self.norm3(y)))  # (b, outputs, h, w)
        return self.skip(x) + y
