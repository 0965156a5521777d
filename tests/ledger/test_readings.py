"""The store of readings: whole lines, each run once, files of two machines as one."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from posebook.ledger import readings
from posebook.ledger.readings import Reading, append, read

ONE = Reading(
    paper="soft_argmax", variant="regression", dataset="figures", profile="study", seed=0, half=False, options={},
    digest="abc", test_images=2000, readings={"pckh": 0.5, "curve": [0.1, None]}, seconds=3.0, reading_seconds=1.0,
    device="x86_64", threads=1, versions={"torch": "2"}, date="2026-01-01",
)  # fmt: skip


def test_what_was_appended_is_read_and_the_same_run_counts_once(tmp_path):
    other = replace(ONE, digest="def", seed=1)
    append([ONE, other], tmp_path)
    append([ONE, replace(ONE, readings={"pckh": 0.9})], tmp_path)
    assert read("soft_argmax", tmp_path) == {ONE.key: ONE, other.key: other}
    assert read("part_groups", tmp_path) == {}
    # On other people it is another reading.
    append([replace(ONE, test_images=64)], tmp_path)
    assert len(read("soft_argmax", tmp_path)) == 3


def test_files_of_two_machines_become_one_by_putting_one_behind_the_other(tmp_path):
    append([ONE], tmp_path / "a")
    append([ONE, replace(ONE, digest="def")], tmp_path / "b")
    both = [(tmp_path / name / "soft_argmax.jsonl").read_text() for name in "ab"]
    (tmp_path / "soft_argmax.jsonl").write_text("".join(both))
    assert len(read("soft_argmax", tmp_path)) == 2


def test_a_reading_that_was_carried_over_gives_way_to_a_whole_one(tmp_path):
    carried = replace(ONE, carried=True, readings={"pckh": 0.4})
    append([carried], tmp_path)
    append([ONE], tmp_path)
    append([carried], tmp_path)
    assert read("soft_argmax", tmp_path) == {ONE.key: ONE}
    lines = (tmp_path / "soft_argmax.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "soft_argmax.jsonl").write_text("".join(reversed(lines)))
    assert read("soft_argmax", tmp_path) == {ONE.key: ONE}


def add(folder, first):
    for number in range(first, first + 10):
        append([replace(ONE, digest=str(number))], folder)


def test_several_processes_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=add, args=(tmp_path, 10 * number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert {reading.digest for reading in read("soft_argmax", tmp_path).values()} == set(map(str, range(30)))
    for line in (tmp_path / "soft_argmax.jsonl").read_text().splitlines():
        json.loads(line)


@pytest.mark.parametrize("line", ["{", '{"paper": "soft_argmax"}', "[]", json.dumps(asdict(ONE) | {"more": 1})])
def test_a_line_that_is_no_reading_is_named(tmp_path, line):
    append([ONE], tmp_path)
    with (tmp_path / "soft_argmax.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=r"soft_argmax\.jsonl: line 2 is no reading"):
        read("soft_argmax", tmp_path)


def test_an_installed_package_gives_its_readings_and_keeps_them(tmp_path, monkeypatch):
    shipped, other = replace(ONE, digest="ships"), replace(ONE, paper="part_groups")
    append([shipped, other], tmp_path / "package" / "readings")
    before = (tmp_path / "package" / "readings" / "soft_argmax.jsonl").read_text()
    monkeypatch.setattr(readings, "RESULTS", tmp_path / "package")
    monkeypatch.setattr(readings, "FOLDER", Path("results/readings"))
    (tmp_path / "reader").mkdir()
    monkeypatch.chdir(tmp_path / "reader")

    assert list(read("soft_argmax", "results/readings").values()) == [shipped]
    append([shipped, ONE], "results/readings")
    assert list(read("soft_argmax", "results/readings").values()) == [shipped, ONE]
    assert list(read("part_groups", "results/readings").values()) == [other]
    assert read("soft_argmax", "elsewhere") == {}

    assert Path("results/readings/soft_argmax.jsonl").read_text().startswith(before)
    assert (tmp_path / "package" / "readings" / "soft_argmax.jsonl").read_text() == before
    assert not Path("results/readings/part_groups.jsonl").exists()
