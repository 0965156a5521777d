"""Where things are in the repository, and how files are written: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
WEIGHTS = DATA / "weights"
RESULTS = ROOT / "results"
NOTEBOOKS = ROOT / "notebooks"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to; what was written takes the place of `path` when the block ends well."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
