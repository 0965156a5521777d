"""What a run leaves on disk: weights that can be shared, and the state from which it goes on.

Every file is written beside its place and renamed, so that at any moment there is a whole one or none.

Weights are `X.safetensors`, which loads without running code, with `X.json` beside it to read: which network, with
which settings, and how it came about. The same text is inside the weights file, and that is the one that counts, so
that the two cannot disagree.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn

from posebook.outside import existing, parse_json
from posebook.paths import replacing
from posebook.skeleton import SKELETONS

STATE = "state.pt"

_KEY = "posebook"
_STATE_KEYS = ("configuration", "run", "parts")


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
        if not path.exists():
            raise FileNotFoundError(f"there are no weights at {path}; `posebook train` makes some")
    try:
        with safe_open(existing(path), framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); get or train it again") from error
    if text is None:
        raise ValueError(f"{path} does not say which network it is of; load it with safetensors into your own")
    about = parse_json(text, path, "model", "settings", "skeleton", "training")
    for key, kind in (("model", str), ("settings", dict), ("skeleton", str), ("training", dict)):
        if not isinstance(about[key], kind):
            raise ValueError(f"{path} gives for {key} of its network {about[key]!r}: it was not written by posebook")
    if about["skeleton"] not in SKELETONS:
        known = ", ".join(SKELETONS)
        raise ValueError(
            f"{path} is of a network whose joints are in the order of '{about['skeleton']}'; known are {known}"
        )
    return about


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a weights file; what raises as in `read_record`."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = with_suffix(path)
    try:
        return load_file(existing(path))
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); get or train it again") from error


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
    existing(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        # torch stores a sum of each tensor's bytes, and does not compare it.
        with zipfile.ZipFile(path) as stored:
            if changed := stored.testzip():
                raise ValueError(f"{changed} has changed since it was written")
    except Exception as error:  # many kinds, and torch's own words for some advise to let the file run what it says
        raise ValueError(
            f"{path} cannot be read, for it is broken, or holds more than numbers and text; delete it, or start afresh"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(state.get(key), dict) for key in _STATE_KEYS):
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
