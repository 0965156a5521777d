"""Runs are trained, here or on a cluster, and each is kept in a folder of its own and read for its claims.

    for reading in train_all(works("soft_argmax", "figures", "study", seeds=range(3)), jobs=2):
        print(reading.variant, reading.readings["pckh"])

A run that was stopped goes on where it was, a finished one is never trained again, and several processes may work on
the same runs: each waits for the run that another one is at.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from datetime import date
from pathlib import Path

import torch
from torch import nn

from posebook.compute.cluster import as_they_end, check_worker, is_elsewhere, is_wanted
from posebook.compute.processes import pick_device
from posebook.datasets import open_dataset
from posebook.ledger.claim import claims_of
from posebook.ledger.readings import Reading
from posebook.ledger.work import Work
from posebook.outside import check_tensors, read_text
from posebook.paths import WORK, alone, check_writable, replacing
from posebook.sample import Dataset
from posebook.training.checkpoint import STATE, differing, read_record
from posebook.training.loop import train
from posebook.training.recipe import Recipe
from posebook.training.runs import Run

RUNS = WORK / "runs" / "ledger"
# Beside a run's weights: the rows of its training history.
HISTORY = "history.json"
# Sums over several threads come in another order, so that their number is a part of what a run is. One is what all
# machines have, and small networks gain little from a second: more cores are for more runs at a time.
THREADS = 1


def run_folder(work: Work, runs: str | Path = RUNS) -> Path:
    """Where a run is kept."""
    return Path(runs) / work.key


def train_run(
    work: Work,
    runs: str | Path = RUNS,
    data_root: str | Path | None = None,
    device: str = "auto",
    *,
    learner: bytes | None = None,
    progress: bool = True,
    callback: Callable[[Run], None] | None = None,
) -> Reading:
    """Train a run, or go on with it, and read off it what its paper's claims need.

    A run that another process works on is waited for. A finished one keeps its weights, `last.safetensors`, and is not
    trained again. It computes on `THREADS` threads, however many torch has.

    Args:
        learner: the weights of the run that gives this one its learner, as `weights_of` has them; None trains that run
            first, where there is one.

    Raises:
        ValueError, OSError: as `open_dataset` and `train` do.
    """
    folder = run_folder(work, runs)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / "lock", f"{work} ({folder})"), threads(THREADS):
        plan, where = work.plan, pick_device(device)
        train_set, small = training_sets(work, data_root, where)
        test_set = open_dataset(
            work.dataset, "test", root_of(work.dataset, data_root), plan.size, where, **work.options
        )
        paper = claims_of(work.paper)
        # A kill may have come between weights and history. The state, which is there until both are read, gives it
        # again without a step; where that is gone, the run is trained anew.
        lacks_history = paper.curve_readings is not None and not (folder / HISTORY).is_file()
        if lacks_history or not is_trained(work, folder):
            if work.learner is not None and learner is None:
                train_run(work.learner, runs, data_root, device, progress=progress)
                learner = weights_of(work.learner, runs)
            teacher = work.learner and network_of(work.learner, learner).to(where)
            run = train_work(work, work.recipe, train_set, folder, progress, callback, small, teacher)
            with replacing(folder / HISTORY) as part:
                part.write_text(json.dumps(run.history["training"], allow_nan=False) + "\n", encoding="utf-8")
        network = network_of(work, weights_of(work, runs)).to(where).eval()
        about = read_record(folder / "last.safetensors")["training"]
        begin = time.monotonic()
        readings = paper.readings(network, test_set, plan.test_images, train_set)
        if paper.curve_readings is not None:
            readings |= paper.curve_readings(_history(folder / HISTORY))
        # Larger than the weights, and of no more use.
        (folder / STATE).unlink(missing_ok=True)
    return Reading(
        **asdict(work),
        options=work.options,
        digest=work.key,
        test_images=plan.test_images,
        readings=readings,
        reading_seconds=round(time.monotonic() - begin, 1),
        date=date.today().isoformat(),
        **{name: about[name] for name in ("seconds", "device", "threads", "versions")},
    )


def weights_of(work: Work, runs: str | Path = RUNS) -> bytes | None:
    """The weights that a finished run kept, as its file has them; None where they are not there."""
    folder = run_folder(work, runs)
    return (folder / "last.safetensors").read_bytes() if is_trained(work, folder) else None


def _history(path: Path) -> list[dict]:
    """The rows of a run's training history; ValueError where the file has something else."""
    try:
        rows = json.loads(read_text(path))
        [(row["step"] + 0, row["loss"] + 0) for row in rows]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no training history ({error!r}): delete its folder, and the run is trained again"
        ) from error
    return rows


def network_of(work: Work, weights: bytes) -> nn.Module:
    """A run's network with its weights; ValueError where they are not of this network."""
    from safetensors.torch import load

    network, tensors = work.network(**work.settings), load(weights)
    check_tensors(tensors, network.state_dict(), f"what is kept of {work}")
    network.load_state_dict(tensors)
    return network


@contextmanager
def threads(count: int) -> Iterator[None]:
    """A context in which torch computes on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_under_way(work: Work, runs: str | Path) -> bool:
    """Whether another process is at a run."""
    from filelock import FileLock, Timeout

    lock = run_folder(work, runs) / "lock"
    try:
        with FileLock(lock).acquire(blocking=False) if lock.is_file() else nullcontext():
            return False
    except Timeout:
        return True


def is_trained(work: Work, folder: Path) -> bool:
    """Whether the folder's weights are those of the run's end, trained on as many threads as runs are now.

    Raises:
        ValueError: they are of another run, or cannot be read.
    """
    path = folder / "last.safetensors"
    if not path.exists():
        return False
    about = read_record(path)
    told, wanted = about["training"], work.configuration
    kinds = {"steps": int, "seconds": (int, float), "device": str, "threads": int, "versions": dict, "recipe": dict}
    if wrong := [name for name, kind in kinds.items() if not isinstance(told.get(name), kind)]:
        raise ValueError(f"{path} does not tell the {wrong[0]} of its run: move it away, and the run is trained again")
    # As far as the file tells: those of older versions lack what has come since.
    pairs = [
        ({"model": about["model"]}, {"model": wanted["model"]}),
        (about["settings"], wanted["settings"]),
        (told["recipe"], wanted["recipe"]),
    ]
    for before, now in pairs:
        shared = [name for name in now if name in before]
        if others := differing({name: before[name] for name in shared}, {name: now[name] for name in shared}):
            raise ValueError(f"{path} is of another run ({'; '.join(others)}): move it away, and {work} is trained")
    return told["steps"] >= work.recipe.steps and told["threads"] == THREADS


def root_of(dataset: str, data_root: str | Path | None) -> str | Path | None:
    """Where a set lies; what is trained on rendered people may be tested on another, whose root is given."""
    return None if dataset == "figures" else data_root


def training_sets(work: Work, data_root: str | Path | None, device: torch.device) -> tuple[Dataset, Dataset | None]:
    """What a run is trained on: the set in the plan's images, and in its small ones where it has any."""
    small, name = work.plan.small, work.trained_on
    sizes = [work.plan.size, *([small.size] if small else [])]
    root, options = root_of(name, data_root), work.options_of(name)
    sets = [open_dataset(name, "train", root, size, device, work.seed, **options) for size in sizes]
    return sets[0], sets[1] if small else None


def train_work(
    work: Work,
    recipe: Recipe,
    dataset: Dataset,
    folder: Path | None,
    progress: bool = False,
    callback: Callable[[Run], None] | None = None,
    small: Dataset | None = None,
    learner: nn.Module | None = None,
) -> Run:
    """Train a run's network by a recipe, in a folder that it goes on from where there is one.

    Args:
        small: the set in the plan's small images, where it has any.
        learner: the network that gives this one its learner.
    """
    plan = work.plan
    torch.manual_seed(work.seed)
    network = work.network(**work.settings)
    if learner is not None:
        network.take_learner(learner)
    return train(
        network,
        dataset,
        recipe,
        optimizer=plan.optimizer,
        schedule=plan.schedule,
        augmentation=None if dataset.length is None else plan.augmentation,
        masking=plan.masking,
        phases=plan.phases,
        output=folder,
        callback=callback,
        progress=progress,
        small=small,
        small_part=plan.small.part if small is not None else 0.0,
    )


class OutOfTime(Exception):
    """The time that the ledger was given is over; the run that was under way goes on where it was the next time."""


def train_all(
    wanted: list[Work],
    runs: str | Path = RUNS,
    data_root: str | Path | None = None,
    device: str = "auto",
    jobs: int = 1,
    deadline: float = math.inf,
) -> Iterator[Reading]:
    """Train runs, `jobs` at a time, each on one core, and give what is read off each as it ends.

    Those whose networks give others their learners come first.

    Within `on_cluster` they are trained by the cluster's workers, one at a time each. Machines need not share a disk: a
    learner's weights come back here, and go with the runs that need them.

    Args:
        runs: folder of the runs. Workers of a cluster use a folder of this name on their machines; for `RUNS`, their
            own posebook's.
        deadline: in seconds of `time.time`; runs that are under way then stop.

    Raises:
        OutOfTime: the deadline has passed.
    """
    from joblib import delayed

    elsewhere = is_elsewhere()
    place = runs
    if elsewhere:
        # Workers run in other folders, and may have posebook elsewhere.
        place = None if Path(runs) == RUNS else Path(runs).resolve()
        data_root = data_root and Path(data_root).resolve()
    taken = dict.fromkeys(work.learner for work in wanted if work.learner)
    first = [learner for learner in taken if not is_trained(learner, run_folder(learner, runs))]
    for some in (first, [work for work in dict.fromkeys(wanted) if work not in first]):
        learners = {work: work.learner and weights_of(work.learner, runs) for work in some}
        if jobs == 1 and not elsewhere:
            for work in some:
                yield train_run(work, runs, data_root, device, learner=learners[work], callback=_watch(deadline))
            continue
        calls = (
            delayed(_train_elsewhere)(
                work, place, data_root, device, elsewhere, learners[work], deadline, work in first
            )
            for work in some
        )
        with closing(as_they_end(calls, jobs)) as done:
            for reading, files in done:
                _keep(reading, files, runs)
                yield reading


def _watch(deadline: float) -> Callable[[Run], None]:
    def look(run: Run) -> None:
        if time.time() > deadline:
            raise OutOfTime

    return look


def _train_elsewhere(
    work: Work,
    runs: str | Path | None,
    data_root: str | Path | None,
    device: str,
    on_worker: bool,
    learner: bytes | None,
    deadline: float,
    gives: bool,
) -> tuple[Reading, dict[str, bytes]]:
    """`train_run` in a process of its own, which tells of every tenth of its steps in a line.

    Args:
        runs: None takes this process's own `RUNS`.
        on_worker: whether this is a cluster's worker.

    Returns:
        What was read off the run, and its files that others need, by their names, if asked for.
    """
    runs = RUNS if runs is None else runs
    if on_worker:
        check_worker()
        check_writable(runs)
    steps, told = work.recipe.steps, -1
    watch = _watch(deadline)

    def tell(run: Run) -> None:
        nonlocal told
        watch(run)
        # Who kills the command means its runs as well. A worker is left for those of others; processes of this machine
        # end with the command (`as_they_end`).
        if on_worker and not is_wanted():
            raise OutOfTime
        if 10 * run.step // steps > told:
            told = 10 * run.step // steps
            left = clock(run.seconds / run.step * (steps - run.step))
            print(f"  {work}: step {run.step:,} of {steps:,}, {left} left", file=sys.stderr, flush=True)

    reading = train_run(work, runs, data_root, device, learner=learner, progress=False, callback=tell)
    folder = run_folder(work, runs)
    files = [folder / name for name in (HISTORY, "last.safetensors")] if gives else []
    return reading, {file.name: file.read_bytes() for file in files if file.is_file()}


def _keep(reading: Reading, files: dict[str, bytes], runs: str | Path) -> None:
    """A run's files that came back from another machine, where the next ones look for them."""
    folder = Path(runs) / reading.digest
    for name, content in files.items():
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / name) as part:
            part.write_bytes(content)


def clock(seconds: int | float) -> str:
    """A duration as people say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
