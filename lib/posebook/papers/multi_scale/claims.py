"""What Ke et al. (ECCV 2018) claim, and how each claim is measured."""

from __future__ import annotations

from functools import partial

from torch import nn

from posebook.coordinates import Perturbation
from posebook.datasets import open_dataset
from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.evaluation.conditional import choose_thresholds, conditional_testing, scores_through_boxes
from posebook.evaluation.inference import evaluate, spread
from posebook.evaluation.metrics import Truth, impossible_limbs
from posebook.figures.dataset import Figures
from posebook.ledger.claim import Length, PaperClaims, SeedReadings, Variant, comparison, complete, details_of, minus
from posebook.papers.multi_scale.network import MultiScale
from posebook.papers.multi_scale.profiles import MILESTONES, PHASES
from posebook.papers.multi_scale.profiles import PROFILES as TRAINING
from posebook.sample import Dataset
from posebook.training.masking import KeypointMasking
from posebook.training.profile import ADAMW, Profile
from posebook.training.schedules import one_cycle, restarted

# One phase, of the MSS-net alone. "Life": other people walk by, whose joints are to be told from the person's.
_ALIKE = {"masking": None, "phases": (), "figures": {"difficulty": "life"}}
PROFILES = {
    "quick": TRAINING["quick"].but(
        size=32,
        settings={"stacks": 1, "features": 16, "depth": 2, "scales": 2},
        recipe={"steps": 20, "batch_size": 8, "learning_rate": 2e-3, "log_every": 1},
        schedule=one_cycle(0.1),
        test_images=64,
        **_ALIKE,
    ),
    # Two stacks, so that the MSR-net has more than one set of maps to compare.
    "study": TRAINING["study"].but(
        size=64,
        settings={"stacks": 2, "features": 48, "depth": 3, "scales": 3},
        recipe={"steps": 2000, "learning_rate": 4e-3},
        schedule=one_cycle(0.1),
        optimizer=ADAMW,
        test_images=2000,
        **_ALIKE,
    ),
    "paper": TRAINING["paper"].but(
        recipe={"steps": TRAINING["paper"].recipe.steps // 2}, schedule=MILESTONES, test_images=None, **_ALIKE
    ),
}


def _longer(plan: Profile) -> Profile:
    """Twice as many steps."""
    return plan.but(recipe={"steps": 2 * plan.recipe.steps})


def _in_phases(plan: Profile) -> Profile:
    """All of Sec. 4.1, twice as long: the MSS-net as it is trained alone, the MSR-net for half as long, and both.

    Departs: without masking in the last phase but for the variant of that name; the paper's 88.1 and 88.3 may be of
    networks that were not trained on jointly.
    """
    return _longer(plan).but(phases=PHASES, schedule=restarted(plan.schedule, PHASES))


VARIANTS = {
    "hourglass": Variant(MultiScale, {"scales": 1, "regression": False, "alpha": 0.0}),
    "supervision": Variant(MultiScale, {"regression": False, "alpha": 0.0}),
    "longer": Variant(MultiScale, {"regression": False, "alpha": 0.0}, profile=_longer),
    "regression": Variant(MultiScale, {"alpha": 0.0}, profile=_in_phases),
    "structure": Variant(MultiScale, profile=_in_phases),
    "masking": Variant(MultiScale, profile=lambda plan: _in_phases(plan).but(masking=KeypointMasking())),
    # Choices that the text leaves open.
    "maximum": Variant(MultiScale, {"combination": "maximum"}, profile=_in_phases),
    "cells": Variant(MultiScale, {"regression": False, "alpha": 0.0, "norm": "cells"}),
    "map": Variant(MultiScale, {"regression": False, "alpha": 0.0, "norm": "map"}),
}

# The paper's "6 scales". Open: which.
PYRAMID = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
SCALES = (0.6, 0.8, 1.25, 1.6)
SHIFTS = ((0.15, 0.0), (-0.15, 0.0), (0.0, 0.15), (0.0, -0.15))
# How many people the readings through perturbed boxes are of, and how many thresholds are chosen on.
_PERTURBED = 500


def readings(
    model: nn.Module, dataset: Dataset, count: int | None = None, train: Dataset | None = None, batch_size: int = 32
) -> dict[str, float | list[float | None]]:
    """Everything the claims need to know of a trained network: fractions over held-out people, no flip.

    All are means over joints, of PCKh@0.5 or of what the set's benchmark has in its place.

        company                  all joints, of people that others walk by (figures)
        limbs                    share of predicted limbs that are shorter or longer than nearly all true ones
        pyramid                  of the plain hourglass, over six scales
        box, box_scale, box_shift  of 500 people: through their own windows; mean over boxes of 0.6 to 1.6 their size;
                                 mean over boxes moved by 0.15 of it to four sides
        again, passes            with conditional testing, thresholds from validation people, of 500 test people, and
                                 the forward passes per person; of networks with an MSR-net

    With what `complete` adds.

    Args:
        model: `MultiScale`.
        dataset: held out.
        count: this many people spread evenly over the set; None takes all.
        train: the set that the network was trained on.
    """
    score = BENCHMARKS[dataset.skeleton.name].score
    predicted, _, truth = evaluate(model, dataset, count, batch_size)
    found = {"limbs": impossible_limbs(predicted, truth, dataset.skeleton)}
    if dataset.name == "figures":
        with_others = (dataset.company(spread(dataset, count)) > 0).cpu()
        some = Truth(*(value[with_others] for value in vars(truth).values()))
        found["company"] = float(score(predicted[with_others], some).mean)
    if model.settings["scales"] == 1:
        found["pyramid"] = float(score(*evaluate(model, dataset, count, batch_size, scales=PYRAMID)[::2]).mean)
    if hasattr(dataset, "perturbed"):
        found |= _through_boxes(model, dataset, min(count or _PERTURBED, _PERTURBED), batch_size)
    return complete(found, predicted, truth, dataset, train)


def _through_boxes(model: nn.Module, dataset: Dataset, count: int, batch_size: int) -> dict[str, float]:
    """The readings that are about boxes."""
    boxes = [Perturbation(scale=scale) for scale in SCALES] + [Perturbation(shift) for shift in SHIFTS]
    through = scores_through_boxes(model, dataset, boxes, count, batch_size)
    scaled, shifted = through[: len(SCALES)], through[len(SCALES) :]
    predicted, _, truth = evaluate(model, dataset, count, batch_size)
    score = BENCHMARKS[dataset.skeleton.name].score
    found = {
        "box": float(score(predicted, truth).mean),
        "box_scale": sum(scaled) / len(scaled),
        "box_shift": sum(shifted) / len(shifted),
    }
    if model.regression is not None:
        thresholds = choose_thresholds(model, _validation(dataset), count, batch_size=batch_size)
        again = conditional_testing(model, dataset, thresholds, count, batch_size)
        found |= {"again": float(score(again.joints, again.truth).mean), "passes": float(again.passes.float().mean())}
    return found


def _validation(dataset: Dataset) -> Dataset:
    """The validation people of the same set."""
    if dataset.name == "figures":
        return Figures("validation", dataset.size, dataset.device, dataset.seed, dataset.difficulty)
    return open_dataset(dataset.name, "validation", dataset.root, dataset.size, dataset.device)


_BESIDE = ("pckh", "visible", "occluded", "company", "limbs")
_claim = partial(comparison, "multi_scale", reading="pckh", beside=_BESIDE, paper_numbers="none")

_MEASURE = "PCKh@0.5 (PCK@0.2 on LSP's sets and FLIC), mean over the joints"


def _keeps(name: str) -> dict[str, object]:
    """The measure and details of a claim that the whole network loses less of its accuracy in perturbed boxes."""

    def measure(r: SeedReadings) -> float:
        kept = {variant: r[variant][name] - r[variant]["box"] for variant in ("structure", "hourglass")}
        return kept["structure"] - kept["hourglass"]

    return {"measure": measure, "details": details_of("structure", "hourglass", names=("box", name))}


CLAIMS = (
    _claim(
        "supervision",
        "Sec. 4.3, multi-scale supervision",
        "Supervising heat maps at every scale improves the hourglass.",
        f"{_MEASURE}, of the MSS-net minus that of the hourglass, one forward pass each. (The paper's hourglass "
        "had six scales.)",
        ("supervision", "hourglass"),
        paper_value=0.005,
        paper_numbers="MPII validation: 87.6 against 87.1",
    ),
    _claim(
        "pyramid",
        "Sec. 4.3, multi-scale supervision",
        "One forward pass of the MSS-net is better than the hourglass tested on six scales.",
        f"{_MEASURE}, of the MSS-net at the image's own scale minus that of the hourglass over six scales.",
        ("supervision", "hourglass"),
        measure=lambda r: r["supervision"]["pckh"] - r["hourglass"]["pyramid"],
        details=details_of("supervision", "hourglass", names=("pckh", "pyramid")),
        paper_value=0.005,
        paper_numbers="MPII validation: 87.6 against 87.1",
    ),
    _claim(
        "regression",
        "Sec. 4.3, multi-scale regression",
        "A network that looks at the heat maps of all scales and stacks improves them.",
        f"{_MEASURE}, with the MSR-net, trained in three phases, minus that of the MSS-net after the first of them.",
        ("regression", "supervision"),
        paper_value=0.005,
        paper_numbers="MPII validation: 88.1 against 87.6, which the text calls 0.4",
    ),
    _claim(
        "regression_alike",
        "Sec. 4.3, multi-scale regression",
        "The MSR-net improves accuracy more than training the MSS-net alone for as long does.",
        f"{_MEASURE}, with the MSR-net minus that of the MSS-net alone, trained for as many steps. (Not in the paper.)",
        ("regression", "longer"),
    ),
    _claim(
        "structure",
        "Sec. 4.3, structure-aware loss",
        "The structure-aware loss improves on the loss of single joints.",
        f"{_MEASURE}, with eq. (2) minus that with eq. (1).",
        ("structure", "regression"),
        paper_value=0.002,
        paper_numbers="MPII validation: 88.3 against 88.1, which the text calls 0.3",
    ),
    _claim(
        "masking",
        "Sec. 4.3, keypoint masking",
        "Keypoint masking in the last phase improves the network.",
        f"{_MEASURE}, with masking in the last quarter of the run minus that without.",
        ("masking", "structure"),
        paper_value=0.001,
        paper_numbers="MPII validation: 88.4 against 88.3",
    ),
    _claim(
        "whole",
        "Sec. 4.3",
        "All parts together improve the hourglass.",
        f"{_MEASURE}, with all parts minus that of the hourglass.",
        ("masking", "hourglass"),
        paper_value=0.013,
        paper_numbers="MPII validation: 88.4 against 87.1",
    ),
    _claim(
        "masking_occluded",
        "Sec. 3.4",
        "Keypoint masking helps to find occluded joints.",
        f"{_MEASURE} over occluded joints, with masking minus that without.",
        ("masking", "structure"),
        reading="occluded",
        sets=("figures", "lsp", "mpii", "lip"),
    ),
    _claim(
        "masking_company",
        "Sec. 3.4",
        "Keypoint masking helps where another person is near.",
        f"{_MEASURE} over people that others walk by, with masking minus that without.",
        ("masking", "structure"),
        reading="company",
        sets=("figures",),
    ),
    _claim(
        "limbs",
        "Sec. 3.3",
        "The structure-aware loss makes impossible limbs rarer.",
        "The share of predicted limbs whose length is outside the 1st to 99th percentile of true ones, with eq. (1) "
        "minus that with eq. (2).",
        ("structure", "regression"),
        measure=minus("regression", "structure", name="limbs"),
    ),
    _claim(
        "scale",
        "Sec. 1 and 3.1",
        "The network is more robust to boxes of another size than the hourglass.",
        f"{_MEASURE} through boxes of 0.6 to 1.6 the person's window, minus that through the window; of the network "
        "with all but masking, minus the same of the hourglass.",
        ("structure", "hourglass"),
        **_keeps("box_scale"),
    ),
    _claim(
        "shift",
        "Sec. 1",
        "The network is more robust to boxes at another location than the hourglass.",
        f"{_MEASURE} through boxes that are moved by 0.15 of their side, minus that through the window; of the network "
        "with all but masking, minus the same of the hourglass.",
        ("structure", "hourglass"),
        **_keeps("box_shift"),
    ),
    _claim(
        "conditional",
        "Sec. 4.1, testing",
        "Looking again where confidence is low finds better poses.",
        f"{_MEASURE}, with conditional testing minus that of one forward pass; beside it the passes per person.",
        ("masking",),
        measure=lambda r: r["masking"]["again"] - r["masking"]["box"],
        details=details_of("masking", names=("again", "box", "passes")),
    ),
    _claim(
        "sum",
        "Sec. 3.3, eq. (2)",
        "Of the combinations that the text leaves open, the sum is better than the maximum.",
        f"{_MEASURE}, with the sum of connected joints' heat maps minus that with their maximum. (Not in the paper.)",
        ("structure", "maximum"),
    ),
    _claim(
        "cells",
        "Sec. 3.1, eq. (1)",
        "The norm that eq. (1) prints, of single cells, is no better than the square.",
        f"{_MEASURE}, with the square minus that with the sum of absolute differences. (Not in the paper.)",
        ("supervision", "cells"),
    ),
    _claim(
        "map",
        "Sec. 3.3, eq. (2)",
        "The norm that eq. (2) prints, of whole maps, is no better than the square.",
        f"{_MEASURE}, with the square minus that with the norm of each map. (Not in the paper.)",
        ("supervision", "map"),
    ),
)

LEDGER = PaperClaims(
    slug="multi_scale",
    profiles=PROFILES,
    variants=VARIANTS,
    readings=readings,
    length=Length("structure", "pckh", "mean_pose"),
    claims=CLAIMS,
)
