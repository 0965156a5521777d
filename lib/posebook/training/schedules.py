"""Learning-rate schedules: from the fraction of training that is over to a factor of the learning rate.

A schedule knows nothing of steps, so the same one serves a run of so many steps and a run of so many minutes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

Schedule = Callable[[int | float], int | float]


def constant(fraction: int | float) -> float:
    """The learning rate as it is."""
    return 1.0


def one_cycle(warmup: float = 0.1) -> Schedule:
    """Up along a line for a first part of training, down to 0 along a cosine for the rest (Smith, Topin, 2018)."""

    def factor(fraction: int | float) -> float:
        if fraction < warmup:
            return 0.05 + 0.95 * fraction / warmup
        return 0.5 + 0.5 * math.cos(math.pi * (fraction - warmup) / (1 - warmup))

    return factor


def milestones(at: Iterable[float], by: float = 0.1) -> Schedule:
    """Times `by` at each of these fractions: (170 / 250, 220 / 250) for epochs 170 and 220 of 250."""
    at = tuple(at)
    return lambda fraction: by ** sum(fraction >= place for place in at)


def polynomial(power: int | float = 0.9) -> Schedule:
    """Down to 0 as (1 - fraction) ** power, as segmentation networks are trained."""
    return lambda fraction: max(0.0, 1 - fraction) ** power


def restarted(schedule: Schedule, phases: tuple[float, ...]) -> Schedule:
    """The schedule from its start in every phase of a run; phases as in `training.loop.train`."""
    edges = (0.0, *phases, 1.0)

    def factor(fraction: int | float) -> int | float:
        phase = sum(fraction >= start for start in phases)
        start, end = edges[phase], edges[phase + 1]
        return schedule((fraction - start) / (end - start))

    return factor


def fingerprint(schedule: Schedule) -> str:
    """What a schedule gives along the way, which tells it from others: it is a function."""
    return " ".join(f"{schedule(k / 20):.4g}" for k in range(21))
