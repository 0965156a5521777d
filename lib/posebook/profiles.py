"""How each network is trained at each profile: what `posebook train` and the notebooks start from.

A profile holds the side of the images, the network's settings, the recipe's numbers, optimiser, schedule, and the
augmentation of real sets (figures are drawn anew for every step and need none).

    quick   within a minute on two CPU cores: that everything works
    study   within ten minutes on two CPU cores: that it learns
    paper   the paper's own settings, for a GPU and a real set
"""

from __future__ import annotations

from functools import partial

import torch

from posebook.augment import Augmentation
from posebook.schedules import milestones, one_cycle

# Newell et al. turn by up to 30 degrees and scale by 0.75 to 1.25; Tang and Wu jitter colours too.
_USUAL = Augmentation(scale=0.25, rotation=30, shift=0.05, flip=0.5, brightness=0.2, contrast=0.2, saturation=0.2)

_HOURGLASS = {
    "quick": {
        "size": 64,
        "settings": {"stacks": 1, "features": 32, "depth": 3},
        "recipe": {
            "minutes": 0.4, "batch_size": 16, "learning_rate": 2e-3, "clip": 50.0, "log_every": 5,
            "validation_images": 64,
        },
        "optimizer": torch.optim.Adam,
        "schedule": one_cycle(0.1),
        "augmentation": _USUAL,
    },
    "study": {
        "size": 128,
        "settings": {"stacks": 1, "features": 96, "depth": 4},
        "recipe": {
            "minutes": 9.0, "batch_size": 32, "learning_rate": 2.5e-3, "clip": 50.0, "validate_every": 250,
            "validation_images": 200,
        },
        "optimizer": torch.optim.Adam,
        "schedule": one_cycle(0.1),
        "augmentation": _USUAL,
    },
    # Newell et al. (ECCV 2016), Sec. 3.3: RMSProp at 2.5e-4. Open: batch and epochs are those of `part_groups`
    # (Tang and Wu, CVPR 2019): 250 epochs of MPII's 22,246 people in batches of 16.
    "paper": {
        "size": 256,
        "settings": {"stacks": 8, "features": 256, "depth": 4},
        "recipe": {
            "steps": 250 * 22246 // 16, "batch_size": 16, "learning_rate": 2.5e-4, "log_every": 50,
            "validate_every": 5000, "validation_images": 3000, "save_seconds": 300,
        },
        "optimizer": partial(torch.optim.RMSprop, alpha=0.99),
        "schedule": milestones((170 / 250, 220 / 250)),
        "augmentation": _USUAL,
    },
}  # fmt: skip

PROFILES = {"hourglass": _HOURGLASS}


def profile_of(model: str, profile: str) -> dict:
    """A network's profile; ValueError lists what there is."""
    if model not in PROFILES:
        raise ValueError(f"there is no profile for a network called '{model}'; there are {', '.join(PROFILES)}")
    if profile not in PROFILES[model]:
        raise ValueError(f"{model} has no profile '{profile}'; it has {', '.join(PROFILES[model])}")
    return PROFILES[model][profile]
