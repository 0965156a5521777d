"""Clothing Co-Parsing."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.io import savemat

from posebook.datasets.ccp import PART_OF_TAG

TAGS = list(PART_OF_TAG)


WIDTH, HEIGHT = 60, 90


def write_tags(root, tags) -> None:
    cells = np.empty((1, len(tags)), object)
    cells[0] = tags
    savemat(root / "label_list.mat", {"label_list": cells})


def write_set(root, count: int = 40) -> dict[str, np.ndarray]:
    """Photographs of one person, a box of random tags before nothing; the tags of each by number."""
    (root / "photos").mkdir(parents=True)
    (root / "annotations" / "pixel-level").mkdir(parents=True)
    write_tags(root, TAGS)
    generator = np.random.default_rng(0)
    maps = {}
    for number in range(1, count + 1):
        tags = np.zeros((HEIGHT, WIDTH), np.uint8)
        person = generator.integers(0, len(TAGS), (7, 4), np.uint8).repeat(10, 0).repeat(8, 1)
        tags[5:75, 20:52] = person
        tags[[5, 74], [20, 51]] = TAGS.index("skin")
        name = f"{number:04d}"
        maps[name] = tags
        savemat(root / "annotations" / "pixel-level" / f"{name}.mat", {"groundtruth": tags})
        Image.fromarray(tags * 4).convert("RGB").save(root / "photos" / f"{name}.jpg", quality=98)
    return maps
