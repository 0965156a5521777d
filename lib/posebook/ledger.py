"""The ledger of claims: what a paper says, what was measured here, on what, from how many seeds, and whether it holds.

    rows = measure(select(["soft_argmax"]), "figures", "study", seeds=3)
    print(render(rows))

A claim is a number that lies above a bound if the paper is right. It is measured once a seed; where networks are
compared it is their difference on that seed, and they differ in nothing but what the claim is about. The verdict
follows from Student's 95 % interval over the seeds: the claim holds where all of the interval is above the bound, it
does not hold where all of it is below, and is undecided otherwise. All seeds are tested on the same people, so that
the interval tells of training alone, not of another choice of people.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from posebook.checkpoint import replacing
from posebook.claims import PAPERS, UNMEASURED, claims_of
from posebook.datasets import open_dataset
from posebook.forecast import forecast
from posebook.ledger_runs import RUNS, Work, base_of, clock, read_run, train_all, train_run, works
from posebook.paths import RESULTS

# What was read off the networks of one seed: numbers by name, by variant.
Readings = dict[str, dict[str, float]]

HOLDS, FAILS, UNDECIDED, ABSENT = "holds", "does not hold", "undecided", "not measurable here"

# A run is long enough when the second half of its steps gained less than this; and when it is beyond the mean pose,
# for a network that has not begun to learn gains nothing either.
GAIN_LIMIT = 0.05


class UnreadableError(ValueError):
    """A set lacks the labels that a claim's readings need."""


@dataclass(frozen=True)
class Claim:
    """What a paper says, and how it is measured here.

    Attributes:
        id: starts with the paper's slug.
        paper: slug.
        place: section, table.
        statement: in the paper's words, or close to them.
        paper_value: the paper's own number, comparable with the mean; None where it gives none.
        paper_numbers: what numbers it gives, in words.
        how: what is measured here.
        variants: the networks that `measure` compares, of the paper's `VARIANTS`.
        measure: from one seed's readings to the number that is held against the bound.
        details: further numbers to be stored beside it, by name.
        bound: the claim holds above it.
        sets: those it can be measured on, where that is not all.
    """

    id: str
    paper: str
    place: str
    statement: str
    paper_value: float | None
    paper_numbers: str
    how: str
    variants: tuple[str, ...]
    measure: Callable[[Readings], float]
    details: Callable[[Readings], dict[str, float]]
    bound: float | int = 0.0
    sets: tuple[str, ...] = ()

    @property
    def about(self) -> dict:
        """The words and numbers that do not depend on any measurement."""
        names = ("paper", "place", "statement", "paper_value", "paper_numbers", "how", "bound")
        return {"claim": self.id} | {name: getattr(self, name) for name in names}


def minus(one: str, other: str, name: str) -> Callable[[Readings], float]:
    """The measure of a claim: a reading of one variant minus that of another."""
    return lambda r: r[one][name] - r[other][name]


def details_of(*variants: str, names: tuple[str, ...]) -> Callable[[Readings], dict[str, float]]:
    """The details of a claim: these readings of these variants, each as "variant name", as far as they have them."""

    def details(r: Readings) -> dict[str, float]:
        return {f"{variant} {name}": r[variant][name] for name in names for variant in variants if name in r[variant]}

    return details


def select(names: Iterable[str] = ()) -> list[Claim]:
    """Claims by their ids, or all of a paper's by its slug; no name takes those of all papers but `UNMEASURED`.

    Raises:
        ValueError: a name that is neither.
    """
    everything = [claim for paper in PAPERS for claim in claims_of(paper).CLAIMS]
    names = list(names)
    known = {claim.id for claim in everything} | set(PAPERS)
    if unknown := [name for name in names if name not in known]:
        ids = ", ".join(claim.id for claim in everything)
        raise ValueError(
            f"no claim or paper is called '{unknown[0]}'; the papers are {', '.join(PAPERS)}, the claims are {ids}"
        )
    if not names:
        return [claim for claim in everything if claim.paper not in UNMEASURED]
    return [claim for claim in everything if claim.id in names or claim.paper in names]


def interval(values: list[float], level: float = 0.95) -> tuple[float, list[float] | None]:
    """The mean, and the interval that Student's t gives it; None for the interval of fewer than two values."""
    from scipy import stats

    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    half = float(stats.t.ppf(0.5 + level / 2, len(values) - 1) * stats.sem(values))
    return mean, [mean - half, mean + half]


def verdict(ci95: list[float] | None, bound: float | int = 0.0) -> str:
    """What follows from an interval, by rule alone."""
    if ci95 is not None and ci95[0] > bound:
        return HOLDS
    if ci95 is not None and ci95[1] < bound:
        return FAILS
    return UNDECIDED


def measure(
    claims: list[Claim],
    dataset: str = "figures",
    profile: str = "study",
    seeds: int = 3,
    *,
    data_root: str | Path | None = None,
    device: str = "auto",
    jobs: int = 1,
    runs: str | Path = RUNS,
    results: str | Path = RESULTS,
    say: Callable[[str], None] = print,
) -> list[dict]:
    """A row a claim: measured before, or measured now; training whatever is missing.

    Args:
        seeds: how many; they are 0, 1, ...
        data_root: folder of a real set.
        jobs: how many runs train at a time.
        runs: folder of the runs, which claims share.
        results: folder of the measurements, a file a claim.
        say: told what is stored, what will be trained, how long that takes, and how it goes.

    Returns:
        Rows as `row` makes them, in the claims' order.

    Raises:
        ValueError: an unknown profile or dataset; a run that stopped being a number.
    """
    wanted = {c.id: works(c.paper, dataset, profile, seeds, c.variants) for c in claims}
    found = {c.id: _stored(c, wanted[c.id], seeds, results) for c in claims}
    elsewhere = {c.id: f"it is about {', '.join(c.sets)}" for c in claims if c.sets and dataset not in c.sets}
    todo = [claim for claim in claims if found[claim.id] is None]
    if len(todo) < len(claims):
        say(f"{len(claims) - len(todo)} of {len(claims)} claims are measured already, in {results}")
    closed = {paper: _closed(paper, dataset, profile, data_root) for paper in {claim.paper for claim in todo}}
    reasons = {claim.id: elsewhere.get(claim.id) or closed[claim.paper] for claim in todo}
    todo = [claim for claim in todo if reasons[claim.id] is None]
    # Seed by seed, so that a ledger that was stopped has whole ones.
    missing = sorted({work: None for claim in todo for work in wanted[claim.id]}, key=lambda work: work.seed)
    if any(read_run(work, runs) is None for work in missing):
        _announce(missing, runs, data_root, device, jobs, say)
        train_all(missing, runs, data_root, device, jobs, say)
    for claim in todo:
        try:
            found[claim.id] = _measure(claim, wanted[claim.id], seeds, runs, data_root, device)
        except UnreadableError as error:
            reasons[claim.id] = str(error)
        else:
            _append(claim, found[claim.id], results, Path(runs))
    return [row(claim, found[claim.id], dataset, profile, reasons.get(claim.id)) for claim in claims]


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


def read_rows(claims: list[Claim] | None = None, results: str | Path = RESULTS) -> list[dict]:
    """Everything that was ever measured, a row a claim, dataset and profile, of which the newest counts."""
    newest = {}
    for claim in select(PAPERS) if claims is None else claims:
        for found in _measurements(claim, results):
            newest[claim.id, found["dataset"], found["profile"]] = row(claim, found, found["dataset"], found["profile"])
    return list(newest.values())


def draw_ledger(results: str | Path = RESULTS) -> list[Path]:
    """Draw everything that was ever measured, a paper a picture: `ledger_PAPER.png` in that folder."""
    from posebook.plotting import plot_claims

    rows, pictures = read_rows(results=results), []
    for paper in dict.fromkeys(r["paper"] for r in rows):
        pictures.append(Path(results) / f"ledger_{paper}.png")
        with replacing(pictures[-1]) as part:
            of_paper = [r for r in rows if r["paper"] == paper]
            plot_claims(of_paper, f"Measured against the claims of {paper}").savefig(part, format="png", dpi=100)
    return pictures


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


def _closed(paper: str, dataset: str, profile: str, data_root: str | Path | None) -> str | None:
    """Why a set cannot be opened here; None where it can."""
    try:
        for split in ("train", "test"):
            open_dataset(dataset, split, data_root, claims_of(paper).PROFILES[profile]["size"])
    except (ValueError, OSError) as error:
        return str(error)
    return None


def _announce(
    missing: list[Work], runs: str | Path, data_root: str | Path | None, device: str, jobs: int, say: Callable
) -> None:
    """Say what is stored, what will be trained, and how long that and the whole of the papers' claims take."""
    say("Finding out how long this takes ...")
    paces: dict = {}
    about = forecast(missing, runs, data_root, device, jobs, paces)
    some = missing[-1]  # learners, of figures, come first
    fresh = len(missing) - about.stored - about.begun
    begun = f"{about.begun} begun, " if about.begun else ""
    say(
        f"{len(missing)} runs ({some.profile}, {some.dataset}): {about.stored} stored, {begun}{fresh} to be trained; "
        f"about {clock(about.left)}, {jobs} at a time"
    )
    seeds = 1 + max(work.seed for work in missing)
    for paper in dict.fromkeys(work.paper for work in missing):
        everything = works(paper, some.dataset, some.profile, seeds)
        whole = forecast(everything, runs, data_root, device, jobs, paces).whole
        say(f"All claims of {paper} from nothing: {len(everything)} runs, about {clock(whole)}")


def _measure(
    claim: Claim, wanted: list[Work], seeds: int, runs: str | Path, data_root: str | Path | None, device: str
) -> dict:
    """A claim measured on its runs, all of which are there."""
    # Learners come first, and theirs is another set.
    dataset = wanted[-1].dataset
    base, (_, reading, floor) = base_of(claim.paper, dataset), claims_of(claim.paper).LENGTH
    stored = {work: read_run(work, runs) for work in wanted}

    def numbers() -> tuple[list[float], list[dict[str, float]], dict[str, float]]:
        tables = [
            {w.variant: stored[w]["readings"] for w in wanted if w.seed == seed and not w.half} for seed in range(seeds)
        ]
        full, half = (stored[w]["readings"] for w in wanted if w.variant == base and w.seed == 0)
        length = {"gain": full[reading] - half[reading], "limit": GAIN_LIMIT, "reached": full[reading]}
        length["floor"] = full[floor]
        return [claim.measure(table) for table in tables], [claim.details(table) for table in tables], length

    try:
        values, details, length = numbers()
    except KeyError:  # readings that were taken before the claim asked for that one
        stored = {work: train_run(work, runs, data_root, device, again=True) for work in wanted}
        try:
            values, details, length = numbers()
        except KeyError as error:
            name = error.args[0]
            raise UnreadableError(f"{dataset} has nothing to read '{name}' off the networks by") from error
    mean, ci95 = interval(values)
    # What is told of the runs is told of the first that the claim compares.
    first = next(work for work in wanted if work.variant == claim.variants[0])
    plan = first.plan
    name, settings = first.network
    return {
        "dataset": first.dataset,
        "options": first.options,
        "profile": first.profile,
        "seeds": list(range(seeds)),
        "values": values,
        "mean": mean,
        "ci95": ci95,
        "verdict": verdict(ci95, claim.bound),
        "bound": claim.bound,
        "details": {key: [some[key] for some in details] for key in details[0]},
        "length": length,
        "device": ", ".join(sorted({run["device"] for run in stored.values()})),
        "threads": sorted({run["threads"] for run in stored.values()}),
        "versions": stored[first]["versions"],
        "seconds": round(sum(run["seconds"] + run["reading"] for run in stored.values()), 1),
        "measured": date.today().isoformat(),
        "runs": [work.key for work in wanted],
        "test_images": plan["test_images"],
        "configuration": {"model": name, "settings": settings, "steps": first.recipe.steps,
                          "batch_size": first.recipe.batch_size},
    }  # fmt: skip


def _file(claim: Claim, results: str | Path) -> Path:
    return Path(results) / f"{claim.id}.json"


def _measurements(claim: Claim, results: str | Path) -> list[dict]:
    """What was measured of a claim, the newest last; ValueError where the file is not whole."""
    path = _file(claim, results)
    if not path.is_file():
        return []
    try:
        return json.loads(path.read_text(encoding="utf-8"))["measurements"]
    except (json.JSONDecodeError, KeyError) as error:
        raise ValueError(f"{path} is not a file of measurements ({error!r}); restore it or delete it") from error


def _stored(claim: Claim, wanted: list[Work], seeds: int, results: str | Path) -> dict | None:
    """The measurement on just these runs, where there is one."""
    same = {
        "runs": [work.key for work in wanted],
        "seeds": list(range(seeds)),
        "test_images": wanted[0].plan["test_images"],
    }
    fitting = [found for found in _measurements(claim, results) if same.items() <= found.items()]
    return fitting[-1] if fitting else None


def _append(claim: Claim, measurement: dict, results: str | Path, runs: Path) -> None:
    """Add a measurement to its claim's file, unless another process has just added the same."""
    from filelock import FileLock

    path = _file(claim, results)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(runs / "results.lock"):
        before = _measurements(claim, results)
        if any(found["runs"] == measurement["runs"] and found["values"] == measurement["values"] for found in before):
            return
        with replacing(path) as part:
            text = json.dumps(claim.about | {"measurements": [*before, measurement]}, indent=2)
            part.write_text(text + "\n", encoding="utf-8")
