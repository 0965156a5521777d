"""Notebooks made tidy: what is removed, what is written, and that the committed ones are."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import nbformat
import numpy as np
import pytest
from click.testing import CliRunner
from IPython.core.inputtransformer2 import TransformerManager
from PIL import Image

from posebook.cli import main
from posebook.notebooks import tidy as tidying
from posebook.notebooks.links import ORDER
from posebook.notebooks.pages import WIDGET
from posebook.notebooks.tidy import KERNEL, as_text, course_outlines, tidied, tidy
from posebook.paths import NOTEBOOKS

PICTURE = {"image/png": "iVBO", "text/plain": ["<Figure>"]}
SLIDER = {WIDGET: {"model_id": "1"}, "text/plain": ["VBox(children=(IntSlider(value=0), ...))"]}
BAR = {WIDGET: {"model_id": "2"}, "text/plain": ["training   0% |          | 00:00"]}
BOTH = {WIDGET: {"model_id": "3"}, **PICTURE}


def untidy() -> dict:
    """A notebook with all that a run leaves, and with what a reader wants."""
    shown = [{"output_type": "display_data", "metadata": {}, "data": data} for data in (SLIDER, PICTURE, BAR, BOTH)]
    printed = [
        {"output_type": "stream", "name": name, "text": text}
        for name, text in [("stdout", ["PCKh "]), ("stdout", ["0.7\n", "PCKh 0.8\n"]), ("stderr", ["slow\n"])]
    ]
    ran = {"iopub.execute_input": "2024-01-01T00:00:00Z"}
    code = {
        "cell_type": "code",
        "id": "a",
        "execution_count": 3,
        "metadata": {"execution": ran, "papermill": {"duration": 1.0}, "tags": ["summary"]},
        "outputs": [*shown, *printed],
        "source": ["1"],
    }
    text = {"cell_type": "markdown", "id": "b", "metadata": {"execution": ran}, "source": ["Résumé of section 1."]}
    metadata = {
        "kernelspec": {"display_name": "my environment", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "version": "3.13.1"},
        "widgets": {"application/vnd.jupyter.widget-state+json": {}},
        "papermill": {"parameters": {}},
        "posebook": {"failure": None},
    }
    return {"cells": [code, text], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def test_what_a_run_leaves_is_removed_and_what_a_reader_wants_stays():
    made = tidied(untidy(), None, {})
    code, text = made["cells"]
    assert code["metadata"] == {"tags": ["summary"]}
    assert text == {"cell_type": "markdown", "id": "b", "metadata": {}, "source": ["Résumé of section 1."]}
    printed = [["PCKh 0.7\n", "PCKh 0.8\n"], ["slow\n"]]
    assert [output.get("data", output.get("text")) for output in code["outputs"]] == [PICTURE, PICTURE, *printed]
    assert code["execution_count"] == 3
    assert made["metadata"] == KERNEL
    nbformat.validate(made)


def png(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def opened(output: dict) -> tuple[str, Image.Image]:
    ((kind, text),) = ((kind, text) for kind, text in output["data"].items() if kind.startswith("image/"))
    return kind, Image.open(io.BytesIO(base64.b64decode(text)))


def displayed(picture: Image.Image) -> dict:
    """A notebook's cell with one picture, as a screen of twice the pixels gets it."""
    output = {
        "output_type": "display_data",
        "data": {"image/png": png(picture), "text/plain": ["<Figure>"]},
        "metadata": {"image/png": {"width": 50}},
    }
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": [], "outputs": [output], "execution_count": 1}
    return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def test_a_chart_is_stored_with_the_colours_it_has():
    chart = Image.new("RGBA", (100, 60), "white")
    chart.paste("#E69F00", (10, 10, 40, 50))
    (output,) = tidied(displayed(chart), None, {})["cells"][0]["outputs"]
    kind, picture = opened(output)
    assert (kind, picture.mode) == ("image/png", "P")
    assert picture.convert("RGB").tobytes() == chart.convert("RGB").tobytes()
    assert output["metadata"] == {"image/png": {"width": 50}}


def test_a_picture_of_many_colours_is_stored_as_jpeg():
    x, y = np.meshgrid(np.arange(100), np.arange(60))
    photograph = np.stack([x * 2, y * 4, (x + y) % 150], -1).astype(np.uint8)
    (output,) = tidied(displayed(Image.fromarray(photograph)), None, {})["cells"][0]["outputs"]
    kind, picture = opened(output)
    assert kind == "image/jpeg"
    assert np.abs(np.asarray(picture)[:, :40].astype(int) - photograph[:, :40]).mean() < 8
    assert output["metadata"] == {"image/jpeg": {"width": 50}}


def test_pictures_made_small_stay_as_they_are():
    for picture in (Image.new("RGB", (20, 20), "red"), Image.effect_noise((90, 90), 80).convert("RGB")):
        once = tidied(displayed(picture), None, {})
        assert tidied(once, None, {}) == once


def test_a_notebook_of_the_course_starts_with_its_links_once():
    name = ORDER[1][0]
    once = tidied(untidy(), name, course_outlines())
    assert once["cells"][0]["metadata"] == {"tags": ["links"]}
    assert once["cells"][0]["source"][0].startswith("previous: [Start here](../00_start_here.ipynb) · next: ")
    assert as_text(tidied(once, name, course_outlines())) == as_text(once)
    nbformat.validate(once)


def test_with_a_public_address_a_cell_installs_posebook_where_it_is_missing():
    name, _ = ORDER[1]
    without = tidied(untidy(), name, course_outlines(), None)
    made = tidied(untidy(), name, course_outlines(), "https://github.com/Somebody/course/")
    row, install, *others = made["cells"]
    assert "colab" in row["source"][0]
    assert others == without["cells"][1:]
    assert (
        install["source"][-1] == '    %pip install -q "posebook[study] @ git+https://github.com/Somebody/course@main"'
    )
    compile(TransformerManager().transform_cell("".join(install["source"])), "install", "exec")
    nbformat.validate(made)
    assert tidied(made, name, course_outlines(), "https://github.com/Somebody/course") == made
    assert tidied(made, name, course_outlines(), None) == without


def test_the_command_writes_what_a_check_only_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lesson", "other"):
        Path(f"{name}.ipynb").write_text(json.dumps(untidy()), encoding="utf-8")
    before = Path("lesson.ipynb").read_bytes()
    checked = CliRunner().invoke(main, ["notebooks", "tidy", "--check", "lesson.ipynb"])
    assert checked.exit_code == 1
    assert checked.output.splitlines() == [
        "lesson.ipynb",
        "Error: 1 of the notebooks are not tidy: run `posebook notebooks tidy`",
    ]
    assert Path("lesson.ipynb").read_bytes() == before
    assert CliRunner().invoke(main, ["notebooks", "tidy", "."]).output.splitlines() == ["lesson.ipynb", "other.ipynb"]
    written = Path("lesson.ipynb").read_text(encoding="utf-8")
    assert written == as_text(tidied(untidy(), None, {}))
    assert "Résumé" in written
    again = CliRunner().invoke(main, ["notebooks", "tidy", "--check", "."])
    assert (again.exit_code, again.output) == (0, "")


@pytest.mark.parametrize("text", ["{", "[]", '{"nbformat": 3, "worksheets": []}', '{"nbformat": 3, "cells": []}'])
def test_what_is_no_notebook_is_named_before_any_is_changed(tmp_path, text):
    fine, broken = tmp_path / "a.ipynb", tmp_path / "b.ipynb"
    fine.write_text(json.dumps(untidy()))
    broken.write_text(text)
    with pytest.raises(ValueError, match=r"b\.ipynb is not a notebook of format 4"):
        tidy([tmp_path])
    assert fine.read_text() == json.dumps(untidy())


def test_the_format_is_that_of_jupyter(tmp_path):
    path = tmp_path / "lesson.ipynb"
    nbformat.write(nbformat.from_dict(untidy()), path)
    assert as_text(tidying.read_notebook(path)) == path.read_text(encoding="utf-8")


def test_the_committed_notebooks_are_tidy():
    found = [path.relative_to(NOTEBOOKS).as_posix() for path in tidy(write=False)]
    assert not found, "run `posebook notebooks tidy`"
