"""Verdicts follow by rule from readings, and rows say what they are of and how large effects can be."""

from __future__ import annotations

import numpy as np
import pytest

from posebook.ledger.markdown import markdown
from posebook.ledger.readings import Reading, append
from posebook.ledger.verdicts import GAIN_LIMIT, SEEDS, Gain, Row, in_words, lengths, read_rows, render, row_of, verdict
from posebook.ledger.work import Work
from posebook.papers import select
from posebook.paths import RESULTS

CLAIM = select(["soft_argmax_close_to_detection"])[0]


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


def stored(values: list[float], base: float = 0.7) -> dict:
    """Readings from which the claim's value of each seed is the one given."""
    found = {}
    for seed, value in enumerate(values):
        for name, pckh in (("regression", base + value), ("detection", base)):
            work = Work("soft_argmax", name, "figures", "quick", seed)
            reading = Reading(
                "soft_argmax", name, "figures", "quick", seed, False, {}, work.key, work.plan.test_images,
                {"pckh": pckh, "tight": 0.1}, 5.0, 1.0, "x86_64", 1, {}, "2026-01-01",
            )  # fmt: skip
            found[reading.key] = reading
    return found


@pytest.mark.parametrize(
    ("values", "told", "final", "inside"),
    [
        ([0.01] * 4 + [0.011] * 4, "holds", True, False),
        ([-0.03] * 4 + [-0.031] * 4, "does not hold", True, False),
        ([-0.007, -0.03, 0.01, -0.02, -0.01, -0.04, 0.02, -0.01], "undecided", True, True),
        ([0.01, 0.011, 0.0105], "holds so far", False, False),
        ([0.01], "undecided so far", False, None),
        # Seeds beyond those fixed in advance are not looked at.
        ([0.01] * 4 + [0.011] * 4 + [-1.0] * 4, "holds", True, False),
    ],
)
def test_rows_follow_from_constructed_readings(values, told, final, inside):
    row = row_of(CLAIM, "figures", "quick", stored(values))
    assert row.values == pytest.approx(values[:SEEDS])
    assert (row.told, row.final, row.paper_is_inside) == (told, final, inside)
    assert row.excluded == (None if len(values) == 1 else row.ci95[1])
    assert row.seconds == 2 * 6.0 * len(row.seeds)
    assert row.details["regression pckh"] == pytest.approx([0.7 + value for value in row.values])
    if len(values) > 1:
        decided = row.verdict != "undecided"
        assert (row.p_value < 0.05) == decided


def test_a_seed_counts_when_all_that_is_compared_is_there():
    found = stored([0.01, 0.02, 0.03])
    gone = Work("soft_argmax", "detection", "figures", "quick", 1)
    del found[gone.key, "figures", gone.plan.test_images]
    lacking = Work("soft_argmax", "regression", "figures", "quick", 2)
    del found[lacking.key, "figures", lacking.plan.test_images].readings["pckh"]
    row = row_of(CLAIM, "figures", "quick", found)
    assert row.seeds == (0,)
    nothing = row_of(CLAIM, "figures", "quick", {}, "it rained")
    assert (nothing.verdict, nothing.reason, nothing.mean, nothing.told) == (
        "not measurable here", "it rained", None, "not measurable here"
    )  # fmt: skip


def test_intervals_cover_as_often_as_they_say():
    """Eight normal values, ten thousand times: the true mean is in 95 of 100 intervals, to within one."""
    generator = np.random.default_rng(0)
    draws = generator.normal(0.01, 0.02, (10_000, SEEDS))
    mean, error = draws.mean(1), draws.std(1, ddof=1) / np.sqrt(SEEDS)
    # As `row_of` has it, on some of them, and the same by hand on all.
    for row in draws[:20]:
        made = row_of(CLAIM, "figures", "quick", stored(row.tolist()))
        half = 2.364624 * row.std(ddof=1) / np.sqrt(SEEDS)
        assert made.ci95 == pytest.approx([row.mean() - half, row.mean() + half], abs=1e-6)
    covered = np.abs(mean - 0.01) <= 2.364624 * error
    assert 0.94 <= covered.mean() <= 0.96


def test_what_is_excluded_what_it_would_take_and_what_stands_is_told():
    open_case = row_of(CLAIM, "figures", "quick", stored([-0.007, -0.03, 0.01, -0.02, -0.01]))
    text = render([open_case])
    assert f"Excluded are effects above: {CLAIM.id}, {100 * open_case.excluded:+.1f}" in text
    assert open_case.seeds_to_settle > 5
    assert f"Seeds to settle what is undecided: {CLAIM.id}, {open_case.seeds_to_settle}" in text
    sure = row_of(CLAIM, "figures", "quick", stored([0.01] * 4 + [0.011] * 4))
    # An interval that leaves the bound out by a hair does not stand beside others.
    barely = row_of(
        CLAIM, "figures", "quick", stored([-0.019, -0.0149, -0.0182, -0.0201, -0.0139, -0.0193, -0.0169, -0.0201])
    )
    assert (barely.verdict, barely.p_value > 0.01) == ("holds", True)
    assert "Of 2 verdicts, 1 stand with Holm's correction for 6 claims." in render([sure, barely, *[open_case] * 4])


def test_a_row_says_what_it_was_measured_on():
    plain, people = (Row(CLAIM, "figures", "study", o) for o in ({}, {"difficulty": "objects", "people": 4}))
    assert [plain.on, people.on] == ["figures, study", "figures, objects, 4 people, study"]


@pytest.mark.parametrize(
    ("gain", "reached", "judged"),
    [
        (0.04, 0.6, "long enough"),
        (GAIN_LIMIT + 0.01, 0.6, "WARNING, too short"),
        # A network that has not learned anything is not one that has stopped learning.
        (0.01, 0.3, "WARNING, too short"),
    ],
)
def test_a_run_is_long_enough_that_hardly_gains_and_beats_the_mean_pose(gain, reached, judged):
    row = Row(CLAIM, "figures", "study", {}, (0,), (0.01,), {}, Gain(gain, reached, 0.3))
    *_, last = lengths([row])
    assert f"; {judged}" in last
    assert f"{100 * gain:+.1f} points, to {100 * reached:.1f}; mean pose 30.0" in last
    assert row.length.enough == (judged == "long enough")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            (0.01, 0.011, 0.012),
            "3 seeds: holds so far. Mean +1.1 percentage points, 95 % interval +0.9 to +1.3, all of it above",
        ),
        ((-0.04, -0.041, -0.042), "all of it below the bound of"),
        ((-0.1, 0.1), "which includes the bound of"),
        ((0.01,), "one seed: undecided so far. Mean +1.0 percentage points, no interval, so no verdict either way."),
    ],
)
def test_a_claim_in_words(values, sentence):
    row = Row(CLAIM, "figures", "quick", {}, tuple(range(len(values))), values, {"a pckh": (0.5,), "a loss_1": (3.0,)})
    text = " ".join(in_words(row).split())
    assert sentence in text
    assert text.endswith("Means over the seeds: a pckh 50.0.")


def test_all_that_was_stored_is_read(tmp_path):
    append(stored([0.01, 0.02]).values(), tmp_path)
    rows = read_rows(select(), tmp_path)
    assert {row.id for row in rows} == {CLAIM.id}
    assert read_rows(select(), tmp_path / "nowhere") == []


def test_the_page_of_results_is_that_of_the_readings():
    assert (RESULTS / "README.md").read_text(encoding="utf-8") == markdown(select()), (
        "results/README.md is stale: run `posebook ledger --markdown --draw`"
    )
