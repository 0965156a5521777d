from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from posebook.cli import main
from posebook.notebooks import headless as notebooks

PARAMETERS = """\
profile = "quick"  # quick, study or paper
data_root = None  # folder of a real set
seed = 0  # of everything random
rate = 1e-3  # of learning
device = "cpu"  # where it runs
size = 8 * 8  # pixels
"""


def write(file: Path, *code: str, title: str = "A title", parameters: str | None = PARAMETERS) -> Path:
    """A notebook of a heading, its parameters, and cells of code; the last one is tagged `summary`."""
    cells = [new_markdown_cell(f"Text before.\n\n# {title}\n")]
    if parameters:
        cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    cells += [new_code_cell(source) for source in code]
    cells[-1].metadata["tags"] = [*cells[-1].metadata.get("tags", []), "summary"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), file)
    return file


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder to work in, on a machine whose PATH and whose other Jupyter kernels lead to some other Python."""
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(
        json.dumps({"argv": ["/bin/false", "{connection_file}"], "display_name": "x", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_notebook_runs_with_its_parameters_in_its_own_folder(elsewhere):
    report = "import os, sys\nprint(profile, seed, data_root, os.getcwd(), sys.prefix)"
    write(
        elsewhere / "book" / "b" / "lesson.ipynb", report, "print('first')\nprint('PCKh < 0.5')", title="Heads & <maps>"
    )

    ran = CliRunner().invoke(main, ["run", "book", "-p", "seed", "7", "-p", "data_root", "book", "--profile", "study"])

    assert ran.exit_code == 0, ran.output
    assert "s  b/lesson.ipynb: PCKh < 0.5\n" in ran.output
    assert f"{elsewhere / 'runs' / 'index.html'}" in ran.output
    executed = nbformat.read(elsewhere / "runs" / "b" / "lesson.ipynb", as_version=4)
    printed = executed.cells[-2].outputs[0].text.split()
    assert printed == ["study", "7", str(elsewhere / "book"), str(elsewhere / "book" / "b"), sys.prefix]
    assert "PCKh &lt; 0.5" in (elsewhere / "runs" / "b" / "lesson.html").read_text()
    index = (elsewhere / "runs" / "index.html").read_text()
    assert '<a href="b/lesson.html">Heads &amp; &lt;maps&gt;</a></td><td>PCKh &lt; 0.5</td><td>study</td>' in index


def test_a_failing_notebook_stops_the_others_and_says_where(elsewhere):
    write(elsewhere / "book" / "1_sleeps.ipynb", "import time; time.sleep(300)")
    write(elsewhere / "book" / "2_fails.ipynb", "x = 1", "x", "\n# why\nx.y = 2\n", "x", parameters=None)

    began = time.monotonic()
    ran = CliRunner().invoke(main, ["run", "book", "--jobs", "2"])

    assert time.monotonic() - began < 200
    assert ran.exit_code == 1
    message = "book/2_fails.ipynb stopped at cell 3 (x.y = 2): AttributeError: 'int' object has no attribute 'y'"
    assert f"Error: {message}" in ran.output
    assert "Traceback" not in ran.output
    index = (elsewhere / "runs" / "index.html").read_text()
    assert '<a href="2_fails.html">A title</a></td><td>stopped at cell 3 (x.y = 2): AttributeError' in index
    assert "1_sleeps.html" not in index


def test_a_kernel_that_dies_is_a_failure_too(elsewhere):
    lesson = write(elsewhere / "lesson.ipynb", "import os\nos._exit(1)", "2", parameters=None)
    ended = notebooks.execute(lesson, elsewhere / "runs" / "lesson.ipynb", {}, progress=False)
    assert ended.failure == "cell 1 (import os): the kernel died, as it does when memory runs out"


def test_a_kernel_that_does_not_come_up_is_a_failure_too(elsewhere, monkeypatch):
    monkeypatch.setattr(notebooks, "use_this_python", lambda: None)
    lesson = write(elsewhere / "lesson.ipynb", "1", parameters=None)
    ended = notebooks.execute(lesson, elsewhere / "runs" / "lesson.ipynb", {}, progress=False)
    assert ended.failure.startswith("its start: the kernel d")


def test_parameters_are_read_by_the_type_of_their_defaults(tmp_path):
    lesson = write(tmp_path / "lesson.ipynb", "1")
    given = {"seed": "3", "rate": "1", "device": "0", "size": "[1, 2]", "data_root": str(tmp_path / "x" / "..")}
    assert notebooks.settle(lesson, "paper", given) == {
        "profile": "paper", "seed": 3, "rate": 1, "device": "0", "size": [1, 2], "data_root": str(tmp_path),
    }  # fmt: skip
    places = write(tmp_path / "places.ipynb", "1", parameters='output_dir = "out"\ndata_root = None\n')
    empty = {"output_dir": "", "data_root": ""}
    assert notebooks.settle(places, "quick", empty) == empty
    assert notebooks.settle(lesson, "quick", {"seed": 3}) == {"profile": "quick", "seed": 3}
    assert notebooks.settle(write(tmp_path / "solutions.ipynb", "1", parameters=None), "study", {}) == {}


def test_parameters_of_every_kind_are_found(tmp_path):
    source = (
        'name: str = "a"\nsizes = (\n    3,\n    4,\n)\nwords = ["b = c"]  # not d = e\nfolder = None\ncount = 2 ** 3\n'
        "on = False\none = other = 1\npair, of = 1, 2\nlater: int\nprint(name)\n"
    )
    assert notebooks.parameters_of(write(tmp_path / "lesson.ipynb", "1", parameters=source)) == {
        "name": "a", "sizes": (3, 4), "words": ["b = c"], "folder": None, "count": None, "on": False, "one": 1,
        "other": 1,
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"lesson.ipynb: its cell of parameters is not Python \("):
        notebooks.parameters_of(write(tmp_path / "lesson.ipynb", "1", parameters="x = <- 3"))


def test_lists_tuples_and_nothing_are_handed_over_as_json_holds_them(tmp_path):
    source = "sizes = (3, 4)\nwords = []\nfolder = None\non = False\nsteps = 0\nrate = 0.1\n"
    lesson = write(tmp_path / "lesson.ipynb", "1", parameters=source)
    given = {"sizes": "[5, 6]", "words": "('a', 'b')", "folder": "None", "on": "True", "steps": "-1", "rate": "2"}
    read = {"sizes": [5, 6], "words": ["a", "b"], "folder": None, "on": True, "steps": -1, "rate": 2}
    assert notebooks.settle(lesson, "quick", given) == read
    assert notebooks.settle(lesson, "quick", {"folder": "book", "sizes": (1, (2, 3))}) == {
        "folder": "book", "sizes": [1, [2, 3]],
    }  # fmt: skip
    for name, text, sentence in (
        ("steps", "True", r"'steps' of .*lesson.ipynb takes a value like 0 \(int\), not True"),
        ("rate", "False", r"takes a value like 0.1 \(float\), not False"),
        ("on", "1", r"takes a value like False \(bool\), not 1"),
        ("steps", "None", r"takes a value like 0 \(int\), not None"),
        ("steps", "1.5", r"takes a value like 0 \(int\), not 1.5"),
        ("sizes", "3", r"takes a value like \(3, 4\) \(tuple\), not 3"),
        ("folder", "{1, 2}", r"is handed over as JSON, which does not hold {1, 2}: give numbers, text, or lists"),
    ):
        with pytest.raises(ValueError, match=sentence):
            notebooks.settle(lesson, "quick", {name: text})


def test_a_notebook_that_names_no_kernel_runs_with_its_parameters(elsewhere):
    lesson = write(elsewhere / "lesson.ipynb", "print(sizes, profile)", parameters='sizes = (3, 4)\nprofile = ""\n')
    bare = nbformat.read(lesson, as_version=4)
    bare.metadata.clear()
    nbformat.write(bare, lesson)
    (ended,) = notebooks.run([lesson], parameters={"sizes": "(5, 6)"}, output=elsewhere / "runs")
    assert (ended.summary, ended.failure) == ("[5, 6] quick", None)


def test_what_cannot_be_run_is_refused_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lesson = write(tmp_path / "lesson.ipynb", "1")
    with pytest.raises(
        ValueError, match=r"^lesson.ipynb has no parameter 'sed'; it has profile, data_root, seed, rate, "
    ):
        notebooks.run([lesson], parameters={"sed": 1})
    with pytest.raises(ValueError, match=r"'seed' of lesson.ipynb takes a value like 0 \(int\), not 'many'"):
        notebooks.run([lesson], parameters={"seed": "many"})
    with pytest.raises(ValueError, match="no profile is called 'huge'; there are quick, study, paper"):
        notebooks.run([lesson], profile="huge")
    with pytest.raises(ValueError, match="two of the notebooks have one name"):
        notebooks.run([lesson, write(tmp_path / "other" / "lesson.ipynb", "1")])
    with pytest.raises(ValueError, match="no profile is called 'long'"):
        notebooks.run([lesson], parameters={"profile": "long"})
    with pytest.raises(ValueError, match="is where the notebooks themselves lie"):
        notebooks.run([lesson], output=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no notebook at missing\.ipynb"):
        notebooks.run(["missing.ipynb"])
    (tmp_path / "broken.ipynb").write_text('{"cells": [')
    with pytest.raises(ValueError, match=r"broken\.ipynb cannot be read as a notebook"):
        notebooks.run(["broken.ipynb"])
    assert not (tmp_path / "runs").exists()


def test_notebooks_are_found_in_order_of_path(tmp_path, monkeypatch):
    names = ["00_start.ipynb", "paper/01_a.ipynb", "paper/02_b.ipynb"]
    for name in [*reversed(names), "paper/.ipynb_checkpoints/01_a-checkpoint.ipynb"]:
        write(tmp_path / name, "1")
    assert notebooks.find([tmp_path]) == [tmp_path / name for name in names]
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    assert notebooks.find() == [tmp_path / name for name in names]


def test_notebooks_of_an_installed_package_run_where_their_output_goes(elsewhere, monkeypatch):
    package = elsewhere / "package"
    write(package / "paper" / "lesson.ipynb", "import os\nprint(os.getcwd())", parameters=None)
    monkeypatch.setattr(notebooks, "NOTEBOOKS", package)
    monkeypatch.setattr(notebooks, "INSTALLED", True)
    (package / "GLOSSARY.md").write_text("# Terms")
    (ended,) = notebooks.run(output="runs")
    assert "Terms" in (elsewhere / "runs" / "GLOSSARY.html").read_text()
    assert (ended.file, ended.summary) == (
        elsewhere / "runs" / "paper" / "lesson.ipynb",
        str(elsewhere / "runs" / "paper"),
    )


def test_notebooks_of_one_name_in_a_folder_lie_as_they_do_there(elsewhere):
    for paper in ("one", "two"):
        write(elsewhere / "course" / paper / "5_solutions.ipynb", f"print({paper!r})", parameters=None)
    done = notebooks.run(["course"], output="runs")
    assert [(ended.file.relative_to(elsewhere).as_posix(), ended.summary) for ended in done] == [
        ("runs/one/5_solutions.ipynb", "one"),
        ("runs/two/5_solutions.ipynb", "two"),
    ]


def test_a_notebook_cut_off_while_written_is_left_out_of_the_index(tmp_path):
    whole = write(tmp_path / "whole.ipynb", "1", title="Whole")
    (tmp_path / "torn.ipynb").write_text(whole.read_text()[:100])
    index = notebooks.write_index(tmp_path).read_text()
    assert "Whole" in index
    assert "it was interrupted" in index
    assert "torn" not in index


def test_a_kernel_that_does_not_come_up_is_started_again(tmp_path, monkeypatch):
    import papermill

    from posebook.notebooks import headless as notebooks

    real, calls = papermill.execute_notebook, []

    def second_time_lucky(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 1:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return real(*arguments, **options)

    book = tmp_path / "one.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(7)")]), book)
    monkeypatch.setattr(papermill, "execute_notebook", second_time_lucky)
    executed = notebooks.execute(book, tmp_path / "out" / "one.ipynb", {}, progress=False)
    assert len(calls) == 2
    assert executed.failure is None
