"""What Look into Person's network takes, and what checkpointing and the structure-sensitive loss cost."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from timing import medians, row
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from posebook.compute.processes import pick_device
from posebook.figures.dataset import Figures
from posebook.papers import create
from posebook.papers.look_into_person.structure import part_regions, structure_sensitive_loss

# The paper's cells a side at 384 pixels.
CELLS = 48


class Kept:
    """Counts the bytes that are kept for the gradient, each tensor once."""

    def __init__(self) -> None:
        self.bytes, self._seen = 0, []

    def __call__(self, tensor: Tensor) -> Tensor:
        if not any(tensor is other for other in self._seen) and not isinstance(tensor, nn.Parameter):
            self._seen.append(tensor)
            self.bytes += tensor.numel() * tensor.element_size()
        return tensor


def kept_for_the_gradient(checkpointing: bool, size: int = 384) -> float:
    """GB per image that the paper's network keeps, counted on the meta device, where nothing is computed."""
    with torch.device("meta"):
        network = create("look_into_person", size=size, checkpointing=checkpointing).train()
        images = torch.empty(1, 3, size, size)
        kept = Kept()
        with saved_tensors_hooks(kept, lambda tensor: tensor):
            network(images)
    return kept.bytes / 1e9


def loss(count: int, device: torch.device, reading: str) -> Callable[[], None]:
    """Loss and gradient of part logits, by one reading of the structure-sensitive loss."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, 20, CELLS, CELLS, generator=generator).to(device).requires_grad_()
    labels = Figures("train", CELLS, device).batch(torch.arange(count)).parsing
    regions = part_regions(20).to(device)

    def run() -> None:
        torch.autograd.grad(structure_sensitive_loss(logits, labels, regions, reading=reading)["parsing"], logits)

    return run


def plain_loss(count: int, device: torch.device) -> Callable[[], None]:
    """The cross-entropy alone."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, 20, CELLS, CELLS, generator=generator).to(device).requires_grad_()
    labels = Figures("train", CELLS, device).batch(torch.arange(count)).parsing.long()
    return lambda: torch.autograd.grad(F.cross_entropy(logits, labels), logits)


def measure(device: str = "auto", count: int = 32) -> list[dict]:
    """Memory with and without checkpointing, and the loss beside the cross-entropy."""
    where, rows = pick_device(device), []
    kept = [kept_for_the_gradient(checkpointing) for checkpointing in (True, False)]
    rows.append({
        "what": "kept for the gradient per image, 384 px, two refinements, three scales", "ours": kept[0],
        "baseline": kept[1], "unit": "GB", "ratio": kept[1] / kept[0], "note": "float32; against no checkpointing",
    })  # fmt: skip
    for reading in ("weight", "soft"):
        ways = {"ours": loss(count, where, reading), "baseline": plain_loss(count, where)}
        what = f"structure-sensitive loss ({reading}), {count} images of {CELLS}x{CELLS} cells"
        rows.append(row(what, medians(ways), count, "images/s", "against the cross-entropy alone"))
    return rows


if __name__ == "__main__":
    print(*measure(), sep="\n")
