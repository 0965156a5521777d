"""What repeated measurements tell: a mean, and how far it can be trusted."""

from __future__ import annotations

import math


def interval(values: list[float], level: float = 0.95) -> tuple[float, list[float] | None]:
    """The mean, and the interval that Student's t gives it; None for the interval of fewer than two values."""
    from scipy import stats

    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    half = float(stats.t.ppf(0.5 + level / 2, len(values) - 1) * stats.sem(values))
    return mean, [mean - half, mean + half]
