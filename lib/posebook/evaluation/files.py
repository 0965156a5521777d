"""The files that scoring takes: a benchmark's annotations, and predicted joints.

truth = read_truth("valid.h5", "mpii")
predicted = read_predictions("preds.h5", *truth.presence.shape, truth.names)
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posebook.datasets import lip
from posebook.datasets.arrays import read_hdf5, read_matlab
from posebook.datasets.lsp import LSP_PEOPLE, read_labels
from posebook.datasets.mpii import read_annotations
from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.evaluation.metrics import Truth
from posebook.sample import head_size, torso_size


@dataclass
class NamedTruth(Truth):
    """Labels, and the photograph of each person where a set has one person a photograph (LIP); None elsewhere."""

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
    return NamedTruth(joints, presence, head, torso_size(joints, presence, skeleton), names)


def read_predictions(
    path: str | Path, people: int, joints: int, names: Sequence[str] | None = None
) -> Float[Tensor, "{people} {joints} 2"]:
    """Predicted joints from `.h5` (`preds`), MATLAB `.mat` (`preds` or `pred`), or `.csv`.

    Arrays may have their axes in any order, as they are told apart by their lengths. A line of a `.csv` is a
    photograph's name and x, y of each joint, as LIP's benchmark takes them, or x, y, v as in its annotations; `nan` is
    no prediction, which counts as wrong.

    Args:
        names: the people's photographs, with or without an extension: the lines of a `.csv` are put in this order.
            None takes a `.csv` in its own.

    Raises:
        FileNotFoundError, OSError: no such file, or one that cannot be read.
        ValueError: no predictions in it, or of another number of people or joints, or axes that cannot be told apart;
            a photograph that a `.csv` has twice or not at all.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        return _read_csv(path, people, joints, names)
    fields = _numbers(path)
    name = next((name for name in ("preds", "pred") if name in fields), None)
    if name is None:
        raise ValueError(f"{path} has no 'preds' (or 'pred'); it has {_listed(fields)}")
    values = fields[name]
    if values.ndim == 2 and people == 1:
        values = values[None]  # MATLAB drops the last axis of a single person
    wanted = (people, joints, 2)
    orders = [o for o in itertools.permutations(range(values.ndim)) if tuple(values.shape[i] for i in o) == wanted]
    if not orders:
        raise ValueError(
            f"'{name}' in {path} is {_shape(values)}; the annotations need {_shape(np.empty(wanted))} "
            "(people x joints x 2, the axes in any order): are both files of the same set?"
        )
    if len(orders) > 1 and (path.suffix.lower() == ".mat" or values.shape != wanted):
        raise ValueError(
            f"'{name}' in {path} is {_shape(values)}, whose axes cannot be told apart: "
            "write it as people x joints x 2 to an .h5 file"
        )
    return torch.from_numpy(np.ascontiguousarray(values.transpose(orders[0])))


def _read_csv(path: Path, people: int, joints: int, names: Sequence[str] | None) -> Tensor:
    """Predictions from lines of a name and numbers, in double precision."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    with path.open(errors="replace") as file:
        rows = [line.strip().split(",") for line in file if line.strip()]
    widths = {len(row) - 1 for row in rows}
    if len(rows) != people or len(widths) != 1 or not widths <= {2 * joints, 3 * joints}:
        found = " or ".join(map(str, sorted(widths)))
        raise ValueError(
            f"{path} has {len(rows)} lines of {found or 'no'} numbers; the annotations need {people} of a name and "
            f"{2 * joints} numbers (x, y) or {3 * joints} (x, y, v): are both files of the same set?"
        )
    try:
        values = np.array([row[1:] for row in rows], np.float64).reshape(people, joints, -1)[..., :2]
    except ValueError as error:
        raise ValueError(f"{path}: a line is not a name and {widths.pop()} numbers: {error}") from error
    if names is not None:
        place = {Path(row[0]).stem: number for number, row in enumerate(rows)}
        missing = [name for name in names if Path(name).stem not in place]
        if missing:
            more = f" and {len(missing) - 1:,} other photographs" if len(missing) > 1 else ""
            raise ValueError(f"{path} has no prediction for {missing[0]}{more}: are both files of the same set?")
        values = values[[place[Path(name).stem] for name in names]]
    return torch.from_numpy(np.ascontiguousarray(values))


def _numbers(path: Path) -> dict[str, np.ndarray]:
    """The arrays of numbers in a `.h5` or `.mat` file, in double precision."""
    fields = read_matlab(path, squeeze=False) if path.suffix.lower() == ".mat" else read_hdf5(path)
    arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
    return {name: value.astype(np.float64) for name, value in arrays.items() if value.dtype.kind in "fiu"}


def _listed(fields: dict[str, np.ndarray]) -> str:
    return ", ".join(sorted(fields)) or "no numbers at all"


def _shape(values: np.ndarray) -> str:
    return " x ".join(map(str, values.shape)) or "a single number"
