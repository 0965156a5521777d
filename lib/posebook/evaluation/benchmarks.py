"""The benchmarks: by which rule each scores, and the tables that papers print.

    print(render(report(predicted, truth, "mpii")))

`predicted` and `truth` come from `inference.evaluate`, or from files by `evaluation.files`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor

from posebook.evaluation.metrics import Score, Truth, auc, pck, pckh, pcp, thresholds
from posebook.sample import Sample, head_size
from posebook.skeleton import FLIC, HARD_JOINTS, LSP, MPII, PASCAL, TAGS, Skeleton


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
        labels = Truth(truth.joints, truth.presence, self._head_size(truth), truth.torso_size)
        measure = pckh if self.measure == "PCKh" else pck
        threshold = self.threshold if threshold is None else threshold
        return measure(predicted, labels, threshold, skeleton=self.skeleton, **options)

    def size(self, truth: Sample | Truth) -> Float[Tensor, " b"]:
        """What each person's distances are divided by, in pixels; nobody counts whose size is not above 0."""
        return self._head_size(truth) if self.measure == "PCKh" else truth.torso_size

    def _head_size(self, truth: Sample | Truth) -> Float[Tensor, " b"]:
        from_joints = self.head_from_joints
        return head_size(truth.joints, truth.presence, self.skeleton) if from_joints else truth.head_size

    def summary(self, predicted: Float[Tensor, "b j 2"], truth: Sample | Truth) -> dict[str, list[float | None]]:
        """What later questions may want of a result: "curve", the mean over joints at each of the thresholds of AUC;
        "by_joint", "by_joint_visible" and "by_joint_occluded" in the skeleton's order. Fractions to four digits.
        """
        found = {"curve": self.score(predicted, truth, thresholds(self.threshold)).mean}
        for name, among in (("", "all"), ("_visible", "visible"), ("_occluded", "occluded")):
            found[f"by_joint{name}"] = self.score(predicted, truth, among=among).fractions
        return {name: [_rounded(value) for value in row.tolist()] for name, row in found.items()}

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


def report(
    predicted: Float[Tensor, "b j 2"],
    truth: Sample | Truth,
    name: str,
    centric: str = "person",
    tags: Bool[Tensor, "b 6"] | None = None,
) -> dict:
    """Everything `posebook score` prints, in percent, as a dictionary that JSON can hold (None: nothing counted).

    Args:
        tags: LIP's challenges in the order of `skeleton.TAGS`: for each, the benchmark's own mean over its people. As
            LIP scores (Sec. 4.2.2), people whose head is missing have none. None: there is no score by challenge.
    """
    benchmark = BENCHMARKS[name]
    scores = {
        among: benchmark.score(predicted, truth, among=among, centric=centric)
        for among in ("all", "visible", "occluded")
    }
    unit = "head" if benchmark.measure == "PCKh" else "torso"
    unsized = (truth.presence > 0).any(1) & ~(benchmark.size(truth) > 0)
    if not int(scores["all"].counted.sum()):
        why = f"the {unit} size of none of them is known" if unsized.any() else "none of them has an annotated joint"
        raise ValueError(f"of {len(predicted):,} people nobody can be scored by {benchmark.title}'s rules: {why}")
    curve = benchmark.score(predicted, truth, thresholds(benchmark.threshold), centric=centric)
    by_joint, total = auc(curve)
    hard = tuple(joint for joint in HARD_JOINTS if joint in benchmark.skeleton.joints)
    joints = {
        joint: {among: percent(score.fractions[j]) for among, score in scores.items()}
        | {"auc": percent(by_joint[j]), "counted": int(scores["all"].counted[j])}
        for j, joint in enumerate(benchmark.skeleton.joints)
    }
    means = {
        "all joints": {among: percent(score.mean) for among, score in scores.items()},
        "hard joints": {among: percent(score.average(hard)) for among, score in scores.items()},
    }
    result = {
        "dataset": benchmark.title,
        "measure": f"{benchmark.measure}@{benchmark.threshold:g}",
        "centric": centric,
        "people": len(predicted),
        "left_out": int(unsized.sum()),
        "left_out_for": f"{unit} size not known, or 0",
        "table": {k: percent(v / 100) for k, v in benchmark.table(scores["all"]).items()} | {"AUC": percent(total)},
        "joints": joints,
        "means": means,
        "hard_joints": list(hard),
    }
    if benchmark.skeleton is LSP:
        parts = pcp(predicted, truth, centric=centric, skeleton=LSP)
        result["pcp"] = {column: percent(parts.average(limbs)) for column, limbs in PCP_COLUMNS.items()}
        result["pcp"]["Mean"] = percent(parts.benchmark_mean)
    if tags is not None:
        result["challenges"] = {
            tag: {"images": int(which.sum()), "mean": _mean_of(benchmark, predicted, truth, which, tag, centric)}
            for tag, which in zip(TAGS, tags.unbind(1), strict=True)
        }
    return result


def _mean_of(
    benchmark: Benchmark, predicted: Tensor, truth: Sample | Truth, which: Tensor, tag: str, centric: str
) -> float | None:
    """The benchmark's own mean over those people of a challenge whose size is known, in percent."""
    if tag == "head_missing":
        return None
    some = Truth(truth.joints[which], truth.presence[which], truth.head_size[which], truth.torso_size[which])
    return percent(benchmark.score(predicted[which], some, centric=centric).benchmark_mean)


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def percent(fraction: float | Tensor) -> float | None:
    """A fraction in percent; None where nothing was counted."""
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
        rows.append([name, *(cell(row[key]) for key in ("all", "visible", "occluded", "auc")), f"{row['counted']:,}"])
    for name, row in result["means"].items():
        rows.append([names[name], *map(cell, row.values()), "", ""])
    width = max(len(row[0]) for row in rows)
    lines = (f"{row[0]:<{width}}" + "".join(f"{text:>10}" for text in row[1:]) for row in rows)
    blocks.append("\n".join(line.rstrip() for line in lines))
    if "challenges" in result:
        rows = [f"{'challenge':<14}{'images':>10}{result['measure']:>10}"]
        for name, row in result["challenges"].items():
            rows.append(f"{name:<14}{row['images']:>10,}{cell(row['mean']):>10}")
        blocks += ["\n".join(rows), "Without a head there is no head size to score by: LIP leaves such images out."]
    if result["left_out"]:
        blocks.append(f"Left out: {result['left_out']:,} people ({result['left_out_for']})")
    return "\n\n".join(blocks)


def _row(values: dict[str, float | None]) -> str:
    """Column names over their values."""
    widths = [max(len(name), 6) + 2 for name in values]
    lines = values, map(cell, values.values())
    return "\n".join("".join(f"{text:>{w}}" for text, w in zip(line, widths, strict=True)) for line in lines)


def cell(value: float | None) -> str:
    """A percentage as a table has it."""
    return "-" if value is None else f"{value:.2f}"
