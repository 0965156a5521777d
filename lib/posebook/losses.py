"""The losses of the papers as functions of tensors.

Each is normalised by constants (batch, joints), never by how many joints are present, so that the mean of the losses
of a batch's halves is the loss of the batch, on however many processes the halves are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor

from posebook.skeleton import IGNORE_LABEL

# How the difference of two heat maps becomes a number: the sum of its squares; the sum over cells of each cell's norm,
# its absolute value, as Ke et al. (ECCV 2018) print it in eq. (1); the norm of the whole map, as in their eq. (2).
NORMS = ("squared", "cells", "map")

# What the structure-aware loss makes of the heat maps of connected joints: one map.
COMBINATIONS = ("sum", "maximum")


def heatmap_mse(
    maps: Float[Tensor, "b j h w"], target: Float[Tensor, "b j h w"], presence: Shaped[Tensor, "b j"]
) -> Float[Tensor, ""]:
    """Squared error of heat maps, summed over the cells of a map, averaged over the batch and the joints.

    The sum over cells keeps the scale readable and the same at every map size: blank maps against Gaussians of
    standard deviation sigma cells cost pi sigma^2 (an average over 64x64 cells would make that 0.0008).

    Args:
        presence: a joint counts where this is not 0; occluded joints are learnt like visible ones.
    """
    return heatmap_loss(maps, target, presence)


def heatmap_loss(
    maps: Float[Tensor, "b j h w"],
    target: Float[Tensor, "b j h w"],
    presence: Shaped[Tensor, "b j"],
    norm: str = "squared",
) -> Float[Tensor, ""]:
    """Difference of heat maps, averaged over the batch and the joints: Ke et al. (ECCV 2018), eq. (1).

    Args:
        presence: a joint counts where this is not 0; occluded joints are learnt like visible ones.
        norm: one of `NORMS`.

    Raises:
        ValueError: a norm that is none of `NORMS`.
    """
    return (_size(maps.float() - target, norm) * (presence > 0)).mean()


def structure_loss(
    maps: Float[Tensor, "b j h w"],
    target: Float[Tensor, "b j h w"],
    presence: Shaped[Tensor, "b j"],
    groups: Int[Tensor, "groups k"],
    combination: str = "sum",
    norm: str = "squared",
) -> Float[Tensor, ""]:
    """Difference of the combined heat maps of connected joints, summed over the groups, averaged over the batch.

    The second term of eq. (2) of Ke et al. (ECCV 2018), without its weight alpha. It has no 1/N there, nor here.

    Departs: eq. (2) sums over the joints, each with its neighbours; here over pairs and triplets, each once.
    Open: what the "combination" of maps is. Here it is their sum or their maximum in each cell.
    Open: what becomes of joints that are not annotated. Here they are left out of the combination, on both sides.

    Args:
        presence: a joint is combined where this is not 0.
        groups: the joints of each pair or triplet; a pair among triplets names one of its joints twice.
        combination: "sum" or "maximum".
        norm: one of `NORMS`.

    Raises:
        ValueError: an unknown combination or norm.
    """
    there = presence > 0  # (b, j)
    if combination == "sum":
        error = (maps.float() - target).flatten(2)  # (b, j, h * w)
        combined = (_membership(groups, there.float()) @ error).unflatten(2, maps.shape[2:])  # (b, groups, h, w)
    elif combination == "maximum":
        anyone = there[:, groups].any(2)[..., None, None]
        combined = (_highest(maps.float(), there, groups) - _highest(target, there, groups)) * anyone
    else:
        raise ValueError(f"combination is '{combination}'; give {' or '.join(COMBINATIONS)}")
    return _size(combined, norm).sum(1).mean()


def structure_aware_loss(
    maps: Float[Tensor, "b j h w"],
    target: Float[Tensor, "b j h w"],
    presence: Shaped[Tensor, "b j"],
    groups: Int[Tensor, "groups k"],
    alpha: float,
    combination: str = "sum",
    norm: str = "squared",
) -> Float[Tensor, ""]:
    """The structure-aware loss, eq. (2) of Ke et al. (ECCV 2018): `heatmap_loss` plus alpha times `structure_loss`.

    With the sum of maps and the squared norm both terms are quadratic in the differences of maps, e, and together they
    are the sum of A_ij <e_i, e_j> over pairs of joints: one product of matrices, as cheap as the first term alone.

    Args:
        alpha: weight of the second term.
        presence, groups, combination, norm: as in the two losses.

    Raises:
        ValueError: an unknown combination or norm.
    """
    if (combination, norm) != ("sum", "squared"):
        structure = structure_loss(maps, target, presence, groups, combination, norm)
        return heatmap_loss(maps, target, presence, norm) + alpha * structure
    there = (presence > 0).float()  # (b, j)
    belongs = _membership(groups, there)  # (b, groups, j)
    weights = alpha * belongs.transpose(1, 2) @ belongs + torch.diag_embed(there) / maps.shape[1]  # (b, j, j)
    error = (maps.float() - target).flatten(2)  # (b, j, h * w)
    return (weights * (error @ error.transpose(1, 2))).sum((1, 2)).mean()


def _membership(groups: Int[Tensor, "groups k"], there: Float[Tensor, "b j"]) -> Float[Tensor, "b groups j"]:
    """1 where a joint belongs to a group and is there."""
    return there.new_zeros(len(groups), there.shape[1]).scatter_(1, groups, 1.0) * there[:, None]


def _highest(
    maps: Float[Tensor, "b j h w"], there: Bool[Tensor, "b j"], groups: Int[Tensor, "groups k"]
) -> Float[Tensor, "b groups h w"]:
    """In every cell the highest of each group's maps, of the joints that are there; any where none is."""
    # Only the winner has a gradient, and finding out who it is needs none. One joint after the other: on a CPU, torch's
    # argmax along a dimension in the middle takes many times as long.
    with torch.no_grad():
        shown = torch.where(there[..., None, None], maps, -torch.inf)
        first, *others = groups.unbind(1)
        best, winner = shown.index_select(1, first), first[:, None, None]
        for joints in others:
            some = shown.index_select(1, joints)
            winner = torch.where(some > best, joints[:, None, None], winner)
            best = torch.maximum(best, some)
    return maps.gather(1, winner)


def _size(error: Float[Tensor, "b n h w"], norm: str) -> Float[Tensor, "b n"]:
    """The size of each map, by one of `NORMS`. At 0 all have a gradient, which is 0."""
    if norm == "squared":
        return error.square().sum((-2, -1))
    if norm == "cells":
        return torch.linalg.vector_norm(error, 1, dim=(-2, -1))
    if norm == "map":
        return torch.linalg.vector_norm(error, dim=(-2, -1))
    raise ValueError(f"norm is '{norm}'; give {', '.join(NORMS)}")


def elastic_net(
    places: Float[Tensor, "b j 2"], target: Float[Tensor, "b j 2"], presence: Shaped[Tensor, "b j"]
) -> Float[Tensor, ""]:
    """L1 plus squared L2 distance of coordinates in [0, 1], averaged over the batch and the joints.

    Luvizon et al. (2017), eq. (7).

    Open: the paper does not say what becomes of absent joints; they cost nothing.

    Args:
        presence: a joint counts where this is not 0.
    """
    there = presence > 0
    # An absent joint may hold anything, NaN included, and NaN times 0 is NaN.
    error = torch.where(there[..., None], places - target, 0.0)
    return (error.abs() + error.square()).sum(-1).mean()


def presence_cross_entropy(logits: Float[Tensor, "b j"], presence: Shaped[Tensor, "b j"]) -> Float[Tensor, ""]:
    """Binary cross-entropy of the probability that a joint is in the image: Luvizon et al. (2017), eq. (8).

    From logits, where the logarithm of a probability near 0 would not be a number.

    Open: in a set where absent means that nobody annotated the joint, as in LSPET, this learns who annotated what.

    Args:
        presence: a joint is in the image where this is not 0, occluded or visible.
    """
    return F.binary_cross_entropy_with_logits(logits, (presence > 0).to(logits.dtype))


def parsing_cross_entropy(logits: Float[Tensor, "b parts h w"], labels: UInt8[Tensor, "b s s"]) -> Float[Tensor, ""]:
    """Cross-entropy of part labels, averaged over the batch and all pixels: Nie et al. (CVPR 2018), Sec. 3.3.

    Open: at which resolution is not said. As in the authors' code, logits are brought to the labels' own, bilinearly.

    Args:
        labels: of parts; a pixel of 255 is not labelled and costs nothing.
    """
    logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear")
    # A constant: the number of labelled pixels would weigh the halves of a batch differently.
    return F.cross_entropy(logits, labels.long(), ignore_index=IGNORE_LABEL, reduction="sum") / labels.numel()


def offset_loss(
    offsets: Float[Tensor, "b xy h w"], target: Float[Tensor, "b xy h w"], mask: Bool[Tensor, "b j h w"]
) -> Float[Tensor, ""]:
    """Smooth L1 of offsets to people's centres, summed over a joint's cells, averaged over the batch and the joints.

    Nie, Feng, Xing, Yan, *Generative Partition Networks* (arXiv:1705.07422), which Nie et al. (CVPR 2018) take over.

    Open: neither text gives its weight beside that of the heat maps, nor where the two parts of smooth L1 meet; the
    authors' code averages over all cells and has them meet at 1, half an image's side. Here, as with the heat maps,
    what counts is summed over a map, and they meet at a twentieth of the side, about what people are off by.

    Args:
        offsets, target: as `association.Targets` has them, two channels per joint, in halves of the image's side.
        mask: cells that count.
    """
    error = F.smooth_l1_loss(offsets.float(), target, reduction="none", beta=0.1)  # (b, 2 j, h, w)
    by_joint = error.unflatten(1, (-1, 2)).sum(2)  # (b, j, h, w)
    return (by_joint * mask).sum((-2, -1)).mean()
