"""Look into Person (LIP), and what the readers of sets with part labels share.

Liang, Gong, Shen, Lin, *Look into Person: Joint Body Parsing & Pose Estimation Network and A New Benchmark*,
TPAMI 2018. As LIP's archives unpack, `root` holds

    TrainVal_images/               train_images/, val_images/                 NAME.jpg
    TrainVal_parsing_annotations/  train_segmentations/, val_segmentations/   NAME.png, a part's number at each pixel
    TrainVal_pose_annotations/     lip_train_set.csv, lip_val_set.csv         NAME.jpg and 16 times x, y, v

Some of the archives hold a folder of their own name once more; that is found too, and so are these folders and files
where they lie in `root` itself.
"""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from posebook.datasets import check_split, photographs
from posebook.datasets.photographs import KEPT_BYTES, People, Photographs, missing_files
from posebook.datasets.sample import Sample, head_size
from posebook.skeleton import IGNORE_LABEL, MPII, OCCLUDED, PARTS, VISIBLE, Skeleton

# One in so many of the photographs that LIP's people were cut from is held out of train for validation.
HELD_OUT = 20

ReadMap = Callable[[Path], UInt8[np.ndarray, "h w"]]


@dataclass
class LabelledPeople(People):
    """People in photographs with a map of part labels beside each.

    `centre` and `window` may be NaN: a person's window is then found when the person is first asked for.

    Attributes:
        labels: each person's label map; None where the set has none at all.
    """

    labels: list[Path] | None

    def __getitem__(self, which: Tensor) -> LabelledPeople:
        """Some of the people: a tensor of places or of booleans."""
        places = torch.arange(len(self))[which].tolist()
        labels = None if self.labels is None else [self.labels[i] for i in places]
        return replace(super().__getitem__(which), labels=labels)


class LabelledPhotographs(Photographs):
    """Photographs cropped together with their maps of part labels; the readers of such sets are made of it.

    A map is cropped to the nearest label. Beyond its photograph every part is ignored (255), and so is everything
    where the map or the photograph cannot be read: the first such map warns, and `broken` holds it with the reason.

    Args:
        people: as in `LabelledPeople`; without label maps, samples have no parsing.
        root: the set's folder.
        parts: the names of the labels, in order.
        read_map: gives a label map as numbers below `len(parts)` and 255; raises where it cannot.
        name, split, skeleton, size, device, widen: as in `Photographs`.
        kept_bytes: crops and their label maps kept in memory take no more than this.

    Raises:
        FileNotFoundError: none of the photographs, or of the label maps, is there.
    """

    def __init__(
        self,
        name: str,
        split: str,
        people: LabelledPeople,
        skeleton: Skeleton,
        size: int,
        device: torch.device | str,
        widen: float,
        kept_bytes: int,
        root: str | Path,
        parts: tuple[str, ...],
        read_map: ReadMap,
    ) -> None:
        self.root, self.parts = Path(root), parts
        self._read_map = read_map
        self._extents: dict[Path, tuple[int, int]] = {}
        self._kept_labels: dict[int, np.ndarray] = {}
        self._warned_of_labels = False
        # A label map takes a third of what its crop does.
        share = kept_bytes if people.labels is None else kept_bytes * 3 // 4
        super().__init__(name, split, people, skeleton, size, torch.device(device), widen, share)
        missing = missing_files(people.labels or [])
        if not missing:
            return
        if len(missing) == len(set(people.labels)):
            raise FileNotFoundError(
                f"{name}: none of its {len(missing):,} label maps is in {missing[0].parent}: put them there, or take "
                "that folder away to read the set without parsing"
            )
        self.broken.update({path: "missing" for path in missing})
        self._warn_of_labels(f"{len(missing):,} label maps are missing, the first is {missing[0]}")

    def batch(self, indices: Int[Tensor, " b"]) -> Sample:
        """The people with these numbers, cropped; IndexError where there is no such person."""
        self._measure(indices)
        sample = super().batch(indices)
        people = self.people[indices.cpu()]
        if people.labels is None:
            return sample
        window, _ = self._placed(people)
        boxes = torch.cat([people.centre - window[:, None] / 2, window[:, None]], -1).tolist()
        crops = list(self._pool.map(self._read_labels, indices.tolist(), people.paths, people.labels, boxes))
        broken = next((path for path in people.labels if path in self.broken), None)
        if broken is not None:
            self._warn_of_labels(f"{broken} cannot be read ({self.broken[broken]})")
        return replace(sample, parsing=torch.from_numpy(np.stack(crops)).to(self.device))

    @property
    def outside(self) -> int:
        """Annotated joints that lie outside their crops; opens every photograph whose window is not known yet."""
        self._measure(torch.arange(len(self.people)))
        return super().outside

    def _measure(self, indices: Int[Tensor, " b"]) -> None:
        """Find the windows of these people that are not known yet."""
        places = indices.cpu().unique()
        places = places[self.people.window[places].isnan()]
        if len(places):
            found = torch.tensor(list(self._pool.map(self._frame, places.tolist())))
            self.people.centre[places], self.people.window[places] = found[:, :2], found[:, 2]

    def _frame(self, place: int) -> tuple[float, float, float]:
        """Centre and side of a person's window where the set gives none: a square around the whole photograph."""
        width, height = self._extent(self.people.paths[place])
        return width / 2, height / 2, float(max(width, height))

    def _extent(self, path: Path) -> tuple[int, int]:
        """Width and height of a photograph, looked up once."""
        if path not in self._extents:
            self._extents[path] = _extent(path)
        return self._extents[path]

    def _read_labels(self, number: int, path: Path, labels: Path, box: list[float]) -> UInt8[np.ndarray, "s s"]:
        """A person's crop of the label map, to be ignored throughout where it cannot be read."""
        if number in self._kept_labels:
            return self._kept_labels[number]
        if path not in self.broken and labels not in self.broken:
            try:
                crop = crop_labels(_same_extent(self._read_map(labels), self._extent(path)), *box, self.size)
                if number in self._kept:
                    self._kept_labels[number] = crop
                return crop
            except Exception as error:  # as many kinds as there are ways for a file to be broken
                self.broken[labels] = str(error)
        return np.full((self.size, self.size), IGNORE_LABEL, np.uint8)

    def _warn(self, path: Path, what: str) -> None:
        # The sentence names the folder two above a photograph as the one to check; these sets lie deeper.
        super()._warn(self.root / path.parent.name / path.name, what)

    def _warn_of_labels(self, what: str) -> None:
        """Say once what is wrong with the label maps."""
        if not self._warned_of_labels:
            self._warned_of_labels = True
            warnings.warn(
                f"{self.name}: {what}; parts are ignored there: `posebook data check {self.name} {self.root}` counts "
                "such maps",
                stacklevel=3,
            )


def crop_labels(
    labels: UInt8[np.ndarray, "h w"], left: int | float, top: int | float, window: int | float, size: int
) -> UInt8[np.ndarray, "size size"]:
    """A square window of a label map scaled to `size`: at each pixel's centre the label there, 255 beyond the map.

    The window's corner and side are in the map's pixels, as for `photographs.read_crop`, and may be fractions.
    """
    centres = (np.arange(size) + 0.5) * (window / size)
    columns, rows = (np.floor(start + centres).astype(int) for start in (left, top))
    height, width = labels.shape
    crop = labels[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]
    crop[(rows < 0) | (rows >= height)] = IGNORE_LABEL
    crop[:, (columns < 0) | (columns >= width)] = IGNORE_LABEL
    return crop


def read_png(path: Path, classes: int) -> UInt8[np.ndarray, "h w"]:
    """A picture whose pixels are label numbers, in grey or with a palette; ValueError for labels of another set."""
    from PIL import Image

    with Image.open(path) as image:
        if image.mode not in ("L", "P"):
            raise ValueError(f"it is a picture in {image.mode}, not one of label numbers")
        labels = np.asarray(image)
    strange = labels[(labels >= classes) & (labels != IGNORE_LABEL)]
    if len(strange):
        raise ValueError(f"it holds label {strange[0]}, and the set's are 0 to {classes - 1} and {IGNORE_LABEL}")
    return labels


def check_labelled(name: str, people: LabelledPeople, read_map: ReadMap, progress: bool = True) -> tuple[bool, str]:
    """`photographs.check`, and the same for the label maps: every one is read, and is as large as its photograph."""
    from tqdm import tqdm

    fine, sentence = photographs.check(name, people, progress)
    if people.labels is None:
        return fine, f"{sentence} There are no label maps: samples have no parsing."
    missing = set(missing_files(people.labels))
    pairs = [pair for pair in dict(zip(people.labels, people.paths, strict=True)).items() if pair[0] not in missing]

    def fault(pair: tuple[Path, Path]) -> str | None:
        labels, photograph = pair
        try:
            _same_extent(read_map(labels), _extent(photograph))
        except Exception as error:
            return str(error)
        return None

    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        reasons = list(tqdm(pool.map(fault, pairs), f"{name}, labels", len(pairs), disable=not progress))
    broken = [f"{labels}: {reason}" for (labels, _), reason in zip(pairs, reasons, strict=True) if reason]
    sentence += f" {len(missing) + len(pairs):,} label maps"
    faults = []
    if missing:
        faults.append(f"{len(missing):,} are missing (the first is {min(missing)})")
    if broken:
        faults.append(f"{len(broken):,} cannot be read (the first is {broken[0]})")
    if not faults:
        return fine, f"{sentence}; every one can be read."
    advice = "get these files again; until then all parts are ignored there"
    return False, f"{sentence}; but {' and '.join(faults)}: {advice}."


def _extent(path: Path) -> tuple[int, int]:
    """Width and height of a photograph; 0, 0 where it cannot be opened, which reading it says more about."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size
    except Exception:  # Pillow raises many kinds on broken files, not all of them OSError
        return 0, 0


def _same_extent(labels: UInt8[np.ndarray, "h w"], extent: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """The map itself; ValueError where it is not as large as its photograph, as far as that is known."""
    height, width = labels.shape
    if (width, height) != extent != (0, 0):
        raise ValueError(f"it is {width} x {height} pixels and its photograph {extent[0]} x {extent[1]}")
    return labels


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
        root: folder that LIP's archives are unpacked in.
        split: "train", "validation" or "test".
        size: side of the images in pixels.
        device: where batches go.
        widen: how many windows wide the images are; above 1 they show more black around the person.
        kept_bytes: crops kept in memory take no more than this.

    Raises:
        FileNotFoundError: no joints for the split, or none of its photographs.
        ValueError: a `.csv` that is not LIP's.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        size: int = 128,
        device: torch.device | str = "cpu",
        widen: float = 1.0,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        people = read_split(root, split)
        super().__init__("lip", split, people, MPII, size, device, widen, kept_bytes, root, PARTS, _read_parts)


def read_split(root: str | Path, split: str) -> LabelledPeople:
    """The people of a split of LIP, as `LIP` describes it; needs no images.

    Raises:
        FileNotFoundError, ValueError: root holds no joints for the split, or others than LIP's; no such split.
    """
    check_split(split)
    if split == "test":
        return _read_official(root, "val")
    people = _read_official(root, "train")
    held_out = [zlib.crc32(path.stem.split("_")[0].encode()) % HELD_OUT == 0 for path in people.paths]
    return people[torch.tensor(held_out) == (split == "validation")]


def check(root: str | Path, progress: bool = True) -> tuple[bool, str]:
    """Open every file of the official splits that root has joints for: whether all is well, and a sentence on it."""
    found = {part: _joints_of(root, part) for part in ("train", "val")}
    parts = [part for part, path in found.items() if path is not None]
    if not parts:
        _read_official(root, "val")  # which says what is missing
    checks = [check_labelled("lip", _read_official(root, part), _read_parts, progress) for part in parts]
    sentences = [f"{part}: {sentence.removeprefix('lip: ')}" for part, (_, sentence) in zip(parts, checks, strict=True)]
    return all(fine for fine, _ in checks), "lip " + " ".join(sentences)


def read_annotations(path: str | Path) -> tuple[list[str], Float[Tensor, "n 16 2"], UInt8[Tensor, "n 16"]]:
    """Image names, joints and presence in a `.csv` of LIP's, in its order and its own pixels (see `LIP`).

    A line is an image's name and x, y, v of each joint: v is 0 where it is visible, 1 where it is occluded, and all
    three are `nan` where it is not annotated. As LIP scores, a joint with a coordinate below 0 is not annotated either.

    Raises:
        FileNotFoundError, ValueError: no such file; one with other lines.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    with path.open(errors="replace") as file:
        rows = [line.strip().split(",") for line in file if line.strip()]
    what = f"{path}: a line is not a name and {len(MPII)} times x, y, v"
    wrong = next((number for number, row in enumerate(rows, 1) if len(row) != 1 + 3 * len(MPII)), None)
    if wrong or not rows:
        raise ValueError(f"{what}: {f'line {wrong} has {len(rows[wrong - 1])} fields' if wrong else 'there is none'}")
    try:
        numbers = np.array([row[1:] for row in rows], np.float32)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
    x, y, third = torch.from_numpy(numbers).reshape(-1, len(MPII), 3).unbind(-1)
    joints = torch.stack([x, y], -1)
    annotated = joints.isfinite().all(-1) & third.isfinite() & (joints >= 0).all(-1)
    presence = torch.where(third > 0, OCCLUDED, VISIBLE) * annotated
    return [row[0] for row in rows], joints, presence.to(torch.uint8)


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
        paths=[images / name for name in names],
        joints=joints - 0.5,
        presence=presence,
        centre=torch.stack([unknown, unknown], -1),
        window=unknown.clone(),
        head_size=head_size(joints, presence, MPII),
        labels=segmentations and [segmentations / f"{Path(name).stem}.png" for name in names],
    )


def _joints_of(root: str | Path, part: str) -> Path | None:
    return _find(root, "TrainVal_pose_annotations", f"lip_{part}_set.csv")


def _find(root: str | Path, archive: str, name: str) -> Path | None:
    """A file or folder of one of LIP's archives: in its folder, in one of the same name within, or in root itself."""
    places = (Path(root, archive, name), Path(root, archive, archive, name), Path(root, name))
    return next((place for place in places if place.exists()), None)


def _read_parts(path: Path) -> UInt8[np.ndarray, "h w"]:
    return read_png(path, len(PARTS))
