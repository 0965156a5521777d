"""Claims measured: what is missing is trained, and what came out is stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

from posebook.datasets import open_dataset
from posebook.evaluation.statistics import interval
from posebook.ledger.claim import Claim, claims_of
from posebook.ledger.forecast import forecast
from posebook.ledger.runs import RUNS, Work, base_of, clock, read_run, train_all, train_run, works
from posebook.ledger.store import append, stored
from posebook.ledger.verdicts import GAIN_LIMIT, row, verdict
from posebook.paths import RESULTS


class UnreadableError(ValueError):
    """A set lacks the labels that a claim's readings need."""


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
    found = {c.id: stored(c, wanted[c.id], seeds, results) for c in claims}
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
            append(claim, found[claim.id], results, Path(runs))
    return [row(claim, found[claim.id], dataset, profile, reasons.get(claim.id)) for claim in claims]


def _closed(paper: str, dataset: str, profile: str, data_root: str | Path | None) -> str | None:
    """Why a set cannot be opened here; None where it can."""
    try:
        for split in ("train", "test"):
            open_dataset(dataset, split, data_root, claims_of(paper).profiles[profile].size)
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
    base, length_by = base_of(claim.paper, dataset), claims_of(claim.paper).length
    stored = {work: read_run(work, runs) for work in wanted}

    def numbers() -> tuple[list[float], list[dict[str, float]], dict[str, float]]:
        tables = [
            {w.variant: stored[w]["readings"] for w in wanted if w.seed == seed and not w.half} for seed in range(seeds)
        ]
        full, half = (stored[w]["readings"] for w in wanted if w.variant == base and w.seed == 0)
        reached = full[length_by.reading]
        length = {"gain": reached - half[length_by.reading], "limit": GAIN_LIMIT, "reached": reached}
        length["floor"] = full[length_by.floor]
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
        "test_images": first.plan.test_images,
        "configuration": {"model": first.network.name, "settings": first.settings, "steps": first.recipe.steps,
                          "batch_size": first.recipe.batch_size},
    }  # fmt: skip
