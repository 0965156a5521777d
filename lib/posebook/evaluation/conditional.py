"""How robust a network is to perturbed boxes, and the conditional testing of Ke et al.

Ke, Chang, Qi, Lyu, *Multi-Scale Structure-Aware Network for Human Pose Estimation* (ECCV 2018), Sec. 4.1: where the
confidence of a joint is low, the person's box is perturbed and looked into again; what was found with confidence is
fused.

    thresholds = choose_thresholds(network, validation_set, count=500)
    found = conditional_testing(network, test_set, thresholds, count=500)
    print(benchmark.score(found.joints, found.truth).mean, found.passes.float().mean())
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from posebook.coordinates import Perturbation
from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.evaluation.inference import evaluate, predict, spread
from posebook.evaluation.metrics import Truth
from posebook.sample import Dataset

# Open: the paper does not say how boxes are perturbed. Here they are made smaller and larger, and moved to four sides.
BOXES = (
    Perturbation(scale=0.85), Perturbation(scale=1.2),
    Perturbation(shift=(0.08, 0.0)), Perturbation(shift=(-0.08, 0.0)),
    Perturbation(shift=(0.0, 0.08)), Perturbation(shift=(0.0, -0.08)),
)  # fmt: skip

# Thresholds are looked for among these quantiles of a joint's confidence on validation people.
_TAU_C = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
_TAU_S = (0.0, 0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Thresholds:
    """When to look again, where, and what to fuse.

    Attributes:
        tau_c: a confidence per joint: below it, the person is looked at again.
        tau_s: joints that were found with this confidence or more are averaged. It is a peak's height, and may be
            negative.
        boxes: looked into one after the other.
    """

    tau_c: Float[Tensor, " j"]
    tau_s: float
    boxes: tuple[Perturbation, ...] = BOXES


@dataclass(frozen=True)
class Fused:
    """What conditional testing finds.

    Attributes:
        joints: in pixels of the people's own windows.
        confidence: of each joint, the highest of its trials.
        passes: how often the network looked at each person.
        truth: labels in the people's own windows.
    """

    joints: Float[Tensor, "n j 2"]
    confidence: Float[Tensor, "n j"]
    passes: Int[Tensor, " n"]
    truth: Truth


def scores_through_boxes(
    model: nn.Module,
    dataset: Dataset,
    boxes: Sequence[Perturbation],
    count: int | None = None,
    batch_size: int = 32,
) -> list[float]:
    """A network's accuracy on people through perturbed boxes: the benchmark's measure, mean over joints. No flip.

    Joints and their sizes are compared in the people's own windows, those that a perturbed box cuts off among them: a
    network that is not shown a joint misses it.

    Args:
        dataset: one that has `perturbed`.
        count: as in `evaluate`.
    """
    benchmark = BENCHMARKS[dataset.skeleton.name]
    truth = evaluate(model, dataset, count, batch_size)[2]
    found = (_through(model, dataset, box, count, batch_size)[0] for box in boxes)
    return [float(benchmark.score(joints, truth).mean) for joints in found]


def conditional_testing(
    model: nn.Module, dataset: Dataset, thresholds: Thresholds, count: int | None = None, batch_size: int = 32
) -> Fused:
    """Conditional testing with these thresholds. No flip; what is found is on the CPU.

    Open: the paper looks again where "no successful human pose is found". Here that is where any joint is below its
    tau_c in all trials so far.

    Args:
        dataset: one that has `perturbed`.
        count: as in `evaluate`.
    """
    joints, confidence, truth = evaluate(model, dataset, count, batch_size)
    trials = len(thresholds.boxes) + 1
    # What was not tried has no confidence.
    tried = [joints[None].repeat(trials, 1, 1, 1), torch.full((trials, *confidence.shape), -torch.inf)]
    tried[1][0] = confidence
    numbers = spread(dataset, count)
    for trial, box in enumerate(thresholds.boxes, 1):
        again = _unsure(tried[1], thresholds.tau_c).nonzero()[:, 0]
        if not len(again):
            break
        other = dataset.perturbed(box)
        for places in again.split(batch_size):
            images = other.batch(numbers[places]).images
            found, sure = predict(model, images, flip=False)
            tried[0][trial, places] = box.undo(found, dataset.size).cpu()
            tried[1][trial, places] = sure.float().cpu()
    passes = (tried[1][..., 0] > -torch.inf).sum(0)
    return Fused(_fuse(*tried, thresholds.tau_s), tried[1].amax(0), passes, truth)


def choose_thresholds(
    model: nn.Module,
    dataset: Dataset,
    count: int | None = None,
    boxes: tuple[Perturbation, ...] = BOXES,
    batch_size: int = 32,
) -> Thresholds:
    """Those that score best on held-out people, of a grid of quantiles; of several, those that look least often.

    Open: the paper's thresholds are "empirically determined" on its validation set, and it does not say how.

    Args:
        dataset: validation people, of a set that has `perturbed`.
        count: as in `evaluate`.
    """
    benchmark = BENCHMARKS[dataset.skeleton.name]
    joints, confidence, truth = evaluate(model, dataset, count, batch_size)
    others = [_through(model, dataset, box, count, batch_size) for box in boxes]
    joints = torch.stack([joints, *(found for found, _ in others)])  # (trials, n, j, 2)
    confidence = torch.stack([confidence, *(sure for _, sure in others)])  # (trials, n, j)
    best, chosen = (-1.0, 0.0), None
    for retried in torch.quantile(confidence[0], torch.tensor(_TAU_C), dim=0):
        tried = _tried(confidence, retried)
        known = torch.where(tried[..., None], confidence, -torch.inf)
        for fused in torch.quantile(confidence[0].flatten(), torch.tensor(_TAU_S)).tolist():
            score = float(benchmark.score(_fuse(joints, known, fused), truth).mean)
            rank = (score, -float(tried.sum()))
            if rank > best or chosen is None:
                best, chosen = rank, Thresholds(retried, fused, boxes)
    return chosen


def _through(
    model: nn.Module, dataset: Dataset, box: Perturbation, count: int | None, batch_size: int
) -> tuple[Float[Tensor, "n j 2"], Float[Tensor, "n j"]]:
    """Predictions through perturbed boxes, in pixels of the people's own windows, and their confidence."""
    joints, confidence, _ = evaluate(model, dataset.perturbed(box), count, batch_size)
    return box.undo(joints, dataset.size), confidence


def _unsure(confidence: Float[Tensor, "t n j"], retried: Float[Tensor, " j"]) -> Bool[Tensor, " n"]:
    """Who has a joint that no trial found with confidence."""
    return (confidence.amax(0) < retried).any(1)


def _tried(confidence: Float[Tensor, "t n j"], retried: Float[Tensor, " j"]) -> Bool[Tensor, "t n"]:
    """Which trials would be made, of all that there are."""
    return torch.stack(
        [torch.ones_like(confidence[0, :, 0], dtype=torch.bool)]
        + [_unsure(confidence[:trial], retried) for trial in range(1, len(confidence))]
    )


def _fuse(joints: Float[Tensor, "t n j 2"], confidence: Float[Tensor, "t n j"], fused: float) -> Float[Tensor, "n j 2"]:
    """Joints averaged by confidence over the trials that found them with enough of it; else those of the surest.

    Open: the paper selects results by their scores. Here each joint is selected by its own confidence.
    """
    best = confidence.argmax(0, keepdim=True)
    enough = (confidence >= fused).scatter(0, best, True)
    weight = torch.where(enough, confidence.clamp_min(1e-6), 0.0)[..., None]
    return (weight * joints).sum(0) / weight.sum(0)
