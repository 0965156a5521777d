"""The catalogue of datasets: rendered figures and the readers of real sets.

A dataset (`sample.Dataset`) hands out whole batches, already on its device:

    dataset = open_dataset("figures", split="train", size=128)
    sample = dataset.batch(torch.arange(32))
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import torch

from posebook.sample import Dataset, check_split

# Where the class of each dataset is defined. Opened by name, so that a set's module is imported when it is asked for.
_CLASSES = {
    "figures": ("figures.dataset", "Figures"),
    "lsp": ("datasets.lsp", "LSP"),
    "lspet": ("datasets.lsp", "LSPET"),
    "mpii": ("datasets.mpii", "MPII"),
    "flic": ("datasets.flic", "FLIC"),
    "lip": ("datasets.lip", "LIP"),
    "ccp": ("datasets.ccp", "CCP"),
    "pascal": ("datasets.pascal", "PASCAL"),
    "packed": ("datasets.packed", "Packed"),
}
NAMES = tuple(_CLASSES)


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
        ValueError: an unknown name or split, a real set without a root, or figures with one.
    """
    if name not in NAMES:
        raise ValueError(f"no dataset is called '{name}'; there are {', '.join(NAMES)}")
    check_split(split)
    module, attribute = _CLASSES[name]
    opened = getattr(import_module(f"posebook.{module}"), attribute)
    if name == "figures":
        if root is not None:
            raise ValueError(
                f"the people of 'figures' are rendered and lie in no folder, and root is {root}: name the set"
            )
        return opened(split, size=size, device=device, seed=seed, **options)
    if root is None:
        raise ValueError(f"dataset '{name}' needs the folder it lies in: give its root (data_root in a notebook)")
    return opened(root, split, size=size, device=device, **options)
