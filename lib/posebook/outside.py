"""What comes from outside is looked at before it is believed, and refused in a sentence that names the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor


def existing(path: str | Path, advice: str = "") -> Path:
    """The path of a file that lies on a disk: no folder, and no pipe, which might never end.

    Args:
        advice: what to do where there is none.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: it is something else.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist" + (f": {advice}" if advice else ""))
    if not path.is_file():
        raise ValueError(f"{path} is {'a folder' if path.is_dir() else 'no file on a disk'}: give a file")
    return path


def read_text(path: str | Path) -> str:
    """A file's text, in UTF-8; ValueError and FileNotFoundError name the file."""
    try:
        return existing(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error}): get it again") from error


def parse_json(text: str, named: str | Path, *keys: str) -> dict:
    """An object that JSON holds, with these keys at least; ValueError says of what is `named` how it is otherwise.

    NaN and the infinities are refused: they are no JSON, and nothing of posebook's writes them.
    """
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{named} is not JSON that can be read ({error}): get it again") from error
    if not isinstance(found, dict) or (missing := [key for key in keys if key not in found]):
        lacks = f"lacks {', '.join(missing)}" if isinstance(found, dict) else "is no object"
        raise ValueError(f"{named} is not what posebook writes: its JSON {lacks}")
    return found


def check_tensors(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], named: str | Path) -> None:
    """Refuse tensors that are not those of a network or a prior.

    Args:
        found: what a file has.
        wanted: what it must have, of the same shapes and types; their values are not looked at, and they may be on
            the meta device.

    Raises:
        ValueError: a tensor that is missing or too many, of another shape or type, or with values that are no numbers.
    """
    if missing := [key for key in wanted if key not in found]:
        raise ValueError(f"{named} lacks {len(missing)} of the weights it must have, the first is {missing[0]}")
    if extra := [key for key in found if key not in wanted]:
        raise ValueError(f"{named} has {len(extra)} weights that have no place, the first is {extra[0]}")
    for key, value in wanted.items():
        if found[key].shape != value.shape:
            raise ValueError(
                f"{named}: {key} is {tuple(found[key].shape)} and must be {tuple(value.shape)}; give the settings it "
                "was trained with"
            )
        if found[key].dtype != value.dtype:
            raise ValueError(f"{named}: {key} is of type {found[key].dtype} and must be of {value.dtype}")
        if not found[key].isfinite().all():
            raise ValueError(f"{named}: {key} holds values that are not numbers: the training had diverged")


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}, which is no number")
