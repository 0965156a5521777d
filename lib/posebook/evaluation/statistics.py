"""What repeated measurements tell: a mean, and how far it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, list[float] | None]:
    """The mean, and the interval that Student's t gives it; None for the interval of fewer than two values."""
    from scipy import stats

    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    half = float(stats.t.ppf(0.5 + level / 2, len(values) - 1) * stats.sem(values))
    return mean, [mean - half, mean + half]


def p_value(values: Sequence[float], bound: float) -> float | None:
    """Of Student's two-sided test that the mean is `bound`; None for fewer than two values, or equal ones."""
    from scipy import stats

    if len(values) < 2 or max(values) == min(values):
        return None
    return float(stats.ttest_1samp(values, bound).pvalue)


def holm(p_values: Sequence[float], level: float = 0.05) -> list[bool]:
    """Which of several tests reject with at most `level` for a single false one among all of them.

    Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, Scandinavian Journal of Statistics 6, 1979: the
    smallest of n p-values is held against level / n, the next against level / (n - 1), up to the first that is larger.
    """
    rejected = [False] * len(p_values)
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        if p_values[place] > level / (len(p_values) - rank):
            break
        rejected[place] = True
    return rejected


def seeds_to_settle(values: Sequence[float], bound: float, most: int = 1000) -> int | None:
    """How many values the interval needs to leave the bound out, should mean and spread stay as they are.

    None: more than `most`, or there are too few values to tell.
    """
    import numpy as np
    from scipy import stats

    if len(values) < 2:
        return None
    gap, spread = abs(math.fsum(values) / len(values) - bound), float(stats.tstd(values))
    counts = np.arange(2, most + 1)
    enough = counts[stats.t.ppf(0.975, counts - 1) * spread / np.sqrt(counts) < gap]
    return int(enough[0]) if len(enough) else None
