"""The parameters of a notebook, checked in its first cell, so that a wrong one is told at once and in a sentence.

    device = check_parameters(
        profile=profile, seed=seed, device=device, dataset=dataset, data_root=data_root, output_dir=output_dir,
        people={"train": 1, "test": 8},
    )

What a command checks too is refused in the same sentence.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import torch

from posebook.compute.processes import pick_device
from posebook.datasets import NAMES as DATASETS
from posebook.datasets import open_dataset
from posebook.network import Setting, settings_of
from posebook.papers import create, network_class
from posebook.paths import check_writable
from posebook.sample import Sample
from posebook.training.checkpoint import read_record, with_suffix
from posebook.training.profile import NAMES as PROFILES

# Photographs of a split that are looked at for what a notebook needs, and the side they are read at, in pixels.
LOOKED_AT, SIDE = 64, 64

# What a notebook can need of a dataset, and whether people have it.
_HAVE = {
    "joints": lambda sample: bool((sample.presence > 0).any()),
    "occluded joints": lambda sample: bool((sample.presence == 1).any()),
    "part labels": lambda sample: sample.parsing is not None,
}


def check_parameters(
    *,
    profile: object,
    seed: object,
    device: object,
    dataset: object,
    data_root: object,
    output_dir: object,
    writes: bool = True,
    people: Mapping[str, int] | None = None,
    needs: Iterable[str] = ("joints",),
) -> torch.device:
    """Check what all notebooks have for parameters, and open the dataset once. Gives the device to work on.

    Args:
        profile, seed, device, dataset, data_root, output_dir: as the notebook has them; both places may be empty.
        writes: whether the notebook writes to `output_dir`, which is then made and tried.
        people: how many people the notebook needs at least, by split; a split that is not named is not opened.
        needs: what a notebook needs of the people, of "joints", "occluded joints" and "part labels".

    Raises:
        ValueError: an unknown profile, dataset or device, a value of another type, too few people in a split, or
            people without what is needed.
        OSError: a dataset that cannot be opened, or a folder that cannot be written to.
    """
    check_profile(profile)
    check_count("seed", seed, most=2**63 - 1)
    check_place("data_root", data_root)
    check_place("output_dir", output_dir)
    if data_root and not Path(data_root).exists():
        raise FileNotFoundError(
            f"data_root is '{data_root}', and there is nothing: give the folder that the set lies in"
        )
    if not isinstance(device, str | torch.device):
        raise ValueError(f"device is {device!r}; give auto, cpu or cuda")
    picked = pick_device(str(device))
    if dataset not in DATASETS:
        open_dataset(str(dataset), "test")  # raises the sentence that lists them
    for split, least in (people or {}).items():
        _check_split(str(dataset), split, data_root or None, least, needs)
    if output_dir and writes:
        check_writable(output_dir)
    return picked


def check_profile(profile: object) -> None:
    """ValueError for a profile that does not exist."""
    if profile not in PROFILES:
        raise ValueError(f"no profile is called '{profile}'; there are {', '.join(PROFILES)}")


def check_count(name: str, value: object, least: int = 0, most: int | None = None) -> None:
    """ValueError for a parameter that is not a whole number from `least` to `most`."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        span = f"of {least} or more" if most is None or most > 2**32 else f"from {least} to {most}"
        raise ValueError(f"{name} is {value!r}; give a whole number {span}")


def check_number(name: str, value: object) -> None:
    """ValueError for a parameter that is not a number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name} is {value!r}; give a number above 0")


def check_choice(name: str, value: object, known: Collection[str]) -> None:
    """ValueError for a parameter that is none of the words known."""
    if value not in known:
        raise ValueError(f"{name} is {value!r}; give {', '.join(known)}")


def check_text(name: str, value: object) -> None:
    """ValueError for a parameter that is not text."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}; give text, in quotation marks")


def check_place(name: str, value: object) -> None:
    """ValueError for a parameter that cannot be the path of a file or folder; "" and None stand for none."""
    if value is not None and not isinstance(value, str | os.PathLike):
        raise ValueError(f'{name} is {value!r}; give a path, or "" for none')


def check_weights(path: str | Path, network: str, dataset: str | None = None, data_root: object = "") -> dict:
    """What is known about a file of weights, as `read_record` tells it.

    Args:
        network: whose weights they must be.
        dataset: whose joints they must find, in their order; None: any.

    Raises:
        FileNotFoundError, ValueError: no such file, a broken one, another network's, or one that finds other joints.
    """
    about = read_record(path)
    if about["model"] != network:
        raise ValueError(f"{with_suffix(path)} holds the weights of a network {about['model']}; give some of {network}")
    if dataset is not None:
        skeleton = open_dataset(dataset, "test", data_root or None, SIDE).skeleton
        if about["skeleton"] != skeleton.name:
            raise ValueError(
                f"{with_suffix(path)} finds the joints of {about['skeleton'].upper()}, and {dataset} has the "
                f"{len(skeleton)} of {skeleton.name.upper()}: train on {dataset} first (`posebook train {network} "
                f"--profile study --dataset {dataset} --data-root ROOT`) and give its weights"
            )
    return about


def check_network(network: str, dataset: str, data_root: object = "", **settings: Setting) -> None:
    """What a network says against settings, before anything is trained: a network of shapes without numbers is made.

    Args:
        network: its name in the catalogue.
        dataset, data_root: whose joints it finds.
        settings: its own; "" and 0 stand for the default.

    Raises:
        ValueError: an unknown setting or a value that the network cannot have, as `papers.create` says it.
    """
    settings = {name: value for name, value in settings.items() if value not in ("", 0)}
    known = settings_of(network_class(network))
    for name, value in settings.items():
        if isinstance(known.get(name), str):
            check_text(name, value)
        elif isinstance(value, str):
            raise ValueError(f"{name} is {value!r}; give a number")
    joints = len(open_dataset(dataset, "test", data_root or None, SIDE).skeleton)
    with torch.device("meta"):
        create(network, joints=joints, **settings)


def _check_split(dataset: str, split: str, root: str | Path | None, least: int, needs: Iterable[str]) -> None:
    """ValueError for a split of too few people, or of people without what is needed."""
    if dataset == "figures":  # have everything
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notebook opens it again, and then is the time to warn
        opened = open_dataset(dataset, split, root, SIDE)
        if opened.length < least:
            raise ValueError(
                f"this notebook needs {least:,} people in the {split} split, and {dataset} in {root} has "
                f"{opened.length:,}: give a larger set, or figures"
            )
        sample: Sample = opened.batch(torch.arange(min(LOOKED_AT, opened.length)))
    for need in needs:
        if not _HAVE[need](sample):
            raise ValueError(
                f"{dataset} in {root} has no {need} for the first {len(sample)} people of its {split} split, and this "
                "notebook needs them: give another dataset, or figures"
            )
