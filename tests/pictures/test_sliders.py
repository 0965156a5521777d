"""Sliders over a picture: moved without a browser, and kept by a notebook that runs headless."""

from __future__ import annotations

import base64
import io

import nbformat
import numpy as np
import pytest
from PIL import Image

from posebook.notebooks import headless
from posebook.pictures import figure
from posebook.pictures.sliders import as_png, explore, slider


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def draw(height: float, colour: str = "red", grid: bool = False):
    result, axes = figure(size=(2, 2))
    axes[0, 0].bar([0], [height], color=colour)
    axes[0, 0].grid(grid)
    return result


def test_choices_become_the_control_that_fits():
    assert type(slider("a", (0, 9, 1, 4))).__name__ == "IntSlider"
    fine = slider("sigma_x", (0.5, 2, 0.5, 1))
    assert type(fine).__name__ == "FloatSlider"
    assert (fine.min, fine.max, fine.step, fine.value, fine.description) == (0.5, 2, 0.5, 1, "sigma x")
    assert slider("a", ["one", "two"]).value == "one"
    assert slider("a", True).value is True


@pytest.mark.parametrize("choices", [(0, 1), (0, 9, 1, 10), (0, 9, 0, 1), [], "high", 3])
def test_choices_that_make_no_control_are_named(choices):
    with pytest.raises(ValueError, match="'height'"):
        slider("height", choices)


def test_the_picture_is_drawn_for_where_the_sliders_stand():
    seen = []
    explorer = explore(
        lambda **values: seen.append(values) or draw(**values),
        height=(0.0, 2.0, 0.5, 1.0),
        colour=["red", "blue"],
        grid=False,
    )
    first = explorer.shown
    explorer.sliders["height"].value = 2.0
    explorer.sliders["colour"].value = "blue"
    assert seen == [
        {"height": 1.0, "colour": "red", "grid": False},
        {"height": 2.0, "colour": "red", "grid": False},
        {"height": 2.0, "colour": "blue", "grid": False},
    ]
    assert explorer.picture().axes[0].patches[0].get_height() == 2.0
    assert explorer.shown != first
    assert np.array_equal(pixels(explorer.shown), pixels(as_png(explorer.picture(), density=2)))


def test_a_picture_is_as_wide_as_its_figure_at_twice_the_density():
    explorer = explore(draw, height=(0.0, 2.0, 0.5, 1.0))
    *_, picture = explorer.box.children
    width = explorer.picture().get_figwidth() * explorer.picture().dpi
    assert pixels(explorer.shown).shape[1] == 2 * width
    assert picture.layout.width == f"{width:.0f}px"
    still = base64.b64decode(explorer._repr_mimebundle_()["image/png"])
    assert pixels(still).shape[1] == width


def draw_low(height: int):
    if height == 1:
        raise KeyError("one")
    if height > 8:
        raise ValueError("<9> is too high to draw")
    return draw(height)


def test_a_setting_that_cannot_be_drawn_is_explained_above_the_last_picture():
    explorer = explore(draw_low, height=(0, 9, 1, 5))
    explorer.sliders["height"].value = 7
    last = explorer.shown
    explorer.sliders["height"].value = 9
    assert explorer.problem.startswith("<9> is too high to draw")
    assert explorer.shown == last
    explorer.sliders["height"].value = 1
    assert explorer.problem.startswith("KeyError: 'one' (the picture below")
    assert explorer.shown == last
    explorer.sliders["height"].value = 6
    assert explorer.problem == ""
    assert explorer.shown != last
    with pytest.raises(ValueError, match="too high"):
        explore(draw_low, height=(0, 9, 1, 9))


CELL = """import matplotlib.pyplot as plt
from posebook.pictures.sliders import explore
def draw(height):
    sheet, ax = plt.subplots(figsize=(1, 1))
    ax.bar([0], [height])
    return sheet
explore(draw, height=(0, 9, 1, 5))"""


def test_a_headless_notebook_keeps_the_first_picture(tmp_path, monkeypatch):
    # A kernel draws for notebooks unless the environment names another backend.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbformat.write(notebook, tmp_path / "sliders.ipynb")
    executed = headless.execute(tmp_path / "sliders.ipynb", tmp_path / "out" / "sliders.ipynb", {}, progress=False)
    (output,) = nbformat.read(executed.file, as_version=4).cells[0].outputs
    assert base64.b64decode(output.data["image/png"]).startswith(b"\x89PNG")
    assert "application/vnd.jupyter.widget-view+json" in output.data
