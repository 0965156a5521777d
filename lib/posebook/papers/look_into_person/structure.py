"""Self-supervised structure-sensitive learning: Liang et al. (TPAMI 2018), Sec. 5.3.

From a map of part labels the centres of up to nine regions of the body are read, as if they were joints. How far those
of the prediction are from those of the truth then weighs the parsing loss.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor

from posebook.coordinates import HeatmapCodec, pixel_centres
from posebook.skeleton import IGNORE_LABEL, part_names

# The regions whose centres stand for joints, and the part labels of each. Those of LIP are the paper's nine; gloves,
# dresses, socks and jumpsuits belong to none. Departs: PASCAL-Person-Part, which has no sides, has four, our own.
REGIONS = {
    "head": ("hat", "hair", "sunglasses", "face", "head"),
    "upper_body": ("upper_clothes", "coat", "scarf", "torso"),
    "lower_body": ("pants", "skirt"),
    "l_arm": ("l_arm",),
    "r_arm": ("r_arm",),
    "l_leg": ("l_leg",),
    "r_leg": ("r_leg",),
    "l_shoe": ("l_shoe",),
    "r_shoe": ("r_shoe",),
    "arms": ("upper_arm", "lower_arm"),
    "legs": ("upper_leg", "lower_leg"),
}

# How eq. (2) is read: not at all; the joint structure loss as a weight, which has no gradient; with a gradient.
READINGS = ("none", "weight", "soft")

# A soft region is there in full once its probabilities add up to this many cells; below, its Gaussian is as much lower.
_WHOLE = 1.0


def part_regions(parts: int) -> Float[Tensor, "regions parts"]:
    """1 where a part label belongs to a region, of LIP's 20 labels or PASCAL-Person-Part's 7.

    Raises:
        ValueError: another number of labels.
    """
    names = part_names(parts)
    there = {region: labels for region, labels in REGIONS.items() if set(labels) & set(names)}
    return torch.tensor([[float(name in labels) for name in names] for labels in there.values()])


def part_centres(
    labels: Shaped[Tensor, "b h w"], regions: Float[Tensor, "regions parts"]
) -> tuple[Float[Tensor, "b regions 2"], Bool[Tensor, "b regions"]]:
    """The centres (x, y) of the regions of a label map, in its pixels, and which regions occur.

    Of a region that does not occur the centre is (0, 0).

    Args:
        labels: of parts; ignored pixels (255) belong to no region.
    """
    counted = torch.where(labels == IGNORE_LABEL, 0, labels).long()  # label 0, the background, is in no region
    masks = regions.float().t()[counted].permute(0, 3, 1, 2)  # (b, regions, h, w)
    centres, mass = soft_centres(masks)
    return centres, mass > 0


def soft_centres(
    masks: Float[Tensor, "b regions h w"],
) -> tuple[Float[Tensor, "b regions 2"], Float[Tensor, "b regions"]]:
    """Centres of mass (x, y) in cells, and the masses."""
    height, width = masks.shape[-2:]
    across, down = masks.sum(-2), masks.sum(-1)  # (b, regions, w), (b, regions, h)
    mass = down.sum(-1)  # (b, regions)
    x = across @ pixel_centres(width, masks.device)
    y = down @ pixel_centres(height, masks.device)
    return torch.stack([x, y], -1) / mass.clamp_min(1e-6)[..., None], mass


def joint_structure_loss(
    predicted: Float[Tensor, "b regions h w"], true: Float[Tensor, "b regions h w"], there: Bool[Tensor, "b regions"]
) -> Float[Tensor, " b"]:
    """Eq. (1) for each image: half the squared difference of the regions' heat maps, averaged over its regions.

    Args:
        predicted, true: Gaussians around the centres, zeros for a region that does not occur.
        there: the N regions that an image has in truth.
    """
    error = (predicted - true).square().sum((-2, -1))  # (b, regions)
    return 0.5 * error.sum(1) / there.sum(1).clamp_min(1)


def structure_sensitive_loss(
    logits: Float[Tensor, "b parts h w"],
    labels: UInt8[Tensor, "b h w"],
    regions: Float[Tensor, "regions parts"],
    sigma: float | int = 1.0,
    reading: str = "weight",
) -> dict[str, Float[Tensor, ""]]:
    """Eq. (2): each image's parsing loss times its joint structure loss.

    The parsing loss is that of `losses.parsing_cross_entropy`, before it is averaged over the images.

    Open: whether the joint structure loss has a gradient. The authors' code reads centres off hard label maps, so that
    it is a weight. Here "weight" does so, and "soft" takes centres of mass of the predicted probabilities instead.
    Open: at which resolution, and how wide the Gaussians are. Here at the logits', and `sigma` cells.

    Args:
        labels: of parts; a pixel of 255 is not labelled and costs nothing.
        regions: as `part_regions` gives them.
        sigma: standard deviation of the Gaussians, in cells.
        reading: one of `READINGS`; "none" leaves the weight out.

    Returns:
        The loss, "parsing", and the mean joint structure loss, "structure", which is a part of it already.

    Raises:
        ValueError: another reading.
    """
    if reading not in READINGS:
        raise ValueError(f"structure is '{reading}'; give {', '.join(READINGS)}")
    costs = F.cross_entropy(logits.float(), labels.long(), ignore_index=IGNORE_LABEL, reduction="none")  # (b, h, w)
    by_image = costs.mean((-2, -1))  # (b,)
    if reading == "none":
        return {"parsing": by_image.mean()}
    codec = HeatmapCodec(logits.shape[-1], 1, sigma)
    centres, there = part_centres(labels, regions)
    true = codec.encode(centres, there)  # (b, regions, h, w)
    if reading == "weight":
        with torch.no_grad():
            guess = torch.where(labels == IGNORE_LABEL, labels, logits.argmax(1).to(labels.dtype))
            predicted = codec.encode(*part_centres(guess, regions))
    else:
        probabilities = logits.float().softmax(1) * (labels != IGNORE_LABEL)[:, None]
        masks = torch.einsum("rp,bphw->brhw", regions.float(), probabilities)
        found, mass = soft_centres(masks)
        height = (mass / _WHOLE).clamp_max(1)
        predicted = codec.encode(found, torch.ones_like(there)) * height[..., None, None]
    weight = joint_structure_loss(predicted, true, there)
    return {"parsing": (weight * by_image).mean(), "structure": weight.detach().mean()}


def thinned(labels: UInt8[Tensor, "b s s"], cells: int) -> UInt8[Tensor, "b h w"]:
    """Label maps with so many cells a side, the label at the middle of each."""
    middles = ((torch.arange(cells, device=labels.device) + 0.5) * labels.shape[-1] / cells).long()
    return labels[:, middles][:, :, middles]
