"""Stopped at any moment, and gone on with: the short form of `make campaign`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("looks for processes in /proc, as Linux has it", allow_module_level=True)

from reliability.kinds import kinds, serving, stopped, whole

KILL, TERM, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
# When each command is stopped: a signal, and the part of its work that it has done by then. Notebooks and several
# processes take long to start, and are in the long form alone.
MOMENTS = {
    "train": [(INT, 0.3), (KILL, 0.5), (TERM, 0.2)],
    "ledger": [(KILL, 0.5), (INT, 0.1)],
    "data pack": [(KILL, 0.5), (TERM, 0.4), (INT, 0.6)],
    "data fetch": [(KILL, 0.4), (INT, 0.3), (TERM, 0.3)],
    "predict": [(TERM, 0.3), (KILL, 0.6), (INT, 0.2)],
}


@pytest.mark.parametrize("name", MOMENTS)
def test_what_was_stopped_goes_on_and_ends_the_same(tmp_path, name):
    with serving() as address:
        kind = kinds(address)[name]
        for folder in ("whole", "stopped"):
            (tmp_path / folder).mkdir()
        expected, seconds = whole(kind, tmp_path / "whole")
        faults = list(stopped(kind, tmp_path / "stopped", MOMENTS[name], expected, seconds))
    assert [fault for _, fault in faults if fault] == []
    assert len(faults) == len(MOMENTS[name]) + 1


WORKING = """
import os, sys, time
from joblib import delayed
from posebook.compute.cluster import as_they_end
list(as_they_end([delayed(time.sleep)(60) for _ in range(int(sys.argv[1]))], 2))
"""


# Where there is one job, one of the two processes waits for another.
@pytest.mark.parametrize(("number", "jobs"), [(KILL, 4), (KILL, 1), (TERM, 4)])
def test_jobs_end_with_the_process_that_started_them(number, jobs):
    process = subprocess.Popen([sys.executable, "-c", WORKING, str(jobs)], stderr=subprocess.DEVNULL)

    def children() -> list[str]:
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
        return found.stdout.split()

    while len(children()) < 3:  # two that work and joblib's tracker
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(1)  # for the first jobs to begin
    started = children()
    process.send_signal(number)
    process.wait()
    end = time.monotonic() + 10
    while time.monotonic() < end and any(map(_runs, started)):
        time.sleep(0.1)
    assert not any(map(_runs, started))


def _runs(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"
