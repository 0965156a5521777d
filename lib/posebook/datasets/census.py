"""What a set with part labels shows: in how many images each part occurs, and how many people are of each challenge.

Liang, Gong, Shen, Lin, *Look into Person: Joint Body Parsing & Pose Estimation Network and a New Benchmark* (TPAMI
2018), Sec. 3.3, Fig. 3 and 4. The release of LIP does not say which image is of which challenge; a table of this does,
as `write_tags` writes it from the annotations, or from whichever source it comes:

    image,occlusion,full_body,upper_body,lower_body,head_missing,back_view
    100034_483681,1,0,1,0,0,0
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from posebook.datasets import open_dataset
from posebook.datasets.ccp import LABELLED as CCP_PARTS
from posebook.datasets.labelled import LabelledPhotographs
from posebook.datasets.photographs import reading_threads
from posebook.datasets.tables import read_fields
from posebook.paths import replacing
from posebook.sample import SPLITS, tags
from posebook.skeleton import MPII, PART_INDEX, PARTS, TAGS

NAMES = ("lip", "ccp", "pascal")

_HEADER = ["image", *TAGS]


@dataclass(frozen=True)
class Census:
    """What was counted in a set.

    Attributes:
        splits: those that were looked at.
        images: label maps that were counted; those that cannot be read are in `broken`, with the reason.
        parts: in how many of these each part occurs that the set labels, background apart; empty without label maps.
        names: of the photographs whose people's challenges are known, a person a photograph.
        tags: their challenges, in the order of `skeleton.TAGS`; None for a set that has no such thing.
        back_view: whether `tags` tell it: without label maps of a split they do not.
    """

    dataset: str
    splits: tuple[str, ...]
    images: int
    parts: dict[str, int]
    broken: dict[Path, str]
    names: tuple[str, ...] = ()
    tags: Bool[Tensor, "n 6"] | None = None
    back_view: bool = False

    @property
    def challenges(self) -> dict[str, int]:
        """How many people are of each challenge, as far as it is known."""
        if self.tags is None:
            return {}
        counts = dict(zip(TAGS, self.tags.sum(0).tolist(), strict=True))
        return {name: count for name, count in counts.items() if name != "back_view" or self.back_view}

    def as_json(self) -> dict:
        """The same as a dictionary that JSON can hold."""
        return {
            "dataset": self.dataset,
            "splits": list(self.splits),
            "images": self.images,
            "parts": self.parts,
            "people": len(self.names),
            "challenges": self.challenges,
            "unreadable": len(self.broken),
        }


def census(name: str, root: str | Path, split: str | None = None, progress: bool = True) -> Census:
    """Look at every label map of a set with part labels, and at the challenges of LIP's people.

    Maps that are missing, broken or of another size than their photograph are counted nowhere, nor are their people.
    Challenges come from the annotated joints (`sample.tags`), the back view from label maps too (`back_view`).

    Args:
        split: None for all that there are labels and photographs for.

    Raises:
        ValueError: a set without part labels, an unknown split, or a set with neither label maps nor joints.
        FileNotFoundError: nothing of the set, or of this split, in root.
    """
    if name not in NAMES:
        raise ValueError(f"'{name}' has no part labels to count; those that have are {', '.join(NAMES)}")
    opened = _open(name, root, split)
    labelled = [dataset.people.labels is not None for dataset in opened.values()]
    if not any(labelled) and name != "lip":
        raise ValueError(f"{name} in {root} has no label maps, which are what is counted: put them there")
    occurs, broken, names, challenges = {}, {}, [], []
    for dataset in opened.values():
        rows, faults = _look(dataset, progress)
        occurs, broken = occurs | rows, broken | faults
        if name == "lip":
            some, theirs = _challenges(dataset, rows)
            names, challenges = names + some, [*challenges, theirs]
    parts = {}
    if any(labelled):
        counts = sum((row.long() for row in occurs.values()), torch.zeros(len(dataset.parts), dtype=torch.long))
        told = CCP_PARTS if name == "ccp" else dataset.parts
        parts = {part: n for part, n in zip(dataset.parts[1:], counts[1:].tolist(), strict=True) if part in told}
    found = torch.cat(challenges) if challenges else None
    return Census(name, tuple(opened), len(occurs), parts, broken, tuple(names), found, all(labelled))


def back_view(
    occurs: Bool[Tensor, "b 20"], joints: Float[Tensor, "b 16 2"], presence: UInt8[Tensor, "b 16"]
) -> Bool[Tensor, " b"]:
    """Who is seen from behind, as far as annotations tell.

    Open: LIP gives no rule and no annotation. Here somebody is who has hair or a hat and no face among the labels, and
    whose left shoulder lies left of the right one in the image, as it does not for people who face the camera. Of 1,000
    rendered people, whose back views are known, it names 80, 73 of them seen from behind, and misses 128 others, most
    of them because a part of the face shows.

    Args:
        occurs: which of LIP's parts are labelled in the image.
        joints, presence: of LIP's joints, which are MPII's.
    """
    left, right = MPII.index("l_shoulder"), MPII.index("r_shoulder")
    turned = (presence[:, [left, right]] > 0).all(1) & (joints[:, left, 0] < joints[:, right, 0])
    head = occurs[:, [PART_INDEX["hair"], PART_INDEX["hat"]]].any(1)
    return head & ~occurs[:, PART_INDEX["face"]] & turned


def write_tags(path: str | Path, names: Sequence[str], tags: Bool[Tensor, "n 6"]) -> None:
    """Write a table of challenges: an image a line, after a header."""
    with replacing(Path(path)) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows([name, *row] for name, row in zip(names, tags.int().tolist(), strict=True))


def read_tags(path: str | Path, names: Sequence[str]) -> Bool[Tensor, "n 6"]:
    """The challenges of these images, in their order; images are matched by name without folder and extension.

    Raises:
        FileNotFoundError, ValueError: no such file; one without the header of `write_tags`, with other values than 0
            and 1, with an image twice, or without one of these images.
    """
    rows = read_fields(path)
    if not rows or rows[0] != _HEADER:
        raise ValueError(
            f"{path} is no table of challenges: its first line must be {','.join(_HEADER)} (`posebook data describe "
            "lip ROOT --tags FILE.csv` writes one)"
        )
    known: dict[str, list[bool]] = {}
    for number, (image, *values) in enumerate(rows[1:], 2):
        if len(values) != len(TAGS) or not set(values) <= {"0", "1"}:
            raise ValueError(f"{path}: line {number} must be an image and {len(TAGS)} times 0 or 1")
        if Path(image).stem in known:
            raise ValueError(f"{path}: line {number} has {image}, which an earlier line has too: keep one of them")
        known[Path(image).stem] = [value == "1" for value in values]
    stems = [Path(name).stem for name in names]
    missing = [stem for stem in stems if stem not in known]
    if missing:
        raise ValueError(
            f"{path} has no line for {len(missing):,} of the {len(stems):,} images, the first is {missing[0]}: add "
            "them, or score those images alone that it has"
        )
    return torch.tensor([known[stem] for stem in stems], dtype=torch.bool).reshape(-1, len(TAGS))


def render(found: Census) -> str:
    """A census as tables."""
    blocks = [f"{found.dataset}, {', '.join(found.splits)}: {found.images:,} images with part labels"]
    if found.broken:
        path, reason = next(iter(found.broken.items()))
        blocks.append(
            f"Counted nowhere: {len(found.broken):,} files that cannot be read, the first is {path} ({reason})"
        )
    if found.parts:
        blocks.append(_table("part", "images", found.parts, found.images))
    if found.challenges:
        blocks.append(_table("challenge", "people", found.challenges, len(found.names)))
        if not found.back_view:
            blocks.append("Without label maps, nothing tells who is seen from behind.")
    return "\n\n".join(blocks)


def _table(what: str, of: str, counts: dict[str, int], total: int) -> str:
    shares = {name: f"{100 * n / total:.1f}" if total else "-" for name, n in counts.items()}
    rows = [[what, of, "%"], *([name, f"{n:,}", shares[name]] for name, n in counts.items())]
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{row[0]:<{width}}{row[1]:>10}{row[2]:>8}" for row in rows)


def _open(name: str, root: str | Path, split: str | None) -> dict[str, LabelledPhotographs]:
    """The split, or all splits that there are labels and photographs for."""
    opened, reason = {}, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of missing files, which the table tells
        for each in SPLITS if split is None else (split,):
            try:
                opened[each] = open_dataset(name, each, root, 64)
            except FileNotFoundError as error:
                reason = error
    if reason is not None and not opened:
        raise reason
    return opened


def _look(dataset: LabelledPhotographs, progress: bool) -> tuple[dict[Path, Bool[Tensor, " c"]], dict[Path, str]]:
    """Which parts each label map of a split has, and why others cannot be read; each is read once."""
    from tqdm import tqdm

    people = dataset.people
    # People of one photograph share its map.
    pairs = dict(zip(people.labels or (), people.paths, strict=people.labels is not None))

    def read(pair: tuple[Path, Path]) -> Bool[np.ndarray, " c"] | str:
        labels, path = pair
        try:
            whole = dataset.read_whole(path, labels)
        except Exception as error:  # as many kinds as there are ways for a file to be broken
            return str(error)
        return np.bincount(whole.ravel(), minlength=256)[: len(dataset.parts)] > 0

    with reading_threads() as pool:
        bar = tqdm(pool.map(read, pairs.items()), dataset.split, len(pairs), disable=not (progress and pairs))
        rows = dict(zip(pairs, bar, strict=True))
    occurs = {path: torch.from_numpy(row) for path, row in rows.items() if not isinstance(row, str)}
    return occurs, {path: row for path, row in rows.items() if isinstance(row, str)}


def _challenges(
    dataset: LabelledPhotographs, occurs: dict[Path, Bool[Tensor, " c"]]
) -> tuple[list[str], Bool[Tensor, "n 6"]]:
    """The names and challenges of a split's people, without those whose label map cannot be read."""
    people = dataset.people
    behind = torch.zeros(len(people), dtype=torch.bool)
    if people.labels is not None:
        people = people[torch.tensor([path in occurs for path in people.labels])]
        rows = torch.stack([occurs[path] for path in people.labels]) if occurs else torch.zeros(0, len(PARTS)).bool()
        behind = back_view(rows, people.joints, people.presence)
    return [path.name for path in people.paths], tags(people.presence, behind)
