"""What is told of the spread of paired differences is what was measured."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from posebook.paths import RESULTS, ROOT


@pytest.fixture
def spread(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import spread

    yield spread
    sys.modules.pop("spread")


def test_the_table_by_hand(spread):
    rows = []
    for seed, (one, other) in enumerate([(70.0, 65.0), (72.0, 66.0), (71.0, 67.0), (73.0, 66.0)]):
        for variant, score in zip(spread.VARIANTS, (one, other), strict=True):
            rows.append({"variant": variant, "seed": seed, "scores": {"as it ends": [score] * 5}})
    line = spread.table(rows).splitlines()[-1]
    differences = [5.0, 6.0, 4.0, 7.0]
    apart = [a - b for i, a in enumerate((70, 72, 71, 73)) for j, b in enumerate((65, 66, 67, 66)) if i != j]
    paired = np.std(differences, ddof=1)
    expected = f"| as it ends | +5.50 | {paired:.2f} | {np.std(apart, ddof=1):.2f} | {paired:.2f} |"
    assert line == expected


def test_the_results_page_tells_what_was_measured(spread):
    rows = json.loads((RESULTS / "spread.json").read_text())
    assert len(rows) == 2 * len(spread.SEEDS)
    table = [line.split(" | ") for line in spread.table(rows).splitlines()[2:]]
    told = (ROOT / "docs" / "results.md").read_text()
    ends, *averages = ([float(cell.strip(" |")) for cell in cells[2:]] for cells in table)
    assert f"difference is {ends[0]:.2f} percentage points, and {ends[1]:.2f} where" in told
    assert f"to {ends[2]:.2f} on a\nquarter" in told
    low, high = min(a[0] for a in averages), max(a[0] for a in averages)
    assert f"does not lower it ({low:.2f} to {high:.2f})" in told
    assert low >= ends[0]
