"""Keypoint masking of Ke et al. (ECCV 2018), Sec. 3.4: patches copied within images, a batch at once on its device.

Two kinds make samples harder. A patch of background covers a joint, which then has to be found from the rest of the
body; and a joint's patch is pasted on the background nearby, as if another person stood there:

    masking = KeypointMasking(cover=0.5, duplicate=0.5)
    numbers = masking.draw(len(sample), torch.Generator().manual_seed(0))
    sample = masking.apply(sample, numbers, skeleton)

Labels stay where they are. A joint that a patch covers becomes occluded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from posebook.sample import Sample
from posebook.skeleton import OCCLUDED, VISIBLE, Skeleton

# Locations that are looked at for background; the one farthest from the person is taken.
_CANDIDATES = 16


@dataclass(frozen=True)
class KeypointMasking:
    """How often and how large. Each image gets at most one patch of each kind.

    Open: the paper gives neither sizes nor rates, and does not say how background is found. Here it is the candidate
    farthest from the person's limbs: of locations anywhere in the image to cover a joint, of locations one to three
    patches away to duplicate one. Where a person fills the image, that may still be a part of the body. A duplicate
    goes on background, as Sec. 3.4 has it; the caption of Fig. 5(d) has "on another keypoint".

    Args:
        cover: part of the images in which background covers a joint.
        duplicate: part of the images in which a joint is pasted on background.
        size: side of a patch as a fraction of the image's side.

    Raises:
        ValueError: a number out of its range.
    """

    cover: int | float = 0.5
    duplicate: int | float = 0.5
    size: int | float = 0.15

    def __post_init__(self) -> None:
        for name in ("cover", "duplicate"):
            value = getattr(self, name)
            if not _number(value) or not 0 <= value <= 1:
                raise ValueError(f"masking: {name} is {value!r}; give a part of the images, 0 to 1")
        if not _number(self.size) or not 0 < self.size <= 0.5:
            raise ValueError(f"masking: size is {self.size!r}; give a fraction of the image's side above 0, up to 0.5")

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "b 2 numbers"]:
        """The random numbers for `count` images: for each kind whether, which joint, and the candidates."""
        return torch.rand(count, 2, 2 + 2 * _CANDIDATES, generator=generator, device=generator.device)

    def apply(self, sample: Sample, numbers: Float[Tensor, "b 2 numbers"], skeleton: Skeleton) -> Sample:
        """The batch with its patches; joints, sizes and label maps are as they were.

        Args:
            sample: square images.
            numbers: as `draw` gives them.
            skeleton: the order of the joints, whose limbs tell where the person is.

        Raises:
            ValueError: numbers that were drawn for another number of images.
        """
        if len(numbers) != len(sample):
            raise ValueError(f"masking was drawn for {len(numbers)} images, the batch has {len(sample)}")
        numbers = numbers.to(sample.images.device, non_blocking=True)
        side = max(1, round(self.size * sample.size))
        if self.cover:
            joint, found = _visible_joint(sample, numbers[:, 0, 1])
            anywhere = side / 2 + numbers[:, 0, 2:].unflatten(1, (-1, 2)) * (sample.size - side)  # (b, candidates, 2)
            background = _farthest(sample, anywhere, skeleton)
            sample = _paste(sample, background, joint, side, found & (numbers[:, 0, 0] < self.cover))
        if self.duplicate:
            joint, found = _visible_joint(sample, numbers[:, 1, 1])
            far, turn = numbers[:, 1, 2:].unflatten(1, (-1, 2)).unbind(2)  # (b, candidates)
            direction = torch.stack([torch.cos(2 * torch.pi * turn), torch.sin(2 * torch.pi * turn)], -1)
            around = joint[:, None] + side * (1 + 2 * far[..., None]) * direction  # (b, candidates, 2)
            background = _farthest(sample, around.clamp(side / 2, sample.size - side / 2), skeleton)
            sample = _paste(sample, joint, background, side, found & (numbers[:, 1, 0] < self.duplicate))
        return sample


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _visible_joint(sample: Sample, number: Float[Tensor, " b"]) -> tuple[Float[Tensor, "b 2"], Tensor]:
    """A visible joint of each image, drawn by a number in [0, 1), and whether there is one."""
    visible = sample.presence == VISIBLE  # (b, j)
    count = visible.sum(1)
    # The k-th visible joint is the first with k + 1 up to it.
    wanted = (number * count).long() + 1
    place = (visible.cumsum(1) >= wanted[:, None]).int().argmax(1)
    joint = sample.joints[torch.arange(len(place), device=place.device), place]
    found = count > 0
    return torch.where(found[:, None], joint, 0.0), found


def _farthest(sample: Sample, candidates: Float[Tensor, "b c 2"], skeleton: Skeleton) -> Float[Tensor, "b 2"]:
    """Of each image's candidates the one that is farthest from the person's limbs and joints."""
    ends = torch.tensor(skeleton.pairs(skeleton.limbs), device=candidates.device)  # (limbs, 2)
    there = sample.presence > 0
    joints = torch.where(there[..., None], sample.joints, 0.0)
    # A joint is a limb of no length; it counts where only one end of its limbs is there.
    start = torch.cat([joints[:, ends[:, 0]], joints], 1)[:, None]  # (b, 1, n, 2)
    end = torch.cat([joints[:, ends[:, 1]], joints], 1)[:, None]
    known = torch.cat([there[:, ends].all(2), there], 1)[:, None]  # (b, 1, n)
    along = end - start
    point = candidates[:, :, None]  # (b, c, 1, 2)
    part = ((point - start) * along).sum(-1) / along.square().sum(-1).clamp_min(1e-6)  # (b, c, n)
    distance = (point - start - part.clamp(0, 1)[..., None] * along).norm(dim=-1)
    nearest = torch.where(known, distance, torch.inf).amin(2)  # (b, c)
    best = nearest.argmax(1)
    return candidates[torch.arange(len(best), device=best.device), best]


def _paste(sample: Sample, source: Tensor, target: Tensor, side: int, chosen: Tensor) -> Sample:
    """Patches around `source` copied to patches around `target` where chosen; what they cover becomes occluded."""
    size = sample.size
    read, written = (_corner(centre, side, size) for centre in (source, target))  # (b, 2), whole pixels
    within = torch.arange(side, device=read.device)
    pixels = (within[:, None] * size + within).flatten()  # (side * side,)
    places = [(corner[:, 1] * size + corner[:, 0])[:, None] + pixels for corner in (read, written)]  # (b, side * side)
    flat = sample.images.flatten(2)  # (b, 3, size * size)
    # Where nothing is chosen, pixels are written over themselves.
    origin = torch.where(chosen[:, None], places[0], places[1])
    patch = flat.gather(2, origin[:, None].expand(-1, 3, -1))
    images = flat.scatter(2, places[1][:, None].expand(-1, 3, -1), patch).view_as(sample.images)

    def hidden(joints: Tensor, presence: Tensor) -> Tensor:
        shape = (len(written), *[1] * (joints.dim() - 2), 2)
        low = written.reshape(shape)
        covered = ((joints >= low) & (joints < low + side)).all(-1) & chosen.reshape(shape[:-1])
        return torch.where(covered & (presence == VISIBLE), OCCLUDED, presence)

    changed = {"images": images, "presence": hidden(sample.joints, sample.presence)}
    if sample.people_joints is not None and sample.people_presence is not None:
        changed["people_presence"] = hidden(sample.people_joints, sample.people_presence)
    return replace(sample, **changed)


def _corner(centre: Float[Tensor, "b 2"], side: int, size: int) -> Int[Tensor, "b 2"]:
    """Upper left corner of the patch around a point, moved as far as it takes to lie inside the image."""
    return (centre - side / 2).round().long().clamp(0, size - side)
