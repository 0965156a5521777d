"""The hourglass training step as posebook runs it, against the same network in float32 with channels first."""

from __future__ import annotations

from collections.abc import Callable

import torch
from timing import medians

from posebook.compute.precision import autocast, channels_last, has_bf16
from posebook.papers import create
from posebook.sample import Sample

# Newell's network at two stacks, and one small enough to train in minutes on two cores.
CASES = (
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


def step(settings: dict, batch: Sample, fast: bool) -> Callable[[], None]:
    """One step of training a fresh network: forward, loss, backward, update; `fast` is how posebook runs it."""
    device = batch.images.device
    model = create("hourglass", **settings).to(device)
    model = channels_last(model) if fast else model
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, fused=fast)

    def run() -> None:
        images = channels_last(batch.images) if fast else batch.images
        with autocast(device, None if fast else False):
            outputs = model(images)
        loss, _ = model.loss(outputs, batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return run


def measure() -> list[dict]:
    """Images a second of the two, in turns."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = []
    for settings, count in CASES:
        batch = people(count, settings["size"], 16, device)
        ways = {"ours": step(settings, batch, True), "baseline": step(settings, batch, False)}
        rate = {name: count / seconds for name, seconds in medians(ways, repeats=5).items()}
        size, about = settings["size"], f"{settings['stacks']} x {settings['features']} features, batch {count}"
        rows.append(
            {
                "what": f"hourglass training step at {size}x{size}",
                "ours": rate["ours"],
                "baseline": rate["baseline"],
                "unit": "images/s",
                "ratio": rate["ours"] / rate["baseline"],
                "note": f"{about}; {'bfloat16' if has_bf16(device) else 'float32'} channels-last against float32",
            }
        )
    return rows


if __name__ == "__main__":
    for row in measure():
        print(row)
