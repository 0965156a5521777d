"""What all notebooks keep to, whatever they are about."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
LONGEST = 20  # visible lines of a cell


def cells(path: Path, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


def test_visible_cells_are_short(path):
    visible = [c.source for c in cells(path, "code") if not c.metadata.get("jupyter", {}).get("source_hidden")]
    long = [source.splitlines()[0] for source in visible if len(source.splitlines()) > LONGEST]
    assert not long, f"cells of more than {LONGEST} lines: split them, or fold those that draw"


def test_what_shows_results_cannot_go_stale(path):
    """Numbers from results/ are compared with what the notebook has stored, so that it is executed again with them."""
    reads = ("in_words(row)", "read_rows(", "render(rows)", "stored.read_text()", "RESULTS /")
    shown = [cell for cell in cells(path, "code") if any(text in cell.source for text in reads)]
    assert all("nbval-check-output" in cell.metadata.get("tags", []) for cell in shown), "tag it nbval-check-output"


def test_an_at_sign_stands_in_code_font(path):
    """Elsewhere, JupyterLab takes `PCKh@0.5` for an address and makes it a link to write to."""
    for cell in cells(path, "markdown"):
        prose = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$", "", cell.source, flags=re.DOTALL)
        assert not re.findall(r"\w+@\w", prose)


def test_every_code_cell_was_executed(path):
    """In one go from top to bottom, so that what stands under a cell is what it gives."""
    counts = [cell.execution_count for cell in cells(path, "code") if cell.source.strip()]
    assert counts == sorted(counts)
    assert len(set(counts)) == len(counts)
