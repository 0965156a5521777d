"""Everything there is to do on a borrowed GPU, in one command: tests, speed beside peers, readings for the ledger.

    python benchmarks/gpu.py --minutes 9 --output DIR
    python benchmarks/gpu.py --device cpu --tiny --output DIR      all of it in small, where there is no GPU

It needs no virtual environment and no network: torch, and the packages that posebook imports. Where one is missing,
`make gpu-wheels` fetches it into runs/wheels on a machine with a network, and it is taken from there.

Each part is a process of its own with its share of the minutes, so that one that fails, hangs or breaks the GPU's
context takes nothing along; what a part does not use goes to those after it. DIR then holds SUMMARY.md,
benchmarks.json, tests.txt and readings/*.jsonl, whose lines can be put behind those of results/readings.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ROOT / "runs" / "wheels"
READINGS = ROOT / "results" / "readings"
NEEDED = (
    "torch", "numpy", "jaxtyping", "safetensors", "tqdm", "filelock", "joblib", "scipy", "sklearn", "pytest",
)  # fmt: skip
# Measured beside, where they are.
PEERS = ("kornia", "dsntnn")
# Seconds that are left for the summary, and for a part to be stopped in.
_END = 5
# The last lines of what a part that failed has said.
_LINES = 25


@dataclass(frozen=True)
class Job:
    """What a part is told.

    Attributes:
        device: where to compute.
        tiny: sizes that a CPU is through with in seconds.
        seconds: its share.
        output: folder for files.
    """

    device: str
    tiny: bool
    seconds: float
    output: Path


def tests(job: Job) -> Iterable[dict]:
    """Those marked `gpu`, into tests.txt. Without tests/conftest.py, which needs packages for notebooks."""
    files = [file for file in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu\n" in file.read_text()]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--noconftest",
        "-m",
        "gpu",
        "-q",
        "--tb=short",
        "-p",
        "no:cacheprovider",
    ]
    with open(job.output / "tests.txt", "w") as log:
        code = subprocess.run(
            [*command, *map(str, files)],
            cwd=ROOT,
            env=os.environ | {"POSEBOOK_TEST_DEVICE": job.device},
            stdout=log,
            stderr=subprocess.STDOUT,
        ).returncode
    lines = (job.output / "tests.txt").read_text().splitlines()
    print("\n".join(lines[-_LINES:]))
    if code:
        raise RuntimeError(f"tests failed: {lines[-1] if lines else 'nothing was said'}; see tests.txt")
    return ()


def hourglass(job: Job) -> Iterable[dict]:
    from hourglass import measure

    # Here and below a case at a time, so that what was measured is kept where the time is over.
    for case in _networks(job):
        yield from measure(job.device, [case])


def compiled(job: Job) -> Iterable[dict]:
    from hourglass import measure_compiled

    return measure_compiled(job.device, _networks(job)[:1] if job.tiny else _networks(job))


def data(job: Job) -> Iterable[dict]:
    from hourglass import measure_data

    # Beside the paper's networks the one that is trained in minutes, whose steps are short.
    small = ({"size": 96, "stacks": 1, "features": 128, "depth": 3}, 16)
    for case in _networks(job)[:1] if job.tiny else [*_networks(job), small]:
        yield from measure_data(job.device, [case])


def soft_argmax(job: Job) -> Iterable[dict]:
    from soft_argmax import SIDES, measure

    for side in (8,) if job.tiny else SIDES:
        yield from measure(job.device, [side])


def adaptive_conv(job: Job) -> Iterable[dict]:
    from adaptive_conv import measure

    cases = ((2, 8, 16, 7), (2, 8, 16, 3)) if job.tiny else ((32, 256, 64, 7), (32, 256, 64, 3), (16, 64, 16, 7))
    for case in cases:
        yield from measure(job.device, [case])


def rendering(job: Job) -> Iterable[dict]:
    from rendering import SIZES, measure

    for size in (32, 64) if job.tiny else SIZES:
        yield from measure(job.device, [size], 8 if job.tiny else None)


def augmentation(job: Job) -> Iterable[dict]:
    from augmentation import measure

    for count, size in ((4, 32),) if job.tiny else ((32, 128), (32, 256)):
        yield from measure(job.device, count, size)


def _networks(job: Job) -> list[tuple[dict[str, int], int]]:
    """HG-2 and HG-8, with people a step."""
    if job.tiny:
        return [({"size": 32, "stacks": stacks, "features": 8, "depth": 1}, 2) for stacks in (1, 2)]
    return [({"size": 256, "stacks": stacks, "features": 256}, count) for stacks, count in ((2, 32), (8, 16))]


def ledger(job: Job) -> Iterable[dict]:
    """Runs that claims lack, as many at a time as pay, until the time is over."""
    from posebook.ledger.measure import measure
    from posebook.ledger.readings import read
    from posebook.ledger.verdicts import row_of
    from posebook.papers import select

    deadline = time.time() + job.seconds - _END
    profile = "quick" if job.tiny else "study"
    jobs, rates = _jobs_that_pay(job, profile)
    for count, rate in rates.items():
        yield {
            "what": f"steps of the ledger's runs, {count} at a time",
            "ours": rate,
            "baseline": rates[1],
            "unit": "steps/s",
            "ratio": rate / rates[1],
            "note": f"part_groups at {profile}; against our own, one at a time",
        }
    folder = job.output / "readings"
    claims = select()
    if job.tiny:
        claims = [claim for claim in claims if claim.paper == "part_groups"][:1]
    stored = {paper: read(paper, folder) for paper in {claim.paper for claim in claims}}
    claims.sort(key=lambda claim: len(row_of(claim, "figures", profile, stored[claim.paper]).seeds))
    # A claim at a time: with all of them at once, every variant's pace would be timed before the first run is trained.
    for claim in claims:
        left = deadline - time.time()
        if left <= 0:
            break
        print(f"{claim.id}, {left:.0f} s left", flush=True)
        try:
            measure(
                [claim],
                "figures",
                profile,
                1 if job.tiny else 8,
                budget=left,
                device=job.device,
                jobs=jobs,
                runs=job.output / "runs",
                folder=folder,
            )
        except Exception:  # the next claim may need other networks
            traceback.print_exc()
            if job.tiny:
                raise


def _jobs_that_pay(job: Job, profile: str) -> tuple[int, dict[int, float]]:
    """How many runs at a time make the most steps together, and the steps a second of each number tried."""
    from joblib import Parallel, delayed

    rates = {}
    # The most first: joblib keeps the processes, and starting them is most of the time.
    for count in (2, 1) if job.tiny else (8, 4, 1):
        tried = delayed(_pace)(job.device, profile, 1 if job.tiny else 6)
        rates[count] = sum(Parallel(n_jobs=count)([tried] * count))
        print(f"{count} at a time: {rates[count]:.1f} steps/s", flush=True)
    return max(rates, key=rates.get), rates


def _pace(device: str, profile: str, seconds: int) -> float:
    """Steps a second of a run of the ledger, its first steps left out."""
    import torch

    from posebook.compute.processes import pick_device
    from posebook.ledger.runs import THREADS, train_work, training_sets
    from posebook.ledger.work import works

    torch.set_num_threads(THREADS)
    work = works("part_groups", "figures", profile, (0,))[0]
    dataset, small = training_sets(work, None, pick_device(device))
    recipe = replace(work.recipe, steps=None, minutes=seconds / 60, log_every=2)
    rows = train_work(work, recipe, dataset, None, small=small).history["training"]
    first, last = rows[0], rows[-1]
    if first is last:
        return last["step"] / last["seconds"]
    return (last["step"] - first["step"]) / (last["seconds"] - first["seconds"])


# Each with its share of the minutes, in order. The ledger comes last and takes what is left.
PARTS: dict[str, tuple[Callable[[Job], Iterable[dict]], float]] = {
    "tests": (tests, 0.2),
    "hourglass": (hourglass, 0.1),
    "data": (data, 0.08),
    "soft_argmax": (soft_argmax, 0.05),
    "adaptive_conv": (adaptive_conv, 0.06),
    "rendering": (rendering, 0.06),
    "augmentation": (augmentation, 0.05),
    "compiled": (compiled, 0.15),
    "ledger": (ledger, 1.0),
}


@dataclass
class Outcome:
    """What became of a part: "done", or a word for what went wrong, and its last lines."""

    word: str
    seconds: float
    rows: list[dict]
    said: str


def run_part(name: str, device: str, tiny: bool, seconds: float, output: Path, rows: Path, path: list[str]) -> Outcome:
    """A part in a process of its own, which is ended with all that it started when its time is over."""
    command = [sys.executable, __file__, "--part", name, "--device", device, "--minutes", str(seconds / 60)]
    command += ["--output", str(output), "--rows", str(rows), *(["--tiny"] if tiny else [])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")])}
    begin = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(seconds)
            word = "done" if code == 0 else f"failed (status {code})"
        except subprocess.TimeoutExpired:
            word = f"out of time after {seconds:.0f} s"
        finally:
            # Its own processes too, which outlive it where it was broken off.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        said = log.read().splitlines()
    measured = [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []
    return Outcome(word, time.monotonic() - begin, measured, "\n".join(said[-_LINES:]))


def work(name: str, job: Job, rows: Path) -> None:
    """A part's rows to a file, each as soon as it is measured."""
    import timing

    if job.tiny:  # the numbers mean nothing then
        timing.TURN = 0.001
    with open(rows, "a") as file:
        for row in PARTS[name][0](job):
            file.write(json.dumps(row) + "\n")
            file.flush()


def carried(folder: Path) -> list[str]:
    """Unpack the packages that are missing here and lie in runs/wheels; what is to be on Python's path."""
    found = False
    for wheel in sorted(WHEELS.glob("*.whl")):
        if find_spec(wheel.name.split("-")[0]) is None:
            found = True
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
    return [str(folder)] if found else []


def new_readings(worked: Path, output: Path) -> int:
    """Copy the lines that came to the ledger's files to the output; how many there are."""
    count = 0
    for file in sorted(worked.glob("*.jsonl")):
        before = set((READINGS / file.name).read_text().splitlines()) if (READINGS / file.name).exists() else set()
        lines = [line for line in file.read_text().splitlines() if line not in before]
        count += len(lines)
        if lines:
            output.mkdir(exist_ok=True)
            (output / file.name).write_text("\n".join(lines) + "\n")
    return count


def summary(machine: dict, outcomes: dict[str, Outcome], readings: int, notes: list[str]) -> str:
    """What came of all parts, in Markdown."""
    from run import table

    lines = ["# A run on a borrowed GPU", ""]
    lines += [", ".join(f"{key} {value}" for key, value in machine.items()), ""]
    lines += [*notes, ""] if notes else []
    lines += ["| part | | seconds | rows |", "|---|---|---:|---:|"]
    lines += [f"| {name} | {o.word} | {o.seconds:.0f} | {len(o.rows)} |" for name, o in outcomes.items()]
    if "tests" in outcomes:
        lines += ["", f"Tests: {(outcomes['tests'].said.splitlines() or ['nothing was said'])[-1]}"]
    lines += ["", f"New readings: {readings}", ""]
    lines += [table([row for outcome in outcomes.values() for row in outcome.rows]), ""]
    for name, outcome in outcomes.items():
        if outcome.word != "done":
            lines += [f"## {name}: {outcome.word}", "", "```", outcome.said, "```", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Tests, benchmarks and ledger runs on a borrowed GPU.")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all of it")
    parser.add_argument("--output", type=Path, required=True, help="folder for what is brought back")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small sizes: to try the script itself, on a CPU")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        job = Job(arguments.device, arguments.tiny, 60 * arguments.minutes, arguments.output)
        work(arguments.part, job, arguments.rows)
        return

    end = time.monotonic() + 60 * arguments.minutes
    output = arguments.output.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        path = [*carried(scratch / "packages"), str(ROOT / "lib")]
        sys.path += path
        if missing := [name for name in NEEDED if find_spec(name) is None]:
            raise SystemExit(
                f"{', '.join(missing)} cannot be imported by {sys.executable}: run `make gpu-wheels` where there is a "
                f"network and bring {WHEELS} here, or give a Python that has them with PYTHON=..."
            )
        absent = [name for name in PEERS if find_spec(name) is None]
        notes = [f"Not measured beside {' and '.join(absent)}: missing here, see `make gpu-wheels`."] if absent else []
        from run import machine

        try:
            about = machine(arguments.device)
        except ValueError as error:
            raise SystemExit(str(error)) from error
        output.mkdir(parents=True, exist_ok=True)
        outcomes: dict[str, Outcome] = {}
        # Parts write beside each other; what is not brought back stays here.
        made = scratch / "made"
        shutil.copytree(READINGS, made / "readings", ignore=shutil.ignore_patterns(".*"))
        total = 60 * arguments.minutes - _END
        for name, (_, share) in PARTS.items():
            seconds = min(share * total, end - time.monotonic() - _END)
            if seconds < 1:
                outcomes[name] = Outcome("not begun: the time is over", 0.0, [], "")
            else:
                print(f"{name}, {seconds:.0f} s at most ...", flush=True)
                outcomes[name] = run_part(
                    name, arguments.device, arguments.tiny, seconds, made, scratch / f"{name}.jsonl", path
                )
                print(f"{name}: {outcomes[name].word}", flush=True)
            # After each part, so that whoever ends this has what there is.
            if (made / "tests.txt").exists():
                shutil.copy(made / "tests.txt", output)
            count = new_readings(made / "readings", output / "readings")
            stored = {key: {"machine": about, "rows": outcome.rows} for key, outcome in outcomes.items()}
            (output / "benchmarks.json").write_text(json.dumps(stored, indent=2) + "\n")
            text = summary(about, outcomes, count, notes)
            (output / "SUMMARY.md").write_text(text)
    print(text)
    if any(outcome.word.startswith("failed") for outcome in outcomes.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
