"""What follows from measurements: rows with their verdicts, and the table of them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path

from posebook.ledger.claim import Claim
from posebook.ledger.store import measurements
from posebook.paths import RESULTS

HOLDS, FAILS, UNDECIDED, ABSENT = "holds", "does not hold", "undecided", "not measurable here"


# A run is long enough when the second half of its steps gained less than this; and when it is beyond the mean pose,
# for a network that has not begun to learn gains nothing either.
GAIN_LIMIT = 0.05


def verdict(ci95: list[float] | None, bound: float | int = 0.0) -> str:
    """What follows from an interval, by rule alone."""
    if ci95 is not None and ci95[0] > bound:
        return HOLDS
    if ci95 is not None and ci95[1] < bound:
        return FAILS
    return UNDECIDED


def row(claim: Claim, measurement: dict | None, dataset: str, profile: str, reason: str | None = None) -> dict:
    """A claim and what was measured, as one JSON object; without a measurement, the reason for that."""
    options = measurement.get("options", {}) if measurement is not None else {}
    # A word stands for itself ("plain"), a number needs its name ("4 people").
    words = [value if isinstance(value, str) else f"{value} {name}" for name, value in options.items()]
    about = claim.about | {"on": ", ".join([dataset, *words, profile])}
    if measurement is not None:
        # The rule is the code's of today.
        return about | measurement | {"bound": claim.bound, "verdict": verdict(measurement["ci95"], claim.bound)}
    return about | {
        "dataset": dataset, "profile": profile, "seeds": [], "values": [], "mean": None, "ci95": None,
        "verdict": ABSENT, "reason": reason, "device": None,
    }  # fmt: skip


def read_rows(claims: Iterable[Claim], results: str | Path = RESULTS) -> list[dict]:
    """All that was ever measured of these claims, a row per claim, dataset and profile, of which the newest counts."""
    newest = {}
    for claim in claims:
        for found in measurements(claim, results):
            newest[claim.id, found["dataset"], found["profile"]] = row(claim, found, found["dataset"], found["profile"])
    return list(newest.values())


def render(rows: list[dict]) -> str:
    """The table of the ledger in points (hundredths), and under it what the claims are and whether runs were long."""
    lines = [["claim", "on", "seeds", "paper", "here", "95 % interval", "holds above", "verdict"]]
    for r in rows:
        ends = "-" if r["ci95"] is None else "{} to {}".format(*map(_points, r["ci95"]))
        lines.append(
            [r["claim"], r["on"], str(len(r["seeds"])), _points(r["paper_value"]), _points(r["mean"]), ends,
             _points(r["bound"]), r["verdict"]]
        )  # fmt: skip
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    table = "\n".join(
        "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )
    notes = [f"{r['claim']}: {r['statement']} ({r['place']}). Here: {r['how']}" for r in rows]
    notes += [f"{r['claim']} is not measurable here: {r['reason']}" for r in rows if r["verdict"] == ABSENT]
    # What a claim is does not depend on where it was measured.
    notes = dict.fromkeys(notes)
    wrapped = "\n".join(textwrap.fill(note, 110, subsequent_indent="  ") for note in notes)
    return f"{table}\n\nIn points (hundredths).\n{wrapped}\n\n{_length_note(rows)}".rstrip()


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f}"


def _length_note(rows: list[dict]) -> str:
    """The rule of length, and what it says of each set's runs."""
    measured = {(r["paper"], r["dataset"], r["profile"]): r["length"] for r in rows if "length" in r}
    if not measured:
        return ""
    limit = f"{100 * GAIN_LIMIT:g} points"
    lines = [
        f"A run is long enough when the second half of its steps gains less than {limit} and it beats the mean pose:"
    ]
    for (paper, dataset, profile), length in measured.items():
        fine = length["gain"] < length["limit"] and length["reached"] > length["floor"]
        judged = "long enough" if fine else "WARNING, too short: verdicts may change with longer runs"
        reached, floor = (f"{100 * length[name]:.1f}" for name in ("reached", "floor"))
        numbers = f"{_points(length['gain'])} points, to {reached}; mean pose {floor}"
        lines.append(f"  {paper}, {dataset}, {profile}: {numbers}; {judged}")
    return "\n".join(lines)
