"""How good predictions are: PCK, PCKh, AUC, PCP by joint and by visibility; accuracy and IoU of parsing.

Everything is counted for whole batches at once. A `Score` keeps counts, not means, so that the scores of batches
add up to exactly the score of the whole set:

    score = pckh(predicted, sample, threshold=0.5)
    score.fractions, score.mean, score.benchmark_mean

A joint that is not annotated is not counted. A prediction that is not a number is wrong.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from posebook.sample import Sample
from posebook.skeleton import IGNORE_LABEL, MPII, OCCLUDED, PARTS, SKELETONS, VISIBLE, Skeleton

AMONG = {"all": None, "visible": VISIBLE, "occluded": OCCLUDED}
CENTRIC = ("person", "observer")

# The joints that a benchmark's own mean covers, where it does not cover all. LIP leaves out the same two as MPII.
RANKED = {
    "mpii": tuple(name for name in MPII.joints if name not in ("pelvis", "thorax")),
    "flic": ("l_elbow", "l_wrist", "r_elbow", "r_wrist"),
}


@dataclass
class Truth:
    """The labels that scoring needs, where there are no images; a `Sample` serves as well.

    Attributes:
        joints: (x, y) in pixels; meaningless where `presence` is 0.
        presence: 0 not annotated, 1 occluded, 2 visible.
        head_size: what PCKh divides by, in pixels; a person whose size is NaN is not counted.
        torso_size: what PCK divides by, in pixels; likewise.
    """

    joints: Float[Tensor, "b j 2"]
    presence: Shaped[Tensor, "b j"]
    head_size: Float[Tensor, " b"]
    torso_size: Float[Tensor, " b"]

    def __len__(self) -> int:
        return len(self.joints)


@dataclass(frozen=True)
class Score:
    """How many were right of how many counted, by joint (or by limb). Scores of several batches add up: `a + b`.

    Attributes:
        correct: how many were right; with thresholds in front where there was a row of them.
        counted: how many there were to get right.
        names: the joints or limbs, in order.
        ranked: those that the benchmark's own mean covers.
    """

    correct: Int[Tensor, "*t n"]
    counted: Int[Tensor, " n"]
    names: tuple[str, ...]
    ranked: tuple[str, ...]

    @property
    def fractions(self) -> Float[Tensor, "*t n"]:
        """Right answers in [0, 1]; NaN where nothing was counted."""
        return self.correct / self.counted

    @property
    def mean(self) -> Float[Tensor, "*t"]:
        """The plain mean over joints, those that never occur left out."""
        return self.fractions.nanmean(-1)

    @property
    def benchmark_mean(self) -> Float[Tensor, "*t"]:
        """The benchmark's own mean: every answer counts the same, over the joints it ranks by."""
        return self.pooled(self.ranked)

    def pooled(self, names: tuple[str, ...]) -> Float[Tensor, "*t"]:
        """Right answers of all these joints together, so that a joint weighs as much as it is annotated."""
        places = self._places(names)
        return self.correct[..., places].sum(-1) / self.counted[places].sum()

    def average(self, names: tuple[str, ...]) -> Float[Tensor, "*t"]:
        """The plain mean of these joints' fractions, those that never occur left out."""
        return self.fractions[..., self._places(names)].nanmean(-1)

    def _places(self, names: tuple[str, ...]) -> list[int]:
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise ValueError(f"the score has no '{unknown[0]}'; it has {', '.join(self.names)}")
        return [self.names.index(name) for name in names]

    def __add__(self, other: Score) -> Score:
        if self.names != other.names or self.correct.shape != other.correct.shape:
            raise ValueError("two scores add up only when they are of the same joints at the same thresholds")
        return Score(self.correct + other.correct, self.counted + other.counted, self.names, self.ranked)


def distances(
    predicted: Float[Tensor, "b j 2"],
    joints: Float[Tensor, "b j 2"],
    presence: Shaped[Tensor, "b j"],
    size: Float[Tensor, " b"],
    among: str = "all",
) -> Float[Tensor, "b j"]:
    """Distances from prediction to truth in units of each person's size.

    Args:
        size: head or torso, in the joints' pixels.
        among: "all", "visible" or "occluded" joints.

    Returns:
        NaN where there is nothing to count (not annotated, not among those asked for, no size known), infinity where
        the prediction is not a number.
    """
    counted = _counted(presence, among) & (size > 0)[:, None]
    length = (predicted - joints).norm(dim=-1) / size[:, None]
    return torch.where(counted, length.nan_to_num(nan=torch.inf, posinf=torch.inf), torch.nan)


def _counted(presence: Tensor, among: str) -> Tensor:
    if among not in AMONG:
        raise ValueError(f"among must be one of {', '.join(AMONG)}, not '{among}'")
    return presence > 0 if AMONG[among] is None else presence == AMONG[among]


def thresholds(limit: float = 0.5, step: float = 0.01) -> Float[Tensor, " t"]:
    """Thresholds 0, 0.01, ... up to and with the limit: those that AUC is a mean over."""
    # Steps are counted in whole numbers and then divided, so that 0.5 is exactly 0.5.
    count = round(limit / step)
    return torch.arange(count + 1, dtype=torch.float64) * limit / count


def score(
    distance: Float[Tensor, "b j"], threshold: float | Float[Tensor, " t"], skeleton: Skeleton | None = None
) -> Score:
    """Counts of the distances within a threshold, or within each of a row of them: the accuracy curve.

    Args:
        distance: as `distances` gives them: NaN is not counted, infinity is wrong.
        threshold: in the distances' unit; a distance equal to it is right.
        skeleton: the order of the joints; None takes the order with so many joints, if there is but one (14 joints
            are LSP's or PASCAL's).
    """
    skeleton = _skeleton(distance.shape[1], skeleton)
    # Rounded as the distances are, so that a distance equal to the threshold is right in either precision.
    limit = torch.as_tensor(threshold, dtype=distance.dtype, device=distance.device)[..., None, None]
    return Score(
        (distance <= limit).sum(-2),
        (~distance.isnan()).sum(0),
        skeleton.joints,
        RANKED.get(skeleton.name, skeleton.joints),
    )


def pckh(
    predicted: Float[Tensor, "b j 2"],
    truth: Sample | Truth,
    threshold: float | Float[Tensor, " t"] = 0.5,
    among: str = "all",
    centric: str = "person",
    skeleton: Skeleton | None = None,
) -> Score:
    """Percentage of correct keypoints, of head size (Andriluka et al., CVPR 2014): distance <= threshold x head size.

    Args:
        predicted: (x, y) in the truth's pixels.
        threshold: one, or a row of them for the accuracy curve.
        among: "all", "visible" or "occluded" joints.
        centric: "person" or "observer", see `image_sides`.
        skeleton: as in `score`.

    Raises:
        ValueError: arguments that are none of these, predictions of another shape than the truth's joints, or joints
            whose order is not known.
    """
    return _pck(predicted, truth, truth.head_size, threshold, among, centric, skeleton)


def pck(
    predicted: Float[Tensor, "b j 2"],
    truth: Sample | Truth,
    threshold: float | Float[Tensor, " t"] = 0.2,
    among: str = "all",
    centric: str = "person",
    skeleton: Skeleton | None = None,
) -> Score:
    """Percentage of correct keypoints, of torso size (Sapp and Taskar, CVPR 2013): left shoulder to right hip.

    Arguments as in `pckh`.
    """
    return _pck(predicted, truth, truth.torso_size, threshold, among, centric, skeleton)


def _pck(predicted, truth, size, threshold, among, centric, skeleton) -> Score:
    skeleton = _skeleton(truth.joints.shape[1], skeleton)
    predicted, joints, presence = _sides(predicted, truth, centric, skeleton)
    return score(distances(predicted, joints, presence, size, among), threshold, skeleton)


def auc(curve: Score) -> tuple[Float[Tensor, " n"], Float[Tensor, ""]]:
    """Area under an accuracy curve: the mean over its thresholds, by joint and of the benchmark's mean.

    Args:
        curve: a score over a row of thresholds; `thresholds(0.5)` for PCKh.
    """
    if curve.correct.ndim != 2:
        raise ValueError("AUC is the mean over a row of thresholds: score with threshold=thresholds(0.5)")
    return curve.fractions.mean(0), curve.benchmark_mean.mean(0)


_LIMB_NAMES = {
    frozenset(("ankle", "knee")): "lower_leg",
    frozenset(("knee", "hip")): "upper_leg",
    frozenset(("wrist", "elbow")): "forearm",
    frozenset(("elbow", "shoulder")): "upper_arm",
    frozenset(("pelvis", "thorax")): "torso",
    frozenset(("upper_neck", "head_top")): "head",
    frozenset(("neck", "head_top")): "head",
}


def pcp(
    predicted: Float[Tensor, "b j 2"],
    truth: Sample | Truth,
    threshold: float = 0.5,
    among: str = "all",
    centric: str = "person",
    skeleton: Skeleton | None = None,
) -> Score:
    """Percentage of correct parts, strict (Eichner et al., IJCV 2012): both ends within half the limb's length.

    An order without a pelvis (LSP) scores the torso too, from between the hips to between the shoulders.

    Args:
        threshold: how far off both ends may lie, in limb lengths.
        among: "all" limbs, those with both ends "visible", or those with an "occluded" end.
        centric, skeleton: as in `pckh`.

    Raises:
        ValueError: an order of joints whose limbs PCP does not score (FLIC).
    """
    skeleton = _skeleton(truth.joints.shape[1], skeleton)
    if not skeleton.pcp_limbs:
        raise ValueError(f"no limbs are defined for PCP on {skeleton.name}: use pck")
    predicted, joints, presence = _sides(predicted, truth, centric, skeleton)
    ends, names = skeleton.pairs(skeleton.pcp_limbs), [_limb_name(*limb) for limb in skeleton.pcp_limbs]
    if "pelvis" not in skeleton.joints:
        middles = skeleton.pairs((("l_hip", "r_hip"), ("l_shoulder", "r_shoulder")))
        predicted = torch.cat([predicted, predicted[:, middles].mean(2)], 1)
        joints = torch.cat([joints, joints[:, middles].mean(2)], 1)
        presence = torch.cat([presence, presence[:, middles].amin(2)], 1)
        ends, names = [*ends, (len(skeleton), len(skeleton) + 1)], [*names, "torso"]
    a, b = torch.tensor(ends, device=joints.device).unbind(1)
    length = (joints[:, a] - joints[:, b]).norm(dim=-1)
    error = (predicted - joints).norm(dim=-1)
    correct = torch.maximum(error[:, a], error[:, b]) <= threshold * length
    # The presence of a limb is that of its less visible end.
    counted = _counted(torch.minimum(presence[:, a], presence[:, b]), among)
    return Score((correct & counted).sum(0), counted.sum(0), tuple(names), tuple(names))


def impossible_limbs(
    predicted: Float[Tensor, "b j 2"],
    truth: Sample | Truth,
    skeleton: Skeleton | None = None,
    between: tuple[float, float] = (0.01, 0.99),
) -> float:
    """The share of predicted limbs that are shorter or longer than nearly all true ones; of true limbs it is 2 %.

    Lengths are in head sizes, or in torso sizes where the set has no heads; people without one are left out. Each limb
    has its own range: quantiles of its true lengths among the people given. Limbs count whose two ends are there.

    Args:
        skeleton: as in `pckh`.
        between: the quantiles of true lengths that a limb lies between.
    """
    skeleton = _skeleton(truth.joints.shape[1], skeleton)
    a, b = torch.tensor(skeleton.pairs(skeleton.limbs), device=predicted.device).unbind(1)
    unit = (truth.torso_size if truth.head_size.isnan().all() else truth.head_size)[:, None]
    there = (truth.presence[:, a] > 0) & (truth.presence[:, b] > 0) & (unit > 0)
    true, found = (
        torch.where(there, (joints[:, a] - joints[:, b]).norm(dim=-1) / unit, torch.nan)
        for joints in (truth.joints, predicted)
    )  # (b, limbs)
    low, high = torch.nanquantile(true, true.new_tensor(between), dim=0)
    return float(((found < low) | (found > high)).sum() / there.sum())


def _limb_name(a: str, b: str) -> str:
    side = a[:2] if a[:2] in ("l_", "r_") else ""
    return side + _LIMB_NAMES.get(frozenset(n.removeprefix("l_").removeprefix("r_") for n in (a, b)), f"{a}-{b}")


@functools.cache
def _leads(skeleton: Skeleton) -> tuple[list[int], list[int]]:
    """For each joint, the left and the right joint whose places decide which side it is on."""
    lead = {"elbow": "shoulder", "wrist": "shoulder", "knee": "hip", "ankle": "hip"}

    def leader(name: str, side: str) -> int:
        if name[:2] not in ("l_", "r_"):
            return skeleton.index(name)
        return skeleton.index(side + lead.get(name[2:], name[2:]))

    return [leader(n, "l_") for n in skeleton.joints], [leader(n, "r_") for n in skeleton.joints]


def image_sides(
    joints: Float[Tensor, "b j 2"], presence: Shaped[Tensor, "b j"], skeleton: Skeleton
) -> Bool[Tensor, "b j"]:
    """Which joints trade names with their mirror joints when labels go from person- to observer-centric.

    Person-centric labels call left what is the person's own left; observer-centric ones (Eichner and Ferrari, ACCV
    2012, for LSP) what is on the image's left. A limb keeps together: an arm is named by where its shoulder is, a leg
    by its hip. Where either shoulder (hip) is not annotated, the person's own side stays.

    Open: LSP's observer-centric labels were made by hand and are a file of their own; this rule follows from the
    person-centric ones and is what FLIC's observer-centric evaluation does with its shoulders.
    """
    left, right = _leads(skeleton)
    known = (presence[:, left] > 0) & (presence[:, right] > 0)
    return known & (joints[:, left, 0] > joints[:, right, 0])


def observer_centric(
    joints: Float[Tensor, "b j 2"], presence: Shaped[Tensor, "b j"], skeleton: Skeleton
) -> tuple[Float[Tensor, "b j 2"], Shaped[Tensor, "b j"]]:
    """Person-centric labels as observer-centric ones, by the rule of `image_sides`: to train on, or to score by."""
    swap = image_sides(joints, presence, skeleton)
    mirrored = joints[:, skeleton.mirror], presence[:, skeleton.mirror]
    return torch.where(swap[..., None], mirrored[0], joints), torch.where(swap, mirrored[1], presence)


def _sides(predicted: Tensor, truth: Sample | Truth, centric: str, skeleton: Skeleton) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions, joints and presence, each named by its own places where the score is observer-centric."""
    if predicted.shape != truth.joints.shape:
        raise ValueError(
            f"predictions are {tuple(predicted.shape)} and annotations {tuple(truth.joints.shape)}: they must agree"
        )
    if centric not in CENTRIC:
        raise ValueError(f"centric must be 'person' or 'observer', not '{centric}'")
    if centric == "person":
        return predicted, truth.joints, truth.presence
    # The predictions' limbs are renamed only where the truth's can be, or right answers would turn wrong.
    guess, _ = observer_centric(predicted, truth.presence, skeleton)
    return guess, *observer_centric(truth.joints, truth.presence, skeleton)


def _skeleton(joints: int, skeleton: Skeleton | None) -> Skeleton:
    if skeleton is not None:
        if len(skeleton) != joints:
            raise ValueError(f"{skeleton.name} has {len(skeleton)} joints and the annotations have {joints}")
        return skeleton
    fitting = [s for s in SKELETONS.values() if len(s) == joints]
    if len(fitting) != 1:
        # PASCAL's order is LSP's with another name for the last joint: their number does not tell them apart.
        orders = f", {' or '.join(s.name for s in fitting)}" if fitting else ""
        raise ValueError(f"which order do these {joints} joints have{orders}? Give the skeleton")
    return fitting[0]


@dataclass(frozen=True)
class ParsingScore:
    """What parsing benchmarks print, in [0, 1].

    Attributes:
        pixel_accuracy: share of the pixels labelled right.
        class_accuracy: the same among each class's own pixels; NaN for a class that never occurs.
        iou: intersection over union by class; NaN for a class that neither occurs nor is predicted.
        mean_accuracy, mean_iou: plain means over the classes, NaN left out.
    """

    pixel_accuracy: Float[Tensor, ""]
    class_accuracy: Float[Tensor, " c"]
    iou: Float[Tensor, " c"]
    mean_accuracy: Float[Tensor, ""]
    mean_iou: Float[Tensor, ""]


def confusion(
    predicted: Shaped[Tensor, "b h w"], parsing: Shaped[Tensor, "b h w"], classes: int = len(PARTS)
) -> Int[Tensor, "b classes classes"]:
    """How many pixels of each class (row) were given each label (column), image by image.

    Sum over the images of a batch, of a challenge (`matrix[sample.tags[:, 0]].sum(0)`) or of a size, add batches up,
    and hand the sum to `parsing_score`. Pixels labelled 255 are left out.

    Raises:
        ValueError: a label that is none of the classes.
    """
    kept = parsing != IGNORE_LABEL
    truth, guess = parsing[kept].long(), predicted[kept].long()
    for what, labels in (("true", truth), ("predicted", guess)):
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ValueError(
                f"{what} labels must lie in 0 to {classes - 1}; there are {labels.min()} to {labels.max()}"
            )
    image = torch.arange(len(parsing), device=parsing.device)[:, None, None].expand(parsing.shape)[kept]
    cells = (image * classes + truth) * classes + guess
    return cells.bincount(minlength=len(parsing) * classes**2).view(len(parsing), classes, classes)


def parsing_score(matrix: Int[Tensor, "c labels"]) -> ParsingScore:
    """Pixel accuracy, mean class accuracy and mean IoU from a confusion matrix (rows: truth).

    Columns beyond the classes count pixels that were given a label which is none of them: always wrong.
    """
    right, true, guessed = matrix.diag(), matrix.sum(1), matrix.sum(0)[: len(matrix)]
    accuracy, iou = right / true, right / (true + guessed - right)
    return ParsingScore(right.sum() / matrix.sum(), accuracy, iou, accuracy.nanmean(), iou.nanmean())
