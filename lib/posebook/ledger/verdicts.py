"""What follows from readings: a row per claim, its verdict by rule, and the table of them.

The rule: seeds are fixed in advance, the first `SEEDS` of them; more are not looked at, and a verdict is final when all
are in. Stopping as soon as a verdict looks good would find something where there is nothing more often than one time
in twenty (Armitage, McPherson, Rowe, *Repeated Significance Tests on Accumulating Data*, JRSS A 132, 1969), so that
what is said before is called "so far".
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

from posebook.evaluation.statistics import holm, interval, p_value, seeds_to_settle
from posebook.ledger import readings as store
from posebook.ledger.claim import Claim, claims_of
from posebook.ledger.readings import Readings
from posebook.ledger.work import Work, base_of

# How many seeds a verdict is of: 0, 1, ...
SEEDS = 8

HOLDS, FAILS, UNDECIDED, ABSENT = "holds", "does not hold", "undecided", "not measurable here"

# A run is long enough when the second half of its steps gained less than this; and when it is beyond the mean pose,
# for a network that has not begun to learn gains nothing either.
GAIN_LIMIT = 0.05


@dataclass(frozen=True)
class Gain:
    """What tells whether a paper's runs are long enough.

    Attributes:
        gain: of the second half of the steps.
        reached: in the end.
        floor: of one prediction for everybody.
    """

    gain: float
    reached: float
    floor: float

    @property
    def enough(self) -> bool:
        """Whether runs are long enough."""
        return self.gain < GAIN_LIMIT and self.reached > self.floor


@dataclass(frozen=True)
class Row:
    """A claim and what was measured of it on a set, at a profile.

    Attributes:
        claim: what the paper says.
        dataset, profile: that its runs are of.
        options: what the set was opened with beside name, split and size.
        seeds: those that are in.
        values: the claim's number for each seed.
        details: further numbers for each seed, by name.
        length: what tells whether the runs are long enough, if that is known.
        seconds: of all its runs together.
        device: that they were trained on.
        reason: why there is nothing, if there is not.
    """

    claim: Claim
    dataset: str
    profile: str
    options: dict[str, str | int | float]
    seeds: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    details: dict[str, tuple[float, ...]] | None = None
    length: Gain | None = None
    seconds: float = 0.0
    device: str | None = None
    reason: str | None = None

    @property
    def counted(self) -> str:
        """How many seeds it has, in words."""
        return "one seed" if len(self.seeds) == 1 else f"{len(self.seeds)} seeds"

    @property
    def id(self) -> str:
        """The claim's."""
        return self.claim.id

    @property
    def paper(self) -> str:
        """The paper's slug."""
        return self.claim.paper

    @property
    def on(self) -> str:
        """What it was measured on, in words."""
        # A word stands for itself ("plain"), a number needs its name ("4 people").
        words = [value if isinstance(value, str) else f"{value} {name}" for name, value in self.options.items()]
        return ", ".join([self.dataset, *words, self.profile])

    @cached_property
    def _interval(self) -> tuple[float | None, list[float] | None]:
        return interval(self.values) if self.values else (None, None)

    @property
    def mean(self) -> float | None:
        """Of the values."""
        return self._interval[0]

    @property
    def ci95(self) -> list[float] | None:
        """Student's 95 % interval of the mean, from two seeds on."""
        return self._interval[1]

    @property
    def verdict(self) -> str:
        """What follows from the interval, by rule alone."""
        return verdict(self.ci95, self.claim.bound) if self.values else ABSENT

    @property
    def final(self) -> bool:
        """Whether all seeds are in."""
        return len(self.seeds) >= SEEDS

    @property
    def told(self) -> str:
        """The verdict, and whether it is final."""
        return self.verdict if self.final or self.verdict == ABSENT else f"{self.verdict} so far"

    @property
    def paper_is_inside(self) -> bool | None:
        """Whether the paper's number lies in the interval; None where there is none of either."""
        if self.claim.paper_value is None or self.ci95 is None:
            return None
        return self.ci95[0] <= self.claim.paper_value <= self.ci95[1]

    @property
    def excluded(self) -> float | None:
        """The interval's upper end: the data exclude that the effect is larger."""
        return None if self.ci95 is None else self.ci95[1]

    @property
    def p_value(self) -> float | None:
        """Of the test that the mean is the bound."""
        return p_value(self.values, self.claim.bound)

    @property
    def seeds_to_settle(self) -> int | None:
        """How many seeds it would take to leave the bound out of the interval; None where that cannot be told."""
        return seeds_to_settle(self.values, self.claim.bound)

    def as_json(self) -> dict:
        """The row as one JSON object."""
        measured = {
            "on": self.on, "dataset": self.dataset, "profile": self.profile, "options": self.options,
            "seeds": list(self.seeds), "values": list(self.values), "mean": self.mean, "ci95": self.ci95,
            "verdict": self.verdict, "final": self.final, "paper_is_inside": self.paper_is_inside,
            "excluded_above": self.excluded, "p_value": self.p_value, "details": self.details,
            "length": self.length and vars(self.length), "seconds": round(self.seconds, 1), "device": self.device,
            "reason": self.reason,
        }  # fmt: skip
        return self.claim.about | measured


def verdict(ci95: list[float] | None, bound: float | int = 0.0) -> str:
    """What follows from an interval, by rule alone."""
    if ci95 is not None and ci95[0] > bound:
        return HOLDS
    if ci95 is not None and ci95[1] < bound:
        return FAILS
    return UNDECIDED


def row_of(claim: Claim, dataset: str, profile: str, readings: Readings, reason: str | None = None) -> Row:
    """A claim's row from its paper's readings: of the seeds among the first `SEEDS` that have all it compares."""
    seeds, values, details, used = [], [], [], []
    for seed in range(SEEDS):
        found = {name: Work(claim.paper, name, dataset, profile, seed).reading(readings) for name in claim.variants}
        if None in found.values():
            continue
        table = {name: some.readings for name, some in found.items()}
        try:
            value, more = claim.measure(table), claim.details(table)
        except KeyError:  # readings that lack what the claim asks for
            continue
        seeds.append(seed), values.append(value), details.append(more), used.extend(found.values())
    options = Work(claim.paper, claim.variants[0], dataset, profile, 0).options
    if not seeds:
        return Row(claim, dataset, profile, options, reason=reason or "it has not been measured")
    names = [name for name in details[0] if all(name in some for some in details)]
    return Row(
        claim,
        dataset,
        profile,
        options,
        tuple(seeds),
        tuple(values),
        {name: tuple(some[name] for some in details) for name in names},
        length_of(claim.paper, dataset, profile, readings),
        sum(some.seconds + some.reading_seconds for some in used),
        ", ".join(sorted({some.device for some in used})),
    )


def length_of(paper: str, dataset: str, profile: str, readings: Readings) -> Gain | None:
    """What tells whether a paper's runs are long enough; None where they are not in yet."""
    by, base = claims_of(paper).length, Work(paper, base_of(paper, dataset), dataset, profile, 0)
    half = Work(paper, base.variant, dataset, profile, 0, half=True)
    whole, part = base.reading(readings), half.reading(readings)
    if whole is None or part is None or by.floor not in whole.readings:
        return None
    reached = whole.readings[by.reading]
    return Gain(reached - part.readings[by.reading], reached, whole.readings[by.floor])


def read_rows(claims: Iterable[Claim], folder: str | Path = store.FOLDER) -> list[Row]:
    """All that the readings tell of these claims: a row per claim, dataset and profile."""
    claims, rows = list(claims), []
    found = {paper: store.read(paper, folder) for paper in dict.fromkeys(claim.paper for claim in claims)}
    for claim in claims:
        readings, known = found[claim.paper], claims_of(claim.paper).profiles
        places = dict.fromkeys((some.dataset, some.profile) for some in readings.values() if some.profile in known)
        made = [
            row_of(claim, dataset, profile, readings)
            for dataset, profile in places
            if not claim.sets or dataset in claim.sets  # a run may be another claim's on a further set
        ]
        rows += [row for row in made if row.values]
    return rows


def render(rows: list[Row]) -> str:
    """The table of the ledger in percentage points, and under it what the claims are and what else follows."""
    lines = [["claim", "on", "seeds", "paper", "here", "95 % interval", "holds above", "verdict"]]
    for row in rows:
        inside = {True: " inside", False: " outside", None: ""}[row.paper_is_inside]
        ends = "-" if row.ci95 is None else "{} to {}".format(*map(points, row.ci95))
        lines.append(
            [row.id, row.on, str(len(row.seeds)), points(row.claim.paper_value) + inside, points(row.mean), ends,
             points(row.claim.bound), row.told]
        )  # fmt: skip
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    table = "\n".join(
        "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )
    notes = [f"{row.id}: {row.claim.statement} ({row.claim.place}). Here: {row.claim.how}" for row in rows]
    notes += [f"{row.id} is not measurable here: {row.reason}" for row in rows if row.verdict == ABSENT]
    # What a claim is does not depend on where it was measured.
    wrapped = "\n".join(textwrap.fill(note, 110, subsequent_indent="  ") for note in dict.fromkeys(notes))
    more = "\n".join([*exclusions(rows), *settling(rows), *corrected(rows), *lengths(rows)])
    return f"{table}\n\nIn percentage points.\n{wrapped}\n\n{more}".rstrip()


def in_words(row: Row) -> str:
    """A measured claim as a paragraph: verdict, interval, the paper's numbers, and the means that it is made of."""
    text = f"{row.id} ({row.claim.place}), on {row.on}, {row.counted}: {row.told}. "
    text += f"Mean {points(row.mean)} percentage points, "
    if row.ci95 is None:
        text += "no interval, so no verdict either way"
    else:
        where = {HOLDS: "all of it above", FAILS: "all of it below", UNDECIDED: "which includes"}[row.verdict]
        text += "95 % interval {} to {}, ".format(*map(points, row.ci95)) + f"{where} the bound of "
        text += points(row.claim.bound)
    # A loss is no fraction: the claims on learning curves have one for each part of a run.
    means = [f"{name} {100 * fmean(some):.1f}" for name, some in (row.details or {}).items() if " loss_" not in name]
    text += f". The paper: {row.claim.paper_numbers}."
    text += f" Means over the seeds: {', '.join(means)}." if means else ""
    return textwrap.fill(text, 110, subsequent_indent="    ")


def points(value: float | None) -> str:
    """A fraction in percentage points, with its sign."""
    return "-" if value is None else f"{100 * value:+.1f}"


def exclusions(rows: list[Row]) -> list[str]:
    """What the data exclude of claims that are not decided for them."""
    told = [f"{row.id}, {points(row.excluded)}" for row in rows if row.excluded is not None and row.verdict != HOLDS]
    return [f"Excluded are effects above: {'; '.join(told)}"] if told else []


def settling(rows: list[Row]) -> list[str]:
    """What it would take to settle what is undecided, should means and spreads stay as they are."""
    told = []
    for row in rows:
        if row.verdict == UNDECIDED:
            needed = row.seeds_to_settle
            told.append(f"{row.id}, {'over 1,000' if needed is None else max(needed, len(row.seeds) + 1)}")
    return [f"Seeds to settle what is undecided: {'; '.join(told)}"] if told else []


def corrected(rows: list[Row]) -> list[str]:
    """How many verdicts stand if all claims together are to be right."""
    tested = [row for row in rows if row.p_value is not None]
    decided = sum(row.verdict in (HOLDS, FAILS) for row in tested)
    standing = sum(holm([row.p_value for row in tested])) if tested else 0
    if not decided:
        return []
    return [f"Of {decided} verdicts, {standing} stand with Holm's correction for {len(tested)} claims."]


def lengths(rows: list[Row]) -> list[str]:
    """The rule of length, and what it says of each set's runs."""
    measured = {(row.paper, row.dataset, row.profile): row.length for row in rows if row.length is not None}
    if not measured:
        return []
    limit = f"{100 * GAIN_LIMIT:g} percentage points"
    lines = [
        f"A run is long enough when the second half of its steps gains less than {limit} and it beats the mean pose:"
    ]
    for (paper, dataset, profile), length in measured.items():
        judged = "long enough" if length.enough else "WARNING, too short: verdicts may change with longer runs"
        numbers = f"{points(length.gain)} points, to {100 * length.reached:.1f}; mean pose {100 * length.floor:.1f}"
        lines.append(f"  {paper}, {dataset}, {profile}: {numbers}; {judged}")
    return lines
