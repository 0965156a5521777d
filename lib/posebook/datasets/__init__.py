"""Datasets: rendered figures and the readers of real sets.

A dataset hands out whole batches, already on its device:

    dataset = open_dataset("figures", split="train", size=128)
    sample = dataset.batch(torch.arange(32))

and tells `name`, `split`, `skeleton`, `size` (side of its images in pixels), `widen` (how many of the windows that
networks are given its images are wide: above 1 there is room for `augment` to turn real pixels in), `device` and
`length` (None: endless). A set whose samples can have `parsing` names its labels in `parts`; figures have LIP's,
`skeleton.PARTS`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from posebook.datasets.sample import Sample
from posebook.skeleton import Skeleton

NAMES = ("figures", "lsp", "lspet", "mpii", "lip", "ccp", "pascal", "packed")
SPLITS = ("train", "validation", "test")


def check_split(split: str) -> None:
    """ValueError for a split that no dataset has."""
    if split not in SPLITS:
        raise ValueError(f"no split is called '{split}'; there are {', '.join(SPLITS)}")


@runtime_checkable
class Dataset(Protocol):
    """What training, inference and the notebooks ask of a dataset."""

    name: str
    split: str
    skeleton: Skeleton
    size: int
    widen: float
    device: torch.device
    length: int | None

    def batch(self, indices: Int[Tensor, " b"]) -> Sample:
        """The people with these numbers."""


def open_dataset(
    name: str,
    split: str,
    root: str | Path | None = None,
    size: int = 128,
    device: torch.device | str = "cpu",
    seed: int = 0,
    **options,
) -> Dataset:
    """A dataset by its name.

    Args:
        name: one of `NAMES`.
        split: "train", "validation" or "test".
        root: folder of a real set (for "packed": the file); not needed for figures.
        size: side of the images in pixels.
        seed: figures differ by it; real sets do not use it.
        options: what the dataset's own class takes beside these.

    Raises:
        ValueError: an unknown name or split, or a real set without a root.
    """
    if name not in NAMES:
        raise ValueError(f"no dataset is called '{name}'; there are {', '.join(NAMES)}")
    check_split(split)
    if name == "figures":
        from posebook.datasets.figures import Figures

        return Figures(split, size=size, device=device, seed=seed, **options)
    if root is None:
        raise ValueError(f"dataset '{name}' needs the folder it lies in: give its root (data_root in a notebook)")
    if name in ("lsp", "lspet"):
        from posebook.datasets.lsp import LSP

        return LSP(root, split, name=name, size=size, device=device, **options)
    if name == "mpii":
        from posebook.datasets.mpii import MPII

        return MPII(root, split, size=size, device=device, **options)
    if name == "lip":
        from posebook.datasets.lip import LIP

        return LIP(root, split, size=size, device=device, **options)
    if name == "ccp":
        from posebook.datasets.ccp import CCP

        return CCP(root, split, size=size, device=device, **options)
    if name == "pascal":
        from posebook.datasets.pascal import PASCAL

        return PASCAL(root, split, size=size, device=device, **options)
    from posebook.datasets.packed import Packed

    return Packed(root, split, size=size, device=device, **options)
