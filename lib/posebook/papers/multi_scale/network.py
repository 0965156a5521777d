"""The multi-scale structure-aware network of Ke, Chang, Qi, Lyu: *Multi-Scale Structure-Aware Network for Human Pose
Estimation*, ECCV 2018.

A stacked hourglass whose heat maps are supervised at every resolution on the way up (MSS-net), and a last network that
looks at all of these heat maps together (MSR-net). No code of the authors' is known; the text is the only source.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from posebook.layers.hourglass import HourglassBlock
from posebook.losses import COMBINATIONS, NORMS, heatmap_loss, structure_aware_loss
from posebook.network import check_choice, check_counts, check_weight, chosen
from posebook.papers.hourglass.network import Head, Hourglass
from posebook.sample import Sample
from posebook.skeleton import FLIC, LSP, MPII

# The joint orders whose connections the structure-aware loss knows; PASCAL's are LSP's.
_ORDERS = {len(skeleton): skeleton for skeleton in (MPII, LSP, FLIC)}

# The phases of training, Sec. 4.1.
SUPERVISION, REGRESSION, JOINTLY = range(3)


class Outputs(NamedTuple):
    """What `MultiScale` gives for a batch. Scales go from coarse to fine, each twice as wide as the one before.

    Attributes:
        scales: heat maps of each stack of the MSS-net, by scale.
        regressed: heat maps of the MSR-net, by scale; none without one, or before it is trained.
    """

    scales: tuple[Float[Tensor, "b stacks joints _ _"], ...]
    regressed: tuple[Float[Tensor, "b joints _ _"], ...]


class MultiScale(Hourglass):
    """Stacked hourglasses with multi-scale supervision (MSS-net, Sec. 3.1) and regression (MSR-net, Sec. 3.2).

    With one scale, no regression and alpha 0 it is Newell's hourglass, as Sec. 4.3 says.

    Open: how ground truth is "down-sampled" is not said. Here each coarse cell takes the highest of its cells: an
    average would leave a tenth of a Gaussian's peak at 1/8.
    Open: the layers of the MSR-net are not given. Here it is one hourglass of half the features, which sees the
    whole body at its lowest resolution, on all stacks' heat maps of all scales, brought to the finest one, and the
    image at that resolution.
    Open: alpha is not given. Here it is 1/16, one over the number of MPII's joints, so that both terms of eq. (2) have
    that factor.
    Departs: the norm is squared, as in Newell et al., unless it is told otherwise; eq. (1) prints a sum of absolute
    values, eq. (2) the norm of a map.

    Args:
        joints: number of heat maps: 16 in MPII's order, 14 in LSP's, 11 in FLIC's.
        size: side of the input in pixels, a multiple of 4 * 2 ** depth.
        stacks: hourglasses of the MSS-net.
        features: channels of the MSS-net, a multiple of 4; the MSR-net has half as many.
        units: residual units per location of an hourglass.
        depth: poolings inside an hourglass.
        scales: how many resolutions are supervised, 1 to depth; the paper's 4 are 1/8, 1/4, 1/2 and 1 of the output.
        regression: with the MSR-net.
        alpha: weight of the structure-aware term of eq. (2), in the loss at every scale; 0 leaves eq. (1).
        combination: of the heat maps of connected joints, "sum" or "maximum".
        norm: of heat maps' differences, one of `losses.NORMS`.
        sigma: standard deviation of the target's Gaussians, in cells of 4 pixels.

    Raises:
        ValueError: a setting out of its range.
    """

    name = "multi_scale"
    phases = 3

    def __init__(
        self,
        joints: int = 16,
        size: int = 256,
        stacks: int = 8,
        features: int = 256,
        units: int = 1,
        depth: int = 4,
        scales: int = 4,
        regression: bool = True,
        alpha: float = 1 / 16,
        combination: str = "sum",
        norm: str = "squared",
        sigma: float = 1.0,
    ) -> None:
        settings = chosen(locals())
        super().__init__(joints, size, stacks, features, units, depth, sigma)
        self.settings = settings
        check_counts(self.name, scales=scales)
        check_choice(self.name, "combination", combination, COMBINATIONS)
        check_choice(self.name, "norm", norm, NORMS)
        if scales > depth:
            raise ValueError(f"{self.name}: scales is {scales}, and there is one per pooling; give {depth} at most")
        check_weight(self.name, "alpha", alpha, "structure-aware term")
        if alpha and joints not in _ORDERS:
            known = ", ".join(f"{count} ({skeleton.name})" for count, skeleton in _ORDERS.items())
            raise ValueError(f"{self.name}: {joints} joints have no connections; give {known}, or alpha=0")
        groups = torch.tensor(_ORDERS[joints].structure) if alpha else torch.empty(0, 3, dtype=torch.long)
        self.register_buffer("groups", groups, persistent=False)
        # Drawn after the hourglasses, which so start as Newell's do from the same seed.
        self.coarse = nn.ModuleList(_coarse(features, joints, scales) for _ in range(stacks))
        self.regression = Regression(joints, stacks, scales, features // 2, depth) if regression else None
        self.phase = JOINTLY

    def enter(self, phase: int) -> None:
        """Train what a phase of Sec. 4.1 trains: 0 the MSS-net, 1 the MSR-net with the MSS-net as it is, 2 both.

        Without an MSR-net all phases train the MSS-net. A network that entered none is in the last one.
        """
        if self.regression is None:
            return
        self.phase = phase
        for name, module in self.named_children():
            module.requires_grad_(phase in (JOINTLY, REGRESSION if name == "regression" else SUPERVISION))
        self.train(self.training)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Outputs:
        """Heat maps of every stack at every scale, and after the first phase those of the MSR-net."""
        x = self.stem(images)  # (b, features, s / 4, s / 4)
        by_stack = []
        for stack, hourglass in enumerate(self.hourglasses):
            *below, top = hourglass.pyramid(x)  # (b, features, ..., ...), coarse to fine
            y = self.heads[stack](top)  # (b, features, s / 4, s / 4)
            maps = self.to_maps[stack](y)  # (b, joints, s / 4, s / 4)
            by_stack.append([*_read(self.coarse[stack], below), maps])
            if stack < len(self.merge_maps):
                x = x + self.merge_features[stack](y) + self.merge_maps[stack](maps)
        scales = tuple(torch.stack(some, 1).float() for some in zip(*by_stack, strict=True))
        regresses = self.regression is not None and self.phase != SUPERVISION
        return Outputs(scales, self.regression(scales, images) if regresses else ())

    def loss(self, outputs: Outputs, batch: Sample) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The loss of eq. (2), or of eq. (1) with alpha 0, summed over scales and stacks, and what each part adds.

        "scale_8" is what all stacks add at 1/8 of the output and so on, "regression" what the MSR-net adds; 0 in a
        phase that does not train it.
        """
        finest = outputs.scales[-1]
        target = self.codec.of(finest).encode(batch.joints, batch.presence)  # (b, joints, s / 4, s / 4)

        terms, regression = {}, target.new_zeros(())
        for scale, maps in enumerate(outputs.scales):
            factor = finest.shape[-1] // maps.shape[-1]
            truth = target if factor == 1 else F.max_pool2d(target, factor)  # (b, joints, cells, cells)
            trained = maps.unbind(1) if self.phase != REGRESSION else ()
            terms[f"scale_{factor}"] = sum(
                (self._matching(some, truth, batch) for some in trained), target.new_zeros(())
            )
            if outputs.regressed:
                regression = regression + self._matching(outputs.regressed[scale], truth, batch)
        if self.regression is not None:
            terms["regression"] = regression
        return torch.stack(list(terms.values())).sum(), terms

    def _matching(self, maps: Tensor, target: Tensor, batch: Sample) -> Float[Tensor, ""]:
        """Eq. (2) at one scale."""
        alpha, norm = self.settings["alpha"], self.settings["norm"]
        if not alpha:
            return heatmap_loss(maps, target, batch.presence, norm)
        combination = self.settings["combination"]
        return structure_aware_loss(maps, target, batch.presence, self.groups, alpha, combination, norm)

    def maps(self, outputs: Outputs) -> Float[Tensor, "b joints cells cells"]:
        """The heat maps that joints are read from: the MSR-net's finest, or without one the last stack's."""
        return outputs.regressed[-1] if outputs.regressed else outputs.scales[-1][:, -1]

    def train(self, mode: bool = True) -> MultiScale:
        """As usual, but an MSS-net that is not trained stays as it is: its batch norm keeps the statistics it has."""
        super().train(mode)
        if self.phase == REGRESSION:
            for name, module in self.named_children():
                module.train(mode and name == "regression")
        return self


class Regression(nn.Module):
    """The MSR-net (Sec. 3.2): heat maps of all stacks and scales, and the image, to heat maps at every scale.

    Args:
        joints, stacks, scales: of the MSS-net.
        features: channels.
        depth: poolings of its hourglass.
    """

    def __init__(self, joints: int, stacks: int, scales: int, features: int, depth: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(stacks * scales * joints + 3, features, 1)
        self.norm = nn.BatchNorm2d(features)
        self.hourglass = HourglassBlock(features, depth)
        self.head = Head(features, 1)
        self.to_maps = nn.Conv2d(features, joints, 1)
        self.coarse = _coarse(features, joints, scales)

    def forward(
        self, scales: tuple[Float[Tensor, "b stacks joints _ _"], ...], images: Float[Tensor, "b 3 s s"]
    ) -> tuple[Float[Tensor, "b joints _ _"], ...]:
        cells = scales[-1].shape[-1]
        seen = [F.interpolate(maps.flatten(1, 2), size=(cells, cells), mode="bilinear") for maps in scales]
        seen.append(F.adaptive_avg_pool2d(images, cells))  # (b, 3, s / 4, s / 4)
        x = F.relu(self.norm(self.conv(torch.cat(seen, 1))))  # (b, features, s / 4, s / 4)
        *below, top = self.hourglass.pyramid(x)
        return tuple(maps.float() for maps in (*_read(self.coarse, below), self.to_maps(self.head(top))))


def _coarse(features: int, joints: int, scales: int) -> nn.ModuleList:
    """The 1x1 convolutions that make heat maps of the features below the finest scale (Sec. 3.1)."""
    return nn.ModuleList(nn.Conv2d(features, joints, 1) for _ in range(scales - 1))


def _read(coarse: nn.ModuleList, below: list[Tensor]) -> list[Tensor]:
    """The heat maps below the finest scale, of the features of as many scales."""
    return [to_maps(y) for to_maps, y in zip(coarse, below[len(below) - len(coarse) :], strict=True)]
