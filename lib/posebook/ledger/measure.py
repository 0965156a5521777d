"""The ledger's work: runs that are missing are trained, whole seeds at a time, while the time lasts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from posebook.compute.cluster import is_elsewhere
from posebook.datasets import open_dataset
from posebook.ledger import readings as store
from posebook.ledger.claim import Claim, claims_of
from posebook.ledger.forecast import Paces
from posebook.ledger.readings import Readings
from posebook.ledger.runs import RUNS, OutOfTime, clock, is_trained, is_under_way, run_folder, train_all
from posebook.ledger.verdicts import SEEDS, UNDECIDED, Row, length_of, row_of
from posebook.ledger.work import Work, works
from posebook.paths import check_writable


@dataclass(frozen=True)
class Seed:
    """A seed of a claim that is not in yet.

    Attributes:
        claim: whose it is; None for the runs that tell whether a paper's runs are long enough.
        missing: the runs to be trained.
        urgency: the larger, the likelier it settles the claim.
    """

    claim: Claim | None
    missing: tuple[Work, ...]
    urgency: float


def measure(
    claims: list[Claim],
    dataset: str = "figures",
    profile: str = "study",
    seeds: int = SEEDS,
    *,
    budget: float = math.inf,
    data_root: str | Path | None = None,
    device: str = "auto",
    jobs: int = 1,
    runs: str | Path = RUNS,
    folder: str | Path = store.FOLDER,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Train what is missing of these claims' seeds, best informed first, and give a row per claim.

    First come claims with fewer than two seeds, then undecided ones, those that the next seed is likeliest to settle
    first, then the others. Each run is stored as it ends, so that a ledger that was stopped has lost at most the runs
    that were under way, and those go on where they were.

    Args:
        seeds: how many: 0, 1, ...; up to `SEEDS`.
        budget: seconds after which no seed is begun that would not end in time.
        data_root: folder of a real set.
        jobs: how many runs train at a time.
        runs: folder of the runs, which claims share. Several processes may work on one folder at once.
        folder: of the readings.
        say: told what is stored, what will be trained, how long that takes, and how it goes.

    Raises:
        ValueError: an unknown profile or dataset, more seeds than verdicts are of; a run that stopped being a number.
    """
    if not 1 <= seeds <= SEEDS:
        raise ValueError(f"verdicts are of {SEEDS} seeds, fixed in advance: give 1 to {SEEDS}, not {seeds}")
    for paper in {claim.paper for claim in claims}:
        works(paper, dataset, profile, ())  # which says what is wrong with profile or dataset
    paces = Paces(data_root, device, jobs, runs)
    deadline = time.time() + budget
    reasons = _closed(claims, dataset, profile, data_root)
    open_claims = [claim for claim in claims if claim.id not in reasons]
    told, over = False, 0
    refused: set[Work] = set()
    while True:
        stored = {paper: store.read(paper, folder) for paper in {claim.paper for claim in claims}}
        waiting = _missing(open_claims, dataset, profile, seeds, stored, refused)
        if not waiting:
            break
        if not told:
            _announce(waiting, stored, paces, budget, say)
            told = True
            for place in (runs, folder):
                check_writable(place)
        batch = _batch(_free(waiting, runs), stored, paces, deadline - time.time())
        if not batch:
            more = paces.together({work for some in waiting for work in some.missing}, stored)
            say(f"The time is over; {clock(more)} more would bring in the rest")
            break
        left = {work.key for some in waiting for work in some.missing}
        try:
            for reading in train_all(batch, runs, data_root, device, jobs, deadline):
                store.append([reading], folder)
                over += 1
                left.discard(reading.digest)
                say(f"{over} runs are over, {len(left)} to go: {_called(reading)}, {clock(reading.seconds)}")
        except OutOfTime:
            say("The time is over; the run that was under way goes on where it was the next time")
            break
        # What was trained just now and still lacks what a claim asks for will not have it if it is trained again.
        refused |= set(batch)
    stored = {paper: store.read(paper, folder) for paper in stored}
    why = {claim.id: reasons.get(claim.id) or _lacking(claim, dataset, profile, stored) for claim in claims}
    return [row_of(claim, dataset, profile, stored[claim.paper], why[claim.id]) for claim in claims]


def _missing(
    claims: list[Claim], dataset: str, profile: str, seeds: int, stored: dict[str, Readings], refused: set[Work]
) -> list[Seed]:
    """The seeds that are not in yet, the most urgent first."""
    found = []
    for claim in claims:
        row = row_of(claim, dataset, profile, stored[claim.paper])
        urgency = _urgency(row)
        for seed in sorted(set(range(seeds)) - set(row.seeds)):
            wanted = [Work(claim.paper, name, dataset, profile, seed) for name in claim.variants]
            # Those that are there and yet not enough were carried over from before runs were kept.
            missing = tuple(work for work in wanted if _is_missing(work, stored) and work not in refused)
            if missing:
                found.append(Seed(claim, missing, urgency - seed * 1e-6))
    for paper in dict.fromkeys(claim.paper for claim in claims):
        if length_of(paper, dataset, profile, stored[paper]) is None:
            both = [work for work in works(paper, dataset, profile, ()) if work.dataset == dataset]
            missing = tuple(work for work in both if _is_missing(work, stored) and work not in refused)
            found += [Seed(None, missing, -1.0)] if missing else []
    return sorted(found, key=lambda some: -some.urgency)


def _is_missing(work: Work, stored: dict[str, Readings]) -> bool:
    reading = work.reading(stored[work.paper])
    return reading is None or reading.carried


def _urgency(row: Row) -> float:
    """How far from the bound the mean is, in half widths that the interval would have with one seed more."""
    if len(row.seeds) < 2:
        return math.inf
    from scipy import stats

    count = len(row.seeds)
    spread = float(stats.tstd(row.values))
    half = stats.t.ppf(0.975, count) * spread / math.sqrt(count + 1)
    ratio = abs(row.mean - row.claim.bound) / max(half, 1e-9)
    return 1.0 + min(ratio, 1e6) if row.verdict == UNDECIDED else 1.0 / (1.0 + ratio)


def _free(waiting: list[Seed], runs: str | Path) -> list[Seed]:
    """The seeds without the runs that other processes are at; with them where there are no others to be trained."""
    taken = {work for some in waiting for work in some.missing if is_under_way(work, runs)}
    left = (replace(some, missing=tuple(work for work in some.missing if work not in taken)) for some in waiting)
    return [some for some in left if some.missing] or waiting


def _batch(waiting: list[Seed], stored: dict[str, Readings], paces: Paces, left: float) -> list[Work]:
    """The runs of the most urgent seeds that end in time: a few, for what came in by then changes what is urgent.

    One where one is trained at a time, so that other processes find the rest; all there are on a cluster without a
    budget, so that workers that join it later find some.
    """
    few = left < math.inf or not is_elsewhere()
    chosen: dict[Work, None] = {}
    for some in waiting:
        more = dict.fromkeys([*chosen, *some.missing])
        if left < math.inf and paces.together(more, stored) > left:
            continue
        chosen = more
        if few and len(chosen) >= 4 * paces.jobs:
            break
    # A learner whose weights are not here is trained again, whether or not it was read before.
    taken = [work.learner for work in chosen if work.learner]
    learners = [learner for learner in taken if not is_trained(learner, run_folder(learner, paces.runs))]
    batch = list(dict.fromkeys([*learners, *chosen]))
    return batch[:1] if paces.jobs == 1 and not is_elsewhere() else batch


def _announce(
    waiting: list[Seed], stored: dict[str, Readings], paces: Paces, budget: float, say: Callable[[str], None]
) -> None:
    """Say what will be trained, and how long it takes."""
    say("Finding out how long this takes ...")
    missing = {work: None for some in waiting for work in some.missing}
    there = sum(len(readings) for readings in stored.values())
    limit = f", of which {clock(budget)} are given" if budget < math.inf else ""
    about = clock(paces.together(missing, stored))
    say(f"{there} readings stored, {len(missing)} runs to be trained: about {about}, {paces.jobs} at a time{limit}")


def _closed(claims: list[Claim], dataset: str, profile: str, data_root: str | Path | None) -> dict[str, str]:
    """Why claims cannot be measured on a set, by their ids, of those that cannot."""
    reasons = {
        claim.id: f"it is about {', '.join(claim.sets)}" for claim in claims if claim.sets and dataset not in claim.sets
    }
    for paper in dict.fromkeys(claim.paper for claim in claims):
        try:
            for split in ("train", "test"):
                open_dataset(dataset, split, data_root, claims_of(paper).profiles[profile].size)
        except (ValueError, OSError) as error:
            reasons |= {claim.id: str(error) for claim in claims if claim.paper == paper and claim.id not in reasons}
    return reasons


def _lacking(claim: Claim, dataset: str, profile: str, stored: dict[str, Readings]) -> str | None:
    """What is said of a claim whose runs are all there, and have nothing to measure it by."""
    if any(_is_missing(Work(claim.paper, name, dataset, profile, 0), stored) for name in claim.variants):
        return None
    return f"{dataset} has nothing to read off the networks that it asks for"


def _called(reading: store.Reading) -> str:
    return f"{reading.variant}{' (half the steps)' * reading.half}, seed {reading.seed}"
