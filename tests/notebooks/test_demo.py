"""Pages of sliders: which cells they play, and that each notebook on a page keeps its own names."""

from __future__ import annotations

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from posebook.notebooks import demo
from posebook.notebooks.headless import find
from posebook.papers import PAPERS

DRAW = """def draw(height):
    if height > 8:
        raise ValueError("too high")
    sheet, axes = figure(size=(1, 1))
    axes[0, 0].bar([0], [height * scale])
    return sheet
explore(draw, height=(0, 9, 1, 5))"""


def tagged(source: str, *tags: str) -> nbformat.NotebookNode:
    return new_code_cell(source, metadata={"tags": ["demo", *tags]})


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Two notebooks of a paper that use one name differently, the second with a slider that waits for a training."""
    imports = "from posebook.pictures import figure\nfrom posebook.pictures.sliders import explore"
    first = [
        new_markdown_cell("# Heights 1: by hand"),
        tagged("steps = 300", "parameters"),
        tagged(f"{imports}\nimport torch\ntorch.set_default_dtype(torch.float64)\nscale = 1"),
        new_code_cell("raise RuntimeError('not of the page')"),
        new_markdown_cell("Above.\n\n## 2. Heights\n\nIt follows.\n\nMove the bar of [section 2](#2.-Heights)."),
        tagged(DRAW),
    ]
    second = [
        new_markdown_cell("# Heights 2: trained"),
        tagged(imports),
        tagged("scale = 2", "trains"),
        new_markdown_cell("## 1. Trained heights (optional)\n\nMove it again."),
        tagged(DRAW),
    ]
    (tmp_path / "7_heights").mkdir()
    for name, cells in (("1_first", first), ("2_second", second)):
        nbformat.write(new_notebook(cells=cells), tmp_path / "7_heights" / f"{name}.ipynb")
    nbformat.write(new_notebook(cells=[new_markdown_cell("# No sliders")]), tmp_path / "8_end.ipynb")
    monkeypatch.setattr(demo, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(demo, "_namespaces", {})
    monkeypatch.setattr(demo, "given", {})


def test_a_page_has_the_text_above_each_slider_and_the_cells_that_it_needs(course):
    assert list(demo.pages()) == ["heights"]
    start, *cells = [cell.source for cell in demo.build("heights", steps=5).cells]
    assert start.endswith("given |= {'steps': 5}")
    assert cells == [
        "# Heights 1: by hand",
        "## 2. Heights\n\nMove the bar of section 2.",
        "prepare('7_heights/1_first.ipynb', 1, 2)",
        "play('7_heights/1_first.ipynb', 5)",
        "# Heights 2: trained",
        "## 1. Trained heights\n\nMove it again.",
        "on_click('7_heights/2_second.ipynb', 1, 2, 4)",
    ]


def test_notebooks_on_one_page_share_neither_names_nor_settings(course):
    demo.given["steps"] = 5
    demo.given["unknown"] = 1
    demo.prepare("7_heights/1_first.ipynb", 1, 2)
    assert torch.get_default_dtype() == torch.float32
    first = demo.play("7_heights/1_first.ipynb", 5)
    waiting = demo.on_click("7_heights/2_second.ipynb", 1, 2, 4)
    (button,) = waiting.children
    button.click()
    assert waiting.children[0] is not button
    spaces = demo._namespaces
    assert [space["scale"] for space in spaces.values()] == [1, 2]
    assert spaces["7_heights/1_first.ipynb"]["steps"] == 5
    assert "unknown" not in spaces["7_heights/1_first.ipynb"]
    before = first.shown
    first.sliders["height"].value = 2
    assert first.shown != before
    assert first.picture().axes[0].patches[0].get_height() == 2


def test_a_training_that_fails_says_why_and_can_be_tried_again(course):
    waiting = demo.on_click("7_heights/2_second.ipynb", 4)
    (button,) = waiting.children
    button.click()
    assert waiting.children[0].value == "NameError: name &#x27;explore&#x27; is not defined"
    assert waiting.children[1] is button


def test_an_unknown_page_is_named(course, tmp_path):
    with pytest.raises(ValueError, match="no page 'weights' of sliders; there are heights"):
        demo.serve(["weights"], tmp_path)


def test_every_slider_of_the_course_is_on_a_page():
    made = [path for notebooks in demo.pages().values() for path in notebooks]
    for path in find():
        cells = nbformat.read(path, as_version=4).cells
        sliders = [cell for cell in cells if cell.cell_type == "code" and "explore(" in cell.source]
        assert all("demo" in cell.metadata.get("tags", []) for cell in sliders), f"{path.stem}: tag them `demo`"
        assert (path in made) == bool(sliders)
    assert demo.pages().keys() == {*PAPERS, "start_here", "ledger"}
