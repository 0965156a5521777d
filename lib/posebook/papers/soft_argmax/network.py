"""Luvizon, Tabia, Picard, 2017:
*Human Pose Regression by Combining Indirect Part Detection and Contextual Information*.

`SoftArgmax` is the paper's network; `SoftArgmaxDetection` has the same layers, trained by heat maps as detection
networks are: what the paper's claims are measured against.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from posebook.compute.precision import in_float32
from posebook.coordinates import HeatmapCodec
from posebook.layers.separable import SeparableConv, SeparableResidual
from posebook.layers.soft_argmax import RAMPS, soft_argmax
from posebook.losses import elastic_net, presence_cross_entropy
from posebook.network import HeatmapNetwork, check_choice, check_counts, check_sigma, chosen
from posebook.sample import Sample

STRIDE = 8
# What the widths of the stem are given for (Fig. 2 and the authors' code): 576 features.
FULL = 576


class SoftArgmax(nn.Module):
    """Coordinates regressed from heat maps that nobody supervises (Fig. 2).

    A stem and K prediction blocks; each block gives for each joint one part-based map and N_c context maps. What
    becomes of the maps, `regress`, has no weights, so the maps are what the network puts out.

    Args:
        joints: N_J.
        size: side of the input in pixels, a multiple of 32.
        blocks: prediction blocks, K.
        context: context maps per joint, N_c; 0 leaves context out.
        features: channels of a prediction block, a multiple of 36; the stem's widths go with it.
        kernel: side of the depthwise kernels, odd.
        alpha: part of the part-based maps in a joint's place, eq. (6). Without context it is 1, whatever is given.
        presence_weight: of the cross-entropy of eq. (8) in the loss.
            Open: not in the text; 0.01 keeps it below the coordinates' loss.
        ramps: as in `layers.soft_argmax.ramp`. Departs: eq. (3) has "paper"; the middle of a cell is its centre.

    Raises:
        ValueError: a setting out of its range.
    """

    name = "soft_argmax"

    def __init__(
        self,
        joints: int = 16,
        size: int = 256,
        blocks: int = 8,
        context: int = 2,
        features: int = 576,
        kernel: int = 5,
        alpha: float = 0.8,
        presence_weight: float = 0.01,
        ramps: str = "centres",
    ) -> None:
        settings = chosen(locals())
        super().__init__()
        self.settings = settings
        _check(self.name, joints, size, blocks, features, kernel)
        if isinstance(context, bool) or not isinstance(context, int) or context < 0:
            raise ValueError(f"soft_argmax: context is {context!r}; give the context maps per joint, 0 or more")
        if not 0 < alpha <= 1:
            raise ValueError(f"soft_argmax: alpha is {alpha!r}; give the part of the part-based maps, above 0 up to 1")
        if not 0 <= presence_weight < math.inf:
            raise ValueError(f"soft_argmax: presence_weight is {presence_weight!r}; give a weight, 0 or more")
        check_choice(self.name, "ramps", ramps, RAMPS)
        self.joints, self.context = joints, context
        self.alpha, self.presence_weight, self.ramps = alpha if context else 1.0, presence_weight, ramps
        self.stem = Stem(features, kernel)
        self.blocks = prediction_blocks(blocks, features, joints * (1 + context), kernel)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b blocks joints maps cells cells"]:
        """Logits of every block's maps, an eighth of the input's side; the first of a joint's is its part-based map."""
        maps = _maps(self.stem, self.blocks, images)  # (b, blocks, joints (1 + context), s / 8, s / 8)
        return maps.unflatten(2, (self.joints, 1 + self.context))

    def regress(
        self, maps: Float[Tensor, "*b joints maps cells cells"]
    ) -> tuple[Float[Tensor, "*b joints 2"], Float[Tensor, "*b joints"]]:
        """The regression stage: each joint's place in [0, 1], eq. (6), and the logit of its presence (Sec. 3.2.2)."""
        places = soft_argmax(maps, ramps=self.ramps)  # (..., joints, 1 + context, 2)
        logits = maps.flatten(-2).amax(-1)  # (..., joints, 1 + context)
        return aggregate(places, logits.sigmoid(), self.alpha), logits[..., 0]

    def loss(
        self, outputs: Float[Tensor, "b blocks joints maps cells cells"], batch: Sample
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Eqs. (7) and (8) after every block, summed. Context maps' probabilities learn through eq. (6) alone."""
        places, logits = self.regress(outputs)  # (b, blocks, joints, 2), (b, blocks, joints)
        target = batch.joints / (STRIDE * outputs.shape[-1])
        terms = {}
        for number, (place, logit) in enumerate(zip(places.unbind(1), logits.unbind(1), strict=True), start=1):
            terms[f"place_{number}"] = elastic_net(place, target, batch.presence)
            terms[f"presence_{number}"] = presence_cross_entropy(logit, batch.presence)
        weights = [1.0, self.presence_weight] * len(self.blocks)
        return sum(w * term for w, term in zip(weights, terms.values(), strict=True)), terms

    def decode(
        self, outputs: Float[Tensor, "b blocks joints maps cells cells"]
    ) -> tuple[Float[Tensor, "b joints 2"], Float[Tensor, "b joints"]]:
        """Joints in image pixels and the probability that each is in the image, from the last block."""
        places, logits = self.regress(outputs[:, -1])
        return places * STRIDE * outputs.shape[-1], logits.sigmoid()


class SoftArgmaxDetection(HeatmapNetwork):
    """The same stem and blocks trained by heat maps: one map per joint, supervised after every block by `heatmap_mse`.

    Read by the highest cell, with the offset that is asked for. Settings as in `SoftArgmax`, and:

    Args:
        sigma: standard deviation of the target's Gaussians, in cells of 8 pixels.
        offset: as in `HeatmapCodec.decode`.
    """

    name = "soft_argmax_detection"

    def __init__(
        self,
        joints: int = 16,
        size: int = 256,
        blocks: int = 8,
        features: int = 576,
        kernel: int = 5,
        sigma: float = 1.0,
        offset: str = "quarter",
    ) -> None:
        settings = chosen(locals())
        super().__init__()
        self.settings = settings
        _check(self.name, joints, size, blocks, features, kernel)
        check_sigma(self.name, sigma)
        self.codec = HeatmapCodec(size, STRIDE, sigma, offset)
        self.stem = Stem(features, kernel)
        self.blocks = prediction_blocks(blocks, features, joints, kernel)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b blocks joints cells cells"]:
        """Heat maps of every block, an eighth of the input's side."""
        return _maps(self.stem, self.blocks, images)


def aggregate(
    places: Float[Tensor, "*b joints maps 2"], probability: Float[Tensor, "*b joints maps"], alpha: int | float
) -> Float[Tensor, "*b joints 2"]:
    """Eq. (6): a joint's part-based place, and the mean of its context places weighted by their probabilities.

    Args:
        places: the first along `maps` is the part-based one, the others are the context's; there may be none.
        alpha: weight of the part-based place; with no context it has no say.
    """
    part, context = places[..., 0, :], places[..., 1:, :]
    if context.shape[-2] == 0:
        return part
    weight = probability[..., 1:]
    # So small that the weights add up to 1 wherever logits are above -40.
    weight = weight / weight.sum(-1, keepdim=True).clamp_min(1e-18)  # (..., joints, context)
    return alpha * part + (1 - alpha) * (weight[..., None] * context).sum(-2)


class Stem(nn.Module):
    """From pixels to features at an eighth of the resolution (Fig. 3a), after Inception-v4's stem.

    Open: widths are not in the text, these are the authors'. At other features than 576 all shrink or grow alike.
    """

    def __init__(self, features: int, kernel: int = 5) -> None:
        super().__init__()

        def wide(width: int) -> int:
            return width * features // FULL

        c32, c64, c96, c160, c192, c384 = map(wide, (32, 64, 96, 160, 192, 384))
        self.entry = nn.Sequential(_conv(3, c32, 3, 2), _conv(c32, c32, 3), _conv(c32, c64, 3))
        self.pool1 = nn.MaxPool2d(3, 2, 1)
        self.conv1 = _conv(c64, c96, 3, 2)
        self.short = nn.Sequential(_conv(c160, c64, 1), _conv(c64, c96, 3))
        self.long = nn.Sequential(
            _conv(c160, c64, 1), _conv(c64, c64, (5, 1)), _conv(c64, c64, (1, 5)), _conv(c64, c96, 3)
        )
        self.pool2 = nn.MaxPool2d(3, 2, 1)
        self.conv2 = _conv(c192, c192, 3, 2)
        self.residual = SeparableResidual(c384, features, kernel)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b features s/8 s/8"]:
        x = self.entry(images)  # (b, 64, s / 2, s / 2), at 576 features
        x = torch.cat([self.conv1(x), self.pool1(x)], 1)  # (b, 96 + 64, s / 4, s / 4)
        x = torch.cat([self.short(x), self.long(x)], 1)  # (b, 96 + 96, s / 4, s / 4)
        x = torch.cat([self.conv2(x), self.pool2(x)], 1)  # (b, 192 + 192, s / 8, s / 8)
        return self.residual(x)  # (b, 576, s / 8, s / 8)


class BlockA(nn.Module):
    """An hourglass of three resolutions made of Res-SepConv (Sec. 3.1): C channels, then C / 2 at a half and a quarter.

    Open: how many units stand where is in the figure alone; here one in the branch at each resolution, and before and
    after each step down and up.
    """

    def __init__(self, features: int, kernel: int = 5) -> None:
        super().__init__()
        half = features // 2
        self.branch = SeparableResidual(features, features, kernel)
        self.down = SeparableResidual(features, half, kernel)
        self.middle = SeparableResidual(half, half, kernel)
        self.lowest = nn.Sequential(*(SeparableResidual(half, half, kernel) for _ in range(3)))
        self.up = SeparableResidual(half, features, kernel)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y = self.down(F.max_pool2d(x, 2))  # (b, c / 2, h / 2, w / 2)
        z = self.lowest(F.max_pool2d(y, 2))  # (b, c / 2, h / 4, w / 4)
        y = self.middle(y) + F.interpolate(z, scale_factor=2.0, mode="nearest")  # (b, c / 2, h / 2, w / 2)
        return self.branch(x) + F.interpolate(self.up(y), scale_factor=2.0, mode="nearest")  # (b, c, h, w)


class BlockB(nn.Module):
    """From features to maps, and back for the next block (Fig. 4): input, features and maps again are added.

    Open: the figure shows no activations; here a ReLU stands before each 1x1 convolution, as in a separable one.

    Args:
        last: no block follows, so nothing goes back: `forward` gives None in place of features.
    """

    def __init__(self, features: int, maps: int, kernel: int = 5, last: bool = False) -> None:
        super().__init__()
        self.features = SeparableConv(features, features, kernel)
        self.to_maps = nn.Conv2d(features, maps, 1)
        if not last:
            self.back = nn.Sequential(nn.Conv2d(maps, features, 1, bias=False), nn.BatchNorm2d(features))
        self.last = last

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h w"] | None, Float[Tensor, "b maps h w"]]:
        y = self.features(x)  # (b, c, h, w)
        # Logits in float32: bfloat16 has eight bits, and a softmax of rounded logits is off by per cents.
        with in_float32(x.device):
            maps = self.to_maps(F.relu(y).float())  # (b, maps, h, w)
        return None if self.last else x + y + self.back(F.relu(maps)), maps


class PredictionBlock(nn.Module):
    """Block-A and Block-B: features in, features for the next block (None from the last one) and maps out."""

    def __init__(self, features: int, maps: int, kernel: int = 5, last: bool = False) -> None:
        super().__init__()
        self.a = BlockA(features, kernel)
        self.b = BlockB(features, maps, kernel, last)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h w"] | None, Float[Tensor, "b maps h w"]]:
        return self.b(self.a(x))


def prediction_blocks(count: int, features: int, maps: int, kernel: int) -> nn.ModuleList:
    """K prediction blocks."""
    return nn.ModuleList(PredictionBlock(features, maps, kernel, number == count - 1) for number in range(count))


def _maps(stem: nn.Module, blocks: nn.ModuleList, images: Tensor) -> Float[Tensor, "b blocks maps cells cells"]:
    """The maps of every block, in float32."""
    x = stem(images)  # (b, features, s / 8, s / 8)
    found = []
    for block in blocks:
        x, maps = block(x)
        found.append(maps)
    return torch.stack(found, 1)


def _conv(inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU; same-padded."""
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = tuple(side // 2 for side in sides)
    convolution = nn.Conv2d(inputs, outputs, sides, stride, padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _check(model: str, joints: int, size: int, blocks: int, features: int, kernel: int) -> None:
    """ValueError for a setting out of its range."""
    check_counts(model, joints=joints, size=size, blocks=blocks, features=features, kernel=kernel)
    if size % (4 * STRIDE):
        raise ValueError(f"{model}: size is {size}; give a multiple of 32: stride {STRIDE}, then two poolings")
    if features % 36:
        raise ValueError(f"{model}: features is {features}; give a multiple of 36, so that all widths are whole")
    if kernel % 2 == 0:
        raise ValueError(f"{model}: kernel is {kernel}; give an odd number")
