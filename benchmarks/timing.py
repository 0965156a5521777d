"""Timing several ways of doing the same thing so that their ratio means something on a busy machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def medians(ways: dict[str, Callable[[], object]], repeats: int = 7) -> dict[str, float]:
    """Median seconds of each, taken in turns after a round that warms up.

    Whatever slows the machine down for a while slows all of them down, and the medians leave it out.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(repeats + 1):
        for name, way in ways.items():
            _finish()
            start = time.perf_counter()
            way()
            _finish()
            if round_number:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def _finish() -> None:
    """Wait for what a GPU still has to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
