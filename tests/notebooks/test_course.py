"""The notebooks copied into a reader's folder: all of them, each whole, nothing overwritten."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from posebook.cli import main
from posebook.notebooks import course, headless


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A course of two notebooks and a glossary in place of posebook's."""
    home = tmp_path / "shipped"
    for name in ("a.ipynb", "paper/b.ipynb", "paper/.ipynb_checkpoints/b-checkpoint.ipynb", "GLOSSARY.md"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(name)
    monkeypatch.setattr(course, "NOTEBOOKS", home)
    monkeypatch.setattr(headless, "NOTEBOOKS", home)
    monkeypatch.chdir(tmp_path)
    return home


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_the_course_is_copied_once_and_again(shipped, tmp_path):
    told = CliRunner().invoke(main, ["notebooks", "copy", "deep/course"])
    assert (told.exit_code, told.output) == (0, "3 files are in deep/course. Now:\n  jupyter lab deep/course\n")
    wanted = {name: name for name in ("a.ipynb", "paper/b.ipynb", "GLOSSARY.md")}
    assert files(tmp_path / "deep" / "course") == wanted
    (tmp_path / "deep" / "course" / "a.ipynb").unlink()
    course.copy(tmp_path / "deep" / "course")
    assert files(tmp_path / "deep" / "course") == wanted


def test_what_was_worked_on_is_not_overwritten(shipped, tmp_path):
    folder = tmp_path / "course"
    course.copy(folder)
    (folder / "paper" / "b.ipynb").write_text("mine")
    (folder / "a.ipynb").unlink()
    told = CliRunner().invoke(main, ["notebooks", "copy", "course"])
    assert told.exit_code == 1
    assert told.output == (
        "Error: 1 of the 3 files are there and differ (course/paper/b.ipynb): copy into another folder, or move them "
        "away\n"
    )
    assert files(folder) == {"paper/b.ipynb": "mine", "GLOSSARY.md": "GLOSSARY.md"}


def test_a_copy_that_is_stopped_leaves_whole_files(shipped, tmp_path, monkeypatch):
    def torn(source, target):
        target.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(course.shutil, "copyfile", torn)
    with pytest.raises(KeyboardInterrupt):
        course.copy(tmp_path / "course")
    assert files(tmp_path / "course") == {}


def test_a_folder_that_cannot_be_is_refused_in_a_sentence(shipped, tmp_path):
    (tmp_path / "course").mkdir()
    (tmp_path / "course" / "paper").write_text("a file")
    told = CliRunner().invoke(main, ["notebooks", "copy", "course"])
    assert told.output == "Error: course/paper is a file: give another folder to write to\n"
    assert files(tmp_path / "course") == {"paper": "a file"}
    told = CliRunner().invoke(main, ["notebooks", "copy", "shipped/a.ipynb"])
    assert told.output == "Error: shipped/a.ipynb is a file: give another folder to write to\n"
