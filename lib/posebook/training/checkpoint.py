"""What a run leaves on disk: weights that can be shared, and the state from which it goes on.

Every file is written beside its place and renamed, so that at any moment there is a whole one or none.

Weights are `X.safetensors`, which loads without running code, with `X.json` beside it to read: which network, with
which settings, and how it came about. The same text is inside the weights file, and that is the one that counts, so
that the two cannot disagree.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import BinaryIO

import torch
from torch import nn

from posebook.paths import replacing
from posebook.skeleton import SKELETONS

STATE = "state.pt"

_KEY = "posebook"


def save_weights(path: str | Path, model: nn.Module, name: str, skeleton: str, record: dict) -> Path:
    """Write a network's weights and what there is to know about them.

    Args:
        path: where to; `.safetensors` is added where it is missing.
        name: the network's name in the catalogue, `posebook.papers`.
        skeleton: name of the order of its joints.
        record: how it came about; anything that JSON holds.

    Returns:
        The path written.
    """
    from safetensors.torch import save

    path = with_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"model": name, "settings": model.settings, "skeleton": skeleton, "training": record}
    text = json.dumps(about, indent=2, allow_nan=False)
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    with replacing(path) as part:
        # Not save_file, whose files only their owner can read.
        part.write_bytes(save(tensors, metadata={_KEY: text}))
    with replacing(path.with_suffix(".json")) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return path


def read_record(path: str | Path) -> dict:
    """What is known about a weights file, without loading it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is broken, or was not written by posebook.
    """
    from safetensors import SafetensorError, safe_open

    path = with_suffix(path)
    if not path.is_file():
        if path.with_suffix("").is_file():
            raise ValueError(f"{path.with_suffix('')} is not a file of posebook's weights, which end in .safetensors")
        raise FileNotFoundError(f"there are no weights at {path}; `posebook train` makes some")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); get or train it again") from error
    if text is None:
        raise ValueError(f"{path} does not say which network it is of; load it with safetensors into your own")
    about = json.loads(text)
    if about["skeleton"] not in SKELETONS:
        known = ", ".join(SKELETONS)
        raise ValueError(
            f"{path} is of a network whose joints are in the order of '{about['skeleton']}'; known are {known}"
        )
    return about


def load_into(model: nn.Module, path: str | Path) -> None:
    """Copy a file's weights into a network that has the same ones; ValueError says what does not fit."""
    from safetensors.torch import load_file

    path = with_suffix(path)
    found, wanted = load_file(path), model.state_dict()
    if missing := [key for key in wanted if key not in found]:
        raise ValueError(f"{path} lacks {len(missing)} of the network's weights, the first is {missing[0]}")
    if extra := [key for key in found if key not in wanted]:
        raise ValueError(f"{path} has {len(extra)} weights that the network has not, the first is {extra[0]}")
    for key, value in wanted.items():
        if found[key].shape != value.shape:
            raise ValueError(
                f"{path}: {key} is {tuple(found[key].shape)}, the network's is {tuple(value.shape)}; "
                "give the settings it was trained with"
            )
        if not found[key].isfinite().all():
            raise ValueError(f"{path}: {key} holds values that are not numbers: the training had diverged")
    model.load_state_dict(found)


def save_state(folder: Path, state: dict) -> None:
    """Write everything a run goes on from, as one file: its parts can never be of different steps.

    Raises:
        OSError: the disk is full or broken; what was there is still there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / STATE) as part, open(part, "wb") as file:
        watched = _Watched(file)
        try:
            torch.save(state, watched)
        except RuntimeError:  # torch's writer loses what the system said
            if watched.error is None:
                raise
            raise watched.error from None


class _Watched:
    """A file to write to that keeps the first error."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.error = file, None

    def write(self, data: bytes | memoryview) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self.file.flush()


def load_state(folder: Path, configuration: dict) -> dict | None:
    """What `save_state` wrote in this folder, or None.

    Args:
        configuration: the settings of the run that wants to go on.

    Raises:
        ValueError: the state is broken, or of a run with other settings.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds on a broken file
        raise ValueError(f"{path} cannot be read ({error}); delete it, or start afresh") from error
    if not isinstance(state, dict) or not {"configuration", "run", "parts"} <= state.keys():
        raise ValueError(f"{path} is not the state of a run of posebook's; give another folder, or start afresh")
    if differences := differing(state["configuration"], configuration):
        raise ValueError(
            f"the run in {folder} has other settings: {'; '.join(differences)}. "
            "Give the settings it was started with, or another folder, or start afresh"
        )
    return state


def differing(before: dict, now: dict, prefix: str = "") -> list[str]:
    """Where two settings differ, each as "name was 1, is 2"."""
    found = []
    for key in [*before, *(key for key in now if key not in before)]:
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differing(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} was {old}, is {new}")
    return found


def with_suffix(path: str | Path) -> Path:
    """The path of a weights file, `.safetensors` added where it is missing."""
    path = Path(path)
    return path if path.suffix == ".safetensors" else path.with_name(path.name + ".safetensors")
