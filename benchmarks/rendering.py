"""Rendering figures: tiles and winners against painting every shape over the whole image, one after the other."""

from __future__ import annotations

import torch
from timing import medians

from posebook.figures import dataset as figures
from posebook.figures.dataset import Figures
from posebook.figures.raster import Canvas, Shapes

PEOPLE = 64


def painter(shapes: Shapes, size: int, light: torch.Tensor) -> Canvas:
    """The painter's algorithm: far to near, each shape tested at every pixel. Colours are left flat."""
    batch = len(shapes.depth)
    centres = torch.arange(size) + 0.5
    x, y = centres[None, None, :], centres[None, :, None]
    shape = torch.full((batch, size, size), -1)
    label, owner = torch.zeros_like(shape), torch.zeros_like(shape)
    colour = torch.zeros(batch, 3, size, size)
    rows = torch.arange(batch)
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


def measure() -> list[dict]:
    """Whole samples, labels included, at 128x128: images a second."""
    dataset = Figures("train", size=128)
    indices = torch.arange(PEOPLE)
    tiled = figures.rasterise

    def draw(rasterise) -> None:
        figures.rasterise = rasterise
        try:
            dataset.batch(indices)
        finally:
            figures.rasterise = tiled

    seconds = medians({"ours": lambda: draw(tiled), "baseline": lambda: draw(painter)}, repeats=5)
    ours, baseline = PEOPLE / seconds["ours"], PEOPLE / seconds["baseline"]
    return [
        {
            "what": "rendering figures, 128x128",
            "ours": ours,
            "baseline": baseline,
            "unit": "images/s",
            "ratio": ours / baseline,
            "note": "baseline: every shape at every pixel, far to near",
        }
    ]
