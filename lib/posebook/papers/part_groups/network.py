"""Part-based branching networks of Tang, Wu: *Does Learning Specific Features for Related Parts Help Human Pose
Estimation?*, CVPR 2019, and the two baselines they are measured against.

A trunk learns features for all joints, a branch for each group of related joints those that are specific to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from posebook.coordinates import HeatmapCodec
from posebook.layers.hourglass import HourglassBlock, residuals
from posebook.layers.residual import Residual
from posebook.network import HeatmapNetwork, check_choice, check_counts, check_poolings, check_sigma, chosen
from posebook.papers.hourglass.network import STRIDE, Head
from posebook.sample import Sample
from posebook.skeleton import GROUPINGS, LSP, MPII

VARIANTS = ("branches", "baseline", "deep_baseline")
PROPAGATE = ("shared", "specific")

# The joint orders that settings may name joints of.
_ORDERS = {len(skeleton): skeleton for skeleton in (MPII, LSP)}


class PartGroups(HeatmapNetwork):
    """A stack of part-based branching networks (PBN; Sec. 3.2, 3.3, Fig. 3, 4), or one of its baselines (Sec. 4.3).

    Args:
        joints: number of heat maps: 16 in MPII's order, 14 in LSP's.
        size: side of the input in pixels, a multiple of 4 * 2 ** depth.
        stacks: PBNs one after the other.
        features: channels of the trunk, a multiple of 4.
        depth: poolings inside an hourglass.
        variant: "branches" is the PBN; "baseline" has a linear layer in the place of the branches; "deep_baseline" a
            residual block of the trunk's width before that layer.
        groups: a branch each: a name in `skeleton.GROUPINGS`, or joints with spaces between them and groups with
            commas, as "r_wrist r_elbow, l_wrist l_elbow, ...". A joint of several groups has its maps averaged.
        width: channels of a branch, the paper's W, even.
        blocks: residual blocks of a branch, the paper's D.
        propagate: what goes on to the next stack beside the maps: "shared" features of the trunk, or the "specific"
            ones of all branches (the orange and the green line of Fig. 4).
        leave_out: joints, with spaces between them, that are no tasks: their maps exist and are not trained
            ("r_ankle l_ankle" in Sec. 4.3).
        sigma: standard deviation of the target's Gaussians, in cells of 4 pixels.

    Raises:
        ValueError: a setting out of its range.
    """

    name = "part_groups"

    def __init__(
        self,
        joints: int = 16,
        size: int = 256,
        stacks: int = 3,
        features: int = 256,
        depth: int = 4,
        variant: str = "branches",
        groups: str = "five",
        width: int = 64,
        blocks: int = 1,
        propagate: str = "shared",
        leave_out: str = "",
        sigma: float = 1.0,
    ) -> None:
        settings = chosen(locals())
        super().__init__()
        self.settings = settings
        check_counts(
            self.name, joints=joints, size=size, stacks=stacks, features=features, depth=depth, width=width,
            blocks=blocks,
        )  # fmt: skip
        if features % 4 or width % 2:
            raise ValueError(
                f"part_groups: features is {features} and width {width}; give a multiple of 4 and an even one"
            )
        check_poolings(self.name, size, STRIDE, depth)
        check_choice(self.name, "variant", variant, VARIANTS)
        check_choice(self.name, "propagate", propagate, PROPAGATE)
        check_sigma(self.name, sigma)
        if propagate == "specific" and variant != "branches":
            raise ValueError(f"part_groups: a {variant} has no specific features to propagate; give propagate=shared")
        self.codec = HeatmapCodec(size, STRIDE, sigma)
        self.groups = _groups(groups, joints) if variant == "branches" else [list(range(joints))]
        # Not weights: a joint's share in the loss, 0 or 1.
        self.register_buffer("tasks", _tasks(leave_out, joints), persistent=False)
        self.stem = Stem(features)
        self.hourglasses = nn.ModuleList(HourglassBlock(features, depth) for _ in range(stacks))
        # Open: the text has a residual block after the hourglass. With the 1x1 convolution that the stacked hourglass
        # has after it too, and its merge convolution, parameters come out as in Table 6.
        self.heads = nn.ModuleList(Head(features, units=1) for _ in range(stacks))
        if variant == "branches":
            made = [Branches(features, self.groups, joints, width, blocks) for _ in range(stacks)]
        else:
            made = [Shared(features, joints, deep=variant == "deep_baseline") for _ in range(stacks)]
        self.to_maps = nn.ModuleList(made)
        # Both merges add back into the next stack's input; the last stack has no next one.
        merged = width * len(self.groups) if propagate == "specific" else features
        self.merge_features = nn.ModuleList(nn.Conv2d(merged, features, 1) for _ in range(stacks - 1))
        self.merge_maps = nn.ModuleList(nn.Conv2d(joints, features, 1) for _ in range(stacks - 1))

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b stacks joints cells cells"]:
        """Heat maps of every stack, a quarter of the input's side."""
        x = self.stem(images)  # (b, features, s / 4, s / 4)
        outputs = []
        for stack, hourglass in enumerate(self.hourglasses):
            shared = self.heads[stack](hourglass(x))  # (b, features, s / 4, s / 4)
            specific, maps = self.to_maps[stack](shared)  # (b, groups * width, ...), (b, joints, s / 4, s / 4)
            outputs.append(maps)
            if stack < len(self.merge_maps):
                onward = specific if self.settings["propagate"] == "specific" else shared
                x = x + self.merge_features[stack](onward) + self.merge_maps[stack](maps)
        return torch.stack(outputs, 1).float()  # (b, stacks, joints, s / 4, s / 4)

    def learnt(self, batch: Sample) -> UInt8[Tensor, "b joints"]:
        """Presence of the joints that are tasks, 0 for the others (Sec. 4.3)."""
        return batch.presence * self.tasks


class Stem(nn.Module):
    """From pixels to features at a quarter of the resolution (Sec. 3.2): 3x3, max pool, 3x3, 3x3, a residual block,
    max pool, two residual blocks.

    Open: the text gives these layers and no norm; each convolution is followed by batch norm and ReLU, as residual
    blocks have them.
    Departs: below 256 features the inner widths, the paper's 64 and 128, shrink with them to a quarter and a half.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        first, second = min(64, features // 4), min(128, features // 2)
        self.conv1 = _conv(3, first)
        self.conv2 = _conv(first, first)
        self.conv3 = _conv(first, first)
        self.residual1 = Residual(first, second)
        self.residual2 = Residual(second, second)
        self.residual3 = Residual(second, features)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b features s/4 s/4"]:
        x = F.max_pool2d(self.conv1(images), 2)  # (b, first, s / 2, s / 2)
        x = self.conv3(self.conv2(x))  # (b, first, s / 2, s / 2)
        x = F.max_pool2d(self.residual1(x), 2)  # (b, second, s / 4, s / 4)
        return self.residual3(self.residual2(x))  # (b, features, s / 4, s / 4)


class Branch(nn.Module):
    """Features specific to one group (Sec. 3.2): 1x1 to `width` channels, residual blocks, 1x1 to one map per joint.

    Open: the text names no norm after the first convolution. Here it has one and a ReLU, as the stem's have: with them
    the parameters agree with Table 6 to its last digit, without them PBN has 26.68 M.
    """

    def __init__(self, features: int, joints: int, width: int, blocks: int) -> None:
        super().__init__()
        self.reduce = _conv(features, width, 1)
        self.residuals = residuals(width, blocks)
        self.to_maps = nn.Conv2d(width, joints, 1)

    def forward(
        self, shared: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b width h w"], Float[Tensor, "b group h w"]]:
        specific = self.residuals(self.reduce(shared))  # (b, width, h, w)
        return specific, self.to_maps(specific)


class Branches(nn.Module):
    """A branch a group, and their maps put in the joints' order.

    Open: the maps of a joint of several groups are averaged "as the final prediction"; here before the loss too.

    Args:
        groups: joint indices; every joint in one group or more.
    """

    def __init__(self, features: int, groups: Sequence[Sequence[int]], joints: int, width: int, blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(Branch(features, len(group), width, blocks) for group in groups)
        order = torch.tensor([joint for group in groups for joint in group])
        # Where each joint's map lies among the branches' maps, if it lies in one place alone.
        self.disjoint = len(order) == joints
        self.register_buffer("place", order.argsort(), persistent=False)
        belongs = F.one_hot(order, joints).float()  # (maps, joints)
        self.register_buffer("share", belongs / belongs.sum(0), persistent=False)

    def forward(
        self, shared: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b specific h w"], Float[Tensor, "b joints h w"]]:
        specific, maps = zip(*(branch(shared) for branch in self.branches), strict=True)
        maps = torch.cat(maps, 1)  # (b, maps of all groups, h, w)
        # A joint of several groups has the mean of its maps (Sec. 4.3, overlapping groups).
        maps = maps[:, self.place] if self.disjoint else torch.einsum("bmhw,mj->bjhw", maps.float(), self.share)
        return torch.cat(specific, 1), maps


class Shared(nn.Module):
    """What the baselines have in the place of branches (Sec. 4.3): a linear layer, after a residual block if deep."""

    def __init__(self, features: int, joints: int, deep: bool) -> None:
        super().__init__()
        self.residual = Residual(features, features) if deep else nn.Identity()
        self.to_maps = nn.Conv2d(features, joints, 1)

    def forward(
        self, shared: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b joints h w"]]:
        shared = self.residual(shared)  # (b, c, h, w)
        return shared, self.to_maps(shared)


def _conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """Convolution of the same size, batch norm, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _groups(groups: str, joints: int) -> list[list[int]]:
    """Groups of joint indices from a grouping's name or from joint names."""
    if joints not in _ORDERS:
        raise ValueError(f"part_groups: {joints} joints have no names to group by; give 16 (MPII) or 14 (LSP)")
    skeleton = _ORDERS[joints]
    if groups in GROUPINGS:
        return skeleton.groups(groups)
    if " " not in groups and "," not in groups and groups not in skeleton.joints:
        raise ValueError(
            f"part_groups: groups is '{groups}'; give {', '.join(GROUPINGS)}, or joints with spaces between them "
            "and groups with commas"
        )
    found = [[skeleton.index(name) for name in group.split()] for group in groups.split(",")]
    missing = [name for joint, name in enumerate(skeleton.joints) if not any(joint in group for group in found)]
    if missing or not all(found):
        what = f"{', '.join(missing)} in none" if missing else "an empty one"
        raise ValueError(f"part_groups: groups '{groups}' have {what}; put every joint in a group")
    return found


def _tasks(leave_out: str, joints: int) -> UInt8[Tensor, " joints"]:
    """1 for each joint that is to be learnt, 0 for those left out."""
    tasks = torch.ones(joints, dtype=torch.uint8)
    if leave_out:
        if joints not in _ORDERS:
            raise ValueError(f"part_groups: {joints} joints have no names to leave out by; give 16 (MPII) or 14 (LSP)")
        tasks[[_ORDERS[joints].index(name) for name in leave_out.split()]] = 0
    return tasks
