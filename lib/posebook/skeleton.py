"""Joint orders, limbs, mirror pairs, part labels and colours: one place for every name.

Left and right are always the person's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

# Okabe and Ito's colour-blind-safe colours. The person's left and right keep these two in every picture.
LEFT_COLOUR = "#0072B2"
RIGHT_COLOUR = "#D55E00"
CENTRE_COLOUR = "#4D4D4D"

ABSENT, OCCLUDED, VISIBLE = 0, 1, 2


@dataclass(frozen=True)
class Skeleton:
    """An order of joints, with what follows from it.

    Args:
        name: what the order is called ("mpii", "lsp", "flic", "pascal").
        joints: joint names in order; a name starts with `l_` or `r_` where a joint has a side.
        limbs: pairs of joint names that a picture connects.
        head: the two joints whose distance stands for head size, or None.
        torso: the two joints whose distance stands for torso size (PCK, Sec. "Metrics" of the benchmarks).
        pcp_limbs: pairs of joint names that PCP scores.
    """

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[str, str], ...]
    head: tuple[str, str] | None
    torso: tuple[str, str]
    pcp_limbs: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, name: str) -> int:
        """The place of a joint in the order; ValueError names the joints there are."""
        if name not in self.joints:
            raise ValueError(f"{self.name} has no joint '{name}'; it has {', '.join(self.joints)}")
        return self.joints.index(name)

    def pairs(self, names: tuple[tuple[str, str], ...]) -> list[tuple[int, int]]:
        """Pairs of names as pairs of places."""
        return [(self.index(a), self.index(b)) for a, b in names]

    def groups(self, grouping: str) -> list[list[int]]:
        """Joints of each group of a grouping in `GROUPINGS`, ascending; ValueError names the groupings there are."""
        if grouping not in GROUPINGS:
            raise ValueError(f"no grouping is called '{grouping}'; there are {', '.join(GROUPINGS)}")
        return self.places(GROUPINGS[grouping])

    def places(self, groups: Iterable[Iterable[str]]) -> list[list[int]]:
        """Groups of joint names as places, ascending; joints that are not here are left out, and groups left empty."""
        found = [sorted(self.index(name) for name in group if name in self.joints) for group in groups]
        return [group for group in found if group]

    def places_in(self, other: Skeleton) -> list[int]:
        """Where each of these joints is in another order that has them all; ValueError names one that it lacks.

        Open: LSP's neck is MPII's upper neck.
        """
        return [
            other.index("upper_neck" if name == "neck" and name not in other.joints else name) for name in self.joints
        ]

    @cached_property
    def structure(self) -> list[list[int]]:
        """The pairs and triplets in `STRUCTURE`, three locations each: a pair names its last joint twice."""
        return [[*group, group[-1]][:3] for group in self.places(STRUCTURE) if len(group) > 1]

    @cached_property
    def mirror(self) -> list[int]:
        """`mirror[j]` is the joint that takes j's place when the image is flipped left to right."""
        swap = {"l_": "r_", "r_": "l_"}
        return [self.index(swap[j[:2]] + j[2:]) if j[:2] in swap else self.index(j) for j in self.joints]

    def side_colour(self, *names: str) -> str:
        """The colour of a joint or limb by its side: left, right or neither."""
        sides = {name[:2] for name in names}
        if "l_" in sides and "r_" not in sides:
            return LEFT_COLOUR
        if "r_" in sides and "l_" not in sides:
            return RIGHT_COLOUR
        return CENTRE_COLOUR


_ARMS_AND_LEGS = (
    ("r_ankle", "r_knee"), ("r_knee", "r_hip"), ("l_hip", "l_knee"), ("l_knee", "l_ankle"),
    ("r_wrist", "r_elbow"), ("r_elbow", "r_shoulder"), ("l_shoulder", "l_elbow"), ("l_elbow", "l_wrist"),
)  # fmt: skip

# MPII's order is LIP's too.
MPII = Skeleton(
    name="mpii",
    joints=(
        "r_ankle", "r_knee", "r_hip", "l_hip", "l_knee", "l_ankle", "pelvis", "thorax",
        "upper_neck", "head_top", "r_wrist", "r_elbow", "r_shoulder", "l_shoulder", "l_elbow", "l_wrist",
    ),
    limbs=(
        *_ARMS_AND_LEGS,
        ("r_hip", "pelvis"), ("l_hip", "pelvis"), ("pelvis", "thorax"), ("thorax", "upper_neck"),
        ("upper_neck", "head_top"), ("thorax", "r_shoulder"), ("thorax", "l_shoulder"),
    ),
    head=("upper_neck", "head_top"),
    torso=("l_shoulder", "r_hip"),
    pcp_limbs=(*_ARMS_AND_LEGS, ("pelvis", "thorax"), ("upper_neck", "head_top")),
)  # fmt: skip

# The order of LSP and LSPET.
LSP = Skeleton(
    name="lsp",
    joints=(
        "r_ankle", "r_knee", "r_hip", "l_hip", "l_knee", "l_ankle",
        "r_wrist", "r_elbow", "r_shoulder", "l_shoulder", "l_elbow", "l_wrist", "neck", "head_top",
    ),
    limbs=(
        *_ARMS_AND_LEGS,
        ("r_hip", "l_hip"), ("r_hip", "r_shoulder"), ("l_hip", "l_shoulder"),
        ("r_shoulder", "neck"), ("l_shoulder", "neck"), ("neck", "head_top"),
    ),
    head=("neck", "head_top"),
    torso=("l_shoulder", "r_hip"),
    pcp_limbs=(*_ARMS_AND_LEGS, ("neck", "head_top")),
)  # fmt: skip

# The upper bodies of FLIC.
FLIC = Skeleton(
    name="flic",
    joints=(
        "l_shoulder", "l_elbow", "l_wrist", "r_shoulder", "r_elbow", "r_wrist", "l_hip", "r_hip",
        "l_eye", "r_eye", "nose",
    ),
    limbs=(
        ("l_shoulder", "l_elbow"), ("l_elbow", "l_wrist"), ("r_shoulder", "r_elbow"), ("r_elbow", "r_wrist"),
        ("l_shoulder", "r_shoulder"), ("l_shoulder", "l_hip"), ("r_shoulder", "r_hip"), ("l_hip", "r_hip"),
        ("l_eye", "nose"), ("r_eye", "nose"),
    ),
    head=None,
    torso=("l_shoulder", "r_hip"),
)  # fmt: skip

# The people of extended PASCAL-Person-Part (Xia et al., CVPR 2017), whose head joint is the forehead; LSP's order else,
# so that whoever knows an order by its number of joints alone is wrong about that name at most.
PASCAL = Skeleton(
    name="pascal",
    joints=(*LSP.joints[:-1], "forehead"),
    limbs=(*LSP.limbs[:-1], ("neck", "forehead")),
    head=("neck", "forehead"),
    torso=LSP.torso,
    pcp_limbs=_ARMS_AND_LEGS,
)

SKELETONS = {skeleton.name: skeleton for skeleton in (MPII, LSP, FLIC, PASCAL)}

# The ten joints that `part_groups` calls hard, in any order that has them.
HARD_JOINTS = (
    "r_ankle", "r_knee", "r_hip", "l_hip", "l_knee", "l_ankle", "r_wrist", "r_elbow", "l_elbow", "l_wrist",
)  # fmt: skip

_HEAD = ("upper_neck", "neck", "head_top", "forehead")
_CHEST = ("thorax", "r_shoulder", "l_shoulder")
_HIPS = ("r_hip", "l_hip", "pelvis")
_LEGS = ("r_ankle", "r_knee", "l_knee", "l_ankle")
_FOREARMS = (("r_wrist", "r_elbow"), ("l_elbow", "l_wrist"))

# Groups of related joints in `part_groups` (Tang and Wu, CVPR 2019): the body's own (Sec. 3.1), the five of Fig. 2(b)
# and the six of the text, by mutual information on MPII; the five with each shoulder in its arm's group too (Sec. 4.3).
# Two and eight groups are not in the paper; these come out on the same poses with the window that gives the five. Order
# of joints does not matter, and a skeleton leaves out the joints that it does not have. Open: the paper's joints are
# MPII's; LSP's neck, PASCAL's forehead and FLIC's face go to the head.
GROUPINGS = {
    "one": (_HIPS + _LEGS + _CHEST + _HEAD + _FOREARMS[0] + _FOREARMS[1],),
    "two": (_HIPS, _LEGS + _CHEST + _HEAD + _FOREARMS[0] + _FOREARMS[1]),
    "five": (_LEGS, _HIPS, _CHEST + _HEAD, *_FOREARMS),
    "six": (_LEGS, _HIPS, _CHEST, _HEAD, *_FOREARMS),
    "eight": (
        ("r_ankle", "l_ankle"), ("r_knee",), ("l_knee",), _HIPS, ("thorax", "upper_neck", "neck", *_CHEST[1:]),
        ("head_top", "forehead"), *_FOREARMS,
    ),
    "each": tuple((name,) for name in _HIPS + _LEGS + _CHEST + _HEAD + _FOREARMS[0] + _FOREARMS[1]),
    "body": (
        ("head_top", "forehead", "upper_neck", "neck", "thorax", "l_eye", "r_eye", "nose"),
        ("l_wrist", "l_elbow", "l_shoulder"), ("r_wrist", "r_elbow", "r_shoulder"),
        ("l_knee", "l_ankle"), ("r_knee", "r_ankle"), _HIPS,
    ),
    "overlapping": (
        _LEGS, _HIPS, _CHEST + _HEAD, (*_FOREARMS[0], "r_shoulder"), (*_FOREARMS[1], "l_shoulder"),
    ),
}  # fmt: skip

# Joints whose heat maps the structure-aware loss of `multi_scale` (Ke et al., ECCV 2018, Sec. 3.3) combines: pairs that
# the body connects, and triplets at elbows and knees. `Skeleton.structure` has them as locations in an order. Open: the
# paper's list ends with "e.g."; these are the ones it names, each once, with the pairs that a triplet contains. It
# connects nothing to upper neck and pelvis. For LSP's and PASCAL's joints, the neck stands for the thorax.
STRUCTURE = (
    ("head_top", "forehead", "thorax", "neck"), ("r_hip", "l_hip"),
    ("r_shoulder", "r_elbow"), ("r_elbow", "r_wrist"), ("r_hip", "r_knee"), ("r_knee", "r_ankle"),
    ("l_shoulder", "l_elbow"), ("l_elbow", "l_wrist"), ("l_hip", "l_knee"), ("l_knee", "l_ankle"),
    ("r_shoulder", "r_elbow", "r_wrist"), ("r_hip", "r_knee", "r_ankle"),
    ("l_shoulder", "l_elbow", "l_wrist"), ("l_hip", "l_knee", "l_ankle"),
)  # fmt: skip

# The parsing labels of Look into Person (LIP).
PARTS = (
    "background", "hat", "hair", "glove", "sunglasses", "upper_clothes", "dress", "coat", "socks", "pants",
    "jumpsuits", "scarf", "skirt", "face", "l_arm", "r_arm", "l_leg", "r_leg", "l_shoe", "r_shoe",
)  # fmt: skip
PART_INDEX = {name: number for number, name in enumerate(PARTS)}
IGNORE_LABEL = 255

# PART_MIRROR[label] is the label that takes its place when the image is flipped left to right.
PART_MIRROR = tuple(
    PART_INDEX[{"l_": "r_", "r_": "l_"}[name[:2]] + name[2:]] if name[:2] in ("l_", "r_") else number
    for number, name in enumerate(PARTS)
)

# One colour a part, sides in shades of the left and right colours.
PART_COLOURS = (
    "#000000", "#8C564B", "#5B3A1E", "#E7BA52", "#393B79", "#009E73", "#CC79A7", "#006D4F", "#C7C7C7", "#6B6ECF",
    "#B15DA8", "#F0E442", "#E377C2", "#F7C6A3", "#56B4E9", "#E69F00", LEFT_COLOUR, RIGHT_COLOUR, "#003F66", "#7A3600",
)  # fmt: skip

# The labels of ATR (Liang et al., *Human Parsing with Contextualized Convolutional Neural Network*, ICCV 2015).
ATR_PARTS = (
    "background", "hat", "hair", "sunglasses", "upper_clothes", "skirt", "pants", "dress", "belt",
    "l_shoe", "r_shoe", "face", "l_leg", "r_leg", "l_arm", "r_arm", "bag", "scarf",
)  # fmt: skip

# The parts of PASCAL-Person-Part, which have no sides, in colours that are neither side's.
PASCAL_PARTS = ("background", "head", "torso", "upper_arm", "lower_arm", "upper_leg", "lower_leg")
PASCAL_PART_COLOURS = ("#000000", "#FFFF99", "#009E73", "#E7A9CB", "#8E3A72", "#C98A2B", "#5B3A1E")

# The colour of a part by its name, whichever set it is of.
COLOUR_OF_PART = dict(zip(PARTS + PASCAL_PARTS, PART_COLOURS + PASCAL_PART_COLOURS, strict=True))

# The challenges that LIP's evaluation is split by.
TAGS = ("occlusion", "full_body", "upper_body", "lower_body", "head_missing", "back_view")


def part_names(count: int) -> tuple[str, ...]:
    """What so many part labels are called: LIP's 20, or PASCAL-Person-Part's 7; ValueError for another number."""
    named = {len(names): names for names in (PARTS, PASCAL_PARTS)}
    if count not in named:
        raise ValueError(f"{count} part labels are no set's: there are {' and '.join(map(str, named))}")
    return named[count]
