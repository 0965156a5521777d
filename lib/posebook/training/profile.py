"""How a network is trained at a profile: what `posebook train`, the ledger and the notebooks start from.

quick   within a minute on two CPU cores: that everything works
study   within ten minutes on two CPU cores: that it learns
paper   the paper's own settings, for a GPU and a real set
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer

from posebook.network import Setting, check_settings
from posebook.training.augment import Augmentation
from posebook.training.masking import KeypointMasking
from posebook.training.recipe import Recipe
from posebook.training.schedules import Schedule

NAMES = ("quick", "study", "paper")

# One kernel for all weights: a step of the small networks is short enough for the optimiser to show in it.
ADAM = partial(torch.optim.Adam, fused=True)
ADAMW = partial(torch.optim.AdamW, weight_decay=0.1, fused=True)


@dataclass(frozen=True)
class SmallImages:
    """A first part of a run on the same people in smaller images, of which there are more a minute.

    Attributes:
        size: side of the images in pixels.
        part: of the run, 0 to 1.
    """

    size: int
    part: float = 0.5


@dataclass(frozen=True)
class Profile:
    """How a network is trained and tested.

    Attributes:
        network: its class.
        size: side of the images in pixels.
        settings: the network's, over its defaults.
        recipe: the numbers of the run.
        optimizer, schedule: as `training.loop.train` takes them.
        augmentation: of real sets; figures are drawn anew for every step and need none.
        masking: patches of the last phase, on all sets; None: none.
        phases: as `training.loop.train` takes them.
        small: the first part of the run on smaller images; None: there is none.
        figures: options of `figures.dataset.Figures`, by name.
        test_images: how many people are tested on; None: all.
        test_scales: magnifications that each test image is looked at in.

    Raises:
        ValueError: a setting that the network does not have.
    """

    network: type[nn.Module]
    size: int
    settings: dict[str, Setting]
    recipe: Recipe
    optimizer: Callable[..., Optimizer]
    schedule: Schedule
    augmentation: Augmentation
    masking: KeypointMasking | None = None
    phases: tuple[float, ...] = ()
    small: SmallImages | None = None
    figures: dict[str, str | int | float] = field(default_factory=dict)
    test_images: int | None = None
    test_scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        check_settings(self.network, self.settings)

    def but(
        self, settings: dict[str, Setting] | None = None, recipe: dict[str, int | float] | None = None, **changes
    ) -> Profile:
        """The same with some attributes changed; of settings and recipe, only what is named."""
        given = self.settings | (settings or {})
        return replace(self, settings=given, recipe=self.recipe.but(**recipe or {}), **changes)

    def in_words(self) -> dict[str, str]:
        """What a paper's section on training tells, of this profile: by what it is of."""
        recipe, changes = self.recipe, self.augmentation
        colours = max(changes.brightness, changes.contrast, changes.saturation)
        scales = len(self.test_scales)
        # A rate that starts anew in each phase is at no half of its way there.
        rates = {
            "rate at half time": f"{recipe.learning_rate * self.schedule(0.5):.1e}",
            "rate at nine tenths": f"{recipe.learning_rate * self.schedule(0.9):.1e}",
        }
        if self.phases:
            rates = {"phases begin at": ", ".join(f"{start:.0%}" for start in (0, *self.phases))}
        if self.masking:
            rates["masked in the last phase"] = (
                f"{self.masking.cover:.0%} covered, {self.masking.duplicate:.0%} duplicated"
            )
        return {
            "image": f"{self.size} px",
            "the first part at": f"{self.small.size} px" if self.small else "-",
            "optimiser": getattr(self.optimizer, "func", self.optimizer).__name__,
            "highest rate": f"{recipe.learning_rate:g}",
            **rates,
            "people per step": f"{recipe.batch_size}",
            "length": f"{recipe.minutes:g} minutes" if recipe.minutes else f"{recipe.steps:,} steps",
            "gradient cut to": f"{recipe.clip or '-'}",
            "scaled by": f"{1 - changes.scale:g} to {1 + changes.scale:g}",
            "turned by up to": f"{changes.rotation}°",
            "sheared by up to": f"{changes.shear:g}",
            "moved by up to": f"{changes.shift:.2g}",
            "mirrored": f"{changes.flip:.0%}",
            "colours by up to": f"{colours:g}",
            "tested on": f"{scales} scales" if scales > 1 else "1 scale",
        }
