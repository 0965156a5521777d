"""What every dataset hands out, a batch of people with their labels, and what is asked of a dataset."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from posebook.skeleton import MPII, OCCLUDED, TAGS, Skeleton

# PCKh's head size is 0.6 times the diagonal of the head box. People without the box have its two joints instead: upper
# neck and head top are 0.8 of that diagonal apart, to 1 % over the 2,958 people of MPII's valid.h5.
HEAD_OF_DIAGONAL, HEAD_OF_JOINTS = 0.6, 0.75


SPLITS = ("train", "validation", "test")


def check_split(split: str) -> None:
    """ValueError for a split that no dataset has."""
    if split not in SPLITS:
        raise ValueError(f"no split is called '{split}'; there are {', '.join(SPLITS)}")


@dataclass
class Sample:
    """A batch of images, each with one person to find, and that person's labels.

    Attributes:
        images: RGB in [0, 1].
        joints: (x, y) in the image's pixels; meaningless where `presence` is 0.
        presence: 0 absent (not annotated or outside the image), 1 occluded, 2 visible.
        head_size: in pixels as PCKh defines it for the set; NaN where it is not known.
        torso_size: in pixels, left shoulder to right hip; NaN where it is not known.
        index: number of each person in its dataset.
        parsing: part labels, 255 ignored; None where the set has none. They are LIP's, unless the dataset's `parts`
            names others.
        tags: LIP's challenges in the order of `skeleton.TAGS`; None where the set has none.
        people_joints: joints of every person in the scene, the one to find first; None unless a set gives it.
        people_presence: their presence, 0 throughout where a scene has fewer people.
        people_head_size: their head sizes.
        instances: which person each pixel shows, 0 background, 1 the one to find, 2 and up the others.
    """

    images: Float[Tensor, "b 3 h w"]
    joints: Float[Tensor, "b j 2"]
    presence: UInt8[Tensor, "b j"]
    head_size: Float[Tensor, " b"]
    torso_size: Float[Tensor, " b"]
    index: Int[Tensor, " b"]
    parsing: UInt8[Tensor, "b h w"] | None = None
    tags: Bool[Tensor, "b 6"] | None = None
    people_joints: Float[Tensor, "b p j 2"] | None = None
    people_presence: UInt8[Tensor, "b p j"] | None = None
    people_head_size: Float[Tensor, "b p"] | None = None
    instances: UInt8[Tensor, "b h w"] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.images.shape[-1]

    def _map(self, function) -> Sample:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: function(v) for k, v in values.items() if v is not None})

    def __getitem__(self, which: slice | Tensor) -> Sample:
        """The same for some of the people: a slice, or a tensor of places or of booleans."""
        return self._map(lambda value: value[which])

    def to(self, device: torch.device | str) -> Sample:
        """The same on another device."""
        # A GPU waits for what is on its way to it. A CPU does not: it would read what has not arrived.
        waits = torch.device(device).type == "cpu"
        return self._map(lambda value: value.to(device, non_blocking=not waits))

    @staticmethod
    def cat(samples: list[Sample]) -> Sample:
        """Several batches as one; a field that any of them lacks is left out."""
        if not samples:
            raise ValueError("there is no batch to join: the list of samples is empty")
        joined = {}
        for f in fields(Sample):
            values = [getattr(s, f.name) for s in samples]
            joined[f.name] = None if any(v is None for v in values) else torch.cat(values)
        return Sample(**joined)


@runtime_checkable
class Dataset(Protocol):
    """What training, inference and the notebooks ask of a dataset.

    Attributes:
        name, split: what it was opened by.
        skeleton: the order of its joints.
        size: side of its images in pixels.
        widen: how many of the windows that networks are given its images are wide: above 1 there is room for
            `training.augment` to turn real pixels in.
        device: where its batches are.
        length: how many people it has; None: endless.

    Figures and sets of photographs also have `perturbed(by)`: the same people through other boxes (`Perturbation`),
    their labels in the boxes' pixels. A set whose samples can have `parsing` names its labels in `parts`; figures have
    LIP's, `skeleton.PARTS`.
    """

    name: str
    split: str
    skeleton: Skeleton
    size: int
    widen: float
    device: torch.device
    length: int | None

    def batch(self, indices: Int[Tensor, " b"]) -> Sample:
        """The people with these numbers."""


def torso_size(
    joints: Float[Tensor, "b j 2"], presence: UInt8[Tensor, "b j"], skeleton: Skeleton
) -> Float[Tensor, " b"]:
    """Distance of the skeleton's two torso joints, NaN where either is absent."""
    return _distance(joints, presence, skeleton, skeleton.torso)


def head_size(
    joints: Float[Tensor, "b j 2"], presence: UInt8[Tensor, "b j"], skeleton: Skeleton
) -> Float[Tensor, " b"]:
    """Distance of the skeleton's two head joints (LIP's head size), NaN where either is absent or the set has none."""
    if skeleton.head is None:
        return joints.new_full((len(joints),), torch.nan)
    return _distance(joints, presence, skeleton, skeleton.head)


def tags(presence: UInt8[Tensor, "b 16"], back: Bool[Tensor, " b"]) -> Bool[Tensor, "b 6"]:
    """LIP's challenges in the order of `skeleton.TAGS`, from what the image shows of a person.

    Open: LIP gives no rule. Here a body is full when all joints lie in the image; upper (lower) when no joint from the
    knees down (from the elbows up) does; the head is missing when neither neck nor top does. Over LIP's 10,000
    validation people this finds as many full bodies as Sec. 4.1.2 has, 5,452; 119 missing heads (112), 4,722 people
    with an occluded joint (4,277) and 1,836 upper bodies (793).

    Args:
        presence: of MPII's joints, which are LIP's.
        back: who is seen from behind, which presence does not tell.
    """
    there = presence > 0

    def any_of(*names: str) -> Tensor:
        return there[:, [MPII.index(name) for name in names]].any(1)

    legs = any_of("r_knee", "l_knee", "r_ankle", "l_ankle")
    head = any_of("upper_neck", "head_top")
    upper = head | any_of("r_shoulder", "l_shoulder", "r_elbow", "l_elbow", "thorax")
    columns = {
        "occlusion": (presence == OCCLUDED).any(1),
        "full_body": there.all(1),
        "upper_body": upper & ~legs,
        "lower_body": legs & ~upper,
        "head_missing": ~head,
        "back_view": back,
    }
    return torch.stack([columns[name] for name in TAGS], 1)


def _distance(joints: Tensor, presence: Tensor, skeleton: Skeleton, names: tuple[str, str]) -> Tensor:
    a, b = (skeleton.index(name) for name in names)
    length = (joints[:, a] - joints[:, b]).norm(dim=-1)
    return torch.where((presence[:, a] > 0) & (presence[:, b] > 0), length, torch.nan)
