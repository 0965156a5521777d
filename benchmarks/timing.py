"""Timing several ways of doing the same thing so that their ratio means something on a busy machine, and its row."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

# A turn repeats what takes less than this, so that a quick way is not timed with caches that a slow one left cold.
TURN = 0.05


def medians(ways: dict[str, Callable[[], object]], repeats: int = 7) -> dict[str, float]:
    """Median seconds of each, taken in turns after a round that warms up.

    Whatever slows the machine down for a while slows all of them down, and the medians leave it out.
    """
    calls = {}
    for name, way in ways.items():
        _seconds(way, 1)
        calls[name] = max(1, round(TURN / _seconds(way, 1)))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            seconds[name].append(_seconds(way, calls[name]))
    return {name: statistics.median(times) for name, times in seconds.items()}


def row(what: str, seconds: dict[str, float], count: int, unit: str, note: str) -> dict:
    """A benchmark's row, of the seconds that "ours" and "baseline" take for so many of a thing."""
    rates = {name: count / seconds[name] for name in ("ours", "baseline")}
    return {"what": what, **rates, "unit": unit, "ratio": rates["ours"] / rates["baseline"], "note": note}


def _seconds(way: Callable[[], object], calls: int) -> float:
    """Seconds a call, a GPU's work included."""
    _finish()
    start = time.perf_counter()
    for _ in range(calls):
        way()
    _finish()
    return (time.perf_counter() - start) / calls


def _finish() -> None:
    """Wait for what a GPU still has to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
