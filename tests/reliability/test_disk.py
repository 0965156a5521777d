"""Disks that are full or read-only, a home that is not there, nobody who reads on, and folders of any name."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

if not sys.platform.startswith("linux"):
    pytest.skip("looks for processes in /proc, as Linux has it", allow_module_level=True)

from posebook.cli import main
from reliability.kinds import Command, half_files, kinds, serving, whole

ODD = "a\n'b\" {c} %s %"


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("train", 60_000),
        ("ledger", 20_000),
        ("ledger, two jobs", 20_000),
        ("data pack", 50_000),
        ("data fetch", 100_000),
        ("predict", 20_000),
        ("run", 100_000),
    ],
)
def test_a_full_disk_is_told_of_in_a_sentence(tmp_path, name, largest):
    with serving() as address:
        kind = kinds(address)[name]
        kind.prepare(tmp_path)
        command = Command(kind, tmp_path, largest)
        assert command.wait() == 1, command.said
        assert "File too large" in command.said
        assert "Traceback" not in command.said
        # Room was made: it goes on.
        command = Command(kind, tmp_path)
        assert command.wait() == 0, command.said
    assert half_files(tmp_path) == []


@pytest.mark.parametrize("name", ["train", "ledger", "data pack", "data fetch", "predict", "run"])
def test_a_place_that_cannot_be_written_is_told_of_before_work_starts(tmp_path, name):
    """In /proc not even root makes a folder."""
    kind = kinds("http://127.0.0.1:9/lsp_dataset.zip")[name]
    kind.prepare(tmp_path)
    moved = [f"/proc/{word}" if word in ("out", "results", "lip.pack", "runs") else word for word in kind.command]
    command = Command(replace(kind, command=moved), tmp_path)
    assert command.wait() == 1, command.said
    assert "cannot be written to" in command.said
    assert "Traceback" not in command.said


@pytest.mark.parametrize("name", ["train", "ledger", "data pack", "data fetch", "predict"])
def test_folders_may_have_any_name(tmp_path, name):
    with serving() as address:
        kind = kinds(address)[name]
        for folder in ("plain", "odd"):
            (tmp_path / folder).mkdir()
        place = tmp_path / "odd" / ODD
        place.mkdir()
        given = ("in", "out", "lip.pack", "runs", "results")
        words = [f"{ODD}/{word}" if word in given else word for word in kind.command]
        kind.prepare(place)
        command = Command(replace(kind, command=words), tmp_path / "odd")
        assert command.wait() == 0, command.said
        if name == "predict":  # which says which photograph it is of
            assert len(list((place / "out").glob("*.json"))) == 6
        else:
            assert kind.result(place) == whole(kind, tmp_path / "plain")[0]


SEGMENTATIONS = f"{ODD}/in/TrainVal_parsing_annotations/train_segmentations"
POSES = f"{ODD}/in/TrainVal_pose_annotations/lip_train_set.csv"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["groups", "--poses", POSES], "l_ankle"),
        (["data", "check", "lip", f"{ODD}/in"], "60 label maps; every one can be read."),
        (["data", "describe", "lip", f"{ODD}/in"], "full_body"),
        (["score", "--dataset", "lip", "--parsing", SEGMENTATIONS, "--labels", SEGMENTATIONS], "100.00"),
        (["score", "--dataset", "lip", "--annotations", POSES, "--predictions", POSES], "100.00"),
        (["notebooks", "copy", f"{ODD}/copied"], f"files are in {ODD}/copied"),
        (["ledger", "--list", "--draw", "--results", f"{ODD}/results"], "No picture: no claim has been measured here."),
        (["ledger", "--list", "--markdown", "--results", f"{ODD}/results"], f"Wrote {ODD}/results/README.md"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_what_is_read_and_copied_may_lie_in_a_folder_of_any_name(tmp_path, monkeypatch, command, said):
    monkeypatch.chdir(tmp_path)
    Path(ODD).mkdir()
    kinds("")["data pack"].prepare(Path(ODD))
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert said in done.output


@pytest.mark.parametrize("name", ["predict", "train", "data list"])
def test_nobody_who_reads_on_ends_it_quietly(tmp_path, name):
    listed = replace(kinds("")["train"], command=["data", "list"])
    kind = {**kinds(""), "data list": listed}[name]
    kind.prepare(tmp_path)
    command = Command(kind, tmp_path, unread=True)
    assert command.wait() == 1
    assert all(word not in command.said for word in ("Traceback", "Error", "Broken pipe"))


@pytest.mark.parametrize(("name", "lost"), [("train", "out"), ("data fetch", "out"), ("data pack", "in")])
def test_a_folder_that_is_removed_under_a_command_is_made_again_or_told_of(tmp_path, name, lost):
    with serving() as address:
        kind = kinds(address)[name]
        if name == "train":
            kind = replace(kind, starts="out/state.pt")
        kind.prepare(tmp_path)
        command = Command(kind, tmp_path)
        shutil.rmtree(tmp_path / lost, ignore_errors=True)
        assert command.wait() in (0, 1), command.said
    assert "Traceback" not in command.said
    if command.wait() == 0:
        assert kind.result(tmp_path)
    else:
        assert "Error: " in command.said
        assert not list(tmp_path.glob("lip.pack*"))


def test_a_home_is_not_needed(tmp_path):
    kind = kinds("")["predict"]
    kind.prepare(tmp_path)
    command = Command(kind, tmp_path, home="/proc/nowhere")
    assert command.wait() == 0, command.said
    assert kind.result(tmp_path)
    assert not Path("/proc/nowhere").exists()


def test_notebooks_run_in_a_folder_of_any_name_without_a_home(tmp_path):
    kind = kinds("")["run"]
    place = tmp_path / "in it" / ODD
    place.mkdir(parents=True)
    kind.prepare(place)
    words = [f"{ODD}/{word}" if word in ("in", "out") else word for word in kind.command]
    command = Command(replace(kind, command=words), tmp_path / "in it", home="/proc/nowhere")
    assert command.wait() == 0, command.said
    assert kind.result(place) == ({name: ("4\n", True) for name in ("one", "two")}, 2)
    assert not Path("/proc/nowhere").exists()
