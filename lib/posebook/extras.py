"""Packages that not every installation has: those of the extras in pyproject.toml."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """A context for imports of packages that come with an extra of posebook's.

    Args:
        extra: "study", for the notebooks, or "cluster".
        what: is done with them, as the beginning of the sentence.

    Raises:
        ModuleNotFoundError: one of them is not installed; a sentence that says what to do.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{what} needs {error.name}, which is not installed: pip install 'posebook[{extra}]'", name=error.name
        ) from error
