"""How the part-based branching network and its baselines are trained."""

from __future__ import annotations

from dataclasses import replace

from posebook.papers.hourglass.profiles import AUGMENTATION as USUAL
from posebook.papers.hourglass.profiles import PROFILES as HOURGLASS
from posebook.papers.part_groups.network import PartGroups
from posebook.training.profile import SmallImages

# Tang and Wu (CVPR 2019), Sec. 4.1. Open: how far colours go, and no shift is named; both as for the hourglass.
AUGMENTATION = replace(USUAL, shear=0.5)

PROFILES = {
    "quick": HOURGLASS["quick"].but(network=PartGroups, settings={"width": 16}, augmentation=AUGMENTATION),
    # A branch is a quarter as wide as the trunk, as in the paper.
    "study": HOURGLASS["study"].but(
        network=PartGroups,
        small=SmallImages(size=64, part=0.5),
        settings={"width": 32},
        augmentation=AUGMENTATION,
    ),
    # Sec. 4.1, 4.2: RMSProp from 2.5e-4, times 0.1 at epochs 170 and 220 of 250, batches of 16; eight stacks for the
    # benchmarks (three for the ablations). Tested on six scales with flip; Open: which six.
    "paper": HOURGLASS["paper"].but(
        network=PartGroups,
        settings={"width": 64},
        augmentation=AUGMENTATION,
        test_scales=(0.8, 0.9, 1.0, 1.1, 1.2, 1.3),
    ),
}
