"""How the networks of Look into Person are trained."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from posebook.papers.hourglass.profiles import PROFILES as HOURGLASS
from posebook.papers.look_into_person.network import JPPNet, SSJPPNet
from posebook.training.augment import Augmentation
from posebook.training.profile import Profile
from posebook.training.schedules import polynomial, restarted

# Liang et al. (TPAMI 2018), Sec. 6.1: scaled by 0.75 to 1.25, cropped, mirrored. Departs: crops are shifts here.
AUGMENTATION = Augmentation(scale=0.25, shift=0.1, flip=0.5)

# 30 epochs of parsing, then 30 of both tasks.
PHASES = (0.5,)

# For small images and from scratch: 16x16 cells, and batch norm in the heads.
SMALL = {"depth": 14, "width": 8, "features": 32, "pooled": False, "norm": True, "scales": 2}

PROFILES = {
    "quick": replace(
        HOURGLASS["quick"], network=JPPNet, settings=SMALL | {"refinements": 1}, augmentation=AUGMENTATION
    ),
    "study": replace(
        HOURGLASS["study"],
        network=JPPNet,
        size=64,
        settings=SMALL | {"width": 16, "features": 48, "refinements": 1},
        augmentation=AUGMENTATION,
    ),
    # Sec. 6.1: from ImageNet's weights (`--imagenet`), SGD. Open: the rate, its schedule, the momentum and the batch,
    # which are DeepLab's here: 1e-4, polynomial, 0.9, 10; and the rate that the second phase begins with.
    "paper": replace(
        HOURGLASS["paper"],
        network=JPPNet,
        size=384,
        settings={"checkpointing": True},
        recipe=HOURGLASS["paper"].recipe.but(steps=60 * 30462 // 10, batch_size=10, learning_rate=1e-4),
        optimizer=partial(torch.optim.SGD, momentum=0.9),
        schedule=restarted(polynomial(0.9), PHASES),
        phases=PHASES,
        augmentation=AUGMENTATION,
        test_scales=(0.5, 0.75, 1.25),
    ),
}


def _alone(plan: Profile) -> Profile:
    """The same for the network that parses alone: 30 epochs of parsing, then 20 with the structure-sensitive loss."""
    settings = {name: value for name, value in plan.settings.items() if name != "refinements"}
    return replace(plan, network=SSJPPNet, settings=settings, phases=(30 / 50,))


PARSING_PROFILES = {
    "quick": _alone(PROFILES["quick"]),
    "study": _alone(PROFILES["study"]),
    # Departs: 320 pixels, which the stride divides, for the paper's 321.
    "paper": _alone(
        PROFILES["paper"].but(
            size=320, recipe={"steps": 50 * 30462 // 10}, schedule=restarted(polynomial(0.9), (30 / 50,))
        )
    ),
}
