"""What repeated measurements tell."""

from __future__ import annotations

import pytest

from posebook.evaluation.statistics import holm, interval, p_value, seeds_to_settle


def test_the_interval_is_students():
    mean, (low, high) = interval([1.0, 2.0, 3.0])
    # Two degrees of freedom: 4.3027 standard errors of 1 / sqrt(3).
    assert (mean, low, high) == pytest.approx((2, 2 - 2.48414, 2 + 2.48414), abs=1e-5)
    assert interval([0.5]) == (0.5, None)
    assert interval([0.25, 0.25, 0.25]) == (0.25, [0.25, 0.25])


def test_the_p_value_is_students():
    # t = 2 * sqrt(3) with two degrees of freedom.
    assert p_value([1.0, 2.0, 3.0], 0.0) == pytest.approx(0.07418, abs=1e-5)
    assert p_value([1.0, 2.0, 3.0], 2.0) == pytest.approx(1.0)
    assert p_value([1.0], 0.0) is None
    assert p_value([1.0, 1.0], 0.0) is None


def test_holm_holds_each_against_what_is_left():
    # Holm's own example has 0.01, 0.02, 0.025 of three: 0.05 / 3, / 2, / 1.
    assert holm([0.02, 0.01, 0.025]) == [True, True, True]
    assert holm([0.02, 0.01, 0.06]) == [True, True, False]
    # The first that fails ends it, whatever comes after.
    assert holm([0.03, 0.01, 0.026]) == [False, True, False]
    assert holm([]) == []


def test_how_many_seeds_it_would_take():
    values = [0.01, 0.03, -0.01, 0.02]
    needed = seeds_to_settle(values, 0.0)
    mean, spread = 0.0125, 0.0170783
    assert 2.1448 * spread / needed**0.5 < mean < 2.2010 * spread / (needed - 3) ** 0.5
    assert seeds_to_settle([0.1], 0.0) is None
    assert seeds_to_settle([0.01, -0.01], 0.0) is None
