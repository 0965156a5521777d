"""The hourglass training step: as posebook runs it, plainly, compiled, and with the making of its data."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from timing import medians, row

from posebook.compute.precision import autocast, channels_last, has_bf16
from posebook.compute.processes import pick_device
from posebook.figures.dataset import Figures
from posebook.papers import create
from posebook.papers.hourglass.profiles import AUGMENTATION
from posebook.sample import Sample
from posebook.training.augment import augment

# Settings, and people a step.
Case = tuple[dict[str, int], int]

# Newell's network at two stacks, and one small enough to train in minutes on two cores.
CASES: tuple[Case, ...] = (
    ({"size": 256, "stacks": 2, "features": 256}, 4),
    ({"size": 128, "stacks": 1, "features": 128}, 32),
)


def people(count: int, size: int, joints: int, device: torch.device) -> Sample:
    """A batch of noise: what a step costs does not depend on what is in it."""
    return Sample(
        images=torch.rand(count, 3, size, size),
        joints=size * torch.rand(count, joints, 2),
        presence=torch.full((count, joints), 2, dtype=torch.uint8),
        head_size=torch.ones(count),
        torso_size=torch.ones(count),
        index=torch.arange(count),
    ).to(device)


def step(
    settings: dict[str, int],
    batch: Sample | Callable[[], Sample],
    fast: bool = True,
    compiled: bool = False,
) -> Callable[[], None]:
    """One step of training a fresh network: forward, loss, backward, update.

    Args:
        batch: to learn from, or what makes one for each step.
        fast: in bfloat16 where there is, channels last and with a fused update, as posebook does it.
        compiled: the network goes through `torch.compile`.
    """
    first = batch() if callable(batch) else batch
    device = first.images.device
    model = create("hourglass", **settings).to(device)
    model = channels_last(model) if fast else model
    # On a CPU only torch's capture of the network is tried, which needs no compiler.
    network = torch.compile(model, backend="inductor" if device.type == "cuda" else "eager") if compiled else model
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, fused=fast)

    def run() -> None:
        sample = batch() if callable(batch) else batch
        images = channels_last(sample.images) if fast else sample.images
        with autocast(device, None if fast else False):
            outputs = network(images)
        loss, _ = model.loss(outputs, sample)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return run


def measure(device: str = "auto", cases: Iterable[Case] = CASES) -> list[dict]:
    """Images a second of posebook's way and of plain float32, in turns."""
    where = pick_device(device)
    rows = []
    for settings, count in cases:
        batch = people(count, settings["size"], 16, where)
        ways = {"ours": step(settings, batch), "baseline": step(settings, batch, fast=False)}
        note = f"{_dtype(where)} channels-last; against the same network in float32 as torch runs it"
        # A GPU's float32 convolutions are TF32 unless somebody turns that off.
        note += " (TF32)" if where.type == "cuda" and torch.backends.cudnn.allow_tf32 else ""
        rows.append(_row("training step", settings, count, medians(ways, repeats=5), note))
    return rows


def measure_compiled(device: str = "auto", cases: Iterable[Case] = CASES) -> Iterable[dict]:
    """Images a second of the compiled step and of posebook's own, in turns; a row as soon as it is there."""
    where = pick_device(device)
    for settings, count in cases:
        batch = people(count, settings["size"], 16, where)
        ways = {"ours": step(settings, batch), "baseline": step(settings, batch, compiled=True)}
        note = f"{_dtype(where)} channels-last; against the same step through torch.compile"
        yield _row("training step beside torch.compile", settings, count, medians(ways, repeats=5), note)


def measure_data(device: str = "auto", cases: Iterable[Case] = CASES) -> list[dict]:
    """Images a second of a step that renders and augments its people, and of one that has them, in turns."""
    where = pick_device(device)
    rows = []
    for settings, count in cases:
        dataset = Figures("train", settings["size"], where)
        generator, indices = torch.Generator().manual_seed(0), torch.arange(count)
        kept = dataset.batch(indices)

        def rendered(dataset: Figures = dataset, indices: torch.Tensor = indices) -> Sample:
            return dataset.batch(indices)

        def changed(sample: Sample, count: int = count, generator: torch.Generator = generator) -> Sample:
            return augment(sample, AUGMENTATION.draw(count, generator), Figures.skeleton)

        ways = {
            "ours": step(settings, lambda rendered=rendered, changed=changed: changed(rendered())),
            "baseline": step(settings, kept),
            "render": rendered,
            "augment": lambda kept=kept, changed=changed: changed(kept),
        }
        seconds = medians(ways, repeats=5)
        share = 1 - seconds["baseline"] / seconds["ours"]
        alone = ", ".join(f"{way} {1000 * seconds[way]:.1f} ms" for way in ("render", "augment"))
        note = f"data takes {100 * share:.0f} % of the step (alone: {alone}); against our own step on people it has"
        rows.append(_row("training step with its data", settings, count, seconds, note))
    return rows


def _dtype(device: torch.device) -> str:
    return "bfloat16" if has_bf16(device) else "float32"


def _row(what: str, settings: dict[str, int], count: int, seconds: dict[str, float], note: str) -> dict:
    size = settings["size"]
    about = f"{settings['stacks']} x {settings['features']} features, batch {count}"
    return row(f"hourglass {what} at {size}x{size}", seconds, count, "images/s", f"{about}; {note}")


if __name__ == "__main__":
    print(*measure(), sep="\n")
