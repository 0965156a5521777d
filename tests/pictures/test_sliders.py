"""Sliders over a picture: moved without a browser, and kept by a notebook that runs headless."""

from __future__ import annotations

import nbformat
import pytest

from posebook.notebooks import headless as notebooks
from posebook.pictures import figure
from posebook.pictures.sliders import explore, slider


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
    explorer.picture()
    explorer.sliders["height"].value = 2.0
    explorer.sliders["colour"].value = "blue"
    picture = explorer.picture()
    assert seen == [
        {"height": 1.0, "colour": "red", "grid": False},
        {"height": 2.0, "colour": "blue", "grid": False},
    ]
    assert picture.axes[0].patches[0].get_height() == 2.0


CELLS = (
    """import matplotlib.pyplot as plt
from posebook.pictures.sliders import explore
def draw(height):
    if height > 8:
        raise ValueError("too high to draw")
    sheet, ax = plt.subplots(figsize=(1, 1))
    ax.bar([0], [height])
    return sheet
explore(draw, height=(0, 9, 1, 5))""",
    """moved = explore(draw, height=(0, 9, 1, 5))
moved""",
    """wrong = explore(draw, height=(0, 9, 1, 5))
wrong""",
    """moved.sliders["height"].value = 2
wrong.sliders["height"].value = 9""",
)


def test_a_headless_notebook_keeps_one_picture_and_a_slider_replaces_it(tmp_path, monkeypatch):
    # A kernel draws for notebooks unless the environment names another backend.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbformat.write(notebook, tmp_path / "sliders.ipynb")
    executed = notebooks.execute(tmp_path / "sliders.ipynb", tmp_path / "out" / "sliders.ipynb", {}, progress=False)
    notebook = nbformat.read(executed.file, as_version=4)
    still, moved, wrong, setting = (cell.outputs for cell in notebook.cells)
    for outputs in (still, moved):
        assert [output.output_type for output in outputs] == ["display_data", "display_data"]
        assert "application/vnd.jupyter.widget-view+json" in outputs[0].data
        assert outputs[1].data["image/png"]
    assert moved[1].data["image/png"] != still[1].data["image/png"]
    assert wrong[1].data["text/plain"] == "too high to draw"
    assert "image/png" not in wrong[1].data
    assert setting == []
