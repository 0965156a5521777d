"""How long the runs that claims need will take, said before they are started."""

from __future__ import annotations

import heapq
import platform
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from posebook.compute.processes import pick_device
from posebook.ledger.runs import RUNS, Work, is_trained, read_run, run_folder, threads_of, train_work, training_sets
from posebook.training.checkpoint import STATE


@dataclass(frozen=True)
class Forecast:
    """How long runs take.

    Attributes:
        stored: how many are over.
        begun: how many are under way, or trained and not yet read.
        left: seconds until all are over.
        whole: seconds that all take from nothing.
    """

    stored: int
    begun: int
    left: float
    whole: float


def forecast(
    wanted: list[Work],
    runs: str | Path = RUNS,
    data_root: str | Path | None = None,
    device: str = "auto",
    jobs: int = 1,
    paces: dict[tuple, tuple[float, float]] | None = None,
) -> Forecast:
    """How long runs will take here: by what stored ones of the same network took, else by a few timed steps.

    Args:
        paces: what was found out is kept here, for the next call.
    """
    paces = {} if paces is None else paces
    threads, where = threads_of(jobs), pick_device(device)
    whole, left, stored, begun = [], [], 0, 0
    for work in wanted:
        key = work.paper, work.variant, work.dataset, work.profile
        if key not in paces:
            paces[key] = _stored_pace(work, runs, where, threads) or _timed_pace(work, data_root, where, threads)
        step, reading = paces[key]
        over = read_run(work, runs) is not None
        done = 0 if over else _steps_done(work, runs)
        stored += over
        begun += done > 0
        whole.append(step * work.recipe.steps + reading)
        left.append(0.0 if over else step * (work.recipe.steps - done) + reading)
    return Forecast(stored, begun, _together(left, jobs), _together(whole, jobs))


def _stored_pace(work: Work, runs: str | Path, device: torch.device, threads: int) -> tuple[float, float] | None:
    """Seconds a step and of reading, from a run of the same network from whichever seed on this device."""
    here = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    others = (replace(work, seed=seed, half=half) for seed in range(10) for half in (False, True))
    for other in others:
        stored = read_run(other, runs)
        if stored is not None and (stored["device"], stored["threads"]) == (here, threads):
            return stored["seconds"] / other.recipe.steps, stored["reading"]
    return None


def _timed_pace(work: Work, data_root: str | Path | None, device: torch.device, threads: int) -> tuple[float, float]:
    """The same from a few steps of training; reading a person is taken to cost what a person costs in training."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        dataset, small = training_sets(work, data_root, device)
        recipe = replace(work.recipe, steps=8, minutes=0.25, log_every=1)
        rows = train_work(work, recipe, dataset, None, small=small).history["training"]
    finally:
        torch.set_num_threads(before)
    first, last = rows[0], rows[-1]
    # The first step is slow, and it is all there is where it took the quarter of a minute.
    step = (last["seconds"] - first["seconds"]) / (len(rows) - 1) if len(rows) > 1 else first["seconds"]
    people = work.plan.test_images or 3000
    return step, step * people / recipe.batch_size


def _steps_done(work: Work, runs: str | Path) -> int:
    """How far a run is that was begun."""
    folder = run_folder(work, runs)
    if is_trained(work, folder):
        return work.recipe.steps
    try:
        return torch.load(folder / STATE, map_location="cpu", weights_only=True)["run"]["step"]
    except Exception:  # there is none, or it is broken, of which training will tell
        return 0


def _together(durations: list[float], jobs: int) -> float:
    """How long all take, `jobs` at a time, each started when one before it is over."""
    ends = [0.0] * jobs
    for seconds in durations:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)
