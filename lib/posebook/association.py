"""Several people: heat maps of everyone's joints, offsets from joints to their person's centre, and back to people.

A heat map shows the joints of all people and not whose they are. So a network tells, at every joint, where the centre
of its person is as well, and joints whose centres agree are one person's: Nie, Feng, Xing, Yan, *Generative Partition
Networks for Multi-Person Pose Estimation* (arXiv:1705.07422), which Nie et al. (CVPR 2018) rebuild in Sec. 4.3.

    codec = PeopleCodec(HeatmapCodec(size=128))
    targets = codec.encode(sample.people_joints, sample.people_presence)
    people = codec.decode(targets.maps, targets.offsets)

Below, "the authors' code" is that of those networks, github.com/NieXC/pytorch-ppn.

Departs: the authors' code takes a cluster apart again where it has a joint twice, from neck to neck. Here the best
candidate of each joint is taken and the others are dropped, so that people whose centres nearly coincide become one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from posebook.coordinates import HeatmapCodec, pixel_centres, within_cell
from posebook.extras import needs
from posebook.sample import Sample

# Offsets are learnt at the cells where a joint's Gaussian is above this, within 3.03 standard deviations, as in the
# authors' code.
NEAR = 0.01


@dataclass(frozen=True)
class Targets:
    """What a network is to give for scenes of several people.

    Attributes:
        maps: at each cell the highest of the people's Gaussians.
        offsets: from the cell to the centre of the person whose joint is nearest: x and y for the first joint, then for
            the second and so on, in the codec's units; 0 outside `mask`.
        mask: cells near enough to a joint for its offsets to be learnt.
    """

    maps: Float[Tensor, "b j h w"]
    offsets: Float[Tensor, "b 2*j h w"]
    mask: Bool[Tensor, "b j h w"]


@dataclass(frozen=True)
class Candidates:
    """Peaks of heat maps, the highest of each joint first.

    Attributes:
        places: (x, y) in the image's pixels; meaningless where `scores` is 0.
        scores: heights of the peaks; 0 where a joint has fewer than k.
        centres: where the offsets at the peak have the centre of its person, in pixels.
    """

    places: Float[Tensor, "b j k 2"]
    scores: Float[Tensor, "b j k"]
    centres: Float[Tensor, "b j k 2"]


@dataclass(frozen=True)
class People:
    """The people of one image, the best score first.

    Attributes:
        joints: (x, y) in the image's pixels; NaN where a joint was not found.
        confidence: 0 where a joint was not found.
        score: the mean of a person's confidences, in which a joint that was not found counts as 0.
    """

    joints: Float[Tensor, "n j 2"]
    confidence: Float[Tensor, "n j"]
    score: Float[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.joints)


@dataclass(frozen=True)
class PeopleCodec:
    """Several people to heat maps and offsets, and back.

    Open: Sec. 4.3 gives none of the numbers below. `threshold`, `least` and `unit` are those of the authors' code. Its
    distance is 120 pixels of the photograph, whatever the size of the people; here it goes with the image's.

    Args:
        heatmaps: what a joint's Gaussian is and how a peak is read.
        threshold: a lower peak is no candidate.
        most: candidates a joint, at most.
        distance: how far the centres of one person's joints are from each other, in shares of the image's side.
        least: people with fewer joints are left out.
        unit: how many pixels an offset of 1 is; None is half the side of the codec's images.

    Raises:
        ValueError: a setting out of its range.
    """

    heatmaps: HeatmapCodec
    threshold: int | float = 0.1
    most: int = 10
    distance: int | float = 0.125
    least: int = 4
    unit: int | float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold is {self.threshold}; give the lowest peak to be a joint, between 0 and 1")
        for name in ("most", "least"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a whole number from 1")
        if not self.distance > 0:
            raise ValueError(f"distance is {self.distance}; give a share of the image's side, above 0")
        if self.unit is not None and not self.unit > 0:
            raise ValueError(f"unit is {self.unit}; give the pixels that an offset of 1 is, above 0")

    @property
    def pixels(self) -> int | float:
        """How many pixels an offset of 1 is."""
        return self.heatmaps.size / 2 if self.unit is None else self.unit

    def of(self, maps: Float[Tensor, "*b h w"]) -> PeopleCodec:
        """The same for images of another size, those that a network made these maps of.

        The unit stays: a network that has learnt what an offset of 1 looks like sees it so in every image.
        """
        return replace(self, heatmaps=self.heatmaps.of(maps), unit=self.pixels)

    def encode(self, joints: Float[Tensor, "b p j 2"], presence: Shaped[Tensor, "b p j"]) -> Targets:
        """Targets for scenes of up to p people; the joints of who is not there are absent.

        Where joints of one name, but of several people, are near a cell, its offset is to the nearest one's person.
        """
        bells = self.heatmaps.encode(joints, presence)  # (b, p, j, h, w)
        maps, nearest = bells.max(1)  # (b, j, h, w)
        mask = maps > NEAR
        centres = person_centres(joints, presence)  # (b, p, 2)
        batch = torch.arange(len(joints), device=joints.device)[:, None, None, None]
        aims = centres[batch, nearest].movedim(-1, 2)  # (b, j, 2, h, w)
        x, y = (pixel_centres(side, maps.device) * self.heatmaps.stride for side in (maps.shape[-1], maps.shape[-2]))
        cells = torch.stack(torch.meshgrid(x, y, indexing="xy"))  # (2, h, w)
        offsets = torch.where(mask[:, :, None], (aims - cells) / self.pixels, 0.0)
        return Targets(maps, offsets.flatten(1, 2), mask)

    def candidates(self, maps: Float[Tensor, "b j h w"], offsets: Float[Tensor, "b 2*j h w"]) -> Candidates:
        """The peaks of each map: cells that no neighbour surpasses, read within the cell as `heatmaps` does it.

        Of equal neighbours one is taken.
        """
        j, h, w = maps.shape[1:]
        codec = self.heatmaps.of(maps)
        highest, place = F.max_pool2d(maps, 3, stride=1, padding=1, return_indices=True)
        # A cell is a peak where the highest of the nine about it, or the first of several, is itself.
        own = torch.arange(h * w, device=maps.device).view(h, w)
        peaks = torch.where((place == own) & (highest >= self.threshold), maps, 0.0).flatten(2)
        scores, chosen = peaks.topk(min(self.most, h * w))  # (b, j, k)
        row, column = chosen // w, chosen % w
        cell = torch.stack([column, row], -1).to(maps.dtype) + 0.5  # (b, j, k, 2)
        within = within_cell(maps[:, :, None].expand(-1, -1, chosen.shape[-1], -1, -1), row, column, codec.offset)
        vectors = offsets.unflatten(1, (j, 2)).flatten(3)  # (b, j, 2, h * w)
        vectors = vectors.gather(-1, chosen[:, :, None].expand(-1, -1, 2, -1)).transpose(2, 3)  # (b, j, k, 2)
        return Candidates((cell + within) * codec.stride, scores, cell * codec.stride + vectors * self.pixels)

    def decode(self, maps: Float[Tensor, "b j h w"], offsets: Float[Tensor, "b 2*j h w"]) -> list[People]:
        """The people of each image."""
        return associate(self.candidates(maps, offsets), self.distance * self.heatmaps.of(maps).size, self.least)


def person_centres(joints: Float[Tensor, "b p j 2"], presence: Shaped[Tensor, "b p j"]) -> Float[Tensor, "b p 2"]:
    """The mean of each person's joints that are present, occluded ones among them; (0, 0) for people without any.

    Open: the paper says centroid; the authors' code takes the middle that MPII's annotators gave.
    """
    there = (presence > 0)[..., None]
    return torch.where(there, joints, 0.0).sum(2) / there.sum(2).clamp_min(1)


def associate(candidates: Candidates, distance: int | float, least: int = 1) -> list[People]:
    """Candidates to people, image by image: those whose centres lie together are a person's.

    Centres are clustered from the bottom up by the mean distance of clusters (average linkage), while it is within
    `distance`. Of a cluster's candidates for one joint the highest is taken.

    Departs: the authors' code goes by the distance of the clusters' means (centroid linkage), which scikit-learn does
    not have.

    Args:
        distance: in pixels.
        least: people with fewer joints are left out.

    Returns:
        The people of each image, on the CPU.
    """
    places, scores, centres = (
        value.detach().cpu().float().numpy() for value in (candidates.places, candidates.scores, candidates.centres)
    )
    people = []
    for place, score, centre in zip(places, scores, centres, strict=True):
        found = score > 0  # (j, k)
        person = _cluster(centre[found], distance)
        people.append(_gather(place[found], score[found], np.nonzero(found)[0], person, len(score), least))
    return people


def _cluster(centres: np.ndarray, distance: int | float) -> np.ndarray:
    """A number for each centre, the same for those of one person."""
    with needs("study", "telling people apart"):
        from sklearn.cluster import AgglomerativeClustering

    if len(centres) < 2:
        return np.zeros(len(centres), int)
    return AgglomerativeClustering(None, linkage="average", distance_threshold=distance).fit_predict(centres)


def _gather(
    places: np.ndarray, scores: np.ndarray, joint: np.ndarray, person: np.ndarray, joints: int, least: int
) -> People:
    """People of candidates, each of a joint and a person; for every joint of a person the one with the best score."""
    count = person.max(initial=-1) + 1
    where = np.full((count, joints, 2), np.nan, np.float32)
    confidence = np.zeros((count, joints), np.float32)
    # Of several that are written to one place, the last stays.
    order = scores.argsort(kind="stable")
    where[person[order], joint[order]] = places[order]
    confidence[person[order], joint[order]] = scores[order]
    kept = ((confidence > 0).sum(1) >= least).nonzero()[0]
    kept = kept[confidence[kept].mean(1).argsort(kind="stable")[::-1]]
    found = torch.from_numpy(confidence[kept])
    return People(torch.from_numpy(where[kept]), found, found.mean(1))


def true_people(sample: Sample) -> list[People]:
    """The labels of a sample as people found: confidence is 1 at each joint in the image.

    Raises:
        ValueError: labels of one person alone.
    """
    if sample.people_joints is None or sample.people_presence is None:
        raise ValueError(
            "there are labels for one person an image: open figures with people=2 or more, or pascal with "
            "crop='photograph'"
        )
    people = []
    for joints, presence in zip(sample.people_joints, sample.people_presence, strict=True):
        there = (presence > 0)[(presence > 0).any(1)]  # (n, j)
        confidence = there.to(joints.dtype)
        where = torch.where(there[..., None], joints[(presence > 0).any(1)], torch.nan)
        people.append(People(where, confidence, confidence.mean(1)))
    return people
