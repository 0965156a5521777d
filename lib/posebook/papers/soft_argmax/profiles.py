"""How `soft_argmax` is trained; its detection counterpart is trained alike."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from posebook.papers.hourglass.profiles import PROFILES as HOURGLASS
from posebook.papers.soft_argmax.network import SoftArgmax
from posebook.training.augment import Augmentation
from posebook.training.profile import ADAMW, NAMES, SmallImages
from posebook.training.schedules import milestones

# Luvizon et al. (2017), Sec. 4.1: turned by up to 40 degrees, scaled by 0.7 to 1.3. Open: mirror images and colours are
# not in the text, and usual. Departs: on LSP the paper scales by 0.85 to 1.25.
AUGMENTATION = Augmentation(scale=0.3, rotation=40, shift=0.05, flip=0.5, brightness=0.2, contrast=0.2, saturation=0.2)

QUICK, STUDY, PAPER = (HOURGLASS[name] for name in NAMES)
PROFILES = {
    "quick": replace(
        QUICK,
        network=SoftArgmax,
        settings={"blocks": 2, "features": 72},
        recipe=QUICK.recipe.but(minutes=0.35),
        augmentation=AUGMENTATION,
    ),
    # On figures, after the same 170 s of one core: PCKh 0.453 with all images of 96 pixels, 0.469 with half of the time
    # at 64 first, 0.457 with three quarters.
    "study": replace(
        STUDY,
        network=SoftArgmax,
        small=SmallImages(size=64, part=0.5),
        settings={"blocks": 1, "features": 288},
        recipe=STUDY.recipe.but(minutes=9.4, learning_rate=4e-3),
        optimizer=ADAMW,
        augmentation=AUGMENTATION,
    ),
    # Sec. 4.1: RMSProp from 1e-3, batches of 16, 120 epochs of MPII's 22,246 people.
    # Departs: the rate falls by 0.4 at fixed places, as the paper's plateaus are not known before a run.
    "paper": replace(
        PAPER,
        network=SoftArgmax,
        settings={"blocks": 8, "features": 576},
        recipe=PAPER.recipe.but(steps=120 * 22246 // 16, learning_rate=1e-3),
        optimizer=partial(torch.optim.RMSprop, alpha=0.9),
        schedule=milestones((60 / 120, 80 / 120, 95 / 120, 105 / 120, 112 / 120), by=0.4),
        augmentation=AUGMENTATION,
    ),
}
