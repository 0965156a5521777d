"""The course in a folder of the reader's, where notebooks are changed and saved."""

from __future__ import annotations

import filecmp
import shutil
from pathlib import Path

from posebook.notebooks.headless import find
from posebook.paths import NOTEBOOKS, check_writable, replacing


def copy(folder: str | Path) -> list[Path]:
    """Copy posebook's notebooks and their glossary, each whole or not at all; gives where they are.

    What is there already and the same stays as it is, so that a copy that was stopped goes on.

    Raises:
        FileExistsError: some are there and differ, as notebooks do that were worked on; nothing is copied then.
        OSError: the folder cannot be written to.
    """
    folder = Path(folder)
    files = {file: folder / file.relative_to(NOTEBOOKS) for file in [*find(), *sorted(NOTEBOOKS.glob("*.md"))]}
    there = {file for file, place in files.items() if place.exists()}
    changed = [str(files[file]) for file in files if file in there and not _same(file, files[file])]
    if changed:
        named = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
        raise FileExistsError(
            f"{len(changed)} of the {len(files)} files are there and differ ({named}): copy into another folder, or "
            "move them away"
        )
    for parent in dict.fromkeys(place.parent for place in files.values()):
        check_writable(parent)
    for file, place in files.items():
        if file not in there:
            with replacing(place) as part:
                shutil.copyfile(file, part)
    return list(files.values())


def _same(file: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(file, other, shallow=False)
