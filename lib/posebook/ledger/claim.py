"""What a paper claims and the networks its claims compare; `papers/SLUG/claims.py` says both for its paper."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec

from jaxtyping import Float
from torch import Tensor, nn

from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.evaluation.inference import mean_pose
from posebook.evaluation.metrics import Truth
from posebook.network import Setting, check_settings
from posebook.sample import Dataset
from posebook.training.profile import Profile

# What was read off the networks of one seed: numbers (some of them lists) by name, by variant.
SeedReadings = dict[str, dict[str, float | list[float | None]]]


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
        variants: the networks that `measure` compares, by their names in the paper's `variants`.
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
    measure: Callable[[SeedReadings], float]
    details: Callable[[SeedReadings], dict[str, float]]
    bound: float | int = 0.0
    sets: tuple[str, ...] = ()

    @property
    def about(self) -> dict:
        """The words and numbers that do not depend on any measurement."""
        names = ("paper", "place", "statement", "paper_value", "paper_numbers", "how", "bound")
        return {"claim": self.id} | {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Variant:
    """A network that claims compare.

    Attributes:
        network: its class. It takes the profile's settings as far as it has them.
        settings: over the profile's; or a function of the profile's that gives them.
        figures: options of that set over the profile's.
        profile: gives what else of the profile is another for it.
        learner: the variant, trained on figures, whose learner it takes and keeps (`take_learner`).
        trained_on: the set that it is trained on, where that is not the one that it is tested on.

    Raises:
        ValueError: a setting that the network does not have.
    """

    network: type[nn.Module]
    settings: dict[str, Setting] | Callable[[dict[str, Setting]], dict[str, Setting]] = field(default_factory=dict)
    figures: dict[str, str | int | float] = field(default_factory=dict)
    profile: Callable[[Profile], Profile] | None = None
    learner: str | None = None
    trained_on: str | None = None

    def __post_init__(self) -> None:
        if not callable(self.settings):
            check_settings(self.network, self.settings)

    def over(self, given: dict[str, Setting]) -> dict[str, Setting]:
        """A profile's settings with the variant's own over them."""
        return given | (self.settings(given) if callable(self.settings) else self.settings)


@dataclass(frozen=True)
class Length:
    """What tells whether a paper's runs are long enough.

    Attributes:
        variant: the network that is also trained for half as long.
        reading: what of it is compared.
        floor: the reading that it must at least be beyond.
    """

    variant: str
    reading: str
    floor: str


@dataclass(frozen=True)
class PaperClaims:
    """The claims of a paper and all that measuring them takes.

    Attributes:
        slug: of the paper.
        profiles: how the networks are trained, by the profile's name. By steps, so that a run can be repeated.
        variants: the networks, by name.
        readings: the numbers that are read off a trained network: `readings(network, test_set, count, train_set)`.
        curve_readings: those that are read off the rows of its training's history, if any.
        length: what tells whether runs are long enough.
        claims: of the paper, in its order.

    Raises:
        ValueError: a claim of another paper, or a variant that is not there.
    """

    slug: str
    profiles: dict[str, Profile]
    variants: dict[str, Variant]
    readings: Callable[[nn.Module, Dataset, int | None, Dataset | None], dict[str, float | list[float | None]]]
    length: Length
    claims: tuple[Claim, ...]
    curve_readings: Callable[[list[dict]], dict[str, float]] | None = None

    def __post_init__(self) -> None:
        learners = [variant.learner for variant in self.variants.values() if variant.learner]
        compared = [name for claim in self.claims for name in claim.variants]
        for name in [self.length.variant, *learners, *compared]:
            if name not in self.variants:
                raise ValueError(f"the claims of {self.slug} name a variant '{name}', which is not there")
        for claim in self.claims:
            if claim.paper != self.slug or not claim.id.startswith(f"{self.slug}_"):
                raise ValueError(f"{claim.id} is not a claim of {self.slug}")


def claims_of(paper: str) -> PaperClaims:
    """A paper's claims by its slug; opened by name, for papers stand above the ledger. ValueError for no such paper."""
    if not paper.isidentifier() or find_spec(f"posebook.papers.{paper}") is None:
        raise ValueError(f"no claims are stored for a paper called '{paper}'")
    return import_module(f"posebook.papers.{paper}.claims").LEDGER


def complete(
    found: dict[str, float], predicted: Float[Tensor, "b j 2"], truth: Truth, dataset: Dataset, train: Dataset | None
) -> dict[str, float | list[float | None]]:
    """A network's readings on held-out people, with those that every paper has: fractions, means over joints.

        pckh                  of all joints, PCKh@0.5 or what the set's benchmark has in its place
        visible, occluded     of these joints alone, where the set tells
        mean_pose             of one prediction for everybody, the mean of 1,000 people of `train`
        curve, by_joint, ...  as `Benchmark.summary` has them

    NaN is left out: a set in which nobody is occluded has no score for those that are.

    Args:
        predicted, truth: of the people of `dataset`.
        train: the set that the network was trained on; None gives no `mean_pose`.
    """
    benchmark = BENCHMARKS[dataset.skeleton.name]
    for name, among in (("pckh", "all"), ("visible", "visible"), ("occluded", "occluded")):
        found = found | {name: float(benchmark.score(predicted, truth, among=among).mean)}
    if train is not None:
        # The set that it is tested on may have its joints in another order.
        average = mean_pose(train)[dataset.skeleton.places_in(train.skeleton)].cpu()
        everybody = average.expand_as(truth.joints) * (dataset.size / train.size)
        found = found | {"mean_pose": float(benchmark.score(everybody, truth).mean)}
    found = {name: value for name, value in found.items() if not math.isnan(value)}
    return found | benchmark.summary(predicted, truth)


def minus(one: str, other: str, name: str) -> Callable[[SeedReadings], float]:
    """The measure of a claim: a reading of one variant minus that of another."""
    return lambda r: r[one][name] - r[other][name]


def details_of(*variants: str, names: tuple[str, ...]) -> Callable[[SeedReadings], dict[str, float]]:
    """The details of a claim: these readings of these variants, each as "variant name", as far as they have them."""

    def details(r: SeedReadings) -> dict[str, float]:
        return {f"{variant} {name}": r[variant][name] for name in names for variant in variants if name in r[variant]}

    return details


def comparison(
    paper: str,
    name: str,
    place: str,
    statement: str,
    how: str,
    variants: tuple[str, ...],
    *,
    reading: str,
    beside: tuple[str, ...],
    **more,
) -> Claim:
    """A claim that the first variant is ahead of the second, unless `measure` says otherwise.

    Args:
        name: the claim's id without the paper.
        reading: what they are compared by.
        beside: the readings of all the variants that are stored as details.
        more: attributes of `Claim`.
    """
    usual = {"paper_value": None, "details": details_of(*variants, names=beside)}
    if len(variants) > 1:
        usual["measure"] = minus(*variants[:2], name=reading)
    about = {"place": place, "statement": statement, "how": how, "variants": variants}
    return Claim(id=f"{paper}_{name}", paper=paper, **about, **usual | more)
