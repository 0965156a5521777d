"""What repeated measurements tell."""

from __future__ import annotations

import pytest

from posebook.evaluation.statistics import interval


def test_the_interval_is_students():
    mean, (low, high) = interval([1.0, 2.0, 3.0])
    # Two degrees of freedom: 4.3027 standard errors of 1 / sqrt(3).
    assert (mean, low, high) == pytest.approx((2, 2 - 2.48414, 2 + 2.48414), abs=1e-5)
    assert interval([0.5]) == (0.5, None)
    assert interval([0.25, 0.25, 0.25]) == (0.25, [0.25, 0.25])
