"""The claims of Tang, Wu: *Does Learning Specific Features for Related Parts Help Human Pose Estimation?*, CVPR 2019,
and what they are measured by.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from torch import nn

from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.evaluation.inference import evaluate, occlusion_curve
from posebook.ledger.claim import Length, PaperClaims, Variant, comparison, complete, details_of, minus
from posebook.papers.part_groups.network import PartGroups
from posebook.papers.part_groups.profiles import PROFILES as TRAINING
from posebook.sample import Dataset
from posebook.skeleton import HARD_JOINTS
from posebook.training.profile import ADAMW

# All variants are trained alike, by steps, so that a run can be repeated to the bit.
PROFILES = {
    "quick": TRAINING["quick"].but(
        size=32,
        settings={"features": 16, "depth": 2, "width": 8},
        recipe={"steps": 20, "batch_size": 8, "learning_rate": 2e-3},
        test_images=64,
    ),
    # One person before a quiet background, behind objects: in the time that 49 runs have, figures among other people
    # are learnt too little to tell networks apart.
    "study": TRAINING["study"].but(
        size=64,
        small=None,
        figures={"difficulty": "objects"},
        settings={"features": 64, "depth": 2, "width": 16},
        recipe={"steps": 2000, "learning_rate": 4e-3},
        optimizer=ADAMW,
        test_images=2000,
    ),
    # Sec. 4.3: the ablations are of three stacks and tested on one scale.
    "paper": TRAINING["paper"].but(settings={"stacks": 3}, test_images=None),
}


def _width(factor: int | float) -> Callable[[dict], dict]:
    """Branches so many times as wide as the profile's, whose W stands for the paper's 64."""
    return lambda settings: {"width": max(2, round(factor * settings["width"]))}


def _more_stacks(**settings: str) -> Callable[[dict], dict]:
    """What goes on from stack to stack needs two of them at least."""
    return lambda given: {"stacks": max(2, given["stacks"])} | settings


VARIANTS = {
    "branches": Variant(PartGroups),
    "baseline": Variant(PartGroups, {"variant": "baseline"}),
    "deep_baseline": Variant(PartGroups, {"variant": "deep_baseline"}),
    "blocks_2": Variant(PartGroups, {"blocks": 2}),
    "blocks_3": Variant(PartGroups, {"blocks": 3}),
    "width_quarter": Variant(PartGroups, _width(0.25)),
    "width_half": Variant(PartGroups, _width(0.5)),
    "width_double": Variant(PartGroups, _width(2)),
    "body": Variant(PartGroups, {"groups": "body"}),
    "two": Variant(PartGroups, {"groups": "two"}),
    "eight": Variant(PartGroups, {"groups": "eight"}),
    "each": Variant(PartGroups, {"groups": "each"}),
    "overlapping": Variant(PartGroups, {"groups": "overlapping"}),
    "shared": Variant(PartGroups, _more_stacks()),
    "specific": Variant(PartGroups, _more_stacks(propagate="specific")),
    "no_ankles": Variant(PartGroups, {"variant": "baseline", "leave_out": "r_ankle l_ankle"}),
}

# Joints above the hips, and those below the waist that are still tasks where ankles are not.
UPPER = (
    "thorax", "upper_neck", "neck", "head_top", "r_wrist", "r_elbow", "r_shoulder", "l_shoulder", "l_elbow", "l_wrist",
)  # fmt: skip
LOWER = ("r_knee", "r_hip", "l_hip", "l_knee", "pelvis")

# Shares of hidden joints that figures are swept over, and how many people each.
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
SWEPT = 500

# Where the paper calls a difference none ("hardly", "not always"), this much counts as none: half a percentage point.
NONE = 0.005


def readings(
    model: nn.Module, dataset: Dataset, count: int | None = None, train: Dataset | None = None, batch_size: int = 32
) -> dict[str, float | list[float | None]]:
    """Everything the claims need to know of a trained network: fractions over held-out people, one scale, no flip.

    All are means over joints, of PCKh@0.5 or of what the set's benchmark has in its place.

        hard                            the ten hard joints of Sec. 4.3, which the paper's ablations are about
        hard_visible, hard_occluded     of these, where the set tells
        upper, lower                    joints above the hips; hips, pelvis and knees
        share_0.3, share_0.3_occluded   on figures of whose joints 0.3 are hidden, and so on: all joints, and the hidden

    With what `complete` adds.

    Args:
        model: `PartGroups`.
        dataset: held out.
        count: this many people spread evenly over the set; None takes all.
        train: the set that the network was trained on.
    """
    benchmark = BENCHMARKS[dataset.skeleton.name]
    predicted, _, truth = evaluate(model, dataset, count, batch_size)
    scores = {among: benchmark.score(predicted, truth, among=among) for among in ("all", "visible", "occluded")}
    own = set(dataset.skeleton.joints)

    def average(among: str, names: tuple[str, ...]) -> float:
        return float(scores[among].average(tuple(name for name in names if name in own)))

    found = {"hard": average("all", HARD_JOINTS)}
    found |= {f"hard_{among}": average(among, HARD_JOINTS) for among in ("visible", "occluded")}
    found |= {"upper": average("all", UPPER), "lower": average("all", LOWER)}
    if dataset.name == "figures":
        people = min(len(truth), SWEPT)
        curve = occlusion_curve(model, SHARES, people, batch_size=batch_size, difficulty=dataset.difficulty)
        for share, everything, hidden in zip(SHARES, curve["all"], curve["occluded"], strict=True):
            found[f"share_{share:g}"] = everything
            found[f"share_{share:g}_occluded"] = math.nan if hidden is None else hidden
    return complete(found, predicted, truth, dataset, train)


# What claims compare unless they say otherwise.
_minus = partial(minus, name="hard")
_BESIDE = ("hard", "hard_visible", "hard_occluded", "pckh")
_details = partial(details_of, names=_BESIDE)
_claim = partial(comparison, "part_groups", reading="hard", beside=_BESIDE, paper_numbers="in a figure alone")

_HARD = "PCKh@0.5 (PCK@0.2 on LSP's sets) over the ten hard joints"

CLAIMS = (
    _claim(
        "baseline",
        "Sec. 4.3, Fig. 5(c)",
        "The baseline, without branches and with a linear layer for the heat maps of all parts, performs much worse.",
        f"{_HARD}, minus that of the baseline.",
        ("branches", "baseline"),
    ),
    _claim(
        "deep_baseline",
        "Sec. 4.3, Fig. 5(c), Table 6",
        "With fewer parameters, learning specific features clearly outperforms the deep baseline.",
        f"{_HARD}, minus that of the deep baseline.",
        ("branches", "deep_baseline"),
        paper_value=0.0040,
        paper_numbers="eight stacks, MPII validation, hard joints: 88.14 against 87.74",
    ),
    _claim(
        "occluded",
        "Abstract, Sec. 4.3, Table 6",
        "Specific features significantly improve the localization of occluded parts, and retain the accuracy for "
        "visible ones.",
        "Gain over the deep baseline on occluded hard joints, minus the gain on visible ones.",
        ("branches", "deep_baseline"),
        measure=lambda r: (
            _minus("branches", "deep_baseline", name="hard_occluded")(r)
            - _minus("branches", "deep_baseline", name="hard_visible")(r)
        ),
        details=lambda r: {
            "gain, occluded": _minus("branches", "deep_baseline", name="hard_occluded")(r),
            "gain, visible": _minus("branches", "deep_baseline", name="hard_visible")(r),
            **_details("branches", "deep_baseline")(r),
        },
        paper_value=0.0121,
        paper_numbers="invisible 71.59 against 70.29, visible 93.31 against 93.22",
    ),
    _claim(
        "sweep",
        "Abstract",
        "The approach has an outstanding advantage when occlusion occurs.",
        "Gain of PCKh@0.5 over the deep baseline on figures half of whose joints are hidden, minus the gain where none "
        "are. (The same people both times; on figures alone.)",
        ("branches", "deep_baseline"),
        measure=lambda r: (
            _minus("branches", "deep_baseline", name="share_0.5")(r)
            - _minus("branches", "deep_baseline", name="share_0")(r)
        ),
        details=_details(
            "branches",
            "deep_baseline",
            names=tuple(f"share_{share:g}{among}" for share in SHARES for among in ("", "_occluded")),
        ),
        paper_numbers="none of its own",
    ),
    _claim(
        "depth",
        "Sec. 4.3, Fig. 5(a)",
        "More residual blocks in the branches (D = 2, 3 instead of 1) generally worsen pose estimation.",
        f"{_HARD} with D = 1, minus the mean of those with D = 2 and D = 3.",
        ("branches", "blocks_2", "blocks_3"),
        measure=lambda r: r["branches"]["hard"] - (r["blocks_2"]["hard"] + r["blocks_3"]["hard"]) / 2,
    ),
    _claim(
        "width",
        "Sec. 4.3, Fig. 5(b)",
        "More channels in the branches do not always lead to a gain: W = 64 of the trunk's 256 is a good balance.",
        f"{_HARD} with branches a quarter of the trunk wide, minus that with a half; no gain is less than half a "
        "point.",
        ("branches", "width_double", "width_half", "width_quarter"),
        bound=-NONE,
    ),
    _claim(
        "grouping",
        "Sec. 4.3, Fig. 5(d)",
        "Groups by mutual information always outperform those by the body's structure.",
        f"{_HARD} with the five groups, minus that with the body's six.",
        ("branches", "body"),
    ),
    _claim(
        "more_groups",
        "Sec. 4.3, Fig. 5(e)",
        "From 2 groups to 5 the performance grows.",
        f"{_HARD} with the five groups, minus that with two.",
        ("branches", "two"),
    ),
    _claim(
        "enough_groups",
        "Sec. 4.3, Fig. 5(e)",
        "More than 5 groups can hardly result in further improvement.",
        f"{_HARD} with five groups, minus the mean of those with 8 and 16; hardly is less than half a "
        "percentage point.",
        ("branches", "eight", "each"),
        measure=lambda r: r["branches"]["hard"] - (r["eight"]["hard"] + r["each"]["hard"]) / 2,
        bound=-NONE,
    ),
    _claim(
        "overlapping",
        "Sec. 4.3, Fig. 5(f)",
        "Overlapping groups do not improve the performance.",
        f"{_HARD} with the five groups, minus that with each shoulder in its arm's group too; no gain is less than "
        "half a percentage point.",
        ("branches", "overlapping"),
        bound=-NONE,
    ),
    _claim(
        "propagation",
        "Sec. 3.3, 4.3",
        "Propagating shared features to the next stack generally works better than specific ones.",
        f"{_HARD} with shared features propagated (two stacks or the profile's), minus that with specific ones.",
        ("shared", "specific"),
        paper_value=0.0009,
        paper_numbers="three stacks 87.30 against 87.21, eight stacks 88.14 against 87.68",
    ),
    _claim(
        "ankles_upper",
        "Sec. 4.3, negative transfer",
        "Without ankles among its tasks, an hourglass network is better at the upper body.",
        "PCKh@0.5 (PCK@0.2) over joints above the hips of the baseline trained without ankles, minus that of the "
        "baseline.",
        ("no_ankles", "baseline"),
        measure=_minus("no_ankles", "baseline", name="upper"),
        details=_details("no_ankles", "baseline", names=("upper", "lower")),
        paper_value=0.0030,
        paper_numbers="0.30 %",
    ),
    _claim(
        "ankles_lower",
        "Sec. 4.3, negative transfer",
        "Without ankles among its tasks, an hourglass network is worse at the lower body.",
        "PCKh@0.5 (PCK@0.2) over hips, pelvis and knees of the baseline, minus that of the baseline trained without "
        "ankles.",
        ("baseline", "no_ankles"),
        measure=_minus("baseline", "no_ankles", name="lower"),
        details=_details("baseline", "no_ankles", names=("upper", "lower")),
        paper_value=0.0045,
        paper_numbers="0.45 %",
    ),
)

LEDGER = PaperClaims(
    slug="part_groups",
    profiles=PROFILES,
    variants=VARIANTS,
    readings=readings,
    length=Length("branches", "pckh", "mean_pose"),
    claims=CLAIMS,
)
