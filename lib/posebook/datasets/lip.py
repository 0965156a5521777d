"""Look into Person (LIP): people with 16 joints and 20 part labels.

Liang, Gong, Shen, Lin, *Look into Person: Joint Body Parsing & Pose Estimation Network and A New Benchmark*,
TPAMI 2018. As LIP's archives unpack, `root` holds

    TrainVal_images/               train_images/, val_images/                 NAME.jpg
    TrainVal_parsing_annotations/  train_segmentations/, val_segmentations/   NAME.png, a part's number at each pixel
    TrainVal_pose_annotations/     lip_train_set.csv, lip_val_set.csv         NAME.jpg and 16 times x, y, v

Some of the archives hold a folder of their own name once more; that is found too, and so are these folders and files
where they lie in `root` itself.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from posebook.datasets.labelled import LabelledPeople, LabelledPhotographs, check_labelled, read_png
from posebook.datasets.photographs import FROM_ONE, assign, in_folder
from posebook.datasets.tables import read_table
from posebook.sample import check_split, head_size
from posebook.skeleton import MPII, OCCLUDED, PARTS, VISIBLE

# One in so many of the photographs that LIP's people were cut from is held out of train for validation.
HELD_OUT = 20


class LIP(LabelledPhotographs):
    """Look into Person as a dataset: a person a photograph, with joints and the 20 part labels.

    The labels of the official test images are withheld. "test" is the official validation split (10,000 people),
    "train" and "validation" are of the official training split (30,462): validation are the people cut from the
    photographs whose number in COCO, the first part of a person's file name, has a CRC-32 divisible by 20, so that no
    photograph is in both. People without any annotated joint stay: their parts are labelled.

    LIP's images are boxes around one person. The crop is the smallest square that holds the whole of it, in the
    middle; beyond the image's shorter side it is black and its parts are ignored. Head size is the distance from upper
    neck to head top, as LIP scores; NaN where either is not annotated. Joints outside their image are absent. LIP's
    release does not say which image is of which challenge, so there are no tags.

    Where the folder of a split's segmentations is not there, samples have no parsing.

    Open: LIP does not say from what its coordinates count. Of the 10,000 people of the validation split none has one
    below 1, and 580 coordinates are 1: they are taken to count pixels from 1, and half a pixel is taken off.

    Args:
        root: folder that LIP's archives are unpacked in; the rest as in `Photographs`.

    Raises:
        FileNotFoundError: no joints for the split, or none of its photographs.
        ValueError: a `.csv` that is not LIP's.
    """

    name, skeleton, parts = "lip", MPII, PARTS

    def read_people(self) -> LabelledPeople:
        """The people of the split."""
        return read_split(self.root, self.split)


def read_split(root: str | Path, split: str) -> LabelledPeople:
    """The people of a split of LIP, as `LIP` describes it; needs no images.

    Raises:
        FileNotFoundError, ValueError: root holds no joints for the split, or others than LIP's; no such split.
    """
    check_split(split)
    if split == "test":
        return _read_official(root, "val")
    people = _read_official(root, "train")
    of = assign([path.stem.split("_")[0] for path in people.paths], HELD_OUT, ("validation",))
    return people[torch.tensor([name == split for name in of])]


def check(root: str | Path, progress: bool = True) -> tuple[bool, str]:
    """Open every file of the official splits that root has joints for: whether all is well, and a sentence on it."""
    found = {part: _joints_of(root, part) for part in ("train", "val")}
    parts = [part for part, path in found.items() if path is not None]
    if not parts:
        _read_official(root, "val")  # which says what is missing
    read_map = partial(read_png, classes=len(PARTS))
    checks = [check_labelled("lip", _read_official(root, part), read_map, progress) for part in parts]
    sentences = [f"{part}: {sentence.removeprefix('lip: ')}" for part, (_, sentence) in zip(parts, checks, strict=True)]
    return all(fine for fine, _ in checks), "lip " + " ".join(sentences)


def read_annotations(path: str | Path) -> tuple[list[str], Float[Tensor, "n 16 2"], UInt8[Tensor, "n 16"]]:
    """Image names, joints and presence in a `.csv` of LIP's, in its order and its own pixels (see `LIP`).

    A line is an image's name and x, y, v of each joint: v is 0 where it is visible, 1 where it is occluded, and all
    three are `nan` where it is not annotated. As LIP scores, a joint with a coordinate below 0 is not annotated either.

    Raises:
        FileNotFoundError, ValueError: no such file; one with other lines.
    """
    names, numbers = read_table(path, (3 * len(MPII),), f"a name and {len(MPII)} times x, y, v")
    x, y, third = torch.from_numpy(numbers).float().reshape(-1, len(MPII), 3).unbind(-1)
    joints = torch.stack([x, y], -1)
    annotated = joints.isfinite().all(-1) & third.isfinite() & (joints >= 0).all(-1)
    presence = torch.where(third > 0, OCCLUDED, VISIBLE) * annotated
    return names, joints, presence.to(torch.uint8)


def _read_official(root: str | Path, part: str) -> LabelledPeople:
    """The people of LIP's own "train" or "val"."""
    path = _joints_of(root, part)
    if path is None:
        archive = "TrainVal_pose_annotations"
        raise FileNotFoundError(
            f"{root} holds no lip_{part}_set.csv: root is the folder that LIP's archives are unpacked in, "
            f"{archive}/ among them"
        )
    names, joints, presence = read_annotations(path)
    images = _find(root, "TrainVal_images", f"{part}_images")
    images = images or Path(root) / "TrainVal_images" / f"{part}_images"
    segmentations = _find(root, "TrainVal_parsing_annotations", f"{part}_segmentations")
    unknown = torch.full((len(names),), torch.nan)
    return LabelledPeople(
        paths=in_folder(images, names),
        joints=joints - FROM_ONE,
        presence=presence,
        centre=torch.stack([unknown, unknown], -1),
        window=unknown.clone(),
        head_size=head_size(joints, presence, MPII),
        labels=segmentations and in_folder(segmentations, [Path(name).stem for name in names], ".png"),
    )


def _joints_of(root: str | Path, part: str) -> Path | None:
    return _find(root, "TrainVal_pose_annotations", f"lip_{part}_set.csv")


def _find(root: str | Path, archive: str, name: str) -> Path | None:
    """A file or folder of one of LIP's archives: in its folder, in one of the same name within, or in root itself."""
    places = (Path(root, archive, name), Path(root, archive, archive, name), Path(root, name))
    return next((place for place in places if place.exists()), None)
