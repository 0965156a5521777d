"""Reading a packed set, against decoding and cropping its photographs for every batch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timing import medians, row
from torch import Tensor

from posebook.datasets import open_dataset
from posebook.datasets.packed import pack
from posebook.sample import Dataset

PEOPLE, SIZE, BATCH = 256, 128, 32
PHOTOGRAPH = (640, 480)


def write_set(root: Path) -> None:
    """Photographs of 640 x 480 pixels with as much detail as real ones, one person each, in MPII's layout."""
    generator = np.random.default_rng(0)
    (root / "images").mkdir()
    lines = []
    for number in range(PEOPLE):
        detail = generator.normal(0, 12, (PHOTOGRAPH[1], PHOTOGRAPH[0], 1))
        coarse = Image.fromarray(generator.integers(0, 255, (15, 20, 3), np.uint8)).resize(PHOTOGRAPH)
        pixels = np.clip(np.asarray(coarse) + detail, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{number}.jpg", quality=90)
        joints = generator.uniform((180, 60), (460, 420), (16, 2))
        lines.append(f"{number}.jpg," + ",".join(f"{value:.1f}" for value in joints.ravel()))
    (root / "test_joints.csv").write_text("\n".join(lines))


def one_by_one(data: Dataset, indices: Tensor) -> Tensor:
    """What a data loader's worker does: decode the whole photograph, crop, resize."""
    people, crops = data.people[indices], []
    for path, (x, y), window in zip(people.paths, people.centre.tolist(), people.window.tolist(), strict=True):
        half = window / 2
        with Image.open(path) as image:
            part = image.convert("RGB").crop((int(x - half), int(y - half), int(x + half), int(y + half)))
        crops.append(np.asarray(part.resize((SIZE, SIZE), Image.Resampling.BILINEAR)))
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float().div(255)


def epoch(read: Callable[[Tensor], object]) -> None:
    """Everyone once, in an order of its own."""
    for indices in torch.randperm(PEOPLE).split(BATCH):
        read(indices)


def measure() -> list[dict]:
    """Images a second of every way to read a set, in turns; the reader keeps no crops, as in a first epoch."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_set(root)
        pack("mpii", root, root / "set.pack", SIZE, ("test",), progress=False)
        photographs = open_dataset("mpii", "test", root, SIZE, kept_bytes=0)
        packed = open_dataset("packed", "test", root / "set.pack", SIZE)
        ways = {
            "packed": lambda: epoch(packed.batch),
            "reader": lambda: epoch(photographs.batch),
            "loop": lambda: epoch(lambda indices: one_by_one(photographs, indices)),
        }
        seconds = medians(ways)
    about = f"{SIZE}x{SIZE} crops of {PHOTOGRAPH[0]}x{PHOTOGRAPH[1]} JPEGs, batches of {BATCH}"
    note = f"{about}; against our own loop written plainly, Pillow for one image after the other"
    return [
        row(f"reading {what}", {"ours": seconds[way], "baseline": seconds["loop"]}, PEOPLE, "images/s", note)
        for way, what in (("packed", "a packed set"), ("reader", "photographs"))
    ]


if __name__ == "__main__":
    print(*measure(), sep="\n")
