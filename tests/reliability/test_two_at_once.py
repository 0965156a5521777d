"""Two processes at one folder or file: one waits, or refuses in a sentence, and nothing is mixed."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("looks for processes in /proc, as Linux has it", allow_module_level=True)

from posebook.notebooks import headless
from posebook.paths import alone, replacing
from reliability.kinds import Command, half_files, kinds, serving, whole


@pytest.mark.parametrize(
    ("name", "lock", "status", "sentence"),
    [
        ("train", "out/training.lock", 1, "another process is at the run in out: wait for it to end, or give another"),
        ("data pack", "lip.pack.part", 1, "another process is writing lip.pack: wait for it, or give another file"),
        ("data fetch", "out/.fetching.lock", 0, "Another process is at fetching into out: waiting for it"),
        ("predict", "out/*", 0, ""),
    ],
)
def test_two_commands_in_one_place_do_not_mix(tmp_path, name, lock, status, sentence):
    with serving() as address:
        kind = replace(kinds(address)[name], starts=lock)
        for folder in ("whole", "shared"):
            (tmp_path / folder).mkdir()
        expected, _ = whole(kind, tmp_path / "whole")
        folder = tmp_path / "shared"
        kind.prepare(folder)
        one = Command(kind, folder)
        if sentence:
            one.stop(signal.SIGSTOP)
        other = Command(kind, folder)
        while other.process.is_alive() and sentence not in other.said:
            time.sleep(0.01)
        one.stop(signal.SIGCONT)
        assert (one.wait(), other.wait()) == (0, status), one.said + other.said
    assert sentence in other.said
    assert "Traceback" not in one.said + other.said
    assert kind.result(folder) == expected
    assert half_files(folder) == []


def test_two_that_run_one_notebook_take_turns(tmp_path, monkeypatch, capsys):
    at_it, most = [], []

    def cells(notebook: Path, output: Path, *_) -> None:
        at_it.append(output)
        most.append(len(at_it))
        time.sleep(0.3)
        at_it.remove(output)

    monkeypatch.setattr(headless, "_run_cells", cells)
    monkeypatch.setattr(headless, "_finish", lambda *_: None)
    monkeypatch.setattr(headless, "read_executed", lambda output: headless.Executed(output, "", "", "", 0.0, None))
    notebook, output = tmp_path / "a.ipynb", tmp_path / "out/a.ipynb"
    notebook.touch()
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(headless.execute, notebook, output, {}, progress=False) for _ in range(2)]
        assert [one.result().file for one in done] == [output, output]
    assert most == [1, 1]
    assert "Another process is at " in capsys.readouterr().err
    assert list(output.parent.iterdir()) == []


def write_often(path: Path, letter: str) -> None:
    for _ in range(50):
        with replacing(path) as part, part.open("w") as file:
            for _ in range(20):
                file.write(letter * 1000)
                file.flush()


def test_a_file_that_several_write_is_always_one_of_theirs(tmp_path):
    context = multiprocessing.get_context("fork")
    path = tmp_path / "file"
    writers = [context.Process(target=write_often, args=(path, letter)) for letter in "abc"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            text = path.read_text()
            assert (len(text), len(set(text))) == (20_000, 1)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    path.chmod(0o600)
    with replacing(path) as part:
        part.write_text("after")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("after", 0o600)


def count(lock: Path, path: Path) -> None:
    for _ in range(50):
        with alone(lock):
            path.write_text(str(int(path.read_text()) + 1))


def test_one_process_at_a_time_is_alone_and_leaves_no_lock(tmp_path):
    context = multiprocessing.get_context("fork")
    (tmp_path / "count").write_text("0")
    counters = [context.Process(target=count, args=(tmp_path / "lock", tmp_path / "count")) for _ in range(3)]
    for counter in counters:
        counter.start()
    for counter in counters:
        counter.join()
    assert (tmp_path / "count").read_text() == "150"
    assert not (tmp_path / "lock").exists()
