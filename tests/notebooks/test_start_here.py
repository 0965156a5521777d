"""The photograph that the first notebook can start with."""

from __future__ import annotations

from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from posebook.notebooks.tidy import INSTALL
from posebook.paths import NOTEBOOKS

CELLS = nbformat.read(NOTEBOOKS / "00_start_here.ipynb", as_version=4).cells
CODE = [cell.source for cell in CELLS if cell.cell_type == "code" and cell.id != INSTALL]


def run(count: int, **given: object) -> dict:
    """What the first cells of code leave behind, with these parameters."""
    space: dict = {}
    exec(CODE[0], space)
    space.update(given)
    for source in CODE[1:count]:
        exec(source, space)
    return space


@pytest.mark.parametrize(
    ("photograph", "sentence"),
    [
        ("nowhere.jpg", "there is no photograph at nowhere.jpg"),
        ("https://example.org/a.jpg", "is an address: download the photograph first"),
        (".", ". is a folder: give a file"),
        (7, 'photograph is 7; give a path, or "" for none'),
    ],
)
def test_what_is_no_photograph_ends_the_first_cell(photograph, sentence):
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        run(2, photograph=photograph)


def test_the_first_pose_is_found_in_the_photograph(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 255, (90, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "me.png")
    space = run(6, photograph=str(tmp_path / "me.png"))
    assert (space["picture"] == pixels).all()
    assert space["joints"].shape == (16, 2)
    assert len([ax for ax in space["fig"].axes if ax.images]) == 3


def test_without_one_it_is_found_in_a_rendered_person():
    assert run(6)["picture"].shape == (384, 384, 3)
