"""Scoring prediction files: the benchmarks' tables, and the files they are made from.

truth = read_truth("valid.h5", "mpii")
predicted = read_predictions("preds.h5", *truth.presence.shape, truth.names)
print(render(report(predicted, truth, "mpii")))
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posebook.datasets import lip
from posebook.datasets.lsp import LSP_PEOPLE, read_labels
from posebook.datasets.mpii import read_annotations
from posebook.datasets.sample import Sample, head_size, torso_size
from posebook.metrics import Score, Truth, auc, pck, pckh, pcp, thresholds
from posebook.skeleton import FLIC, HARD_JOINTS, LSP, MPII, PASCAL, Skeleton


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark measures and which columns its table has.

    Attributes:
        title: its name in print.
        skeleton: the order of its joints.
        measure: "PCKh" or "PCK".
        threshold: the one its table is for, in head or torso sizes; AUC goes from 0 to it.
        columns: names in the table, each the plain mean of its joints.
        pooled: further columns, in which every answer counts the same.
        head_from_joints: head size is the distance of the two head joints, whatever else the labels say.
    """

    title: str
    skeleton: Skeleton
    measure: str
    threshold: float
    columns: dict[str, tuple[str, ...]]
    pooled: dict[str, tuple[str, ...]] = field(default_factory=dict)
    head_from_joints: bool = False

    def score(
        self,
        predicted: Float[Tensor, "b j 2"],
        truth: Sample | Truth,
        threshold: float | Float[Tensor, " t"] | None = None,
        **options,
    ) -> Score:
        """PCKh or PCK by the benchmark's rules; `threshold` None is its own, options as in `metrics.pckh`."""
        size = truth.head_size
        if self.head_from_joints:
            size = head_size(truth.joints, truth.presence, self.skeleton)
        labels = Truth(truth.joints, truth.presence, size, truth.torso_size)
        measure = pckh if self.measure == "PCKh" else pck
        threshold = self.threshold if threshold is None else threshold
        return measure(predicted, labels, threshold, skeleton=self.skeleton, **options)

    def table(self, score: Score) -> dict[str, float]:
        """The row that papers print, in percent; the last column is the benchmark's own mean."""
        means = {name: score.average(joints) for name, joints in self.columns.items()}
        means |= {name: score.pooled(joints) for name, joints in self.pooled.items()}
        return {name: 100 * float(value) for name, value in (means | {"Mean": score.benchmark_mean}).items()}


def _both(name: str) -> tuple[str, str]:
    return f"r_{name}", f"l_{name}"


_BODY = {name: _both(name.lower()) for name in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")}
_HEAD = {"Head": ("upper_neck", "head_top")}

BENCHMARKS = {
    # The head is the mean of upper neck and head top, as on MPII's own server; some papers print the head top alone.
    "mpii": Benchmark("MPII", MPII, "PCKh", 0.5, _HEAD | _BODY),
    # An image without a head has no head size and is left out.
    "lip": Benchmark("LIP", MPII, "PCKh", 0.5, _HEAD | _BODY, {"U.Body": MPII.joints[8:16]}, head_from_joints=True),
    "lsp": Benchmark("LSP", LSP, "PCK", 0.2, {"Head": ("neck", "head_top")} | _BODY),
    "flic": Benchmark("FLIC", FLIC, "PCK", 0.2, {name: _BODY[name] for name in ("Elbow", "Wrist")}),
    # Of the person in the middle of a crop; the papers' own measure is mAP over whole photographs.
    "pascal": Benchmark("PASCAL-Person-Part", PASCAL, "PCKh", 0.5, {"Head": ("neck", "forehead")} | _BODY),
}

# The columns of PCP's table, in the order in which papers print them.
PCP_COLUMNS = {
    "Torso": ("torso",),
    "Upper leg": _both("upper_leg"),
    "Lower leg": _both("lower_leg"),
    "Upper arm": _both("upper_arm"),
    "Forearm": _both("forearm"),
    "Head": ("head",),
}


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
    fields = _read_matlab(path) if path.suffix.lower() == ".mat" else _read_hdf5(path)
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
        raise FileNotFoundError(f"there is no file {path}")
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


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    """The numeric datasets at the root of an HDF5 file, in double precision."""
    import h5py

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if not h5py.is_hdf5(path):
        raise OSError(f"{path} is not an HDF5 file, or it is cut short")
    with h5py.File(path) as file:
        numeric = {k: v for k, v in file.items() if isinstance(v, h5py.Dataset) and v.dtype.kind in "fiu"}
        return {name: values[()].astype(np.float64) for name, values in numeric.items()}


def _read_matlab(path: Path) -> dict[str, np.ndarray]:
    """The numeric variables of a MATLAB file of any version; version 7.3 is HDF5 with its axes reversed."""
    import h5py
    import scipy.io

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if h5py.is_hdf5(path):
        return _read_hdf5(path)
    try:
        fields = scipy.io.loadmat(path)
    except (ValueError, TypeError, NotImplementedError, scipy.io.matlab.MatReadError) as error:
        raise OSError(f"{path} is not a MATLAB file, or it is cut short") from error
    numeric = {k: v for k, v in fields.items() if isinstance(v, np.ndarray) and v.dtype.kind in "fiu"}
    return {name: values.astype(np.float64) for name, values in numeric.items()}


def _listed(fields: dict[str, np.ndarray]) -> str:
    return ", ".join(sorted(fields)) or "no numbers at all"


def _shape(values: np.ndarray) -> str:
    return " x ".join(map(str, values.shape)) or "a single number"


def report(predicted: Float[Tensor, "b j 2"], truth: Sample | Truth, name: str, centric: str = "person") -> dict:
    """Everything `posebook score` prints, in percent, as a dictionary that JSON can hold (None: nothing counted)."""
    benchmark = BENCHMARKS[name]
    scores = {
        among: benchmark.score(predicted, truth, among=among, centric=centric)
        for among in ("all", "visible", "occluded")
    }
    curve = benchmark.score(predicted, truth, thresholds(benchmark.threshold), centric=centric)
    by_joint, total = auc(curve)
    hard = tuple(joint for joint in HARD_JOINTS if joint in benchmark.skeleton.joints)
    joints = {
        joint: {among: _percent(score.fractions[j]) for among, score in scores.items()}
        | {"auc": _percent(by_joint[j]), "counted": int(scores["all"].counted[j])}
        for j, joint in enumerate(benchmark.skeleton.joints)
    }
    means = {
        "all joints": {among: _percent(score.mean) for among, score in scores.items()},
        "hard joints": {among: _percent(score.average(hard)) for among, score in scores.items()},
    }
    result = {
        "dataset": benchmark.title,
        "measure": f"{benchmark.measure}@{benchmark.threshold:g}",
        "centric": centric,
        "people": len(predicted),
        "table": {k: _percent(v / 100) for k, v in benchmark.table(scores["all"]).items()} | {"AUC": _percent(total)},
        "joints": joints,
        "means": means,
        "hard_joints": list(hard),
    }
    if benchmark.skeleton is LSP:
        parts = pcp(predicted, truth, centric=centric, skeleton=LSP)
        result["pcp"] = {column: _percent(parts.average(limbs)) for column, limbs in PCP_COLUMNS.items()}
        result["pcp"]["Mean"] = _percent(parts.benchmark_mean)
    return result


def _percent(fraction: float | Tensor) -> float | None:
    value = 100 * float(fraction)
    return None if math.isnan(value) else value


def render(result: dict) -> str:
    """A report as the tables that papers print, and below them joint by joint."""
    title = f"{result['dataset']}, {result['measure']}, {result['people']:,} people, {result['centric']}-centric, in %"
    blocks = [title, _row(result["table"])]
    if "pcp" in result:
        blocks += ["Strict PCP, in %", _row(result["pcp"])]
    names = {
        "all joints": f"mean of all {len(result['joints'])}",
        "hard joints": f"mean of {len(result['hard_joints'])} hard",
    }
    rows = [["joint", "all", "visible", "occluded", "AUC", "counted"]]
    for name, row in result["joints"].items():
        rows.append([name, *(_cell(row[key]) for key in ("all", "visible", "occluded", "auc")), f"{row['counted']:,}"])
    for name, row in result["means"].items():
        rows.append([names[name], *map(_cell, row.values()), "", ""])
    width = max(len(row[0]) for row in rows)
    lines = (f"{row[0]:<{width}}" + "".join(f"{cell:>10}" for cell in row[1:]) for row in rows)
    blocks.append("\n".join(line.rstrip() for line in lines))
    return "\n\n".join(blocks)


def _row(values: dict[str, float | None]) -> str:
    """Column names over their values."""
    widths = [max(len(name), 6) + 2 for name in values]
    lines = values, map(_cell, values.values())
    return "\n".join("".join(f"{cell:>{w}}" for cell, w in zip(line, widths, strict=True)) for line in lines)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
