"""Making a batch of target heat maps at once, against one Gaussian at a time in numpy as data loaders do it."""

from __future__ import annotations

import numpy as np
import torch
from timing import medians, row

from posebook.coordinates import HeatmapCodec

PEOPLE, JOINTS, SIZE, SIGMA = 32, 16, 256, 1.0


def patch(sigma: float) -> np.ndarray:
    """A Gaussian out to three standard deviations, its peak of 1 in the middle cell."""
    reach = int(3 * sigma)
    x = np.arange(-reach, reach + 1, dtype=np.float32)
    return np.exp(-(x[None, :] ** 2 + x[:, None] ** 2) / (2 * sigma**2))


def loop(joints: np.ndarray, presence: np.ndarray, cells: int, stride: int, sigma: float) -> torch.Tensor:
    """Every joint's Gaussian is made around the cell it falls into and pasted into a blank map, cut at the border."""
    people = []
    for person, present in zip(joints, presence, strict=True):
        maps = np.zeros((len(person), cells, cells), dtype=np.float32)
        for j, (x, y) in enumerate(person):
            column, row = int(x / stride), int(y / stride)
            if present[j] == 0 or not (0 <= column < cells and 0 <= row < cells):
                continue
            bell = patch(sigma)
            reach = len(bell) // 2
            top, left = max(0, row - reach), max(0, column - reach)
            bottom, right = min(cells, row + reach + 1), min(cells, column + reach + 1)
            maps[j, top:bottom, left:right] = bell[
                top - row + reach : bottom - row + reach, left - column + reach : right - column + reach
            ]
        people.append(torch.from_numpy(maps))
    return torch.stack(people)


def measure() -> list[dict]:
    """Maps a second of the two, in turns; checks first that they make the same where joints lie on cell centres."""
    codec = HeatmapCodec(SIZE, sigma=SIGMA)
    generator = torch.Generator().manual_seed(0)
    joints = SIZE * torch.rand(PEOPLE, JOINTS, 2, generator=generator)
    presence = torch.full((PEOPLE, JOINTS), 2)
    plain, present = joints.numpy(), presence.numpy()

    def baseline(points: np.ndarray = plain) -> torch.Tensor:
        return loop(points, present, codec.cells, codec.stride, codec.sigma)

    centred = (joints // codec.stride + 0.5) * codec.stride
    # Beyond three standard deviations the loop has zeros, codec.encode less than exp(-4.5).
    torch.testing.assert_close(codec.encode(centred, presence), baseline(centred.numpy()), atol=0.012, rtol=0)

    seconds = medians({"ours": lambda: codec.encode(joints, presence), "baseline": baseline}, repeats=15)
    what = f"target encoding, {PEOPLE}x{JOINTS}x{codec.cells}x{codec.cells}"
    note = "against our own loop written plainly, one 7x7 Gaussian after the other in numpy, rounded to cells"
    return [row(what, seconds, PEOPLE * JOINTS, "maps/s", note)]


if __name__ == "__main__":
    print(*measure(), sep="\n")
