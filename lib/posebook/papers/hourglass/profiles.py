"""How the stacked hourglass is trained."""

from __future__ import annotations

from functools import partial

import torch

from posebook.papers.hourglass.network import Hourglass
from posebook.training.augment import Augmentation
from posebook.training.profile import ADAM, Profile
from posebook.training.recipe import Recipe
from posebook.training.schedules import milestones, one_cycle

# Newell et al. turn by up to 30 degrees and scale by 0.75 to 1.25; Tang and Wu jitter colours too.
AUGMENTATION = Augmentation(scale=0.25, rotation=30, shift=0.05, flip=0.5, brightness=0.2, contrast=0.2, saturation=0.2)

PROFILES = {
    "quick": Profile(
        network=Hourglass,
        size=64,
        settings={"stacks": 1, "features": 64, "depth": 3},
        recipe=Recipe(
            minutes=0.4, batch_size=16, learning_rate=4e-3, clip=5.0, log_every=5, validation_images=64
        ),
        test_images=100,
        optimizer=ADAM,
        schedule=one_cycle(0.1),
        augmentation=AUGMENTATION,
    ),
    # In few minutes, many small steps on small images teach more than few large ones. After 90 seconds on two cores, 96
    # pixels beat 128 (PCKh 0.47 to 0.42), and at 128 pixels 128 features beat 192 (0.42 to 0.36).
    "study": Profile(
        network=Hourglass,
        size=96,
        settings={"stacks": 1, "features": 128, "depth": 3},
        recipe=Recipe(
            minutes=9.0, batch_size=16, learning_rate=2e-3, clip=5.0, validate_every=1000, validation_images=200
        ),
        optimizer=ADAM,
        schedule=one_cycle(0.1),
        augmentation=AUGMENTATION,
    ),
    # Newell et al. (ECCV 2016), Sec. 3.3: RMSProp at 2.5e-4. Open: batch and epochs are those of `part_groups`
    # (Tang and Wu, CVPR 2019): 250 epochs of MPII's 22,246 people in batches of 16.
    "paper": Profile(
        network=Hourglass,
        size=256,
        settings={"stacks": 8, "features": 256, "depth": 4},
        recipe=Recipe(
            steps=250 * 22246 // 16, batch_size=16, learning_rate=2.5e-4, log_every=50, validate_every=5000,
            validation_images=3000, save_seconds=300,
        ),
        optimizer=partial(torch.optim.RMSprop, alpha=0.99),
        schedule=milestones((170 / 250, 220 / 250)),
        augmentation=AUGMENTATION,
    ),
}  # fmt: skip
