"""Extended PASCAL-Person-Part: photographs of several people, with 14 joints for each and six body parts.

Xia, Wang, Chen, Yuille, *Joint Multi-Person Pose Estimation and Semantic Part Segmentation*, CVPR 2017: joints for the
people of PASCAL-Person-Part (Chen et al., *Detect What You Can*, CVPR 2014), whose photographs are of PASCAL VOC 2010.
`root`, or a folder `pascal_data/` in it, holds

    JPEGImages/        NAME.jpg, from VOC 2010 (also found in VOCdevkit/VOC2010/)
    PersonJoints/      NAME.mat: `joints`, 1xP cells of 14x3 (x, y, v), and `boxes`, 1xP cells of x1, y1, x2, y2
    SegmentationPart/  NAME.png: 0 background, 1 head, 2 torso, 3 upper arms, 4 lower arms, 5 upper legs, 6 lower legs
    train_id.txt       a NAME a line: the 1,716 photographs to train on
    val_id.txt         the 1,817 to test

Open: the release itself was not at hand. Files, variables, the order of the joints and of the labels are those that
public programs agree on which read it (among them github.com/GuHuangAI/NPP and
github.com/scmales/MHP-with-Pose-and-Boundary-Guidance). The latter calls the two folders `pose_annotations/` and
`pascal_person_part_gt/`, as the part labels' own archive does; these names are found too.
Open: v is 0 where a joint is not annotated, and above 0 where it is. One program draws 1 as visible and 2 as occluded,
as it is read here; another makes no difference between the two.
Open: coordinates are taken to count pixels from 1, as MATLAB does: half a pixel is taken off.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from posebook.coordinates import inside, similarity, transform_points
from posebook.datasets.arrays import read_matlab
from posebook.datasets.labelled import LabelledPeople, LabelledPhotographs, check_labelled, read_png
from posebook.datasets.photographs import FROM_ONE, assign, in_folder, reading_threads
from posebook.outside import read_text
from posebook.sample import Sample, check_split, head_size
from posebook.skeleton import OCCLUDED, VISIBLE
from posebook.skeleton import PASCAL as PASCAL_SKELETON
from posebook.skeleton import PASCAL_PARTS as PARTS

# The joints as the files have them.
FILE_ORDER = (
    "forehead", "neck", "l_shoulder", "l_elbow", "l_wrist", "l_hip", "l_knee", "l_ankle",
    "r_shoulder", "r_elbow", "r_wrist", "r_hip", "r_knee", "r_ankle",
)  # fmt: skip

CROPS = ("person", "photograph")

# Side of a person's window beside the longer side of the person's box.
CONTEXT = 1.1

# One in so many of the training photographs is held out for validation.
HELD_OUT = 10

# Where the release, and the archives it goes with, have their files.
_FOLDERS = ("", "pascal_data", "pascal_person_part", "VOCdevkit/VOC2010")
_JOINTS = ("PersonJoints", "pose_annotations")
_LABELS = ("SegmentationPart", "pascal_person_part_gt")


@dataclass
class Scenes:
    """Photographs with the people in them; people are in rows, those of a photograph next to each other.

    Attributes:
        names: the photographs.
        counts: how many people each has.
        joints, presence: as in `Sample`, in the photograph's pixels.
        boxes: corners of the box around each person: x1, y1, x2, y2.
    """

    names: list[str]
    counts: Int[Tensor, " n"]
    joints: Float[Tensor, "people 14 2"]
    presence: UInt8[Tensor, "people 14"]
    boxes: Float[Tensor, "people 4"]

    @property
    def starts(self) -> Int[Tensor, " n"]:
        """The row of each photograph's first person."""
        return self.counts.cumsum(0) - self.counts


class PASCAL(LabelledPhotographs):
    """Extended PASCAL-Person-Part as a dataset: people with everyone around them, or whole photographs.

    The official test photographs (`val_id.txt`) are "test"; of the others, those whose name's CRC-32 is divisible by 10
    are "validation", the rest "train".

    With `crop="person"` a sample is a person with any annotated joint, in a square around the person's box, 1.1 times
    its longer side. With `crop="photograph"` it is a photograph, whole in the middle of a square; its largest person
    is the one to find first. Either way `people_joints` holds everyone in the photograph, the largest first after the
    one to find, as far as the crop shows their joints, in as many places as the split's fullest photograph needs.
    `parsing` labels everyone in the crop, in the set's own seven labels, which the attribute `parts` names; they have
    no sides, and a mirror leaves them as they are. Where the label maps' folder is not there, samples have no parsing.

    Open: the release has no head boxes. Head size is the distance from neck to forehead, which is shorter than that
    from neck to head top and so makes PCKh stricter than elsewhere.

    Args:
        root: folder of the set; the rest as in `Photographs`.
        crop: "person" or "photograph".

    Raises:
        FileNotFoundError: no list of the split's photographs, no joints, or none of the photographs.
        ValueError: an unknown crop, a file of joints that cannot be read, or a split without any person.
    """

    name, skeleton, parts = "pascal", PASCAL_SKELETON, PARTS

    def __init__(self, root: str | Path, split: str, *arguments, crop: str = "person", **options) -> None:
        if crop not in CROPS:
            raise ValueError(f"crop must be one of {', '.join(CROPS)}, not '{crop}'")
        self.crop = crop
        super().__init__(root, split, *arguments, **options)

    def read_people(self) -> LabelledPeople:
        """The people to find, one per sample."""
        scenes = read_scenes(self.root, self.split)
        rows, photograph = _rows(scenes, self.crop)
        self._members, self._there = _members(scenes, rows, photograph)
        self._joints, self._presence = scenes.joints, scenes.presence
        self._heads = head_size(scenes.joints, scenes.presence, PASCAL_SKELETON)
        people = _as_people(self.root, scenes, rows, photograph)
        if self.crop == "photograph":
            people.centre[:], people.window[:] = torch.nan, torch.nan
        return people

    def batch(self, indices: Int[Tensor, " b"]) -> Sample:
        """The people (or photographs) with these numbers, cropped; IndexError where there is no such."""
        sample = super().batch(indices)
        places = indices.cpu()
        people, members, there = self._seen(places), self._members[places], self._there[places]  # (b, p)
        window = people.window
        joints = transform_points(self._joints[members], similarity(people.centre, window, self.size))  # (b, p, j, 2)
        # A photograph that can be measured may still be broken.
        extents = [(0, 0) if path in self.broken else self._extent(path) for path in people.paths]
        in_photograph = inside(self._joints[members], torch.tensor(extents)[:, None, None])
        presence = self._presence[members] * (there[..., None] & in_photograph & inside(joints, self.size))
        readable = torch.tensor(extents).amin(1) > 0
        heads = torch.where(there & readable[:, None], self._heads[members] * (self.size / window)[:, None], torch.nan)
        return replace(
            sample,
            people_joints=joints.to(self.device),
            people_presence=presence.to(self.device),
            people_head_size=heads.to(self.device),
        )


def read_scenes(root: str | Path, split: str) -> Scenes:
    """The photographs of a split and the people in them, the largest box of each photograph first; needs no images.

    A photograph in the list without a file of joints has no people.

    Raises:
        FileNotFoundError, ValueError: no list, or no joints, in root; a file that cannot be read; no such split.
    """
    check_split(split)
    names = _listed(root, "val" if split == "test" else "train")
    if split != "test":
        of = assign(names, HELD_OUT, ("validation",))
        names = [name for name, its in zip(names, of, strict=True) if its == split]
    return _read_all(root, names)


def check(root: str | Path, progress: bool = True) -> tuple[bool, str]:
    """Open every file of both official splits: whether all is well, and a sentence on what there is."""
    names = [name for part in ("train", "val") if _find(root, _lists(part)) for name in _listed(root, part)]
    if not names:
        _listed(root, "train")  # which says what is missing
    scenes = _read_all(root, names)
    rows, photograph = _rows(scenes, "person")
    return check_labelled(
        "pascal", _as_people(root, scenes, rows, photograph), partial(read_png, classes=len(PARTS)), progress
    )


def _read_all(root: str | Path, names: list[str]) -> Scenes:
    folder = _find(root, _JOINTS)
    if folder is None:
        raise FileNotFoundError(f"{root} holds no joints: put the release's {_JOINTS[0]}/ there, a .mat a photograph")
    there = set(os.listdir(folder))
    paths = [folder / f"{name}.mat" if f"{name}.mat" in there else None for name in names]
    with reading_threads() as pool:
        rows = list(pool.map(_read_people, paths))
    if not any(map(len, rows)):
        raise ValueError(f"{folder} holds nobody's joints for the {len(names):,} photographs of the split")
    people = torch.from_numpy(np.concatenate(rows))
    values = people[:, :-4].reshape(-1, 14, 3)[:, [FILE_ORDER.index(name) for name in PASCAL_SKELETON.joints]]
    annotated = values.isfinite().all(-1) & (values[..., 2] > 0)
    presence = torch.where(values[..., 2] > 1, OCCLUDED, VISIBLE) * annotated
    joints = torch.where(annotated[..., None], values[..., :2] - FROM_ONE, 0.0)
    boxes = people[:, -4:] - FROM_ONE
    return Scenes(names, torch.tensor([len(row) for row in rows]), joints, presence.to(torch.uint8), boxes)


def _read_people(path: Path | None) -> Float[np.ndarray, "people 46"]:
    """The people of a photograph, the largest box first: 14 times x, y, v in the file's order, then the box."""
    if path is None:
        return np.zeros((0, 14 * 3 + 4), np.float32)
    try:
        found = read_matlab(path, "joints", "boxes", squeeze=False)
        joints, boxes = (found[name].ravel() for name in ("joints", "boxes"))
        people = [np.append(j.reshape(14 * 3), b.reshape(4)) for j, b in zip(joints, boxes, strict=True)]
    except Exception as error:  # other shapes than these
        raise ValueError(f"{path} does not hold joints (14x3) and boxes of a photograph's people: {error}") from error
    people = np.array(people, np.float32).reshape(-1, 14 * 3 + 4)
    area = (people[:, -2] - people[:, -4]) * (people[:, -1] - people[:, -3])
    return people[np.argsort(-area, kind="stable")]


def _rows(scenes: Scenes, crop: str) -> tuple[Int[Tensor, " rows"], Int[Tensor, " rows"]]:
    """Of each sample, the row of the person to find (-1: nobody), and the number of the photograph."""
    numbers = torch.arange(len(scenes.names))
    if crop == "photograph":
        return torch.where(scenes.counts > 0, scenes.starts, -1), numbers
    rows = (scenes.presence > 0).any(1).nonzero()[:, 0]
    return rows, numbers.repeat_interleave(scenes.counts)[rows]


def _members(
    scenes: Scenes, rows: Int[Tensor, " rows"], photograph: Int[Tensor, " rows"]
) -> tuple[Int[Tensor, "rows p"], Bool[Tensor, "rows p"]]:
    """The rows of everyone in each sample's photograph, the one to find first, and which of these places are taken."""
    place, start = torch.arange(int(scenes.counts.max())), scenes.starts[photograph][:, None]
    first = (rows[:, None] - start).clamp_min(0)
    # Place 0 is the first one's; before where that one stood, everyone moves up by one.
    others = place - 1 + (place - 1 >= first)
    there = place < scenes.counts[photograph][:, None]
    return torch.where(there, start + torch.where(place == 0, first, others), 0), there


def _as_people(
    root: str | Path, scenes: Scenes, rows: Int[Tensor, " rows"], photograph: Int[Tensor, " rows"]
) -> LabelledPeople:
    """The person to find of each sample, in a window around that person's box."""
    images, labels = _find(root, ("JPEGImages",)), _find(root, _LABELS)
    images = images or Path(root) / "JPEGImages"
    names = [scenes.names[number] for number in photograph.tolist()]
    # A photograph without people has no row.
    chosen, someone = rows.clamp_min(0), rows >= 0
    joints, boxes = scenes.joints[chosen], scenes.boxes[chosen]
    presence = scenes.presence[chosen] * someone[:, None]
    low, high = boxes[:, :2], boxes[:, 2:]
    return LabelledPeople(
        paths=in_folder(images, names, ".jpg"),
        joints=joints,
        presence=presence,
        centre=(low + high) / 2,
        window=CONTEXT * (high - low).amax(-1),
        head_size=head_size(joints, presence, PASCAL_SKELETON),
        labels=labels and in_folder(labels, names, ".png"),
    )


def _lists(part: str) -> tuple[str, ...]:
    return f"{part}_id.txt", f"pascal_person_part_trainval_list/{part}_id.txt"


def _listed(root: str | Path, part: str) -> list[str]:
    """The names of the photographs of the official "train" or "val"."""
    path = _find(root, _lists(part))
    if path is None:
        raise FileNotFoundError(f"{root} holds no {part}_id.txt, the list of the photographs: it comes with the set")
    names = read_text(path).split()
    if not names:
        raise ValueError(f"{path} names no photograph: get the set again")
    return names


def _find(root: str | Path, names: tuple[str, ...]) -> Path | None:
    """The first of these files or folders that is there, in root or in one of the set's own folders in it."""
    places = (Path(root, folder, name) for name in names for folder in _FOLDERS)
    return next((place for place in places if place.exists()), None)
