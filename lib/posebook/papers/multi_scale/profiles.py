"""How the multi-scale structure-aware network is trained."""

from __future__ import annotations

from functools import partial

import torch

from posebook.papers.hourglass.profiles import PROFILES as HOURGLASS
from posebook.papers.multi_scale.network import MultiScale
from posebook.training.masking import KeypointMasking
from posebook.training.schedules import milestones, one_cycle, restarted

# Ke et al. (ECCV 2018), Sec. 4.1: 150 epochs of the MSS-net, 75 of the MSR-net, 75 of both with keypoint masking.
PHASES = (150 / 300, 225 / 300)
# Departs: the rate falls by a factor of 5 at a half and at three quarters of each phase, in the paper whenever 8 epochs
# have brought nothing.
MILESTONES = milestones((0.5, 0.75), by=1 / 5)
_TRAINING = {"masking": KeypointMasking(), "phases": PHASES}

PROFILES = {
    "quick": HOURGLASS["quick"].but(
        network=MultiScale, settings={"scales": 3}, schedule=restarted(one_cycle(0.1), PHASES), **_TRAINING
    ),
    "study": HOURGLASS["study"].but(
        network=MultiScale, settings={"scales": 3}, schedule=restarted(one_cycle(0.1), PHASES), **_TRAINING
    ),
    # Sec. 4.1: SGD from 5e-4; rotation and scaling. Departs: augmentation is the hourglass's here, with a mirror,
    # shifts and colours. Open: the batch, the momentum, and the rate that later phases begin with.
    "paper": HOURGLASS["paper"].but(
        network=MultiScale,
        settings={"scales": 4},
        recipe={"steps": 300 * 22246 // 16, "learning_rate": 5e-4},
        optimizer=partial(torch.optim.SGD, momentum=0.9),
        schedule=restarted(MILESTONES, PHASES),
        **_TRAINING,
    ),
}  # fmt: skip
