"""Scoring folders of label maps by the rules of Look into Person.

Liang, Gong, Shen, Lin, *Look into Person: Joint Body Parsing & Pose Estimation Network and a New Benchmark* (TPAMI
2018), Sec. 5: pixel accuracy, mean accuracy and IoU over 20 classes, for all images and by the person's size.

    pairs = match("predicted", "val_segmentations")
    print(render(report(count(pairs, PARTS), PARTS)))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from posebook.datasets.labelled import read_png
from posebook.evaluation.benchmarks import cell, percent
from posebook.evaluation.metrics import confusion, parsing_score
from posebook.skeleton import IGNORE_LABEL

# Persons by the pixels that are labelled with a part: below the first area, below the second, and larger.
SMALL, MEDIUM = 153**2, 321**2

# Label maps that a process reads before it says how far it is.
_AT_A_TIME = 64

Pair = tuple[Path, Path]


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
    pairs: Sequence[Pair], parts: Sequence[str], jobs: int = 1, progress: bool = True
) -> Int[Tensor, "n parts parts"]:
    """The confusion matrix of each pair, as `metrics.confusion` counts it; sums over pairs are those of all pixels.

    Args:
        jobs: processes that read at the same time; -1 takes all cores.

    Raises:
        ValueError: a file that is no label map of these parts, or not as large as the other one of its pair.
    """
    matrices = []
    for some in _at_once(_count_some, pairs, len(parts), jobs, progress):
        if isinstance(some, str):
            raise ValueError(f"{some}; `posebook score --check` looks at all of them")
        matrices.append(some)
    return torch.cat(matrices)


def check(
    predicted: str | Path, true: str | Path, parts: Sequence[str], jobs: int = 1, progress: bool = True
) -> list[str]:
    """What is wrong with a folder of predicted label maps: a sentence per file, none where all is well.

    Every true label map has a prediction of its name, in grey or with a palette, of its size and with the numbers of
    these parts; nothing else lies there.

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
    for some in _at_once(_faults_of_some, pairs, len(parts), jobs, progress):
        faults += some
    return faults


def report(matrices: Int[Tensor, "n parts parts"], parts: Sequence[str]) -> dict:
    """Scores in percent, as a dictionary that JSON can hold (None: nothing counted)."""
    # A person's area is known from the true labels, rows of the matrix.
    area = matrices[:, 1:].sum((1, 2))
    sizes = {"small": area < SMALL, "medium": (area >= SMALL) & (area < MEDIUM), "large": area >= MEDIUM}
    whole = parsing_score(matrices.sum(0))
    return {
        "images": len(matrices),
        "all": _in_percent(matrices),
        "sizes": {name: {"images": int(which.sum())} | _in_percent(matrices[which]) for name, which in sizes.items()},
        "iou": {name: percent(value) for name, value in zip(parts, whole.iou, strict=True)},
        "accuracy": {name: percent(value) for name, value in zip(parts, whole.class_accuracy, strict=True)},
    }


def render(result: dict) -> str:
    """A report as tables."""
    rows = [["", "images", "pixel acc.", "mean acc.", "mean IoU"]]
    groups = {"all": {"images": result["images"]} | result["all"]} | result["sizes"]
    for name, row in groups.items():
        rows.append([name, f"{row['images']:,}", *(cell(row[key]) for key in _MEASURES)])
    classes = [["class", "IoU", "accuracy"]]
    classes += [[name, cell(value), cell(result["accuracy"][name])] for name, value in result["iou"].items()]
    areas = f"Persons are small below {SMALL:,} labelled pixels, large from {MEDIUM:,} on."
    return "\n\n".join([_table(rows), areas, _table(classes)])


_MEASURES = ("pixel_accuracy", "mean_accuracy", "mean_iou")


def _in_percent(matrices: Int[Tensor, "n parts parts"]) -> dict[str, float | None]:
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


def _at_once(work, pairs: Sequence[Pair], classes: int, jobs: int, progress: bool) -> Iterator:
    """What `work` gives for pairs at a time, in order, with a progress bar over the pairs."""
    from joblib import Parallel, delayed
    from tqdm import tqdm

    batches = [pairs[start : start + _AT_A_TIME] for start in range(0, len(pairs), _AT_A_TIME)]
    results = Parallel(n_jobs=jobs, return_as="generator")(delayed(work)(batch, classes) for batch in batches)
    with tqdm(total=len(pairs), unit="images", disable=not progress) as bar:
        for batch, result in zip(batches, results, strict=True):
            bar.update(len(batch))
            yield result


def _count_some(pairs: Sequence[Pair], classes: int) -> Int[Tensor, "n classes classes"] | str:
    """The matrices of some pairs, or the first fault in words."""
    matrices = []
    for pair in pairs:
        fault, maps = _read(pair, classes)
        if fault:
            return fault
        matrices.append(confusion(*(torch.from_numpy(some)[None] for some in maps), classes))
    return torch.cat(matrices)


def _faults_of_some(pairs: Sequence[Pair], classes: int) -> list[str]:
    return [fault for fault, _ in (_read(pair, classes) for pair in pairs) if fault]


def _read(pair: Pair, classes: int) -> tuple[str, list[np.ndarray]]:
    """A pair's fault in words, "" where it has none, and its label maps."""
    maps = []
    for path, what in zip(pair, ("", "true label map "), strict=True):
        try:
            maps.append(np.array(read_png(path, classes)))
        except Exception as error:  # as many kinds as there are ways for a file to be broken
            return f"{what}{path.name}: {error}", []
    guess, labels = maps
    if guess.shape != labels.shape:
        sizes = (f"{some.shape[1]} x {some.shape[0]}" for some in maps)
        return "{}: it is {} pixels large, and its true label map {}".format(pair[0].name, *sizes), []
    if (guess == IGNORE_LABEL).any():
        return f"{pair[0].name}: it holds {IGNORE_LABEL}, which only true label maps may, to be ignored", []
    return "", maps
