"""The files that scoring takes: a benchmark's annotations, and predicted joints.

truth = read_truth("valid.h5", "mpii")
predicted = read_predictions("preds.h5", *truth.presence.shape, truth.names)

Both are in the pixels of the benchmark's own files, which for MPII, LSP and LIP count from 1 (see `data/README.md`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posebook.datasets import lip
from posebook.datasets.arrays import matlab_names, read_hdf5, read_matlab
from posebook.datasets.lsp import LSP_PEOPLE, read_labels
from posebook.datasets.mpii import read_annotations, texts
from posebook.datasets.tables import read_table
from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.evaluation.metrics import Truth
from posebook.sample import head_size, torso_size


@dataclass
class NamedTruth(Truth):
    """Labels, and the photograph of each person, in which there may be others; None where the file names none."""

    names: list[str] | None = None


def read_truth(path: str | Path, name: str) -> NamedTruth:
    """The labels of a benchmark's people from its annotation file; torso size comes from the joints.

    Args:
        path: whatever `datasets.mpii.read_annotations` reads; for LIP its `.csv`; for LSP its `joints.mat` (of whose
            2,000 people the last 1,000 are scored, as in the literature).
        name: "mpii", "lip", "lsp" or "flic".

    Raises:
        FileNotFoundError, ValueError: no such file; one that cannot be read, of another order of joints, or LSPET's.
    """
    skeleton, names = BENCHMARKS[name].skeleton, None
    if name == "lsp":
        joints, presence = (labels[LSP_PEOPLE // 2 :] for labels in read_labels(path, name))
        head = head_size(joints, presence, skeleton)
    elif name == "lip" and Path(path).suffix.lower() == ".csv":
        names, joints, presence = lip.read_annotations(path)
        head = head_size(joints, presence, skeleton)
    else:
        labels = read_annotations(path)
        if labels.skeleton is not skeleton:
            raise ValueError(
                f"{path} has the {len(labels.skeleton)} joints of {labels.skeleton.name.upper()}, "
                f"and {BENCHMARKS[name].title} has {len(skeleton)}: choose another --dataset or file"
            )
        joints, presence, head = labels.joints, labels.presence, labels.head_size
        names = labels.images if all(labels.images) else None
    return NamedTruth(joints, presence, head, torso_size(joints, presence, skeleton), names)


def read_predictions(
    path: str | Path,
    people: int,
    joints: int,
    names: Sequence[str] | None = None,
    say: Callable[[str], None] | None = None,
) -> Float[Tensor, "{people} {joints} 2"]:
    """Predicted joints from `.h5` (`preds`), MATLAB `.mat` (`preds` or `pred`), or `.csv`.

    Arrays may have their axes in any order, as they are told apart by their lengths, and a third number per joint,
    which is left out. A line of a `.csv` is a photograph's name and x, y of each joint, as LIP's benchmark takes them,
    or x, y, v as in its annotations; `nan` is no prediction, which counts as wrong. Where the file names the
    photographs (an array by `imgname`), they are put in the order of the annotations.

    Args:
        names: the people's photographs, with or without an extension; None takes the file in its own order.
        say: told where people were put in another order.

    Raises:
        FileNotFoundError: no such file.
        ValueError: one that cannot be read; no predictions in it, or of another number of people or joints, or axes
            that cannot be told apart; other photographs, or those of several people each in another order.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        what = f"a name and {2 * joints} numbers (x, y) or {3 * joints} (x, y, v)"
        given, numbers = read_table(path, (2 * joints, 3 * joints), what)
        if len(given) != people:
            raise ValueError(
                f"{path} has {len(given)} lines; the annotations need {people} of {what}: are both files of one set?"
            )
        values = numbers.reshape(people, joints, -1)[..., :2]
    else:
        given, values = _read_arrays(path, people, joints)
    if names is not None and given is not None:
        values = values[_order(path, given, names, say)]
    return torch.from_numpy(np.ascontiguousarray(values))


def _order(path: Path, given: list[str], names: Sequence[str], say: Callable[[str], None] | None) -> list[int]:
    """For each of the annotations' people, the place in the file of predictions."""
    given, wanted = ([Path(name).stem for name in some] for some in (given, names))
    if given == wanted:
        return list(range(len(given)))
    there = set(given)
    if missing := list(dict.fromkeys(name for name in names if Path(name).stem not in there)):
        more = f" and {len(missing) - 1:,} other photographs" if len(missing) > 1 else ""
        raise ValueError(f"{path} has no prediction for {missing[0]}{more}: are both files of the same set?")
    if several := [name for name, count in (Counter(wanted) | Counter(given)).items() if count > 1]:
        raise ValueError(
            f"{path} has the people in another order than the annotations, and several of them are in {several[0]}, so "
            "that whose line is whose cannot be told: write them in the annotations' order"
        )
    if say is not None:
        say(f"{path} has another order than the annotations: people are matched by the names of their photographs")
    place = {stem: number for number, stem in enumerate(given)}
    return [place[stem] for stem in wanted]


def _read_arrays(path: Path, people: int, joints: int) -> tuple[list[str] | None, np.ndarray]:
    """Names of photographs, where the file has them, and predictions of a `.h5` or `.mat` file, in double precision."""
    matlab = path.suffix.lower() == ".mat"
    wanted = ("preds", "pred", "imgname")
    if matlab:
        there = [name for name in wanted if name in matlab_names(path)]
        fields = read_matlab(path, *there, squeeze=False) if there else {}
    else:
        fields = read_hdf5(path, *wanted)
    arrays = {key: some for key, some in fields.items() if isinstance(some, np.ndarray) and some.dtype.kind in "fiu"}
    name = next((name for name in ("preds", "pred") if name in arrays), None)
    if name is None:
        raise ValueError(f"{path} has no 'preds' (or 'pred') of numbers; it has {_listed(matlab_names(path))}")
    values = arrays[name]
    if values.ndim == 2 and people == 1:
        values = values[None]  # MATLAB drops the last axis of a single person
    for last in (2, 3) if values.ndim == 3 else ():
        wanted = (people, joints, last)
        orders = [o for o in itertools.permutations(range(values.ndim)) if tuple(values.shape[i] for i in o) == wanted]
        if orders:
            break
    else:
        raise ValueError(
            f"'{name}' in {path} is {_shape(values)}; the annotations need {people} x {joints} x 2 "
            "(people x joints x 2 or 3, the axes in any order): are both files of the same set?"
        )
    if len(orders) > 1 and (matlab or values.shape != wanted):
        raise ValueError(
            f"'{name}' in {path} is {_shape(values)}, whose axes cannot be told apart: "
            "write it as people x joints x 2 to an .h5 file"
        )
    named = fields.get("imgname")
    given = texts(np.squeeze(named)) if isinstance(named, np.ndarray) and named.shape[:1] == (people,) else None
    return given, values.transpose(orders[0])[..., :2].astype(np.float64)


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(names)[:20]) or "nothing at all"


def _shape(values: np.ndarray) -> str:
    return " x ".join(map(str, values.shape)) or "a single number"
