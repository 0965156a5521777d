"""What the parts of the multi-scale structure-aware network cost beside what they are added to."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
from timing import medians, row
from torch import Tensor

from posebook.compute.precision import autocast, channels_last
from posebook.compute.processes import pick_device
from posebook.evaluation.inference import predict
from posebook.figures.dataset import Figures
from posebook.ledger.verdicts import read_rows
from posebook.ledger.work import Work
from posebook.losses import heatmap_loss, structure_aware_loss
from posebook.papers import create, select
from posebook.papers.multi_scale.claims import PYRAMID
from posebook.sample import Sample
from posebook.skeleton import MPII
from posebook.training.masking import KeypointMasking

# The paper's four scales of 64x64 maps.
SIDES = (8, 16, 32, 64)
NETWORK = {"size": 128, "stacks": 1, "features": 64, "depth": 3}

# The ledger's networks that the claim on one pass compares.
COMPARED = {"ours": "supervision", "baseline": "hourglass"}


def loss(count: int, sides: tuple[int, ...], device: torch.device, combination: str) -> Callable[[], None]:
    """Loss and gradient of heat maps at every scale: with the structure-aware term, or ("") without."""
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(count, 16, side, side, generator=generator).to(device).requires_grad_() for side in sides]
    target = [torch.rand(count, 16, side, side, generator=generator).to(device) for side in sides]
    presence = torch.full((count, 16), 2, dtype=torch.uint8, device=device)
    groups = torch.tensor(MPII.structure, device=device)

    def at_one(some: Tensor, truth: Tensor) -> Tensor:
        if not combination:
            return heatmap_loss(some, truth, presence)
        return structure_aware_loss(some, truth, presence, groups, 1 / 16, combination)

    def run() -> None:
        total = sum(at_one(some, truth) for some, truth in zip(maps, target, strict=True))
        torch.autograd.grad(total, maps)

    return run


def step(sample: Sample) -> Callable[[], None]:
    """A training step of the network without the optimiser's part."""
    network = channels_last(create("multi_scale", scales=3, **NETWORK | {"size": sample.size})).to(sample.images.device)

    def run() -> None:
        network.zero_grad()
        with autocast(sample.images.device):
            outputs = network(channels_last(sample.images))
        network.loss(outputs, sample)[0].backward()

    return run


def measure(device: str = "auto", count: int = 64, size: int = 128) -> list[dict]:
    """The three costs: of the structure-aware term, of masking, and of the supervised scales in place of a pyramid."""
    where, rows = pick_device(device), []
    for combination in ("sum", "maximum"):
        batch = max(1, count // 4)
        ways = {"ours": loss(batch, SIDES, where, combination), "baseline": loss(batch, SIDES, where, "")}
        what = f"structure-aware loss ({combination}), four scales, {batch} images"
        rows.append(row(what, medians(ways), batch, "images/s", "against the loss of eq. (1)"))

    sample = Figures("train", size, where).batch(torch.arange(count))
    masking = KeypointMasking(1.0, 1.0)
    numbers = masking.draw(count, torch.Generator().manual_seed(0))
    ways = {"ours": lambda: masking.apply(sample, numbers, MPII), "baseline": step(sample)}
    what = f"keypoint masking, {count} images of {size} px"
    rows.append(row(what, medians(ways, 3), count, "images/s", "against a training step of one stack"))

    rows.append(one_pass(where, count))
    return rows


def one_pass(device: torch.device, count: int) -> dict:
    """The MSS-net at the image's own scale beside the hourglass on six: how fast, and how well as the ledger tells."""
    works = {way: Work("multi_scale", variant, "figures", "study", 0) for way, variant in COMPARED.items()}
    size = works["ours"].plan.size
    images = Figures("test", size, device).batch(torch.arange(count)).images
    scales = {"ours": (1.0,), "baseline": PYRAMID}
    ways = {}
    for way, work in works.items():
        network = channels_last(work.network(**work.settings)).to(device).eval()
        ways[way] = partial(predict, network, images, flip=False, scales=scales[way])
    (claim,) = read_rows(select(["multi_scale_pyramid"]))
    accuracy = [100 * statistics.mean(claim.details[name]) for name in ("supervision pckh", "hourglass pyramid")]
    note = "against the hourglass on six scales; PCKh {:.1f} against {:.1f} %".format(*accuracy) + f", {claim.counted}"
    return row(
        f"one pass of the ledger's MSS-net, {count} images of {size} px", medians(ways, 3), count, "images/s", note
    )


if __name__ == "__main__":
    print(*measure(), sep="\n")
