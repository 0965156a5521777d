"""How long runs will take, said before they are started."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from posebook.compute.cluster import as_they_end, is_elsewhere
from posebook.compute.processes import device_name, pick_device
from posebook.ledger.readings import Readings
from posebook.ledger.runs import THREADS, is_trained, run_folder, threads, train_work, training_sets
from posebook.ledger.work import Work
from posebook.training.checkpoint import STATE


@dataclass
class Paces:
    """What a step and the reading of each variant take: as in stored readings, else by a few timed steps.

    Within `on_cluster`, device and pace are those of the cluster's workers, elsewhere those of this machine.

    Attributes:
        jobs: how many runs are trained at a time.
        found: seconds of a step and of reading, by variant; filled as they are asked for.
        trained_on: what readings call the device there.

    Raises:
        ValueError: there is no such device.
    """

    data_root: str | Path | None
    device: str
    jobs: int
    runs: str | Path
    found: dict[Work, tuple[float, float]] = field(default_factory=dict)
    trained_on: str = field(init=False)

    def __post_init__(self) -> None:
        if is_elsewhere():
            self.trained_on = self._at_a_time(_machine, self.device)[0]
        else:
            self.trained_on = _machine(self.device)

    def seconds(self, work: Work, readings: Readings) -> float:
        """How long a run will take, or what is left of it takes."""
        variant = replace(work, seed=0, half=False)
        if variant not in self.found:
            self.found[variant] = self._stored(variant, readings) or self._timed(work)
        step, reading = self.found[variant]
        return step * (work.recipe.steps - self._done(work)) + reading

    def together(self, works: Iterable[Work], readings: dict[str, Readings]) -> float:
        """How long all take, each started when one before it is over."""
        ends = [0.0] * self.jobs
        for work in works:
            heapq.heapreplace(ends, ends[0] + self.seconds(work, readings[work.paper]))
        return max(ends)

    def _stored(self, variant: Work, readings: Readings) -> tuple[float, float] | None:
        """As runs of the same network took on such a device."""
        like = [
            some
            for some in readings.values()
            if (some.variant, some.dataset, some.profile) == (variant.variant, variant.dataset, variant.profile)
            and (some.device, some.threads) == (self.trained_on, THREADS)
            and not (some.half or some.carried)
        ]
        if not like:
            return None
        steps = variant.recipe.steps
        return (
            statistics.median(some.seconds for some in like) / steps,
            statistics.median(some.reading_seconds for some in like),
        )

    def _timed(self, work: Work) -> tuple[float, float]:
        """By a few steps of as many runs at a time as there will be, for these share the memory and the clock.

        Reading a person is taken to cost what a person costs in training.
        """
        root = self.data_root and Path(self.data_root).resolve()
        run = replace(work, half=False)
        step = statistics.median(self._at_a_time(_time_step, run, root, self.device))
        return step, step * (work.plan.test_images or 3000) / work.recipe.batch_size

    def _at_a_time(self, function: Callable, *arguments: object) -> list:
        """What a function gives, called in each of the places that runs will be trained in."""
        from joblib import delayed

        return list(as_they_end((delayed(function)(*arguments) for _ in range(self.jobs)), self.jobs))

    def _done(self, work: Work) -> int:
        """How far a run is that was begun."""
        if is_trained(work, run_folder(work, self.runs)):
            return work.recipe.steps
        try:
            state = torch.load(run_folder(work, self.runs) / STATE, map_location="cpu", weights_only=True)
            return state["run"]["step"]
        except Exception:  # there is none, or it is broken, of which training will tell
            return 0


def _machine(device: str) -> str:
    """What readings call the device here."""
    return device_name(pick_device(device))


def _time_step(work: Work, data_root: Path | None, device: str) -> float:
    """Seconds of one of the run's steps, by a few of them."""
    with threads(THREADS):
        dataset, small = training_sets(work, data_root, pick_device(device))
        recipe = replace(work.recipe, steps=8, minutes=0.25, log_every=1)
        rows = train_work(work, recipe, dataset, None, small=small).history["training"]
    first, last = rows[0], rows[-1]
    # The first step is slow, and it is all there is where it took the quarter of a minute.
    return (last["seconds"] - first["seconds"]) / (len(rows) - 1) if len(rows) > 1 else first["seconds"]
