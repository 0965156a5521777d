"""Jobs on the workers of a Dask cluster: the ledger's runs, notebooks, workers that are lost, and what is refused."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import nbformat
import pytest
import torch
from click.testing import CliRunner
from joblib import delayed
from nbformat.v4 import new_code_cell, new_notebook
from safetensors.torch import load

from posebook.cli import main
from posebook.compute import cluster
from posebook.compute.cluster import as_they_end, is_elsewhere, on_cluster
from posebook.ledger import runs as runs_module
from posebook.ledger.forecast import Paces
from posebook.ledger.runs import HISTORY, _train_elsewhere, run_folder, train_all, weights_of
from posebook.ledger.work import Work
from posebook.notebooks.headless import execute
from posebook.papers.soft_argmax.claims import PROFILES
from posebook.paths import DATA, ROOT

TEACHER = Work("parsing_induced", "teacher", "figures", "quick", 0)
TRANSFER = Work("parsing_induced", "transfer", "figures", "quick", 0)
OTHERS = [Work("soft_argmax", "one_block", "figures", "quick", seed) for seed in range(3)]


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a condition holds, and fail where it does not in this time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., Path]]:
    """Start one of Dask's commands with a clone of posebook, and so a folder of runs, of its own: gives that clone."""
    pytest.importorskip("distributed", reason="needs Dask: pip install 'posebook[cluster]'")
    started = []

    def begin(command: str, name: str, *options: str) -> Path:
        home = tmp_path / name
        shutil.copytree(ROOT / "lib", home / "lib")
        (home / "data").symlink_to(DATA)
        with open(home / "printed", "wb") as printed:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", command, "--dashboard-address", ":0", *options],
                cwd=home,
                env=os.environ | {"PYTHONPATH": str(home / "lib"), "OMP_NUM_THREADS": "1"},
                stdout=printed,
                stderr=printed,
            )
        started.append(process)
        return home

    yield begin
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def scheduler(start, tmp_path) -> str:
    """Address of a scheduler that runs in a process of its own, without a worker."""
    file = tmp_path / "scheduler.json"
    start("scheduler", "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
    until(file.is_file)
    return json.loads(file.read_text())["address"]


@pytest.fixture
def worker(start, scheduler) -> Callable[[str], Path]:
    """Start a worker with a name: gives its clone. Nobody starts it again once it is lost."""
    options = ("--nthreads", "1", "--no-nanny", "--local-directory", "scratch")
    return lambda name: start("worker", name, scheduler, "--name", name, *options)


@pytest.fixture
def within(tmp_path) -> Iterator[Callable[[int], str]]:
    """Start a scheduler and one worker in this process, with so many threads: gives the address."""
    distributed = pytest.importorskip("distributed", reason="needs Dask: pip install 'posebook[cluster]'")
    started = []

    def begin(threads: int = 1) -> str:
        options = {"processes": False, "dashboard_address": ":0", "protocol": "tcp", "host": "127.0.0.1"}
        options["local_directory"] = str(tmp_path / "scratch")
        started.append(distributed.LocalCluster(n_workers=1, threads_per_worker=threads, **options))
        return started[-1].scheduler_address

    yield begin
    for some in started:
        some.close()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread, as each worker has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def begun(home: Path) -> bytes | None:
    """The run that a worker is at, in the middle of its steps; by what the worker printed."""
    lines = re.findall(rb"  (.*): step (\d+) of 20,", (home / "printed").read_bytes())
    return lines[-1][0] if lines and int(lines[-1][1]) < 20 else None


def test_a_ledger_loses_a_worker_and_nothing_else(tmp_path, monkeypatch, one_thread, scheduler, worker):
    from distributed import default_client

    homes = {name: worker(name) for name in ("first", "second")}
    alone = {some.digest: some for some in train_all([TRANSFER, *OTHERS], tmp_path / "alone", device="cpu")}
    # The default folder of runs, in place of which workers take that of their own clones.
    mine = tmp_path / "mine"
    monkeypatch.setattr(runs_module, "RUNS", mine)
    until(lambda: all(b"Registered to" in (home / "printed").read_bytes() for home in homes.values()))
    came, lost, again = [], None, None
    with on_cluster(scheduler) as workers:
        assert workers == 2
        client = default_client()
        processes = client.run(os.getpid)
        at = {about["name"]: address for address, about in client.scheduler_info()["workers"].items()}
        for reading in train_all([TRANSFER, *OTHERS], mine, device="cpu", jobs=workers):
            came.append(reading)
            # The first is the learner alone; then there is work for both.
            if len(came) == 2:
                until(lambda: any(map(begun, homes.values())))
                lost, again = next((name, begun(home)) for name, home in homes.items() if begun(home))
                os.kill(processes[at[lost]], signal.SIGKILL)
    left = next(home for name, home in homes.items() if name != lost)
    assert again + b": step 20 of 20" in (left / "printed").read_bytes()
    assert again + b": step 20 of 20" not in (homes[lost] / "printed").read_bytes()

    assert came[0].digest == TEACHER.key
    assert len(came) == len(alone) == 5
    assert {some.digest: some.readings for some in came} == {key: some.readings for key, some in alone.items()}
    assert {some.threads for some in came} == {1}
    # The learner came back to where others look for it; all other runs lie where they were trained.
    assert [path.name for path in mine.iterdir()] == [TEACHER.key]
    assert {path.name for path in run_folder(TEACHER, mine).iterdir()} == {HISTORY, "last.safetensors"}
    both = [load(weights_of(TEACHER, folder)) for folder in (mine, tmp_path / "alone")]
    torch.testing.assert_close(*both, rtol=0, atol=0)
    there = {folder.name for home in homes.values() for folder in (home / "runs/ledger").iterdir()}
    assert there == alone.keys()

    # From a run of minutes the command turns away: the worker gives it up and takes the next job.
    long = Work("soft_argmax", "one_block", "figures", "study", 0)
    with on_cluster(scheduler):
        jobs = as_they_end([delayed(_train_elsewhere)(long, None, None, "cpu", True, None, math.inf, False)], 1)
        until(lambda: b"of 6,000" in (left / "printed").read_bytes())
        with pytest.warns(UserWarning, match="cancelled"):
            jobs.close()
    start = time.monotonic()
    with on_cluster(scheduler):
        assert list(as_they_end([delayed(os.getcwd)()], 1)) == [str(left)]
    assert time.monotonic() - start < 30


def test_what_runs_at_a_time_comes_as_it_ends_here_too():
    assert not is_elsewhere()
    assert list(as_they_end([delayed(abs)(-1), delayed(abs)(-1)], 1)) == [1, 1]
    with on_cluster(None) as workers:
        assert workers == 0
        assert not is_elsewhere()


class Broken:
    """What a worker cannot read."""

    def __reduce__(self):
        return divmod, (1, 0)


def test_jobs_that_fail_end_the_wait(within):
    from distributed import KilledWorker

    address = within()
    with on_cluster(address) as workers:
        assert (workers, is_elsewhere()) == (1, True)
        with pytest.raises(ValueError, match="invalid literal"):
            list(as_they_end([delayed(int)("one")], 1))
        # The scheduler gives this one up before it begins.
        with pytest.raises(Exception, match=r"deserializ|modulo by zero"):
            list(as_they_end([delayed(abs)(Broken())], 1))
    for fault, sentence in ((KilledWorker("job", None, 3), "several workers were lost at the same job"),
                            (CancelledError(), f"the scheduler at {address} was lost")):  # fmt: skip
        with pytest.raises(OSError, match=sentence), on_cluster(address):
            raise fault


def test_a_worker_without_posebook_is_refused(monkeypatch, within):
    def load() -> None:
        raise ModuleNotFoundError("No module named 'posebook'")

    address = within()
    monkeypatch.setattr(cluster, "is_elsewhere", load)
    with pytest.raises(OSError, match=r"cannot import posebook .*: install it there"), on_cluster(address):
        pass


def test_a_worker_of_several_threads_is_refused(within):
    with pytest.raises(OSError, match=r"does 2 jobs at a time in one process.*--nthreads 1"), on_cluster(within(2)):
        pass


def test_the_commands_send_their_work_to_a_cluster(tmp_path, monkeypatch, within):
    address = within()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUPYTER_PATH", "")
    notebook = new_notebook(cells=[new_code_cell("import os\nprint(os.getcwd())", metadata={"tags": ["summary"]})])
    nbformat.write(notebook, tmp_path / "lesson.ipynb")
    ran = CliRunner().invoke(main, ["run", "lesson.ipynb", "--cluster", address])
    assert ran.exit_code == 0, ran.output
    assert f"lesson.ipynb: {tmp_path}" in ran.output
    assert (tmp_path / "runs/index.html").is_file()

    tiny = PROFILES["quick"].but(recipe={"steps": 2}, test_images=8)
    monkeypatch.setitem(PROFILES, "tiny", tiny)
    ledger = ["ledger", "--claims", "soft_argmax_context", "--profile", "tiny", "--seeds", "1", "--device", "cpu"]
    ran = CliRunner().invoke(main, [*ledger, "--runs", "trained", "--results", "results", "--cluster", address])
    assert ran.exit_code == 0, ran.output
    assert "0 readings stored, 3 runs to be trained: about" in ran.output
    lines = [json.loads(line) for line in (tmp_path / "results/readings/soft_argmax.jsonl").read_text().splitlines()]
    assert len(lines) == len({line["digest"] for line in lines}) == 3


def test_a_device_is_asked_for_where_the_work_is_done(tmp_path, monkeypatch, within):
    """A machine without a GPU may send runs to those that have one; what none has is told before work starts."""
    asked = []

    def pick(name: str) -> torch.device:
        asked.append((name, threading.current_thread() is threading.main_thread()))
        if name == "abacus":
            raise ValueError("device 'abacus' cannot be used here")
        return torch.device("cpu")

    address = within()
    monkeypatch.setattr("posebook.ledger.forecast.pick_device", pick)
    with on_cluster(address) as workers:
        assert Paces(None, "cuda", workers, tmp_path).trained_on == platform.machine()
        with pytest.raises(ValueError, match="device 'abacus' cannot be used here"):
            Paces(None, "abacus", workers, tmp_path)
    assert asked == [("cuda", False), ("abacus", False)]


def test_a_notebook_that_a_machine_does_not_have_is_told_of(tmp_path):
    with pytest.raises(FileNotFoundError, match="the machines of a cluster must share the folders"):
        execute(tmp_path / "none.ipynb", tmp_path / "out.ipynb", {})


@pytest.mark.parametrize("command", [["ledger", "--claims", "soft_argmax"], ["run"]])
def test_what_is_missing_is_told_of(monkeypatch, tmp_path, scheduler, command):
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    for address, sentence in (
        ("tcp://127.0.0.1:1", "Error: no scheduler answers at tcp://127.0.0.1:1"),
        ("nowhere", "Error: no scheduler answers at nowhere"),
        (scheduler, f"Error: the scheduler at {scheduler} has no worker: start some with `dask worker {scheduler}"),
    ):
        told = CliRunner().invoke(main, [*command, "--cluster", address])
        assert told.exit_code == 1
        assert sentence in told.output
        assert "Traceback" not in told.output


def test_dask_that_is_not_installed_is_told_of(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    told = CliRunner().invoke(main, ["ledger", "--claims", "soft_argmax", "--cluster", "tcp://127.0.0.1:8786"])
    assert told.exit_code == 1
    assert "Error: a cluster needs distributed, which is not installed: pip install 'posebook[cluster]'" in told.output
