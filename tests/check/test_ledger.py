"""The exercises of `6_ledger`: right answers, and what is said of plausible wrong ones."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from posebook.check import ledger as check
from posebook.check.answers import WrongAnswer

ROWS = [
    SimpleNamespace(values=values, claim=SimpleNamespace(bound=bound), p_value=p)
    for values, bound, p in (((0.1,) * 3, 0.0, 0.01), ((0.3,) * 7, 0.1, 0.001), ((0.3, -0.2, 0.1), 0.0, 0.7))
]


def by_signs(values, bound, one_sided=False, strict=False, tolerance=1e-12, minus=True, total=None):
    differences = np.asarray(values) - (bound if minus else 0)
    signs = np.array(list(product((1, -1), repeat=len(differences))))
    means = signs @ differences / len(differences)
    observed = differences.mean()
    if not one_sided:
        means, observed = abs(means), abs(observed)
    further = means > observed + tolerance if strict else means >= observed - tolerance
    return float(further.sum() / (total or len(signs)))


def test_a_test_by_signs(capsys):
    check.sign_flip(by_signs, ROWS)
    assert capsys.readouterr().out == "Right: of 3 claims, Student's t decides 2 and the signs decide 1\n"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda v, b: by_signs(v, b, one_sided=True), "one pattern of eight"),
        (lambda v, b: by_signs(v, b, strict=True), "it gives 0 for three numbers"),
        (lambda v, b: by_signs(v, b, minus=False), "Mind the bound"),
        (lambda v, b: by_signs(v, b, tolerance=0), "but for rounding"),
        (lambda v, b: by_signs(v, b, total=4), "gives 0.500"),
        (lambda v, b: by_signs(v, b) if v[0] == v[-1] else 2.0, "at most 1"),
        (lambda v, b: by_signs(v, b) / (2 if abs(np.sum(v) - 4 * b) == 1 else 1), "count the patterns by hand"),
        (lambda v, b: np.array([0.25, 0.25]), "one number is wanted"),
        (0.25, "not float"),
    ],
)
def test_other_tests_by_signs(answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        check.sign_flip(answer, ROWS)


def discoveries(p, level, first=1):
    order = np.argsort(p)
    below = np.flatnonzero(p[order] <= level * np.arange(first, len(p) + first) / len(p))
    decided = np.zeros(len(p), bool)
    if len(below):
        decided[order[: below[-1] + 1]] = True
    return decided


def in_order(p, level):
    return np.sort(discoveries(p, level))[::-1]


def up_to_the_first_above(p, level):
    order = np.argsort(p)
    decided = np.zeros(len(p), bool)
    decided[order] = np.cumprod(p[order] <= level * np.arange(1, len(p) + 1) / len(p)).astype(bool)
    return decided


def those_below(p, level):
    order = np.argsort(p)
    decided = np.zeros(len(p), bool)
    decided[order] = p[order] <= level * np.arange(1, len(p) + 1) / len(p)
    return decided


P_VALUES = np.array([0.001, 0.2, 0.02, 0.04])


@pytest.mark.parametrize("answer", [discoveries, lambda p, level: discoveries(p, level).tolist()])
def test_false_discoveries(answer, capsys):
    check.false_discovery(answer, P_VALUES)
    assert capsys.readouterr().out == "Right: of 3 verdicts 2 stand\n"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (in_order, "in the order"),
        (up_to_the_first_above, "what follows for those before it"),
        (those_below, "above its own limit"),
        (lambda p, level: discoveries(p, level, first=0), "ranks start at 1"),
        (lambda p, level: p <= level / len(p), "what follows for those before it"),
        (lambda p, level: p <= level, "depends on its rank"),
        (lambda p, level: p > 0, "nothing is decided"),
        (lambda p, level: np.flatnonzero(discoveries(p, level)), "one bool per p-value"),
        (lambda p, level: int(discoveries(p, level).sum()), "one bool per p-value"),
        ([True], "not list"),
    ],
)
def test_other_discoveries(answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        check.false_discovery(answer, P_VALUES)
