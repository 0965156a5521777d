"""The joint parsing and pose network (JPPNet) of Liang, Gong, Shen, Lin: *Look into Person: Joint Body Parsing & Pose
Estimation Network and a New Benchmark*, TPAMI 2018, and its simplification for sets without joints (SS-JPPNet).

One dilated ResNet feeds two heads, one for part labels and one for heat maps; refinement networks then look at what
both have found. SS-JPPNet parses alone, and a loss on the centres of body parts teaches it the body's structure.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from posebook.coordinates import HeatmapCodec
from posebook.layers.aspp import ASPP, rates_of
from posebook.layers.resnet import BLOCKS, ResNet, recomputed
from posebook.losses import heatmap_mse, parsing_cross_entropy
from posebook.network import (
    HeatmapNetwork,
    ParsingNetwork,
    Setting,
    check_choice,
    check_counts,
    check_sigma,
    check_weight,
    chosen,
)
from posebook.papers.look_into_person.structure import READINGS, part_regions, structure_sensitive_loss, thinned
from posebook.sample import Sample
from posebook.skeleton import PARTS

TASKS = ("both", "parsing", "pose")
MERGES = ("maximum", "mean")

# The magnifications of the input that share all weights. Open: Sec. 6.1 names 0.75, 0.5 and 1.25 for testing and none
# for training; these are the authors' code's. The first two are Chen et al.'s (CVPR 2016).
SCALES = (1.0, 0.5, 0.75)


class Outputs(NamedTuple):
    """What `JPPNet` gives for a batch: for each stage (the first, then each refinement) and each scale of the input.

    Attributes:
        maps: heat maps; None where it does not learn joints.
        parsing: part logits, at the same resolution; None where it does not learn parts.
    """

    maps: Float[Tensor, "b stages scales joints h w"] | None
    parsing: Float[Tensor, "b stages scales parts h w"] | None


class OnResNet(ParsingNetwork):
    """A network on a ResNet, its `backbone`, that is trained in two phases (Sec. 6.1); what they train, it says itself.

    One that entered no phase is in the last.
    """

    phases = 2
    phase = phases - 1
    backbone: ResNet

    def enter(self, phase: int) -> None:
        """Train what a phase trains, 0 or 1."""
        self.phase = phase

    def load_imagenet(self, path: str | Path) -> None:
        """ImageNet's weights for the ResNet: as `ResNet.load_imagenet`."""
        self.backbone.load_imagenet(path)


class JPPNet(HeatmapNetwork, OnResNet):
    """Joint human parsing and pose estimation (Sec. 5.2, Fig. 9, Table 7).

    Departs: dilations of the ASPP are in proportion to the maps' side, the paper's at 384 pixels. Departs: the maps of
    smaller inputs are brought to the largest one's resolution before they are compared.
    Open: at which resolution part labels are compared. As in the authors' code, labels are thinned out to the logits'.
    Open: the heat maps' error. Here it is squared; the authors' code has the norm of all maps of a batch.
    Open: how scales are merged. The text says by the maximum, the authors' code takes the mean; and whether single
    scales are supervised beside what they merge to: here they are, as in the code.
    Open: weights of the two tasks in the loss: here 1 and `beta`, which is 1. How weights are drawn: see `initialise`.

    Trained in two phases (Sec. 6.1): part labels alone and without refinement, then everything. One that does not parse
    trains the same in both.

    Args:
        joints: number of heat maps.
        size: side of the input in pixels, a multiple of the stride (8, or 4 without pooling).
        depth: layers of the ResNet: 101, the paper's, 50, or 26 or 14 for small images.
        width: channels of its first convolution, the paper's 64.
        features: channels of Table 7's contexts, the paper's 256; 512 and 128 there are twice and half as many.
        pooled: with the ResNet's max pooling; without, the stride is 4 instead of 8.
        norm: with batch norm in the heads, which the paper's have not, but which small networks trained from scratch
            hardly learn without.
        tasks: "both", or "parsing" or "pose" alone, which have no refinement.
        refinements: the paper's S1 and S2 are 1 and 2.
        scales: how many of `SCALES` the input is looked at in, the paper's "MSC" 3, without it 1.
        merge: of the scales' maps, "maximum" or "mean".
        parts: number of part labels, with the background.
        beta: weight of the pose loss beside the parsing loss.
        sigma: standard deviation of the target's Gaussians, in cells.
        checkpointing: keep little for the gradient and compute it again: at 384 pixels, the paper's network keeps
            0.7 GB per image instead of 2.1.

    Raises:
        ValueError: a setting out of its range.
    """

    name = "look_into_person"

    def __init__(
        self,
        joints: int = 16,
        size: int = 384,
        depth: int = 101,
        width: int = 64,
        features: int = 256,
        pooled: bool = True,
        norm: bool = False,
        tasks: str = "both",
        refinements: int = 2,
        scales: int = 3,
        merge: str = "maximum",
        parts: int = len(PARTS),
        beta: float = 1.0,
        sigma: float = 1.0,
        checkpointing: bool = False,
    ) -> None:
        settings = chosen(locals())
        super().__init__()
        self.settings = settings
        check_counts(self.name, joints=joints, features=features, parts=parts)
        check_choice(self.name, "tasks", tasks, TASKS)
        check_choice(self.name, "refinements", refinements, (0, 1, 2, 3))
        check_choice(self.name, "merge", merge, MERGES)
        check_sigma(self.name, sigma)
        if features % 2:
            raise ValueError(f"{self.name}: features is {features}; give an even number, half of which are remapped to")
        if refinements and tasks != "both":
            raise ValueError(f"{self.name}: a refinement needs both tasks, and tasks is {tasks}; give refinements=0")
        check_weight(self.name, "beta", beta, "pose loss")
        stride = _stride(self.name, size, pooled, scales)
        self.codec = HeatmapCodec(size, stride, sigma)
        self.finds_joints, self.parses = tasks != "parsing", tasks != "pose"
        self.backbone = _backbone(self.name, depth, width, pooled, self.parses, checkpointing)
        rates = rates_of(size // stride)
        if self.parses:
            self.to_parts = ASPP(32 * width, parts, rates)
        if refinements:  # nothing else looks at this context
            self.part = PartModule(32 * width, features, norm)
        if self.finds_joints:
            self.joint = JointModule(16 * width, features, joints, norm)
        self.refine_pose, self.refine_parsing = (
            nn.ModuleList(Refinement(joints, parts, features, norm, last()) for _ in range(refinements))
            for last in (lambda: nn.Conv2d(features, joints, 1), lambda: ASPP(features, parts, rates))
        )
        last = [module.last for module in (*self.refine_pose, *self.refine_parsing)]
        last += [self.to_parts] if self.parses else []
        last += [self.joint.last] if self.finds_joints else []
        initialise(self, self.backbone, last)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Outputs:
        """Heat maps and part logits of every stage and scale, at the ResNet's stride.

        In training, a phase's outputs are those that it trains.
        """
        by_scale = [self._look(view) for view in views(images, self.settings["scales"])]
        maps, parsing = (_stacked(some) for some in zip(*by_scale, strict=True))
        return Outputs(maps, parsing)

    def _look(self, images: Float[Tensor, "b 3 _ _"]) -> tuple[list[Tensor], list[Tensor]]:
        """Heat maps and part logits of every stage, of images of one scale."""
        res4, res5 = self.backbone(images)  # (b, 16 width, h, w), (b, 32 width, h, w)
        maps, parsing = [], []
        if self.parses:
            parsing.append(self.to_parts(res5))  # (b, parts, h, w)
            if self.training and not self.phase:
                return maps, parsing
        if self.finds_joints:
            joint_context, found = self.joint(res4)  # (b, features, h, w), (b, joints, h, w)
            maps.append(found)
        part_context = self.part(res5) if self.settings["refinements"] else None  # (b, features, h, w)
        for pose, parse in zip(self.refine_pose, self.refine_parsing, strict=True):
            both = maps[-1], parsing[-1]
            joint_context, found = self._refine(pose, *both, joint_context)
            part_context, labels = self._refine(parse, *both, part_context)
            maps.append(found)
            parsing.append(labels)
        return maps, parsing

    def _refine(self, module: Refinement, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        return recomputed(module, *inputs) if self.settings["checkpointing"] and self.training else module(*inputs)

    def loss(self, outputs: Outputs, batch: Sample) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Of every stage, the merged maps' loss plus that of each scale: cross-entropy, and beta times `heatmap_mse`.

        What a phase does not train adds 0.

        Raises:
            ValueError: the batch has no part labels, and the network is to learn them.
        """
        terms = {"pose": batch.joints.new_zeros(())} if self.finds_joints else {}
        if outputs.maps is not None:
            target = self.codec.of(outputs.maps).encode(batch.joints, batch.presence)  # (b, joints, h, w)
            losses = [heatmap_mse(some, target, batch.presence) for some in self._supervised(outputs.maps)]
            terms["pose"] = torch.stack(losses).sum()
        if outputs.parsing is not None:
            check_labelled(batch, self.name)
            labels = thinned(batch.parsing, outputs.parsing.shape[-1])  # (b, h, w)
            losses = [parsing_cross_entropy(some, labels) for some in self._supervised(outputs.parsing)]
            terms["parsing"] = torch.stack(losses).sum()
        weights = {"pose": self.settings["beta"], "parsing": 1.0}
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum(), terms

    def _supervised(self, some: Float[Tensor, "b stages scales c h w"]) -> list[Float[Tensor, "b c h w"]]:
        """The maps that are compared with the truth: of every stage the merged ones and, of several scales, each."""
        merged = self._merged(some)[:, :, None]  # (b, stages, 1, c, h, w)
        every = torch.cat([merged, some], 2) if some.shape[2] > 1 else merged
        return list(every.flatten(1, 2).unbind(1))

    def _merged(self, some: Float[Tensor, "b stages scales c h w"]) -> Float[Tensor, "b stages c h w"]:
        return some.amax(2) if self.settings["merge"] == "maximum" else some.mean(2)

    def maps(self, outputs: Outputs) -> Float[Tensor, "b joints cells cells"]:
        """The last stage's merged heat maps (Sec. 6.1: "for pose, we only use the results of the last stage").

        Raises:
            ValueError: the network does not learn joints.
        """
        if outputs.maps is None:
            raise ValueError("this network parses alone (tasks=parsing): it finds no joints")
        return self._merged(outputs.maps)[:, -1]

    def probabilities(self, outputs: Outputs) -> Float[Tensor, "b parts s s"]:
        """Of each part at each pixel of the image, averaged over all stages (Sec. 6.1).

        Raises:
            ValueError: the network does not learn parts.
        """
        if outputs.parsing is None:
            raise ValueError("this network finds joints alone (tasks=pose): it has no part labels")
        merged = self._merged(outputs.parsing)  # (b, stages, parts, h, w)
        return to_image(merged.softmax(2).mean(1), self.codec.stride)


class PartModule(nn.Sequential):
    """From Res-5 to the context of body parts: Table 7, "Part module"."""

    def __init__(self, inputs: int, features: int, norm: bool) -> None:
        super().__init__(conv(inputs, 2 * features, 3, norm), conv(2 * features, features, 3, norm))


class JointModule(nn.Module):
    """From Res-4 to the context of joints and their heat maps: Table 7, "Joint module"."""

    def __init__(self, inputs: int, features: int, joints: int, norm: bool) -> None:
        super().__init__()
        channels = (inputs, 2 * features, 2 * features, features, features, features, features)
        # conv-1 to conv-6
        self.context = nn.Sequential(*(conv(*some, 3, norm) for some in itertools.pairwise(channels)))
        self.conv7 = conv(features, 2 * features, 1, norm)
        self.last = nn.Conv2d(2 * features, joints, 1)

    def forward(self, res4: Float[Tensor, "b inputs h w"]) -> tuple[Tensor, Tensor]:
        context = self.context(res4)  # (b, features, h, w)
        return context, self.last(self.conv7(context))  # and (b, joints, h, w)


class Refinement(nn.Module):
    """Both tasks' maps and one's context, to a better context and better maps: Table 7, "refinement".

    Args:
        last: from the context to maps: a 1x1 convolution for heat maps, an ASPP for part logits.
    """

    def __init__(self, joints: int, parts: int, features: int, norm: bool, last: nn.Module) -> None:
        super().__init__()
        self.remap1 = conv(joints, features // 2, 1, norm)
        self.remap2 = conv(parts, features // 2, 1, norm)
        channels = (2 * features, 2 * features, features, features, features, features)
        # conv-1 to conv-5
        self.context = nn.Sequential(
            *(conv(*some, side, norm) for some, side in zip(itertools.pairwise(channels), (3, 5, 7, 9, 1), strict=True))
        )
        self.last = last

    def forward(
        self, maps: Float[Tensor, "b joints h w"], parsing: Float[Tensor, "b parts h w"], context: Tensor
    ) -> tuple[Float[Tensor, "b features h w"], Float[Tensor, "b c h w"]]:
        remapped = self.remap1(maps), self.remap2(parsing)  # (b, features / 2, h, w) each
        context = self.context(torch.cat([*remapped, context], 1))  # (b, features, h, w)
        return context, self.last(context)


def conv(inputs: int, outputs: int, side: int, norm: bool) -> nn.Sequential:
    """A convolution, with or without batch norm, and a ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, padding=side // 2), *([nn.BatchNorm2d(outputs)] * norm), nn.ReLU()
    )


class AttentionOutputs(NamedTuple):
    """What `SSJPPNet` gives for a batch.

    Attributes:
        parsing: part logits of each scale of the input, at the largest one's resolution.
        attention: how much each scale counts in each cell; 1 in sum.
    """

    parsing: Float[Tensor, "b scales parts h w"]
    attention: Float[Tensor, "b scales h w"]


class SSJPPNet(OnResNet):
    """Parsing with self-supervised structure-sensitive learning (Sec. 5.3), on a network with attention to scale.

    The base is that of Chen, Yang, Wang, Xu, Yuille (*Attention to Scale*, CVPR 2016): an ASPP at every scale of the
    input, and a head that tells how much each scale counts where, with a loss on every scale beside the merged one's.

    Departs: the ResNet and the ASPP of `JPPNet`, with its dilations, in the place of Chen et al.'s VGG16 and its head,
    so that the two are comparable. Departs: the attention head looks at the ResNet's features.

    Trained in two phases (Sec. 6.1): without the structure-sensitive loss, then with it.

    Args:
        size, depth, width, features, pooled, norm, parts, checkpointing: as in `JPPNet`.
        scales: how many of `SCALES` the input is looked at in.
        structure: "weight" has the structure loss weigh each image's parsing loss, without a gradient of its own;
            "soft" has a gradient through soft centres; "none" is the base network.
        sigma: standard deviation of the Gaussians around the centres, in cells.

    Raises:
        ValueError: a setting out of its range.
    """

    name = "look_into_person_parsing"
    finds_joints = False

    def __init__(
        self,
        size: int = 320,
        depth: int = 101,
        width: int = 64,
        features: int = 256,
        pooled: bool = True,
        norm: bool = False,
        scales: int = 3,
        structure: str = "weight",
        parts: int = len(PARTS),
        sigma: float = 1.0,
        checkpointing: bool = False,
    ) -> None:
        settings = chosen(locals())
        super().__init__()
        self.settings = settings
        check_counts(self.name, features=features, parts=parts)
        check_choice(self.name, "structure", structure, READINGS)
        check_sigma(self.name, sigma)
        stride = _stride(self.name, size, pooled, scales)
        self.codec = HeatmapCodec(size, stride, sigma)
        self.backbone = _backbone(self.name, depth, width, pooled, True, checkpointing)
        self.to_parts = ASPP(32 * width, parts, rates_of(size // stride))
        self.attention = conv(scales * 32 * width, 2 * features, 3, norm)
        self.last = nn.Conv2d(2 * features, scales, 1)
        self.register_buffer("regions", part_regions(parts), persistent=False)
        initialise(self, self.backbone, [self.to_parts, self.last])

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> AttentionOutputs:
        """Part logits of every scale, and how much each counts where."""
        features = [self.backbone(view)[1] for view in views(images, self.settings["scales"])]
        parsing = torch.stack([_resized(self.to_parts(some), features[0]) for some in features], 1)
        seen = torch.cat([_resized(some, features[0]) for some in features], 1)  # (b, scales * 32 width, h, w)
        attention = self.last(self.attention(seen))  # (b, scales, h, w)
        return AttentionOutputs(parsing.float(), attention.float().softmax(1))

    def merged(self, outputs: AttentionOutputs) -> Float[Tensor, "b parts h w"]:
        """Part logits, averaged over the scales by attention."""
        return (outputs.attention[:, :, None] * outputs.parsing).sum(1)

    def loss(self, outputs: AttentionOutputs, batch: Sample) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The cross-entropy of the merged logits, which the structure loss weighs (eq. (2)), and of each scale's own.

        "structure" is that weight's mean, which is a part of "parsing" already; 0 in the first phase.

        Raises:
            ValueError: the batch has no part labels.
        """
        check_labelled(batch, self.name)
        merged = self.merged(outputs)
        reading = self.settings["structure"] if self.phase else "none"
        labels = thinned(batch.parsing, merged.shape[-1])  # (b, h, w)
        terms = structure_sensitive_loss(merged, labels, self.regions, self.codec.sigma, reading)
        if self.settings["structure"] != "none":
            terms.setdefault("structure", merged.new_zeros(()))
        if self.settings["scales"] > 1:
            every = [parsing_cross_entropy(some, labels) for some in outputs.parsing.unbind(1)]
            terms["scales"] = torch.stack(every).sum()
        return torch.stack([term for name, term in terms.items() if name != "structure"]).sum(), terms

    def probabilities(self, outputs: AttentionOutputs) -> Float[Tensor, "b parts s s"]:
        """Of each part at each pixel of the image."""
        return to_image(self.merged(outputs).softmax(1), self.codec.stride)


def views(images: Float[Tensor, "b 3 s s"], scales: int) -> list[Float[Tensor, "b 3 _ _"]]:
    """The images at so many of `SCALES`."""
    side = images.shape[-1]
    sides = [round(side * scale) for scale in SCALES[:scales]]
    return [images] + [F.interpolate(images, size=(some, some), mode="bilinear", antialias=True) for some in sides[1:]]


def to_image(probabilities: Float[Tensor, "b parts h w"], stride: int) -> Float[Tensor, "b parts s s"]:
    """Maps at the image's resolution."""
    return F.interpolate(probabilities, scale_factor=float(stride), mode="bilinear")


def check_labelled(batch: Sample, name: str) -> None:
    """ValueError for a batch without part labels."""
    if batch.parsing is None:
        raise ValueError(
            f"{name} learns part labels, and this set has none: put its label maps in place, or take another set"
        )


def initialise(network: nn.Module, beside: nn.Module, last: Iterable[nn.Module]) -> None:
    """Draw the weights of the heads: without norm, a chain of convolutions as torch draws them starts near 0.

    Those before a ReLU after He et al. (ICCV 2015); the last ones, which give maps, are small.
    """
    spared, small = set(beside.modules()), {part for module in last for part in module.modules()}
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module not in spared:
            nn.init.zeros_(module.bias)
            if module in small:
                nn.init.normal_(module.weight, std=0.01)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def _stride(network: str, size: Setting, pooled: bool, scales: Setting) -> int:
    """Image pixels per cell; ValueError for a size that it does not divide, or another number of scales."""
    check_counts(network, size=size)
    check_choice(network, "scales", scales, tuple(range(1, len(SCALES) + 1)))
    stride = 8 if pooled else 4
    if size % stride:
        raise ValueError(f"{network}: size is {size}; give a multiple of {stride}")
    return stride


def _backbone(network: str, depth: Setting, width: Setting, *more: bool) -> ResNet:
    check_counts(network, width=width)
    check_choice(network, "depth", depth, tuple(BLOCKS))
    return ResNet(depth, width, *more)


def _resized(maps: Float[Tensor, "b c _ _"], like: Tensor) -> Float[Tensor, "b c h w"]:
    return maps if maps.shape == like.shape else F.interpolate(maps, size=like.shape[-2:], mode="bilinear")


def _stacked(by_scale: tuple[list[Tensor], ...]) -> Float[Tensor, "b stages scales c h w"] | None:
    """The maps of all stages and scales, at the first scale's resolution; None where there are none."""
    if not by_scale[0]:
        return None
    by_stage = zip(*by_scale, strict=True)
    stacked = [torch.stack([_resized(some, stage[0]) for some in stage], 1) for stage in by_stage]
    return torch.stack(stacked, 1).float()
