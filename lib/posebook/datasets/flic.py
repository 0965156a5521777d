"""Frames Labeled in Cinema (FLIC): upper bodies in films, as the `.h5` files that much published code shares.

Sapp, Taskar, *Multimodal Decomposable Models for Human Pose Estimation*, CVPR 2013.

The left shoulder lies to the right of the right one in all 5,003 people, who face the camera: the files do not tell
whether their sides are the person's own or the observer's. Here they are taken as the person's own.

Coordinates are taken to count pixels from 1, as those of the MATLAB file that the `.h5` files were made of.
"""

from __future__ import annotations

from pathlib import Path

import torch

from posebook.datasets.mpii import Annotations, as_people, read_annotations
from posebook.datasets.photographs import People, Photographs, assign, join_people
from posebook.sample import check_split
from posebook.skeleton import FLIC as FLIC_SKELETON


class FLIC(Photographs):
    """FLIC as a dataset: `train.h5`, `valid.h5` and `images/`.

    "test" is `valid.h5`, the official test frames. "validation" is the people of `train.h5` in the films whose name has
    a CRC-32 divisible by 10, "train" those of the other films: frames of one film resemble each other.

    A person's crop is a square of 200 x scale pixels around the centre: 440 pixels of 720 x 480, for all of them.

    Args:
        root: folder that holds the annotations and `images/`; the rest as in `Photographs`.

    Raises:
        FileNotFoundError: no annotations for the split, or none of the frames.
        ValueError: a file that is not what its name says.
    """

    name, skeleton = "flic", FLIC_SKELETON

    def read_people(self) -> People:
        """The people of the split that have any joint."""
        return as_people(read_split(self.root, self.split), self.root / "images")


def read_people(root: str | Path) -> People:
    """Everyone that root has annotations for, with their windows."""
    files = [path for name in ("train.h5", "valid.h5") if (path := Path(root) / name).is_file()]
    if not files:
        raise FileNotFoundError(f"{root} holds no annotations of FLIC: it needs train.h5 and valid.h5")
    return join_people([as_people(_read(file), Path(root) / "images") for file in files])


def read_split(root: str | Path, split: str) -> Annotations:
    """The people of a split, as `FLIC` describes it, in the files' own pixels; needs no frames.

    Raises:
        FileNotFoundError: root holds no annotations for the split.
        ValueError: no such split; a file of another set; films that are too few to be shared out.
    """
    check_split(split)
    path = Path(root) / ("valid.h5" if split == "test" else "train.h5")
    if not path.is_file():
        raise FileNotFoundError(f"{root} holds no annotations of FLIC for {split}: it needs {path.name}")
    people = _read(path)
    if split == "test":
        return people
    films = [name.rsplit("-", 1)[0] for name in people.images]
    return people[torch.tensor([of == split for of in assign(films, 10, ("validation",))])]


def _read(path: Path) -> Annotations:
    people = read_annotations(path)
    if people.skeleton is not FLIC_SKELETON:
        raise ValueError(f"{path} has the joints of {people.skeleton.name}, and FLIC has 11: open it as that set")
    return people[(people.presence > 0).any(1)]
