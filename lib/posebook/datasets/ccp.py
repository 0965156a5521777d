"""Clothing Co-Parsing (CCP): whole figures in street photographs with 59 tags of clothing, no sides and no joints.

Yang, Luo, Lin, *Clothing Co-Parsing by Joint Image Segmentation and Labeling*, CVPR 2014. `root` holds

    photos/                    NNNN.jpg
    annotations/pixel-level/   NNNN.mat, `groundtruth`: a tag's number at each pixel
    label_list.mat             `label_list`: the tags' names, in order

Of the 2,098 photographs those with annotations of pixels are read, 1,004 in all.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from posebook.datasets.arrays import read_matlab
from posebook.datasets.labelled import LabelledPeople, LabelledPhotographs, check_labelled
from posebook.datasets.photographs import assign
from posebook.skeleton import ABSENT, IGNORE_LABEL, MPII, PART_INDEX, PARTS

# Side of a person's window beside the longer side of the box around the labelled pixels.
CONTEXT = 1.1

# Each of CCP's tags as the part of LIP's that it is. None: LIP has no such part, or the tag covers several and does not
# say which, or LIP tells left from right there; such pixels are ignored.
# Open: neither set defines its words; this is what CCP's pictures show under them.
PART_OF_TAG: dict[str, str | None] = {
    "null": "background",
    "accessories": None,
    "bag": None,  # LIP has no part for what is carried
    "belt": None,
    "blazer": "coat",
    "blouse": "upper_clothes",
    "bodysuit": None,  # tops as well as jumpsuits
    "boots": None,  # left or right
    "bra": None,
    "bracelet": None,
    "cape": "coat",
    "cardigan": None,  # coat when it is worn open, upper clothes when it is not
    "clogs": None,  # left or right
    "coat": "coat",
    "dress": "dress",
    "earrings": None,
    "flats": None,  # left or right
    "glasses": None,  # LIP names sunglasses alone
    "gloves": "glove",
    "hair": "hair",
    "hat": "hat",
    "heels": None,  # left or right
    "hoodie": None,  # coat or upper clothes
    "intimate": None,
    "jacket": "coat",
    "jeans": "pants",
    "jumper": None,  # sweaters as well as jumpsuits
    "leggings": None,  # pants, socks or the leg itself
    "loafers": None,  # left or right
    "necklace": None,
    "panties": None,
    "pants": "pants",
    "pumps": None,  # left or right
    "purse": None,  # carried
    "ring": None,
    "romper": "jumpsuits",
    "sandals": None,  # left or right
    "scarf": "scarf",
    "shirt": "upper_clothes",
    "shoes": None,  # left or right
    "shorts": "pants",
    "skin": None,  # face, either arm or either leg
    "skirt": "skirt",
    "sneakers": None,  # left or right
    "socks": "socks",
    "stockings": None,  # socks or the leg itself
    "suit": "coat",  # the jacket: its trousers are tagged as pants
    "sunglasses": "sunglasses",
    "sweater": "upper_clothes",
    "sweatshirt": "upper_clothes",
    "swimwear": None,
    "t-shirt": "upper_clothes",
    "tie": None,
    "tights": None,  # socks or the leg itself
    "top": "upper_clothes",
    "vest": None,  # coat or upper clothes
    "wallet": None,  # carried
    "watch": None,
    "wedges": None,  # left or right
}

# The parts of LIP's that can occur, in LIP's order. A score over 20 classes leaves the others out.
LABELLED = tuple(part for part in PARTS if part in PART_OF_TAG.values())


class CCP(LabelledPhotographs):
    """CCP as a dataset: a person a photograph, with LIP's part labels as far as CCP's tags tell them.

    `PART_OF_TAG` says which part each tag is; `LABELLED` are the parts that occur. What has a side (arms, legs, shoes),
    skin, and what is a matter of taste is ignored (255), never guessed. CCP has no joints: all are absent, in MPII's
    order, and no head or torso size is known.

    There is no official split: here a photograph is in the test split where the CRC-32 of its number as it is written
    ("0001") leaves 0 when divided by 10, in validation where it leaves 1, else in train.

    A person's crop is a square around the box of the pixels that have any tag but "null", 1.1 times its longer side.
    A photograph of which nothing is tagged (0536) is ignored throughout.

    Args:
        root: folder that holds `photos/`, `annotations/` and `label_list.mat`; the rest as in `Photographs`.

    Raises:
        FileNotFoundError: no annotations, no `label_list.mat`, or none of the photographs.
        ValueError: a `label_list.mat` that is not CCP's.
    """

    name, skeleton, parts = "ccp", MPII, PARTS

    def read_people(self) -> LabelledPeople:
        """The people of the split."""
        people = read_people(self.root)
        self._table = part_table(self.root)
        of = assign([path.stem for path in people.paths], 10, ("test", "validation"))
        return people[torch.tensor([name == self.split for name in of])]

    def read_map(self, path: Path) -> UInt8[np.ndarray, "h w"]:
        """A label map in LIP's parts."""
        return _read_map(path, self._table)

    def _frame(self, place: int) -> tuple[float, float, float]:
        """Centre and side of the window around everything that is tagged; the whole photograph where nothing is."""
        try:
            tagged = self.read_map(self.people.labels[place]) != PART_INDEX["background"]
        except Exception:  # reading the labels says what is wrong
            return super()._frame(place)
        (left, right), (top, bottom) = (_span(tagged.any(axis)) for axis in (0, 1))
        return (left + right) / 2, (top + bottom) / 2, CONTEXT * max(right - left, bottom - top)


def read_people(root: str | Path) -> LabelledPeople:
    """Everyone in CCP whose pixels are annotated, by number."""
    folder = Path(root) / "annotations" / "pixel-level"
    maps = sorted(folder.glob("*.mat"))
    if not maps:
        raise FileNotFoundError(
            f"{folder} holds no .mat files: root is CCP's folder, with photos/, annotations/ and label_list.mat"
        )
    unknown = torch.full((len(maps),), torch.nan)
    return LabelledPeople(
        paths=[Path(root) / "photos" / f"{path.stem}.jpg" for path in maps],
        joints=torch.zeros(len(maps), len(MPII), 2),
        presence=torch.full((len(maps), len(MPII)), ABSENT, dtype=torch.uint8),
        centre=torch.stack([unknown, unknown], -1),
        window=unknown.clone(),
        head_size=unknown.clone(),
        labels=maps,
    )


def part_table(root: str | Path) -> UInt8[np.ndarray, " tags"]:
    """The part of LIP's that each tag's number stands for, 255 where it is none, by the set's own `label_list.mat`.

    Raises:
        FileNotFoundError, ValueError: no such file; one that names other tags.
    """
    path = Path(root) / "label_list.mat"
    tags = [str(tag) for tag in np.atleast_1d(read_matlab(path, "label_list")["label_list"])]
    unknown = set(tags) ^ set(PART_OF_TAG)
    if unknown or len(tags) != len(PART_OF_TAG):
        raise ValueError(
            f"{path} does not name CCP's {len(PART_OF_TAG)} tags ({', '.join(sorted(unknown)[:3])} differ)"
        )
    parts = [PART_OF_TAG[tag] for tag in tags]
    return np.array([IGNORE_LABEL if part is None else PART_INDEX[part] for part in parts], np.uint8)


def check(root: str | Path, progress: bool = True) -> tuple[bool, str]:
    """Open every photograph and every label map: whether all is well, and a sentence on what there is."""
    return check_labelled("ccp", read_people(root), partial(_read_map, table=part_table(root)), progress)


def _read_map(path: Path, table: UInt8[np.ndarray, " tags"]) -> UInt8[np.ndarray, "h w"]:
    """A label map in LIP's parts."""
    tags = read_matlab(path, "groundtruth", squeeze=False)["groundtruth"]
    # Some programs write whole numbers as doubles.
    whole = tags.astype(np.int64) if tags.dtype.kind in "uif" and np.isfinite(tags).all() else tags
    if (
        tags.ndim != 2
        or whole.dtype.kind not in "ui"
        or (whole != tags).any()
        or not 0 <= tags.min() <= tags.max() < len(table)
    ):
        raise ValueError(f"its groundtruth is not a map of the {len(table)} tags")
    tags = whole
    # A photograph in which nothing is tagged was not annotated: it does not show background alone.
    return table[tags] if tags.any() else np.full(tags.shape, IGNORE_LABEL, np.uint8)


def _span(some: np.ndarray) -> tuple[int, int]:
    """Where a row of booleans is true for the first time, and where it is no longer."""
    places = np.flatnonzero(some)
    return int(places[0]), int(places[-1]) + 1
