"""Where things are, in a repository or in an installed package, and how files are written: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A wheel carries what ships within the package; in a repository the same folders lie beside lib/.
_SHIPPED = Path(__file__).resolve().with_name("shipped")
INSTALLED = _SHIPPED.is_dir()
ROOT = _SHIPPED if INSTALLED else Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
WEIGHTS = DATA / "weights"
RESULTS = ROOT / "results"
NOTEBOOKS = ROOT / "notebooks"
# Where runs and results go for which nobody gave a folder: an installed package is not written to.
WORK = Path() if INSTALLED else ROOT


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


def check_writable(folder: str | Path) -> Path:
    """The folder, made where it is missing and tried by writing to it, so that work is not lost for want of a place.

    Raises:
        OSError: it cannot be made or written to; a sentence that says what to do.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".posebook-"):
            pass
    except FileExistsError as error:
        raise OSError(f"{folder} is a file: give another folder to write to") from error
    except OSError as error:
        raise OSError(f"{folder} cannot be written to ({error.strerror or error}): give another folder") from error
    return folder
