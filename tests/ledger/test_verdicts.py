"""Verdicts follow by rule, and rows say what they are of."""

from __future__ import annotations

import pytest

from posebook.ledger.verdicts import GAIN_LIMIT, render, row, verdict
from posebook.papers import select

CLAIM = select(["soft_argmax"])[0]


@pytest.mark.parametrize(
    ("ci95", "bound", "expected"),
    [
        ([0.01, 0.03], 0.0, "holds"),
        ([-0.03, -0.01], 0.0, "does not hold"),
        ([-0.01, 0.03], 0.0, "undecided"),
        ([0.0, 0.03], 0.0, "undecided"),
        ([-0.015, -0.001], -0.02, "holds"),
        ([-0.05, -0.021], -0.02, "does not hold"),
        ([float("nan"), float("nan")], 0.0, "undecided"),
        (None, 0.0, "undecided"),
    ],
)
def test_the_verdict_follows_from_the_interval(ci95, bound, expected):
    assert verdict(ci95, bound) == expected


def test_a_row_says_what_it_was_measured_on():
    measured = {"dataset": "figures", "profile": "study", "seeds": [0], "mean": 0.02, "ci95": None}
    options = {"difficulty": "objects", "people": 4}
    rows = [row(CLAIM, measured | more, "figures", "study") for more in ({}, {"options": options})]
    assert [row["on"] for row in rows] == ["figures, study", "figures, objects, 4 people, study"]


@pytest.mark.parametrize(
    ("gain", "reached", "judged"),
    [
        (0.04, 0.6, "long enough"),
        (0.06, 0.6, "WARNING, too short"),
        # A network that has not learned anything is not one that has stopped learning.
        (0.01, 0.3, "WARNING, too short"),
    ],
)
def test_a_run_is_long_enough_that_hardly_gains_and_beats_the_mean_pose(gain, reached, judged):
    length = {"gain": gain, "limit": GAIN_LIMIT, "reached": reached, "floor": 0.3}
    measured = {"dataset": "figures", "profile": "study", "seeds": [0, 1], "mean": 0.02, "ci95": [0.01, 0.03]}
    *_, last = render([row(CLAIM, measured | {"length": length}, "figures", "study")]).splitlines()
    assert f"; {judged}" in last
    assert f"{100 * gain:+.1f} points, to {100 * reached:.1f}; mean pose 30.0" in last
