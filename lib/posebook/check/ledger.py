"""Checks of the exercises of `6_ledger`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from posebook.check.answers import exercise, function, require


@exercise
def sign_flip(p_value: object, rows: Sequence[Any]) -> str:
    """A function from n numbers and a bound to the p-value of a test by signs.

    Args:
        rows: of the ledger, each with a p-value by Student's t, which it is then held against.
    """
    function(p_value)
    one_side = _number(p_value(np.full(3, 0.2), 0.0))
    require(one_side != 0, "it gives 0 for three numbers on one side: the observed signs are one of the patterns too")
    require(
        abs(one_side - 1 / 8) > 1e-9,
        "for three numbers on one side it counts one pattern of eight: how many have a mean as far from 0?",
    )
    require(abs(one_side - 1 / 4) < 1e-9, f"for three equal numbers on one side it gives {one_side:.3f}")
    some = np.array([0.375, -0.125, 0.5, 0.25])  # exact in binary, so that nothing is rounded
    there = _number(p_value(some, 0.0))
    require(there <= 1, f"a share of patterns is at most 1, and this is {there:.3f}")
    require(abs(there - _number(p_value(-some, 0.0))) < 1e-9, "numbers of the other signs must give the same p-value")
    shifted = _number(p_value(some + 5, 5.0))
    require(abs(there - shifted) < 1e-9, "which differences have their signs changed? Mind the bound")
    even = _number(p_value(np.array([1.0, -1.0]), 0.0))
    require(abs(even - 1) < 1e-9, "where the mean is 0, no pattern is nearer to 0")
    # 0.1 + 0.2 + 0.3 - 0.6 is 1e-16, and in another order it is 0.
    rounded = _number(p_value(np.array([0.1, 0.2, 0.3, -0.6]), 0.0))
    require(abs(rounded - 1) < 1e-9, "means that are equal but for rounding must count as equally far")
    # 4 of 16 patterns: all of one sign, or all but 0.125, and the opposites of both.
    require(
        abs(there - 1 / 4) < 1e-9,
        f"for {some.tolist()} and a bound of 0 it gives {there:.3f}; count the patterns by hand",
    )
    by_signs = sum(_number(p_value(np.array(row.values), row.claim.bound)) <= 0.05 for row in rows)
    by_t = sum(row.p_value < 0.05 for row in rows)
    return f"of {len(rows)} claims, Student's t decides {by_t} and the signs decide {by_signs}"


@exercise
def false_discovery(decide: object, p_values: np.ndarray) -> str:
    """A function from p-values and a level to whether each is decided, by Benjamini and Hochberg.

    Args:
        p_values: of the ledger.
    """
    function(decide)

    def decided(values: list[float]) -> list[bool]:
        found = np.asarray(decide(np.array(values), 0.05))
        right = found.shape == (len(values),) and found.dtype == bool
        require(right, f"one bool per p-value is wanted; for {len(values)} it gives {found.tolist()!r}")
        return found.tolist()

    require(decided([0.2, 0.9, 0.4]) == [False] * 3, "where no p-value is below its limit, nothing is decided")
    require(
        decided([0.5, 0.01, 0.03, 0.02]) != [True, True, True, False],
        "verdicts must come in the order in which the p-values came in",
    )
    require(decided([0.01])[0], "a single p-value of 0.01 is decided: ranks start at 1")
    require(
        decided([0.04, 0.03, 0.05, 0.045]) != [False] * 4,
        "of 0.03, 0.04, 0.045, 0.05 the last is at its limit: what follows for those before it?",
    )
    require(
        all(decided([0.04, 0.03, 0.05, 0.045])),
        "what lies below the largest rank is decided too, also where it is above its own limit",
    )
    require(
        decided([0.04, 0.9]) == [False, False],
        "of 0.04 and 0.9 none is decided: the limit of a p-value depends on its rank and on how many there are",
    )
    require(decided([0.5, 0.01, 0.03, 0.02]) == [False, True, True, True], "of 0.5, 0.01, 0.03, 0.02 three are decided")
    stand = sum(np.asarray(decide(np.asarray(p_values), 0.05)).tolist())
    return f"of {(np.asarray(p_values) < 0.05).sum()} verdicts {stand} stand"


def _number(found: object) -> float:
    require(np.ndim(found) == 0 and isinstance(found, int | float | np.number), "one number is wanted, the p-value")
    return float(found)
