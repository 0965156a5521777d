"""Rendering figures: tiles and winners against painting every shape over the whole image, one after the other."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from timing import medians, row

from posebook.compute.processes import pick_device
from posebook.figures import dataset as figures
from posebook.figures.dataset import Figures
from posebook.figures.raster import Canvas, Shapes

SIZES = (128, 256)
# Drawn at once: as many as fill a GPU, or some for a CPU's cores.
PEOPLE = {"cuda": 512, "cpu": 64}


def painter(shapes: Shapes, size: int, light: torch.Tensor) -> Canvas:
    """The painter's algorithm: far to near, each shape tested at every pixel. Colours are left flat."""
    batch, device = len(shapes.depth), shapes.depth.device
    centres = torch.arange(size, device=device) + 0.5
    x, y = centres[None, None, :], centres[None, :, None]
    shape = torch.full((batch, size, size), -1, device=device)
    label, owner = torch.zeros_like(shape), torch.zeros_like(shape)
    colour = torch.zeros(batch, 3, size, size, device=device)
    rows = torch.arange(batch, device=device)
    for place in shapes.depth.argsort(1).T:
        start, end = shapes.start[rows, place], shapes.end[rows, place]
        delta = (end - start)[..., None, None]
        rx, ry = x - start[:, 0, None, None], y - start[:, 1, None, None]
        free = (rx * delta[:, 0] + ry * delta[:, 1]) / (delta[:, 0] ** 2 + delta[:, 1] ** 2).clamp_min(1e-6)
        t = free.clamp(0, 1)
        low, high = shapes.start_radius[rows, place, None, None], shapes.end_radius[rows, place, None, None]
        radius = low + (high - low) * t
        inside = (rx - t * delta[:, 0]) ** 2 + (ry - t * delta[:, 1]) ** 2 < radius**2
        inside &= (low >= 0) & (~shapes.flat[rows, place, None, None] | (free == t))
        first = free < shapes.cut[rows, place, None, None]
        pair = shapes.colours[rows, place]
        shape = torch.where(inside, place[:, None, None], shape)
        tags = shapes.labels[rows, place, :, None, None]
        label = torch.where(inside, torch.where(first, tags[:, 0], tags[:, 1]), label)
        owner = torch.where(inside, shapes.owner[rows, place, None, None], owner)
        paint = torch.where(first[:, None], pair[:, 0, :, None, None], pair[:, 1, :, None, None])
        colour = torch.where(inside[:, None], paint, colour)
    return Canvas(shape, label, owner, colour)


def measure(device: str = "auto", sizes: Iterable[int] = SIZES, people: int | None = None) -> list[dict]:
    """Whole samples, labels included: images a second."""
    where = pick_device(device)
    people = PEOPLE.get(where.type, 64) if people is None else people
    tiled, rows = figures.rasterise, []
    for size in sizes:
        dataset, indices = Figures("train", size, where), torch.arange(people)

        def draw(rasterise, dataset: Figures = dataset, indices: torch.Tensor = indices) -> None:
            figures.rasterise = rasterise
            try:
                dataset.batch(indices)
            finally:
                figures.rasterise = tiled

        ways = {"ours": lambda draw=draw: draw(tiled), "baseline": lambda draw=draw: draw(painter)}
        seconds = medians(ways, repeats=5)
        note = f"{people} at once; against our own code written plainly, every shape at every pixel"
        rows.append(row(f"rendering figures, {size}x{size}", seconds, people, "images/s", note))
    return rows


if __name__ == "__main__":
    print(*measure(), sep="\n")
