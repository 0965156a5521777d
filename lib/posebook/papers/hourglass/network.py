"""The stacked hourglass of Newell, Yang, Deng: *Stacked Hourglass Networks for Human Pose Estimation*, ECCV 2016.

HG-ms-nu has m stacks and n residual units per location; Newell's own is HG-8s-1u at 256 features and 256x256 pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from posebook.coordinates import HeatmapCodec
from posebook.layers.hourglass import HourglassBlock, residuals
from posebook.layers.residual import Residual
from posebook.network import HeatmapNetwork, check_counts, check_poolings, check_sigma, chosen

STRIDE = 4


class Hourglass(HeatmapNetwork):
    """Stacked hourglasses, each followed by heat maps that are supervised and handed on to the next (Sec. 3.2).

    Args:
        joints: number of heat maps.
        size: side of the input in pixels, a multiple of 4 * 2 ** depth.
        stacks: hourglasses one after the other, the m of HG-ms-nu.
        features: channels, a multiple of 4.
        units: residual units per location, the n of HG-ms-nu.
        depth: poolings inside an hourglass; Newell's 4 take 64 cells down to 4.
        sigma: standard deviation of the target's Gaussians, in cells of 4 pixels.

    Raises:
        ValueError: a setting out of its range.
    """

    name = "hourglass"

    def __init__(
        self,
        joints: int = 16,
        size: int = 256,
        stacks: int = 2,
        features: int = 256,
        units: int = 1,
        depth: int = 4,
        sigma: float = 1.0,
    ) -> None:
        settings = chosen(locals())
        super().__init__()
        self.settings = settings
        check_counts(self.name, joints=joints, size=size, stacks=stacks, features=features, units=units, depth=depth)
        if features % 4:
            raise ValueError(f"{self.name}: features is {features}; give a multiple of 4, which the stem is divided by")
        check_poolings(self.name, size, STRIDE, depth)
        check_sigma(self.name, sigma)
        self.codec = HeatmapCodec(size, STRIDE, sigma)
        self.stem = Stem(features)
        self.hourglasses = nn.ModuleList(HourglassBlock(features, depth, units) for _ in range(stacks))
        self.heads = nn.ModuleList(Head(features, units) for _ in range(stacks))
        self.to_maps = nn.ModuleList(nn.Conv2d(features, joints, 1) for _ in range(stacks))
        # Both merges add back into the next stack's input; the last stack has no next one.
        self.merge_features = nn.ModuleList(nn.Conv2d(features, features, 1) for _ in range(stacks - 1))
        self.merge_maps = nn.ModuleList(nn.Conv2d(joints, features, 1) for _ in range(stacks - 1))

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b stacks joints cells cells"]:
        """Heat maps of every stack, a quarter of the input's side."""
        y, earlier = self.encode(images)  # (b, features, s / 4, s / 4)
        return torch.stack([*earlier, self.to_maps[-1](y)], 1).float()  # (b, stacks, joints, s / 4, s / 4)

    def encode(
        self, images: Float[Tensor, "b 3 s s"]
    ) -> tuple[Float[Tensor, "b features s/4 s/4"], list[Float[Tensor, "b joints s/4 s/4"]]]:
        """What the last stack's heat maps are made of, and the heat maps of the stacks before it."""
        x = self.stem(images)  # (b, features, s / 4, s / 4)
        earlier = []
        for stack, merge in enumerate(self.merge_maps):
            y = self.heads[stack](self.hourglasses[stack](x))  # (b, features, s / 4, s / 4)
            earlier.append(self.to_maps[stack](y))  # (b, joints, s / 4, s / 4)
            x = x + self.merge_features[stack](y) + merge(earlier[-1])  # (b, features, s / 4, s / 4)
        return self.heads[-1](self.hourglasses[-1](x)), earlier


class Stem(nn.Module):
    """From pixels to features at a quarter of the resolution (Sec. 3.2): 7x7 / 2, residual, max pool, two residuals.

    Departs: below 256 features the inner widths, Newell's 64 and 128, shrink with them to a quarter and a half.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        first, second = min(64, features // 4), min(128, features // 2)
        self.conv = nn.Conv2d(3, first, 7, stride=2, padding=3)
        self.norm = nn.BatchNorm2d(first)
        self.residual1 = Residual(first, second)
        self.residual2 = Residual(second, second)
        self.residual3 = Residual(second, features)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b features s/4 s/4"]:
        x = F.relu(self.norm(self.conv(images)))  # (b, first, s / 2, s / 2)
        x = F.max_pool2d(self.residual1(x), 2)  # (b, second, s / 4, s / 4)
        return self.residual3(self.residual2(x))  # (b, features, s / 4, s / 4)


class Head(nn.Module):
    """What follows an hourglass: residual units, then a 1x1 convolution with batch norm and ReLU."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.residuals = residuals(features, units)
        self.conv = nn.Conv2d(features, features, 1)
        self.norm = nn.BatchNorm2d(features)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return F.relu(self.norm(self.conv(self.residuals(x))))  # (b, c, h, w)
