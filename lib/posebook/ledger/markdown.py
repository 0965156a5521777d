"""The ledger's tables as a page: `results/README.md`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from posebook.ledger.claim import Claim
from posebook.ledger.readings import OWN
from posebook.ledger.verdicts import (
    FAILS,
    HOLDS,
    SEEDS,
    UNDECIDED,
    Row,
    corrected,
    lengths,
    points,
    read_rows,
    settling,
)  # fmt: skip
from posebook.paths import replacing

_HEAD = f"""# What the papers claim, and what was measured

Written by `posebook ledger --markdown` from the readings in `readings/`; a test says when this page is stale.

A claim is a number that lies above a bound if the paper is right. It is measured once per seed, on two networks that
differ in nothing but what the claim is about. It holds where Student's 95 % interval over {SEEDS} seeds, fixed in
advance, lies above the bound, does not hold where it lies below, and is undecided otherwise; with fewer seeds that is
said "so far". The paper's own number, where it gives one, is inside or outside the interval. An effect above the
interval's upper end is excluded by the data, whatever the verdict. Numbers are percentage points.
"""


def write_markdown(claims: Iterable[Claim], results: str | Path = OWN) -> Path:
    """Write the page of all that was measured of these claims; gives its path."""
    path = Path(results) / "README.md"
    with replacing(path) as part:
        part.write_text(markdown(claims, results), encoding="utf-8")
    return path


def markdown(claims: Iterable[Claim], results: str | Path = OWN) -> str:
    """The page itself."""
    rows = read_rows(claims, Path(results) / "readings")
    blocks = [_HEAD, _summary(rows)]
    for paper in dict.fromkeys(row.paper for row in rows):
        own = [row for row in rows if row.paper == paper]
        blocks.append(f"## `{paper}`\n\n![All claims in one picture](ledger_{paper}.png)")
        blocks.append(_table(own))
        notes = [*settling(own), *(line.strip() for line in lengths(own))]
        blocks.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(block.rstrip() for block in blocks if block) + "\n"


def _summary(rows: list[Row]) -> str:
    lines = ["| paper | claims | hold | do not hold | undecided | all seeds in |", "|---|---:|---:|---:|---:|---:|"]
    for paper in dict.fromkeys(row.paper for row in rows):
        own = [row for row in rows if row.paper == paper]
        counts = [sum(row.verdict == kind for row in own) for kind in (HOLDS, FAILS, UNDECIDED)]
        cells = [f"`{paper}`", len(own), *counts, sum(row.final for row in own)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, "", *corrected(rows)])


def _table(rows: list[Row]) -> str:
    lines = [
        "| claim | the paper | on | seeds | its number | here | 95 % interval | holds above | verdict | excluded |",
        "|---|---|---|---:|---:|---:|---|---:|---|---:|",
    ]
    for row in rows:
        inside = {True: ", inside", False: ", outside", None: ""}[row.paper_is_inside]
        ends = "-" if row.ci95 is None else "{} to {}".format(*map(points, row.ci95))
        above = "-" if row.excluded is None else f"above {points(row.excluded)}"
        name = row.id.removeprefix(f"{row.paper}_").replace("_", " ")
        cells = [
            name, f"{row.claim.statement} ({row.claim.place})", row.on, len(row.seeds),
            points(row.claim.paper_value) + inside, points(row.mean), ends, points(row.claim.bound), row.told, above,
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)
