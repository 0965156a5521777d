"""Photographs of people, cropped around each person into batches: what the readers of real sets share."""

from __future__ import annotations

import os
import warnings
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from posebook.coordinates import Perturbation, inside, similarity, transform_points
from posebook.datasets.images import open_upright
from posebook.sample import Sample, check_split, torso_size
from posebook.skeleton import Skeleton

# The smallest window around a person, in pixels: a single annotated joint has a box without extent.
SMALLEST_WINDOW = 16.0

GREY = 128

# Where labels count pixels from 1, the middle of the first pixel is 1, and 0.5 here.
FROM_ONE = 0.5

# Crops kept in memory take no more than this, unless a reader is told otherwise.
KEPT_BYTES = 2 * 2**30


@dataclass
class People:
    """People in photographs, one row per person; positions and lengths in pixels of the whole photograph.

    Attributes:
        paths: each person's photograph; people may share one.
        joints, presence: as in `Sample`.
        centre: the middle of the person's window.
        window: side of the square around the person that a reader cuts out.
        head_size: as the set's PCKh defines it; NaN where it is not known.
    """

    paths: list[Path]
    joints: Float[Tensor, "n j 2"]
    presence: UInt8[Tensor, "n j"]
    centre: Float[Tensor, "n 2"]
    window: Float[Tensor, " n"]
    head_size: Float[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, which: Tensor) -> People:
        """Some of the people: a tensor of places or of booleans."""
        places = torch.arange(len(self))[which]
        tensors = {k: v[places] for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, paths=[self.paths[i] for i in places.tolist()], **tensors)


def join_people(some: Sequence[People]) -> People:
    """The people of several files, one after the other."""
    tensors = {k: torch.cat([vars(s)[k] for s in some]) for k, v in vars(some[0]).items() if isinstance(v, Tensor)}
    return People(paths=[path for s in some for path in s.paths], **tensors)


def in_folder(folder: Path, names: Sequence[str], suffix: str = "") -> list[Path]:
    """The files in a folder that annotations name, each with the suffix behind its name.

    Raises:
        ValueError: a name that leads out of the folder: an annotation's author does not choose which files are opened.
    """
    for name in names:
        if ".." in Path(name).parts or Path(name).is_absolute() or "\0" in name:
            raise ValueError(f"annotations name {name!r}, which is not in {folder}: names lead to files within it")
    return [folder / f"{name}{suffix}" for name in names]


def box_around(
    joints: Float[Tensor, "n j 2"], presence: UInt8[Tensor, "n j"], context: float
) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " n"]]:
    """Centre of the box around each person's present joints, and `context` times its longer side."""
    present = (presence > 0)[..., None]
    low = joints.masked_fill(~present, torch.inf).amin(1)
    high = joints.masked_fill(~present, -torch.inf).amax(1)
    return (low + high) / 2, context * (high - low).amax(-1)


class Photographs(ABC):
    """A dataset of crops around people, with their labels moved along. A reader of a real set says who they are.

    A photograph that cannot be read never stops a run and never yields a wrong label: its crop is plain grey, all its
    joints are absent, its sizes are NaN, and the first such photograph warns. `broken` holds what was met so far.
    Crops stay in memory once they are read, as far as there is room: a second epoch then opens no file.

    Args:
        root: the set's folder.
        split: "train", "validation" or "test".
        size: side of the images in pixels.
        device: where batches go.
        widen: how many windows wide the images are; above 1 they show more around the person.
        kept_bytes: crops kept in memory take no more than this; 0 keeps none.

    Raises:
        FileNotFoundError: no labels for the split, or none of the photographs.
        ValueError: labels that cannot be read.
    """

    name: str
    skeleton: Skeleton

    def __init__(
        self,
        root: str | Path,
        split: str,
        size: int = 128,
        device: torch.device | str = "cpu",
        widen: float = 1.0,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        check_split(split)
        if size < 1 or not widen > 0:
            raise ValueError(f"size must be 1 or more and widen above 0, not {size} and {widen}")
        self.root, self.split, self.size, self.widen = Path(root), split, size, widen
        self.device, self._room = torch.device(device), kept_bytes
        self.broken: dict[Path, str] = {}
        self.perturbation = Perturbation()
        self._forget()
        self._warned = False
        self.people = self.read_people()
        if not len(self.people):
            raise ValueError(f"{self.name} in {self.root} has nobody for its {split} split: see its annotations")
        self._look_for_files()

    @abstractmethod
    def read_people(self) -> People:
        """The people of the split."""

    def _look_for_files(self) -> None:
        """FileNotFoundError where none of the photographs is there; a warning where some are not."""
        missing = missing_files(self.people.paths)
        if not missing:
            return
        if len(missing) == len(set(self.people.paths)):
            folder = self.people.paths[0].parent
            raise FileNotFoundError(
                f"{self.name}: none of its {len(missing):,} photographs is in {folder}: put the set's images there"
            )
        self.broken.update({path: "missing" for path in missing})
        self._warn(f"{len(missing):,} photographs are missing, the first is {missing[0]}")

    @property
    def length(self) -> int:
        """People in the split."""
        return len(self.people)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return reading_threads()

    def batch(self, indices: Int[Tensor, " b"]) -> Sample:
        """The people with these numbers, cropped; IndexError where there is no such person."""
        indices = indices.cpu()
        people = self._seen(indices)
        window, joints = people.window, self._placed(people)
        boxes = torch.cat([people.centre - window[:, None] / 2, window[:, None]], -1).tolist()
        crops, extents = zip(*self._pool.map(self._read, indices.tolist(), people.paths, boxes), strict=True)
        in_photograph = inside(people.joints, torch.tensor(extents)[:, None])
        presence = people.presence * (in_photograph & inside(joints, self.size))
        readable = torch.tensor([width > 0 for width, _ in extents])
        head = torch.where(readable, people.head_size * self.size / window, torch.nan)
        images = torch.from_numpy(np.stack(crops)).to(self.device).permute(0, 3, 1, 2).contiguous()
        self._report(people, readable)
        return Sample(
            images=images.float().div_(255),
            joints=joints.to(self.device),
            presence=presence.to(self.device),
            head_size=head.to(self.device),
            torso_size=torso_size(joints, presence, self.skeleton).to(self.device),
            index=indices.long().to(self.device),
        )

    @property
    def annotated(self) -> int:
        """Annotated joints of the split."""
        return int((self.people.presence > 0).sum())

    @property
    def outside(self) -> int:
        """Annotated joints that lie outside their crops."""
        joints = self._placed(self._seen(torch.arange(len(self.people))))
        return int(((self.people.presence > 0) & ~inside(joints, self.size)).sum())

    def perturbed(self, by: Perturbation) -> Photographs:
        """The same people through other boxes: other windows of their photographs."""
        other = copy(self)
        other.perturbation = self.perturbation.then(by)
        other._forget()
        return other

    def _forget(self) -> None:
        """Keep no crop that was read so far."""
        self._kept: dict[int, tuple[np.ndarray, tuple[int, int]]] = {}

    def _seen(self, indices: Int[Tensor, " b"]) -> People:
        """The people with these numbers, and the squares that are cut out around them."""
        people = self.people[indices]
        window = people.window.clamp_min(SMALLEST_WINDOW) * self.widen
        centre, window = self.perturbation.box(people.centre, window)
        return replace(people, centre=centre, window=window)

    def _placed(self, people: People) -> Float[Tensor, "b j 2"]:
        """The joints in pixels of the crops, of people as `_seen` gives them."""
        return transform_points(people.joints, similarity(people.centre, people.window, self.size))

    def _read(self, number: int, path: Path, box: list[float]) -> tuple[np.ndarray, tuple[int, int]]:
        """A person's crop, and width and height of the whole photograph: 0, 0 where it cannot be read."""
        if number in self._kept:
            return self._kept[number]
        if path not in self.broken:
            try:
                found = read_crop(path, *box, self.size)
                if (len(self._kept) + 1) * found[0].nbytes <= self._room:
                    self._kept[number] = found
                return found
            except Exception as error:  # Pillow raises many kinds on broken files, not all of them OSError
                self.broken[path] = str(error)
        return np.full((self.size, self.size, 3), GREY, np.uint8), (0, 0)

    def _report(self, people: People, readable: Tensor) -> None:
        if not readable.all():
            path = people.paths[int((~readable).nonzero()[0])]
            self._warn(f"{path} cannot be read ({self.broken[path]})")

    def _warn(self, what: str) -> None:
        """Say once what is broken."""
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            f"{self.name}: {what}; such photographs stand as grey images without joints: "
            f"`posebook data check {self.name} {self.root}` counts them",
            stacklevel=4,
        )


def reading_threads() -> ThreadPoolExecutor:
    """Threads to read many files with: Pillow decodes and resizes outside Python's lock."""
    return ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1))


def assign(names: Sequence[str], divisor: int, held_out: Sequence[str]) -> list[str]:
    """The split of each person of a set without an official one, by the name of the photograph the person is in.

    What a name's CRC-32 leaves when divided by `divisor` is the place of its split in `held_out`, and "train" if there
    is none there: who is held out does not depend on who else is there. In a set of a handful of photographs a split
    may get none that way; it then takes the one of the smallest CRC-32 from the split that has most.

    Raises:
        ValueError: fewer photographs than splits.
    """
    code = {name: zlib.crc32(name.encode()) for name in names}
    splits = dict(enumerate(held_out))
    of = {name: splits.get(number % divisor, "train") for name, number in code.items()}
    if len(of) <= len(held_out):
        raise ValueError(
            f"{len(of)} photographs cannot be shared out to {', '.join(('train', *held_out))}: give "
            f"{len(held_out) + 1} or more"
        )
    for split in (*held_out, "train"):
        if split not in of.values():
            most = Counter(of.values()).most_common(1)[0][0]
            of[min((name for name in of if of[name] == most), key=code.get)] = split
    return [of[name] for name in names]


def read_crop(
    path: Path, left: float, top: float, window: float, size: int
) -> tuple[UInt8[np.ndarray, "size size 3"], tuple[int, int]]:
    """A square window of a photograph as RGB, scaled to `size`, black beyond its edges; and its width and height.

    The window's corner and side are in the pixels of the upright photograph and may be fractions. JPEG is decoded at a
    half, a quarter or an eighth where the crop needs no more. Errors are those of `images.open_upright` and its
    `decode`.
    """
    with open_upright(path) as photograph:
        return photograph.decode(size / window).cut(left, top, window, size), photograph.extent


def missing_files(paths: list[Path]) -> list[Path]:
    """Which of these files are not there, each named once; looks each folder through once."""
    there: dict[Path, set[str]] = {}
    for folder in {path.parent for path in paths}:
        there[folder] = set(os.listdir(folder)) if folder.is_dir() else set()
    return [path for path in dict.fromkeys(paths) if path.name not in there[path.parent]]


def check(name: str, people: People, progress: bool = True) -> tuple[bool, str]:
    """Open every photograph: whether all is well, and a sentence on what there is, what is broken and what to do."""
    from tqdm import tqdm

    paths = list(dict.fromkeys(people.paths))
    missing = set(missing_files(paths))
    there = [path for path in paths if path not in missing]
    with reading_threads() as pool:
        found = dict(zip(there, tqdm(pool.map(_extent, there), name, len(there), disable=not progress), strict=True))
    broken = [path for path, extent in found.items() if isinstance(extent, str)]
    faults = []
    if missing:
        faults.append(f"{len(missing):,} photographs are missing (the first is {min(missing)})")
    if broken:
        faults.append(f"{len(broken):,} cannot be read (the first is {broken[0]}: {found[broken[0]]})")
    sentence = f"{name}: {len(people):,} people in {len(paths):,} photographs, "
    sentence += f"{int((people.presence > 0).sum()):,} joints annotated"
    good = torch.tensor([isinstance(found.get(path), tuple) for path in people.paths])
    if good.any():
        known = people[good]
        extents = torch.tensor([found[path] for path in known.paths])[:, None]
        outside = int(((known.presence > 0) & ~inside(known.joints, extents)).sum())
        if outside:
            sentence += f", {outside:,} of them outside their photograph and taken as absent"
    if not faults:
        return True, f"{sentence}; every photograph can be read."
    advice = "get these files again; until then their people stand as grey images without joints"
    if not there:
        advice = f"put the set's images into {paths[0].parent}"
    return False, f"{sentence}; but {' and '.join(faults)}: {advice}."


def _extent(path: Path) -> tuple[int, int] | str:
    """Width and height of a photograph, or why it cannot be read."""
    try:
        with open_upright(path) as photograph:
            photograph.decode(0)  # of JPEG an eighth of the work, and still every byte of the file is read
            return photograph.extent
    except Exception as error:
        return str(error)
