"""Scoring folders of label maps by the rules of Look into Person.

Liang, Gong, Shen, Lin, *Look into Person: Joint Body Parsing & Pose Estimation Network and a New Benchmark* (TPAMI
2018), Sec. 4.1 and 6.2.1: pixel accuracy, mean accuracy and IoU over the classes, for all images, by the person's size
and by challenge.

    pairs = match("predicted", "val_segmentations")
    print(render(report(count(pairs, PARTS), PARTS)))

Where the true label maps have other labels than the predicted ones, as ATR's 18 beside LIP's 20, the labels of both are
the classes that are scored, 16 for ATR (Sec. 6.2.1). Open: the paper does not say what becomes of the others. Here a
pixel whose true label is not scored is ignored, as 255 is; a predicted label that is not scored is a wrong prediction.

    pairs = match("predicted", "atr_segmentations")
    print(render(report(count(pairs, PARTS, true_parts=ATR_PARTS), scored(PARTS, ATR_PARTS))))
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from posebook.datasets.labelled import read_png
from posebook.evaluation.benchmarks import cell, percent
from posebook.evaluation.metrics import confusion, parsing_score
from posebook.skeleton import IGNORE_LABEL, TAGS

# Persons by the pixels that are labelled with a part: below the first area, below the second, and larger.
SMALL, MEDIUM = 153**2, 321**2

# Label maps that a process reads before it says how far it is.
_AT_A_TIME = 64

Pair = tuple[Path, Path]


def scored(parts: Sequence[str], true_parts: Sequence[str]) -> tuple[str, ...]:
    """The labels of both, in the order of the predicted ones."""
    return tuple(name for name in parts if name in true_parts)


def match(predicted: str | Path, true: str | Path) -> list[Pair]:
    """Predicted and true label maps of the same name, in order of name.

    Raises:
        FileNotFoundError: no such folder, or no PNG in it.
        ValueError: true label maps without a prediction.
    """
    guesses, labels = _maps_in(predicted), _maps_in(true)
    missing = [name for name in labels if name not in guesses]
    if missing:
        raise ValueError(
            f"{predicted} lacks {len(missing):,} of the {len(labels):,} label maps of {true}, the first is "
            f"{missing[0]}: predict these too, under the same names"
        )
    return [(guesses[name], path) for name, path in labels.items()]


def count(
    pairs: Sequence[Pair],
    parts: Sequence[str],
    jobs: int = 1,
    progress: bool = True,
    true_parts: Sequence[str] | None = None,
) -> Int[Tensor, "n classes labels"]:
    """The confusion matrix of each pair, as `metrics.confusion` counts it; sums over pairs are those of all pixels.

    Args:
        parts: the labels of the predicted maps, in order.
        jobs: processes that read at the same time; -1 takes all cores.
        true_parts: those of the true maps; None: the same.

    Returns:
        A row and a column per class: the parts, or those of them that are `scored`; then there is one column more, of
        predicted labels that are not.

    Raises:
        ValueError: a file that is no label map of these parts, or not as large as the other one of its pair.
    """
    matrices = []
    for some in _at_once(_count_some, pairs, _Labels(parts, true_parts), jobs, progress):
        if isinstance(some, str):
            raise ValueError(f"{some}; `posebook score --check` looks at all of them")
        matrices.append(some)
    return torch.cat(matrices)


def check(
    predicted: str | Path,
    true: str | Path,
    parts: Sequence[str],
    jobs: int = 1,
    progress: bool = True,
    true_parts: Sequence[str] | None = None,
) -> list[str]:
    """What is wrong with a folder of predicted label maps: a sentence per file, none where all is well.

    Every true label map has a prediction of its name, in grey or with a palette, of its size and with the numbers of
    these parts; nothing else lies there. Arguments are those of `count`.

    Raises:
        FileNotFoundError: no such folder, or no PNG in it.
    """
    guesses, labels = _maps_in(predicted), _maps_in(true)
    faults = [f"{name} is missing" for name in labels if name not in guesses]
    faults += [f"{name} has no true label map: take it away" for name in guesses if name not in labels]
    faults += [
        f"{path.name} is no PNG: take it away"
        for path in sorted(Path(predicted).iterdir())
        if path.name not in guesses and not path.name.startswith(".")
    ]
    pairs = [(guesses[name], path) for name, path in labels.items() if name in guesses]
    for some in _at_once(_faults_of_some, pairs, _Labels(parts, true_parts), jobs, progress):
        faults += some
    return faults


def report(
    matrices: Int[Tensor, "n classes labels"], classes: Sequence[str], tags: Bool[Tensor, "n 6"] | None = None
) -> dict:
    """Scores in percent, as a dictionary that JSON can hold (None: nothing counted).

    Args:
        matrices: as `count` gives them.
        tags: the images' challenges, in the order of `skeleton.TAGS`; None: there is no score by challenge.
    """
    # A person's area is known from the true labels, rows of the matrix.
    area = matrices[:, 1:].sum((1, 2))
    sizes = {"small": area < SMALL, "medium": (area >= SMALL) & (area < MEDIUM), "large": area >= MEDIUM}
    whole = parsing_score(matrices.sum(0))
    result = {
        "images": len(matrices),
        "all": _in_percent(matrices),
        "sizes": _by_group(matrices, sizes),
        "iou": {name: percent(value) for name, value in zip(classes, whole.iou, strict=True)},
        "accuracy": {name: percent(value) for name, value in zip(classes, whole.class_accuracy, strict=True)},
    }
    if tags is not None:
        result["challenges"] = _by_group(matrices, dict(zip(TAGS, tags.unbind(1), strict=True)))
    return result


def render(result: dict) -> str:
    """A report as tables."""
    rows = [["", "images", "pixel acc.", "mean acc.", "mean IoU"]]
    groups = {"all": {"images": result["images"]} | result["all"]} | result["sizes"] | result.get("challenges", {})
    for name, row in groups.items():
        rows.append([name, f"{row['images']:,}", *(cell(row[key]) for key in _MEASURES)])
    classes = [["class", "IoU", "accuracy"]]
    classes += [[name, cell(value), cell(result["accuracy"][name])] for name, value in result["iou"].items()]
    areas = f"Persons are small below {SMALL:,} labelled pixels, large from {MEDIUM:,} on."
    return "\n\n".join([_table(rows), areas, _table(classes)])


_MEASURES = ("pixel_accuracy", "mean_accuracy", "mean_iou")


def _by_group(matrices: Int[Tensor, "n classes labels"], groups: dict[str, Bool[Tensor, " n"]]) -> dict[str, dict]:
    """How many images each group has, and its scores."""
    return {name: {"images": int(which.sum())} | _in_percent(matrices[which]) for name, which in groups.items()}


def _in_percent(matrices: Int[Tensor, "n classes labels"]) -> dict[str, float | None]:
    score = parsing_score(matrices.sum(0))
    return {name: percent(getattr(score, name)) for name in _MEASURES}


def _table(rows: list[list[str]]) -> str:
    width = max(len(row[0]) for row in rows) + 2
    return "\n".join(f"{row[0]:<{width}}" + "".join(f"{text:>12}" for text in row[1:]) for row in rows)


def _maps_in(folder: str | Path) -> dict[str, Path]:
    """The PNG files of a folder by name."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: give one of label maps, PNG files")
    found = {path.name: path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".png"}
    if not found:
        raise FileNotFoundError(f"there is no PNG in {folder}: give a folder of label maps")
    return found


@dataclass(frozen=True)
class _Labels:
    """The labels of predicted and of true label maps (None: the same), and what each is scored as, by its name."""

    parts: Sequence[str]
    true_parts: Sequence[str] | None

    @cached_property
    def counts(self) -> tuple[int, int]:
        """How many labels predicted and true maps have."""
        return len(self.parts), len(self.true_parts or self.parts)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return scored(self.parts, self.true_parts or self.parts)

    @cached_property
    def columns(self) -> int:
        """Labels that a prediction can have: the classes, and one for all others where there are any."""
        return len(self.classes) + (len(self.classes) < len(self.parts))

    @cached_property
    def tables(self) -> tuple[UInt8[np.ndarray, 256], UInt8[np.ndarray, 256]]:
        """What each number in a predicted and in a true map is scored as."""
        return tuple(
            np.array([*(self._number(name, other) for name in names), *[IGNORE_LABEL] * (256 - len(names))], np.uint8)
            for names, other in ((self.parts, len(self.classes)), (self.true_parts or self.parts, IGNORE_LABEL))
        )

    def _number(self, name: str, other: int) -> int:
        return self.classes.index(name) if name in self.classes else other


def _at_once(work, pairs: Sequence[Pair], labels: _Labels, jobs: int, progress: bool) -> Iterator:
    """What `work` gives for pairs at a time, in order, with a progress bar over the pairs."""
    from joblib import Parallel, delayed
    from tqdm import tqdm

    batches = [pairs[start : start + _AT_A_TIME] for start in range(0, len(pairs), _AT_A_TIME)]
    results = Parallel(n_jobs=jobs, return_as="generator")(delayed(work)(batch, labels) for batch in batches)
    try:
        with tqdm(total=len(pairs), unit="images", disable=not progress) as bar:
            for batch, result in zip(batches, results, strict=True):
                bar.update(len(batch))
                yield result
    finally:
        # Where a fault ends the scoring, joblib tells of the batches that are given up.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            results.close()


def _count_some(pairs: Sequence[Pair], labels: _Labels) -> Int[Tensor, "n classes labels"] | str:
    """The matrices of some pairs, or the first fault in words."""
    matrices = []
    for pair in pairs:
        fault, maps = _read(pair, labels)
        if fault:
            return fault
        known = (torch.from_numpy(table[some])[None] for table, some in zip(labels.tables, maps, strict=True))
        # The true maps have no label beyond the classes.
        matrices.append(confusion(*known, labels.columns)[:, : len(labels.classes)])
    return torch.cat(matrices)


def _faults_of_some(pairs: Sequence[Pair], labels: _Labels) -> list[str]:
    return [fault for fault, _ in (_read(pair, labels) for pair in pairs) if fault]


def _read(pair: Pair, labels: _Labels) -> tuple[str, list[np.ndarray]]:
    """A pair's fault in words, "" where it has none, and its label maps."""
    maps = []
    for path, count, what in zip(pair, labels.counts, ("", "true label map "), strict=True):
        try:
            maps.append(np.array(read_png(path, count)))
        except Exception as error:  # as many kinds as there are ways for a file to be broken
            return f"{what}{path.name}: {error}", []
    guess, truth = maps
    if guess.shape != truth.shape:
        sizes = (f"{some.shape[1]} x {some.shape[0]}" for some in maps)
        return "{}: it is {} pixels large, and its true label map {}".format(pair[0].name, *sizes), []
    if (guess == IGNORE_LABEL).any():
        return f"{pair[0].name}: it holds {IGNORE_LABEL}, which only true label maps may, to be ignored", []
    return "", maps
