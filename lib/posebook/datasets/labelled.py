"""Photographs with a map of part labels beside each: what the readers of such sets share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from posebook.datasets import images, photographs
from posebook.datasets.photographs import People, Photographs, missing_files, reading_threads
from posebook.sample import Sample
from posebook.skeleton import IGNORE_LABEL

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
    """Photographs cropped together with their maps of part labels, which are PNG unless a reader's `read_map` differs.

    A map is cropped to the nearest label. Beyond its photograph every part is ignored (255), and so is everything
    where the map or the photograph cannot be read: the first such map warns, and `broken` holds it with the reason.
    Without label maps, samples have no parsing.

    Arguments and what raises are as in `Photographs`; kept crops have their label maps with them.

    Attributes:
        parts: the names of the labels, in order.
    """

    parts: tuple[str, ...]
    people: LabelledPeople

    def read_map(self, path: Path) -> UInt8[np.ndarray, "h w"]:
        """A label map as numbers below `len(parts)` and 255; raises where it cannot."""
        return read_png(path, len(self.parts))

    def read_whole(self, path: Path, labels: Path) -> UInt8[np.ndarray, "h w"]:
        """The label map of a photograph, uncropped; raises where it cannot be read or is not as large as that."""
        return _same_extent(self.read_map(labels), self._extent(path))

    def _look_for_files(self) -> None:
        super()._look_for_files()
        self._extents: dict[Path, tuple[int, int]] = {}
        self._warned_of_labels = False
        if self.people.labels is None:
            return
        # A label map takes a third of what its crop does.
        self._room = self._room * 3 // 4
        missing = missing_files(self.people.labels)
        if not missing:
            return
        if len(missing) == len(set(self.people.labels)):
            raise FileNotFoundError(
                f"{self.name}: none of its {len(missing):,} label maps is in {missing[0].parent}: put them there, or "
                "take that folder away to read the set without parsing"
            )
        self.broken.update({path: "missing" for path in missing})
        self._warn_of_labels(f"{len(missing):,} label maps are missing, the first is {missing[0]}")

    def _forget(self) -> None:
        super()._forget()
        self._kept_labels: dict[int, np.ndarray] = {}

    def batch(self, indices: Int[Tensor, " b"]) -> Sample:
        """The people with these numbers, cropped; IndexError where there is no such person."""
        self._measure(indices)
        sample = super().batch(indices)
        people = self._seen(indices.cpu())
        if people.labels is None:
            return sample
        window = people.window[:, None]
        boxes = torch.cat([people.centre - window / 2, window], -1).tolist()
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
                crop = crop_labels(self.read_whole(path, labels), *box, self.size)
                if number in self._kept:
                    self._kept_labels[number] = crop
                return crop
            except Exception as error:  # as many kinds as there are ways for a file to be broken
                self.broken[labels] = str(error)
        return np.full((self.size, self.size), IGNORE_LABEL, np.uint8)

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
    columns, rows = (nearest(start, window, size) for start in (left, top))
    height, width = labels.shape
    crop = labels[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]
    crop[(rows < 0) | (rows >= height)] = IGNORE_LABEL
    crop[:, (columns < 0) | (columns >= width)] = IGNORE_LABEL
    return crop


def nearest(start: int | float, window: int | float, size: int) -> Int[np.ndarray, " size"]:
    """The pixels of a row or column in which the centres of `size` pixels lie that share a window from `start` on."""
    return np.floor(start + (np.arange(size) + 0.5) * (window / size)).astype(int)


def read_png(path: Path, classes: int) -> UInt8[np.ndarray, "h w"]:
    """A picture whose pixels are label numbers, in grey or with a palette; ValueError for labels of another set."""
    with images.open_image(path) as image:
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

    with reading_threads() as pool:
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
    """Width and height of an upright photograph; 0, 0 where it cannot be opened, which reading it says more about."""
    try:
        return images.extent(path)
    except Exception:  # Pillow raises many kinds on broken files, not all of them OSError
        return 0, 0


def _same_extent(labels: UInt8[np.ndarray, "h w"], extent: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """The map itself; ValueError where it is not as large as its photograph, as far as that is known."""
    height, width = labels.shape
    if (width, height) != extent != (0, 0):
        raise ValueError(f"it is {width} x {height} pixels and its photograph {extent[0]} x {extent[1]}")
    return labels
