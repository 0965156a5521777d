"""What claims need trained: each run named by all that decides it, so that claims share runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial

from torch import nn

from posebook.ledger.claim import Claim, Variant, claims_of
from posebook.ledger.readings import Reading, Readings
from posebook.network import Setting, settings_of
from posebook.skeleton import FLIC, LSP, MPII, PASCAL
from posebook.training.profile import Profile
from posebook.training.recipe import Recipe
from posebook.training.schedules import fingerprint

# Whose joints a set has, so that a run can be named where the set is not.
SKELETON_OF = {
    "figures": MPII, "mpii": MPII, "lsp": LSP, "lspet": LSP, "lip": MPII, "pascal": PASCAL, "flic": FLIC, "ccp": MPII,
}  # fmt: skip

# A recipe's numbers that decide nothing about the weights.
_INDIFFERENT = ("log_every", "validate_every", "validation_images", "save_every", "save_seconds")


@dataclass(frozen=True)
class Work:
    """A run that claims need: one variant of a paper's network trained from one seed.

    Attributes:
        paper: slug.
        variant: one of the paper's variants.
        half: at half the steps, by which is told how much the second half gained.
    """

    paper: str
    variant: str
    dataset: str
    profile: str
    seed: int
    half: bool = False

    @property
    def variant_of(self) -> Variant:
        """What the variant's name stands for."""
        return claims_of(self.paper).variants[self.variant]

    @property
    def network(self) -> type[nn.Module]:
        """The class of the network."""
        return self.variant_of.network

    @property
    def plan(self) -> Profile:
        """The paper's profile, and over it what the variant has of its own."""
        plan, change = claims_of(self.paper).profiles[self.profile], self.variant_of.profile
        return plan if change is None else change(plan)

    @property
    def recipe(self) -> Recipe:
        """How it is trained."""
        recipe = self.plan.recipe.but(seed=self.seed)
        return recipe.but(steps=recipe.steps // 2) if self.half else recipe

    @property
    def trained_on(self) -> str:
        """The set that it is trained on; the one that it is tested on is `dataset`."""
        return self.variant_of.trained_on or self.dataset

    def options_of(self, dataset: str) -> dict[str, str | int | float]:
        """What a set is opened with beside name, split and size."""
        return self.plan.figures | self.variant_of.figures if dataset == "figures" else {}

    @property
    def options(self) -> dict[str, str | int | float]:
        """What the set that it is tested on is opened with beside name, split and size."""
        return self.options_of(self.dataset)

    @property
    def learner(self) -> Work | None:
        """The run whose network gives this one's its learner (`take_learner`), where the variant has one."""
        variant = self.variant_of.learner
        return replace(self, variant=variant, dataset="figures") if variant else None

    @property
    def settings(self) -> dict[str, Setting]:
        """All of the network's settings."""
        plan, known = self.plan, settings_of(self.network)
        of_set = {"size": plan.size, "joints": len(SKELETON_OF[self.trained_on])}
        # Variants of other networks share the profile's settings as far as they have them.
        return known | {k: v for k, v in (self.variant_of.over(plan.settings) | of_set).items() if k in known}

    @property
    def configuration(self) -> dict:
        """Everything that decides what the run gives, as JSON holds it."""
        plan = self.plan
        recipe = {key: value for key, value in vars(self.recipe).items() if key not in _INDIFFERENT}
        return {
            "model": self.network.name,
            "settings": self.settings,
            "dataset": {
                "name": self.trained_on,
                "split": "train",
                "size": plan.size,
                **self.options_of(self.trained_on),
            },
            "recipe": recipe,
            "optimizer": _described(plan.optimizer),
            "schedule": fingerprint(plan.schedule),
            # Figures are drawn anew for every step.
            "augmentation": None if self.trained_on == "figures" else vars(plan.augmentation),
            "small": plan.small and asdict(plan.small),
            # Keys of their own, so that runs without them keep their names.
            **({"learner": self.learner.key} if self.learner else {}),
            **({"phases": plan.phases} if plan.phases else {}),
            **({"masking": asdict(plan.masking)} if plan.masking else {}),
        }

    @property
    def key(self) -> str:
        """The run's name: runs of the same configuration are the same run, whichever claim asks for them."""
        text = json.dumps(self.configuration, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def reading(self, readings: Readings) -> Reading | None:
        """What was read off this run, on the people that its plan tests on; None where that is not in."""
        return readings.get((self.key, self.dataset, self.plan.test_images))

    def __str__(self) -> str:
        return f"{self.variant}{' (half the steps)' if self.half else ''}, seed {self.seed}"


def _described(optimizer: Callable) -> str:
    """An optimiser's class, and the settings it is called with."""
    if isinstance(optimizer, partial):
        return f"{optimizer.func.__name__}({', '.join(f'{k}={v}' for k, v in sorted(optimizer.keywords.items()))})"
    return optimizer.__name__


def base_of(paper: str, dataset: str) -> str:
    """The variant that tells whether runs on a set are long enough.

    It is the paper's own (`PaperClaims.length`) wherever a claim that can be measured on the set compares it. Elsewhere
    it may not be trainable: what learns part labels needs a set that has them. Then it is what the first claim measures
    against.
    """
    base = claims_of(paper).length.variant
    compared = [claim.variants for claim in _claims_on(paper, dataset)]
    return base if not compared or any(base in variants for variants in compared) else compared[0][-1]


def _claims_on(paper: str, dataset: str) -> list[Claim]:
    """The paper's claims that can be measured on a set."""
    return [claim for claim in claims_of(paper).claims if not claim.sets or dataset in claim.sets]


def works(
    paper: str, dataset: str, profile: str, seeds: Iterable[int], variants: Iterable[str] | None = None
) -> list[Work]:
    """The runs that claims need: these variants from every seed, and two that tell whether runs are long enough.

    Args:
        seeds: each as a number.
        variants: None takes all that the paper's claims about this set compare.

    Raises:
        ValueError: an unknown paper or profile, or a set that runs are not made on.
    """
    profiles = claims_of(paper).profiles
    if profile not in profiles:
        raise ValueError(f"the claims of {paper} have no profile '{profile}'; they have {', '.join(profiles)}")
    if dataset not in SKELETON_OF:
        raise ValueError(f"claims are measured on {', '.join(SKELETON_OF)}; there is no '{dataset}'")
    base = base_of(paper, dataset)
    if variants is None:
        variants = dict.fromkeys(variant for claim in _claims_on(paper, dataset) for variant in claim.variants)
    variants = list(variants)
    wanted = [Work(paper, base, dataset, profile, 0), Work(paper, base, dataset, profile, 0, half=True)]
    wanted += [Work(paper, variant, dataset, profile, seed) for seed in seeds for variant in variants]
    # Learners first, so that nobody waits for the one that another run needs.
    return list(dict.fromkeys([*(work.learner for work in wanted if work.learner is not None), *wanted]))
