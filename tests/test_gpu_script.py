"""The command for a borrowed GPU, in small on a CPU: every part of it works, and what it leaves can be brought back."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from posebook.ledger.readings import read
from posebook.paths import ROOT

SCRIPT = ROOT / "benchmarks" / "gpu.py"


def test_everything_is_done_in_small(tmp_path):
    run = subprocess.run(
        [sys.executable, SCRIPT, "--device", "cpu", "--tiny", "--minutes", "12", "--output", tmp_path],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    summary = (tmp_path / "SUMMARY.md").read_text()
    assert run.stdout.endswith(summary + "\n")
    parts = dict(re.findall(r"^\| (\w+) \| (.+?) \| \d+ \| \d+ \|$", summary, re.M))
    assert list(parts) == [
        "tests", "hourglass", "data", "soft_argmax", "adaptive_conv", "rendering", "augmentation", "compiled", "ledger",
    ]  # fmt: skip
    assert set(parts.values()) == {"done"}
    rows = {name: part["rows"] for name, part in json.loads((tmp_path / "benchmarks.json").read_text()).items()}
    assert all(rows[name] for name in rows if name != "tests")
    assert {key for part in rows.values() for row in part for key in row} == {
        "what", "ours", "baseline", "unit", "ratio", "note",
    }  # fmt: skip
    tests = (tmp_path / "tests.txt").read_text()
    assert re.search(r"\d+ passed", tests)
    assert "failed" not in tests
    # At most two folders down, few files, and readings that the ledger takes.
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["SUMMARY.md", "benchmarks.json", "readings/part_groups.jsonl", "tests.txt"]
    readings = read("part_groups", tmp_path / "readings").values()
    assert {reading.profile for reading in readings} == {"quick"}
    assert len(readings) >= 2


def test_a_part_that_fails_takes_nothing_along(tmp_path):
    """A part that is out of its mind and one that takes too long, run as all parts are."""
    script = (
        "import gpu, time, sys\n"
        "def broken(job):\n    yield {'what': 1}\n    raise RuntimeError('the context is lost')\n"
        "def endless(job):\n    yield {'what': 2}\n    time.sleep(600)\n"
        "gpu.PARTS |= {'tests': (broken, 1.0), 'hourglass': (endless, 1.0)}\n"
        "gpu.__file__ = __file__\n"
        "if '--part' in sys.argv:\n    gpu.main()\n"
    )
    (tmp_path / "parts.py").write_text(script)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import parts, gpu, pathlib\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "path = [str(here), str(pathlib.Path(sys.argv[2]).parent)]\n"
        "for name, seconds in (('tests', 60), ('hourglass', 15)):\n"
        "    o = gpu.run_part(name, 'cpu', True, seconds, here, here / f'{name}.jsonl', path)\n"
        "    print(o.word, o.rows, 'the context is lost' in o.said)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parent)}
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path, SCRIPT], env=environment, capture_output=True, text=True
    )
    assert run.stdout.splitlines() == [
        "failed (status 1) [{'what': 1}] True",
        "out of time after 15 s [{'what': 2}] False",
    ], run.stderr


def test_it_says_what_is_missing_and_takes_it_from_wheels(tmp_path):
    """In a Python without torch, and with a package that a wheel brings."""
    code = (
        "import sys, pathlib, zipfile; import gpu\n"
        "gpu.WHEELS = pathlib.Path(sys.argv[1])\n"
        "with zipfile.ZipFile(gpu.WHEELS / 'brought_along-1.0-py3-none-any.whl', 'w') as wheel:\n"
        "    wheel.writestr('brought_along/__init__.py', 'THERE = 1')\n"
        "sys.path += gpu.carried(gpu.WHEELS / 'unpacked')\n"
        "import brought_along; print(brought_along.THERE)\n"
        "print(gpu.carried(gpu.WHEELS / 'again'))\n"
        "gpu.NEEDED = ('brought_along', 'not_there', 'nor_this')\n"
        "sys.argv = ['gpu.py', '--output', sys.argv[1] + '/out']\n"
        "gpu.main()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parent)}
    run = subprocess.run([sys.executable, "-c", code, tmp_path], env=environment, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stdout.splitlines() == ["1", "[]"]
    assert re.fullmatch(
        r"not_there, nor_this cannot be imported by \S+: run `make gpu-wheels` where there is a network and bring \S+ "
        r"here, or give a Python that has them with PYTHON=\.\.\.",
        run.stderr.strip(),
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_asks_for_no_virtual_environment(tmp_path):
    command = [
        "make",
        "--no-print-directory",
        "-n",
        "gpu",
        "PYTHON=python3",
        "MINUTES=3",
        f"OUTPUT={tmp_path}",
        f"VENV={tmp_path / 'venv'}",
    ]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert made.stdout.strip() == f"python3 benchmarks/gpu.py --minutes 3 --output {tmp_path}"
