"""The commands that take long, small enough to be stopped many times, and what must come out of each."""

from __future__ import annotations

import atexit
import functools
import io
import json
import multiprocessing
import os
import re
import resource
import signal
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from pathlib import Path
from random import Random

import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image
from safetensors.torch import load_file

from posebook.cli import main
from posebook.ledger.readings import read
from posebook.paths import WEIGHTS
from small_sets import lip

# In the environment of what a command starts, so that what it leaves behind is found.
MARK = "POSEBOOK_CAMPAIGN"
# What a command's process says when nothing is left to be stopped but Python.
OVER = "(the command is over)"
# What commands import when they are run.
IMPORTED = [
    __name__, "torch._dynamo", "tqdm.auto", "papermill", "nbclient", "nbconvert", "joblib", "matplotlib.pyplot",
    "scipy.stats", "posebook.datasets.fetch", "posebook.datasets.packed", "posebook.ledger.measure",
    "posebook.notebooks.headless", "posebook.papers", "posebook.pictures.photographs", "posebook.training.from_profile",
]  # fmt: skip

TINY = [
    "--steps", "32", "--batch-size", "4", "--size", "32", "--set", "features=8", "--set", "depth=1", "--device", "cpu",
]  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A command to be stopped.

    Attributes:
        command: its arguments; it runs in a folder that is made for it.
        prepare: puts what it reads into the folder.
        result: what came out, to be compared with that of a run that nobody stopped.
        starts: a pattern of files whose appearance tells that work has begun; none tells it at once.
        launcher: what runs it in place of this Python's `posebook`, for instance torchrun.
    """

    command: list[str]
    prepare: Callable[[Path], None]
    result: Callable[[Path], object]
    starts: str
    launcher: tuple[str, ...] = ()


class Command:
    """A `posebook` command in a process of its own, forked from one that has imported everything.

    Args:
        largest: how many bytes a file may have, as on a disk that is full.
        unread: nobody reads what it prints to stdout.
        home: in place of the home folder.
    """

    def __init__(
        self, kind: Kind, folder: Path, largest: int | None = None, unread: bool = False, home: str | None = None
    ) -> None:
        self.kind, self.folder = kind, folder
        self.mark = f"{time.time_ns()}"
        self.out = folder.parent / f"{folder.name}.{self.mark}"
        before = self._written()
        given = (kind.command, kind.launcher, folder, self.out, self.mark, largest, unread, home)
        self.process = _forks().Process(target=_command, args=given)
        self.process.start()
        # Work has begun when a file tells so; where there were some before, perhaps none does.
        while self.process.is_alive() and not self.out.exists():
            time.sleep(0.005)
        began = time.monotonic()
        while self.process.is_alive() and self._written() == before and not (before and time.monotonic() > began + 1):
            time.sleep(0.005)
        self.began = time.monotonic()

    def _written(self) -> dict[Path, int]:
        found = {}
        for path in self.folder.glob(self.kind.starts):
            with suppress(FileNotFoundError):
                found[path] = path.stat().st_mtime_ns
        return found

    def wait(self, seconds: float = 300) -> int | None:
        """Its exit status, None where it is not over in so many seconds."""
        self.process.join(seconds)
        return self.process.exitcode

    def stop(self, number: int) -> None:
        """Send it a signal, and note whether it had come to its end by itself."""
        self.over = not self.process.is_alive() or OVER in self.said
        self.stopped = time.time()
        if self.process.is_alive():
            os.kill(self.process.pid, number)

    @property
    def said(self) -> str:
        """What it printed."""
        return self.out.read_text(errors="replace") if self.out.exists() else ""

    def left(self, seconds: float = 10) -> list[str]:
        """The command lines of what it started and is there still after so long."""
        end = time.monotonic() + seconds
        while (found := _marked(self.mark)) and time.monotonic() < end:
            time.sleep(0.1)
        return found


@functools.cache
def _forks() -> BaseContext:
    """What starts processes that have imported everything, which takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    # Python 3.11 does not hand it the folders that it looks for modules in, and leaves out what it does not find.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        forkserver.ensure_running()
    return context


def _command(
    arguments: list[str],
    launcher: tuple[str, ...],
    folder: Path,
    out: Path,
    mark: str,
    largest: int | None,
    unread: bool,
    home: str | None,
) -> None:
    os.chdir(folder)
    os.environ |= {MARK: mark, "OMP_NUM_THREADS": "1"} | ({} if home is None else {"HOME": home})
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    torch.set_num_threads(1)
    _save_often()
    # Its printing begins as its work does: a signal that comes before finds a Python that has just started.
    file = os.open(out, os.O_WRONLY | os.O_CREAT, 0o666)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    if unread:
        read, write = os.pipe()
        os.close(read)
        os.dup2(write, 1)
    sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", buffering=1, closefd=False) for descriptor in (1, 2))
    if launcher:
        os.execv(launcher[0], [*launcher, *arguments])
    status = 1
    try:
        main(arguments)
    except SystemExit as ended:
        status = ended.code or 0
    finally:
        print(OVER, file=sys.stderr, flush=True)
        # multiprocessing would wait for joblib's processes, which Python ends on its way out.
        threading._shutdown()
        atexit._run_exitfuncs()
        if sys.exc_info()[0] is None:
            os._exit(status)


def _save_often() -> None:
    """Have training save its state every few steps, and validate."""
    from posebook.papers.hourglass import profiles

    often = {"log_every": 2, "save_every": 4, "validate_every": 8, "validation_images": 8}
    profiles.PROFILES["quick"] = profiles.PROFILES["quick"].but(recipe=often)


def _marked(mark: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                # joblib's tracker removes what others left and ends a moment later; a zombie has no words.
                if any(words) and "resource_tracker" not in "".join(words):
                    found.append(" ".join(words))
        except OSError:
            continue
    return found


# --- What commands read. ---


def nothing(folder: Path) -> None:
    """Nothing is needed."""


def photographs(folder: Path, count: int = 6) -> None:
    drawn = np.random.default_rng(0)
    (folder / "in").mkdir()
    for number in range(count):
        pixels = drawn.integers(0, 255, (6, 6, 3), np.uint8)
        Image.fromarray(pixels).resize((120, 160), Image.Resampling.BICUBIC).save(folder / f"in/{number:02}.jpg")


def labelled(folder: Path) -> None:
    lip.write_part(folder / "in", "train", 60)
    lip.write_part(folder / "in", "val", 20)


def notebooks(folder: Path) -> None:
    cells = ["x = 0"] + ["import time\ntime.sleep(0.2)\nx += 1"] * 4 + ["print(x)"]
    (folder / "in").mkdir()
    for name in ("one", "two"):
        book = new_notebook(cells=[new_code_cell(cell) for cell in cells])
        book.cells[-1].metadata["tags"] = ["summary"]
        nbformat.write(book, folder / f"in/{name}.ipynb")


NOISE = Random(0).randbytes(400_000)


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(zipfile.ZipInfo("lsp/joints.mat"), b"labels")
        for number in range(20):
            made.writestr(zipfile.ZipInfo(f"lsp/images/{number}.jpg"), NOISE[20_000 * number :][:20_000])
    return file.getvalue()


class Server(ThreadingHTTPServer):
    """Sends an archive slowly, and the rest of it where that is asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = archive()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content, asked = self.server.content, self.headers.get("Range")
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Type", "application/zip")
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        try:
            for at in range(start, len(content), 10_000):
                self.wfile.write(content[at : at + 10_000])
                time.sleep(0.01)
        except OSError:  # the command was stopped
            pass

    def log_message(self, *_) -> None:
        pass


@contextmanager
def serving() -> Iterator[str]:
    """The address of an archive of LSP that comes slowly."""
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/lsp_dataset.zip"
    server.shutdown()
    server.server_close()


# --- What comes out. ---


def trained(folder: Path) -> object:
    """Weights to the bit, scores, and the history but for its seconds."""
    weights = {
        (which, name): value.numpy().tobytes()
        for which in ("last", "best")
        for name, value in load_file(folder / f"out/{which}.safetensors").items()
    }
    history = torch.load(folder / "out/state.pt", weights_only=True)["run"]["history"]
    rows = {part: [{**row, "seconds": 0} for row in some] for part, some in history.items()}
    return weights, rows, json.loads((folder / "out/test.json").read_text())


def measured(folder: Path) -> object:
    """What was read off each run, and no run twice."""
    lines = (folder / "results/readings/soft_argmax.jsonl").read_text().splitlines()
    found = read("soft_argmax", folder / "results/readings")
    assert len(lines) == len(found)
    return {key: reading.readings for key, reading in found.items()}


def files(*under: str) -> Callable[[Path], object]:
    """The bytes of all files under these folders."""

    def found(folder: Path) -> object:
        paths = [path for name in under for path in [folder / name, *(folder / name).rglob("*")] if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    return found


def executed(folder: Path) -> object:
    """What each notebook printed last, and that its page is whole."""
    said = {}
    for name in ("one", "two"):
        book = nbformat.read(folder / f"out/{name}.ipynb", as_version=4)
        page = (folder / f"out/{name}.html").read_text()
        said[name] = (book.cells[-1].outputs[0].text, page.rstrip().endswith("</html>"))
    return said, (folder / "out/index.html").read_text().count("<td>4</td>")


def kinds(address: str) -> dict[str, Kind]:
    """The commands by name; the archive is at this address."""
    train = ["train", "hourglass", *TINY, "--output", "out"]
    ledger = ["ledger", "--claims", "soft_argmax_context", "--profile", "quick", "--seeds", "1", "--device", "cpu"]
    ledger += ["--runs", "runs", "--results", "results"]
    pack = ["data", "pack", "lip", "in", "lip.pack", "--size", "64"]
    predict = ["predict", "in", "--output", "out", "--weights", f"{WEIGHTS}/hourglass", "--device", "cpu"]
    torchrun = (
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "posebook.cli",
    )  # fmt: skip
    return {
        "train": Kind(train, nothing, trained, "out/*"),
        "train, two processes": Kind(train, nothing, trained, "out/*", torchrun),
        "ledger": Kind([*ledger, "--jobs", "1"], nothing, measured, "runs/*"),
        "ledger, two jobs": Kind([*ledger, "--jobs", "2"], nothing, measured, "runs/*"),
        "data pack": Kind(pack, labelled, files("lip.pack"), "lip.pack*"),
        "data fetch": Kind(["data", "fetch", "lsp", "out", "--from", address], nothing, files("out"), "out/*"),
        "run": Kind(["run", "in", "--jobs", "2", "--output", "out"], notebooks, executed, "out/*.ipynb"),
        "predict": Kind(predict, photographs, files("out"), "out/*"),
    }


# --- Stopping them. ---

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def half_files(folder: Path) -> list[str]:
    """What is there only while somebody writes."""
    names = re.compile(r"\.(part|lock)$|^\.unpack|\.part\.json$")
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if names.search(path.name)]


def whole(kind: Kind, folder: Path) -> tuple[object, float]:
    """The result of a command that nobody stops, and how long it works once it has begun."""
    kind.prepare(folder)
    command = Command(kind, folder)
    assert command.wait() == 0, command.said
    return kind.result(folder), time.monotonic() - command.began


def stopped(
    kind: Kind, folder: Path, moments: list[tuple[int, float]], expected: object, seconds: float
) -> Iterator[tuple[int, str | None]]:
    """Stop a command at each moment and start it again, and last let it end: what was wrong each time, or None.

    Args:
        moments: a signal, and when it comes: a part of the time that the whole command works.
        expected, seconds: as `whole` gave them.
    """
    kind.prepare(folder)
    for number, part in moments:
        command = Command(kind, folder)
        command.wait(part * seconds)
        command.stop(number)
        yield number, _fault(command, number)
    command = Command(kind, folder)
    if command.wait() != 0:
        yield 0, f"it ends with {command.wait()} when nobody stops it: {command.said[-300:]}"
    elif kind.result(folder) != expected:
        yield 0, "another result than that of a run that nobody stopped"
    elif left := half_files(folder):
        yield 0, f"left are {left}"
    else:
        yield 0, None


def _fault(command: Command, number: int) -> str | None:
    status = command.wait(60)
    # Nobody can tell from outside whether what says its last word just then was over when the signal came.
    over = command.over or command.out.stat().st_mtime - command.stopped < 0.2
    if status is None:
        command.process.kill()
        return "it does not end within a minute"
    # What torchrun says of a signal, and its status, are its own.
    if number != signal.SIGKILL and not command.kind.launcher:
        over = over and (status == 0 or (status in (-number, 1) and OVER in command.said))
        # What comes after is Python's own end, which a signal may meet as well.
        if "Traceback" in command.said.partition(OVER)[0]:
            return f"a traceback: {command.said[-1500:]}"
        if not over and (status != 128 + number or "Stopped by" not in command.said):
            return f"status {status}: {command.said[-500:]}"
    if left := command.left():
        return f"left running: {left}"
    return None
