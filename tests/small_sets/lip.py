"""LIP."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from posebook.skeleton import PARTS

# Width and height of the made-up photographs, in turn.
SIZES = ((90, 120), (128, 64), (60, 61), (200, 333))


def blocks(width: int, height: int, seed: int, classes: int = len(PARTS)) -> np.ndarray:
    """A label map of blocks, six of them along its longer side."""
    side = max(width, height) // 6
    coarse = np.random.default_rng(seed).integers(0, classes, (height // side + 1, width // side + 1), np.uint8)
    return coarse.repeat(side, 0).repeat(side, 1)[:height, :width]


def painted(labels: np.ndarray) -> Image.Image:
    """A photograph in which a label's grey is 12 times its number."""
    return Image.fromarray((labels * 12)[..., None].repeat(3, -1))


def write_part(root, part: str, count: int, layout: str = "{archive}/{name}", labelled: bool = True):
    """An official split of LIP: names, joints in its own pixels, and v (nan where not annotated)."""

    def place(archive: str, name: str):
        path = root / layout.format(archive=f"TrainVal_{archive}", name=name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    generator = np.random.default_rng(len(part))
    # Two people are cut from each photograph of COCO.
    names = [f"{1000 + number // 2}_{number}.jpg" for number in range(count)]
    extents = np.array([SIZES[number % len(SIZES)] for number in range(count)])
    joints = generator.integers(1, extents[:, None] + 1, (count, 16, 2)).astype(float)
    third = generator.choice([0, 1, np.nan], (count, 16), p=[0.7, 0.15, 0.15])
    rows = np.concatenate([np.where(np.isnan(third)[..., None], np.nan, joints), third[..., None]], -1).reshape(
        count, -1
    )
    lines = [
        ",".join([name, *("nan" if np.isnan(x) else f"{x:.0f}" for x in row)])
        for name, row in zip(names, rows, strict=True)
    ]
    place("pose_annotations", f"lip_{part}_set.csv").write_text("\n".join(lines) + "\n")
    images = place("images", f"{part}_images")
    images.mkdir()
    segmentations = place("parsing_annotations", f"{part}_segmentations")
    if labelled:
        segmentations.mkdir()
    for number, name in enumerate(names):
        labels = blocks(*extents[number], number)
        painted(labels).save(images / name, quality=98)
        if labelled:
            Image.fromarray(labels).save(segmentations / f"{name[:-4]}.png")
    return names, torch.tensor(joints).float(), torch.tensor(third).float()
