"""Text from outside: annotations, tables, boxes, notebooks, and names that mean something to whoever reads them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from damage import damaged, few, refusal
from posebook.cli import main
from posebook.cli.common import sentence
from posebook.datasets.mpii import read_annotations
from posebook.datasets.photographs import in_folder
from posebook.datasets.tables import read_fields, read_table
from posebook.notebooks.headless import execute, find, parameters_of, write_index
from posebook.pictures.photographs import read_boxes

PERSON = {"joints": [[9.0, 9.0]] * 16, "joints_vis": [1] * 16, "image": "a.jpg", "center": [9.0, 9.0], "scale": 1.0}
TABLE = "\n".join(",".join(["a.jpg", *map(str, range(1, 33))]) for _ in range(4)).encode()


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "3", "null", '"text"', "[" * 100_000, "[{}]", json.dumps([PERSON | {"joints": 3}]),
     json.dumps([PERSON | {"scale": None}]), json.dumps([PERSON | {"scale": float("nan")}]),
     json.dumps([PERSON | {"center": "here"}]), json.dumps([PERSON, PERSON | {"joints_vis": [1] * 15}]),
     json.dumps([PERSON | {"joints": [[1, "x"]] * 16}])],
    ids=range(13),
)  # fmt: skip
def test_annotations_that_are_none_are_named(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json"):
        read_annotations(tmp_path / "a.json")


@pytest.mark.parametrize("kind", ["json", "csv", "boxes"])
@few
@given(data=st.data())
def test_damaged_tables_are_read_or_refused(tmp_path, kind, data):
    readers = {
        "json": (json.dumps([PERSON] * 3).encode(), [read_annotations]),
        "csv": (TABLE, [read_annotations, read_fields, lambda path: read_table(path, (32,), "a line")]),
        "boxes": (b"name,x,y,w,h\na.jpg,1,2,3,4\nb.jpg,5,6,7,8\n", [read_boxes]),
    }
    content, reads = readers[kind]
    content = data.draw(damaged(content))
    for read in reads:
        refusal(tmp_path / f"a.{'json' if kind == 'json' else 'csv'}", content, read)


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.jpg", "a/../../b.jpg", "a\0b"])
def test_names_in_annotations_do_not_leave_the_folder(tmp_path, name):
    with pytest.raises(ValueError, match="names lead to files within it"):
        in_folder(tmp_path, ["a.jpg", name])


def test_a_folder_in_place_of_a_file_is_called_a_folder(tmp_path):
    for name, read in (("a.csv", read_fields), ("b.h5", read_annotations), ("c.csv", read_boxes)):
        (tmp_path / name).mkdir()
        with pytest.raises(ValueError, match=rf"{name} is a folder: give a file"):
            read(tmp_path / name)


# --- notebooks ------------------------------------------------------------------------------------------------------

EVIL = "# <script>alert(1)</script>\n"


def notebook(path: Path, *cells: str, **metadata) -> Path:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(cell) for cell in cells], metadata=metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)
    return path


def test_titles_summaries_and_names_stay_text_in_the_index(tmp_path):
    for name in ("javascript:alert(1)", "a\"onclick='x'", "b&c#d?e%41", "{braces}"):
        path = notebook(tmp_path / f"{name}.ipynb", EVIL, papermill={"parameters": {"profile": "<b>"}, "duration": 1.0})
        path.with_suffix(".html").write_text("page")
    page = write_index(tmp_path).read_text()
    assert page.count("&lt;script&gt;") == 4
    assert "<script" not in page
    assert "<b>" not in page
    for link in ("javascript%3Aalert%281%29.html", "a%22onclick%3D%27x%27.html", "b%26c%23d%3Fe%2541.html"):
        assert f'href="{link}"' in page
    assert 'href="javascript:' not in page


def test_odd_notebooks_beside_those_executed_are_left_out_of_the_index(tmp_path):
    notebook(tmp_path / "good.ipynb", "# Good")
    odd = ["", "{", "[]", "3", '{"cells": 3}', '{"nbformat": 4, "cells": [{"cell_type": 3}]}', "[" * 100_000]
    for number, text in enumerate(odd):
        (tmp_path / f"odd{number}.ipynb").write_text(text)
    (tmp_path / "bytes.ipynb").write_bytes(b"\xff\xfe\0")
    (tmp_path / "folder.ipynb").mkdir()
    for number, metadata in enumerate(
        [{"papermill": 3}, {"papermill": {"duration": "long"}}, {"papermill": {"parameters": []}}, {"posebook": 3},
         {"papermill": {"start_time": 1}, "posebook": {"start_time": 1}},
         {"papermill": {"parameters": {"profile": 3}}}]
    ):  # fmt: skip
        notebook(tmp_path / f"metadata{number}.ipynb", "# Odd", **metadata)
    page = write_index(tmp_path).read_text()
    assert "Good" in page
    assert page.count("<tr>") == 2
    assert tmp_path / "folder.ipynb" not in find([tmp_path])


@few
@given(data=st.data())
def test_damaged_notebooks_are_read_or_refused(tmp_path, data):
    whole = notebook(tmp_path / "whole.ipynb", "# Title", "text").read_bytes()
    refusal(tmp_path / "a.ipynb", data.draw(damaged(whole)), parameters_of)
    write_index(tmp_path)


def test_folders_with_braces_are_run_in(tmp_path):
    path = tmp_path / "{in}" / "a.ipynb"
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("from pathlib import Path\nprint(Path.cwd())")])
    path.parent.mkdir()
    nbformat.write(made, path)
    done = execute(path, tmp_path / "{out} {0}" / "a.ipynb", {}, progress=False)
    assert done.failure is None
    assert done.file == tmp_path / "{out} {0}" / "a.ipynb"
    assert str(path.parent) in nbformat.read(done.file, 4).cells[0].outputs[0].text


def test_a_closed_output_fails_no_photograph(tmp_path):
    for number in range(3):
        Image.new("RGB", (60, 80)).save(tmp_path / f"{number}.png")
    command = [sys.executable, "-m", "posebook.cli", "predict", str(tmp_path), "--output", str(tmp_path / "out")]
    lib = Path(main.callback.__code__.co_filename).parents[1]
    with subprocess.Popen(
        [*command, "--device", "cpu"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(lib)},
    ) as process:  # fmt: skip
        first = process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert first.startswith(str(tmp_path / "0.png"))
    assert "could not be done" not in said
    assert "Traceback" not in said


def test_parameters_that_look_like_code_stay_text(tmp_path):
    run = CliRunner().invoke(main, ["describe", "hourglass", "--set", "stacks=__import__('os').system('touch evil')"])
    assert run.exit_code == 1
    assert "give a whole number" in run.output


def test_the_systems_errors_are_told_with_their_file_and_without_their_number(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as caught:
        (tmp_path / "file" / "under").open()
    assert sentence(caught.value) == f"{tmp_path}/file/under: Not a directory"
