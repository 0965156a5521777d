"""Run every test with the shapes in posebook's annotations checked, and find the real sets where they are."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("posebook", "beartype.beartype")


def pytest_configure() -> None:
    """Have nbval start a kernel anew that does not come up, as `posebook run` does."""
    import nbval.kernel

    from posebook.notebooks.headless import START_ATTEMPTS

    start = nbval.kernel.start_new_kernel

    def start_patiently(*arguments, **options):
        for _ in range(START_ATTEMPTS - 1):
            with contextlib.suppress(RuntimeError):
                return start(*arguments, **options)
        return start(*arguments, **options)

    nbval.kernel.start_new_kernel = start_patiently


# Where real sets lie, one folder a set; tests that need one skip without it.
REAL_DATA = "POSEBOOK_REAL_DATA"


@pytest.fixture(scope="session")
def real_data():
    """A function from a set's name to its folder, which skips the test where the set is absent."""

    def find(name: str) -> Path:
        root = os.environ.get(REAL_DATA)
        if not root:
            pytest.skip(f"needs real data: set {REAL_DATA} to the folder that holds {name}/")
        folder = Path(root) / name
        if not folder.exists():
            pytest.skip(f"needs real data: {name}/ is not in {REAL_DATA}")
        return folder

    return find
