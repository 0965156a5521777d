"""Atrous spatial pyramid pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ASPP(nn.Module):
    """The sum of 3x3 convolutions of several dilations: Chen et al., *DeepLab* (TPAMI 2018), Sec. 3.2, "ASPP-L".

    Args:
        features: channels that come in.
        outputs: channels that go out.
        rates: the dilations.
    """

    def __init__(self, features: int, outputs: int, rates: Sequence[int] = (6, 12, 18, 24)) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(features, outputs, 3, padding=rate, dilation=rate) for rate in rates
        )  # fmt: skip

    def forward(self, x: Float[Tensor, "b features h w"]) -> Float[Tensor, "b outputs h w"]:
        return torch.stack([branch(x) for branch in self.branches]).sum(0)


def rates_of(cells: int) -> tuple[int, ...]:
    """The dilations 6, 12, 18 and 24 of maps of 48 cells a side, in proportion for other maps."""
    return tuple(max(1, round(cells * rate / 48)) for rate in (6, 12, 18, 24))
