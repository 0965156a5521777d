"""The parsing induced learner (PIL) of Nie, Feng, Zuo, Yan: *Human Pose Estimation with Parsing Induced Learner*,
CVPR 2018, and the networks it is measured against.

A second network learns to tell body parts apart, and from its features convolution kernels are predicted, for each
image its own, by which the first network's features are refined before joints are read from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from posebook.association import People, PeopleCodec
from posebook.coordinates import HeatmapCodec
from posebook.layers.adaptive_conv import ORDERS, AdaptiveConv
from posebook.layers.vgg import VGG16
from posebook.losses import offset_loss, parsing_cross_entropy
from posebook.network import (
    HeatmapNetwork,
    ParsingNetwork,
    check_choice,
    check_counts,
    check_sigma,
    check_weight,
    chosen,
    stack_losses,
)
from posebook.papers.hourglass.network import STRIDE, Hourglass
from posebook.sample import Sample
from posebook.skeleton import PARTS

BACKBONES = ("hourglass", "vgg16")
VARIANTS = ("pil", "pose", "self", "self_factored", "add", "multi", "concat", "mtl")

# Variants with a parsing network of their own; in "mtl" the pose network parses, and the rest never see a label.
_PARSERS = ("pil", "add", "multi", "concat")


class Outputs(NamedTuple):
    """What `ParsingInduced` gives for a batch.

    Attributes:
        maps: heat maps of each stack of the pose network.
        parsing: a logit a part, at the parsing network's resolution; None in variants that do not parse.
        kernels: of the adaptive convolution, predicted for each image ("pil") or the same for all ("self_factored");
            None in variants without one.
        offsets: from each cell to the centre of its joint's person, as `association.Targets` has them; None unless the
            network finds several people.
    """

    maps: Float[Tensor, "b stacks joints h w"]
    parsing: Float[Tensor, "b parts h w"] | None
    kernels: Float[Tensor, "b features k k"] | None
    offsets: Float[Tensor, "b 2*joints h w"] | None


class ParsingInduced(HeatmapNetwork, ParsingNetwork):
    """A pose network with a parsing induced learner (Sec. 3, Fig. 2), or one of Sec. 4.2's other ways to use parsing.

    Departs: "self_factored" is not in the paper.
    Open: beta is not given. The authors' code has 0.01 beside a squared error that is averaged over the cells of a map;
    here it is summed over them, and so that would be 41 at 64x64 cells. 1 is our own choice.
    Open: whether VGG16 has batch norm is not said; here it has unless it is told otherwise. Nor is it said how weights
    are drawn: here as torch does it, in the authors' code after He et al.
    Open: "the highest-level features" are the last stack's. Heat maps of earlier stacks are supervised as those of any
    hourglass and not refined. The "traditional convolution" of Self is a full one of the predicted kernels' side.

    Args:
        joints: number of heat maps.
        size: side of the input in pixels: for hourglasses a multiple of 4 * 2 ** depth, for VGG16 of 8.
        variant: "pil" is the paper's. "pose" is the pose network alone. "self" has a usual convolution in the place of
            the adaptive one, "self_factored" the adaptive one with a kernel that is the same for all images. "add",
            "multi" and "concat" join the parsing network's features to the pose network's; "mtl" learns both tasks
            from one network's features.
        backbone: "hourglass" or "vgg16", of both networks.
        stacks, units: of the pose network, m and n of HG-ms-nu.
        parsing_units: of the parsing network, which has one stack: n of HG-1s-nu.
        features: channels, a multiple of 4 (of 8 for VGG16, whose own are 512).
        depth: poolings inside an hourglass.
        norm: whether VGG16 has batch norm, without which it hardly learns from scratch (`load_imagenet` takes either).
        poolings: of the parameter adapter, the paper's 2, or fewer for small images.
        order: in which U, the predicted kernels and V come: "paper", or "official" as in the authors' code.
        beta: the parsing loss's weight, eq. (2).
        parts: number of part labels, with the background.
        people: find everyone (Sec. 4.3): maps hold all people's joints, and with them go offsets to each one's centre.
        frozen: the learner's encoder and adapter come from another network (`take_learner`) and are not trained (Sec.
            4.4): for sets without part labels.
        sigma: standard deviation of the target's Gaussians, in cells.

    Raises:
        ValueError: a setting out of its range, or a size of which the adapter makes no odd kernel.
    """

    name = "parsing_induced"

    def __init__(
        self,
        joints: int = 16,
        size: int = 256,
        variant: str = "pil",
        backbone: str = "hourglass",
        stacks: int = 8,
        units: int = 1,
        parsing_units: int = 2,
        features: int = 256,
        depth: int = 4,
        norm: bool = True,
        poolings: int = 2,
        order: str = "paper",
        beta: float = 1.0,
        parts: int = len(PARTS),
        people: bool = False,
        frozen: bool = False,
        sigma: float = 1.0,
    ) -> None:
        settings = chosen(locals())
        super().__init__()
        self.settings = settings
        check_counts(
            self.name, joints=joints, size=size, stacks=stacks, units=units, parsing_units=parsing_units,
            features=features, depth=depth, parts=parts,
        )  # fmt: skip
        check_choice(self.name, "variant", variant, VARIANTS)
        check_choice(self.name, "backbone", backbone, BACKBONES)
        check_choice(self.name, "order", order, ORDERS)
        check_choice(self.name, "poolings", poolings, (0, 1, 2))
        check_sigma(self.name, sigma)
        check_weight(self.name, "beta", beta, "parsing loss")
        if frozen and variant != "pil":
            raise ValueError(f"parsing_induced: a {variant} has no learner to be frozen; give variant=pil")
        if backbone == "vgg16" and (features % 8 or size % VGG16.stride or stacks > 1):
            raise ValueError(
                f"parsing_induced: VGG16 takes a size and features that 8 divides and has one stack; given are size "
                f"{size}, features {features}, stacks {stacks}"
            )
        stride = STRIDE if backbone == "hourglass" else VGG16.stride
        if variant in ("pil", "self", "self_factored"):
            side = kernel_side(size // stride, poolings)
        self.codec = HeatmapCodec(size, stride, sigma)
        self.pose = _encoder(backbone, joints, size, stacks, features, units, depth, norm)
        refined = features * (2 if variant == "concat" else 1)
        self.to_maps = nn.Conv2d(refined, joints, 1)
        self.to_offsets = nn.Conv2d(refined, 2 * joints, 1) if people else None
        if variant in _PARSERS:
            self.parsing = _encoder(backbone, parts, size, 1, features, parsing_units, depth, norm)
        # A frozen learner's labels are not asked for.
        self.parses = variant in (*_PARSERS, "mtl") and not frozen
        self.to_parts = nn.Conv2d(features, parts, 1) if self.parses else None
        if variant == "pil":
            self.adapter = ParameterAdapter(features, poolings)
        if variant in ("pil", "self_factored"):
            self.adaptive = AdaptiveConv(features, order=order)
        if variant == "self":
            self.convolution = nn.Conv2d(features, features, side, padding=side // 2, bias=False)
        if variant == "self_factored":
            # As PyTorch draws a depthwise convolution's.
            bound = 1 / side
            self.kernels = nn.Parameter(torch.empty(features, side, side).uniform_(-bound, bound))
        if frozen:
            for part in self._learner():
                part.requires_grad_(False).eval()

    def forward(
        self, images: Float[Tensor, "b 3 s s"], kernels: Float[Tensor, "b features k k"] | None = None
    ) -> Outputs:
        """Heat maps, part logits, kernels and offsets.

        Args:
            kernels: "pil" takes these instead of those that the images' own parsing features give; the other variants
                do not look at them.
        """
        variant = self.settings["variant"]
        pose, earlier = _encode(self.pose, images)  # F^P: (b, features, h, w)
        parsing = _encode(self.parsing, images)[0] if variant in _PARSERS else pose  # F^S: (b, features, h, w)
        if variant == "pil" and kernels is None:
            kernels = self.adapter(parsing)  # theta~: (b, features, k, k)
        if variant == "self_factored":
            kernels = self.kernels.repeat(len(images), 1, 1, 1)
        refined = self._refine(pose, parsing, kernels)  # F^P*: (b, features, h, w); twice the features for "concat"
        maps = torch.stack([*earlier, self.to_maps(refined)], 1).float()  # (b, stacks, joints, h, w)
        parts = None if self.to_parts is None else self.to_parts(parsing).float()  # (b, parts, h, w)
        offsets = None if self.to_offsets is None else self.to_offsets(refined).float()  # (b, 2 joints, h, w)
        return Outputs(maps, parts, kernels, offsets)

    def _refine(
        self, pose: Float[Tensor, "b c h w"], parsing: Float[Tensor, "b c h w"], kernels: Tensor | None
    ) -> Float[Tensor, "b refined h w"]:
        """The features that joints are read from."""
        match self.settings["variant"]:
            case "pil" | "self_factored":
                return pose + self.adaptive(pose, kernels)
            case "self":
                return pose + self.convolution(pose)
            case "add":
                return pose + parsing
            case "multi":
                return pose * parsing
            case "concat":
                return torch.cat([pose, parsing], 1)
        return pose

    def loss(self, outputs: Outputs, batch: Sample) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Eq. (2): `heatmap_mse` of every stack, summed, plus beta times `parsing_cross_entropy`.

        Where several people are to be found, the targets are everyone's, and `offset_loss` is a part of the pose loss.

        Raises:
            ValueError: the batch has no part labels, or those of one person alone, and the network is to learn them.
        """
        terms = self._pose_loss(outputs, batch)
        loss = torch.stack(list(terms.values())).sum()
        if outputs.parsing is None:
            return loss, terms
        if batch.parsing is None:
            raise ValueError(
                f"{self.settings['variant']} learns part labels, and this set has none: take a learner from another "
                "set (frozen=True), or a variant that does not parse (pose, self, self_factored)"
            )
        terms["parsing"] = parsing_cross_entropy(outputs.parsing, batch.parsing)
        return loss + self.settings["beta"] * terms["parsing"], terms

    def _pose_loss(self, outputs: Outputs, batch: Sample) -> dict[str, Tensor]:
        """The terms of eq. (2) that are about joints."""
        codec = self.codec.of(outputs.maps)
        if outputs.offsets is None:
            target, counted = codec.encode(batch.joints, batch.presence), batch.presence
        elif batch.people_joints is None:
            raise ValueError("this network finds several people, and the set labels one: open figures with people=4")
        else:
            everyone = PeopleCodec(self.codec).of(outputs.maps).encode(batch.people_joints, batch.people_presence)
            # Where a joint is nobody's, its map is to be blank.
            target, counted = everyone.maps, torch.ones_like(batch.presence)
        terms = {"pose": torch.stack(list(stack_losses(outputs.maps, target, counted).values())).sum()}
        if outputs.offsets is not None:
            terms["offsets"] = offset_loss(outputs.offsets, everyone.offsets, everyone.mask)
        return terms

    def maps(self, outputs: Outputs) -> Float[Tensor, "b joints cells cells"]:
        """The last stack's heat maps, which inference averages over mirror images and scales."""
        return outputs.maps[:, -1]

    def find(self, outputs: Outputs) -> list[People]:
        """The people of each image: peaks by non-maximum suppression, put together by their offsets (Sec. 3.3, 4.1).

        Raises:
            ValueError: the network was not made for several people.
        """
        if outputs.offsets is None:
            raise ValueError("this network finds one person an image: make it with people=True to find several")
        return PeopleCodec(self.codec).of(outputs.maps).decode(self.maps(outputs), outputs.offsets)

    def probabilities(self, outputs: Outputs) -> Float[Tensor, "b parts s s"]:
        """Of each part at each pixel of the image.

        Raises:
            ValueError: the variant does not parse.
        """
        if outputs.parsing is None:
            raise ValueError(f"{self.settings['variant']} parses nothing here: it has no part logits")
        side = outputs.parsing.shape[-1] * self.codec.stride
        return F.interpolate(outputs.parsing, size=(side, side), mode="bilinear").softmax(1)

    def _learner(self) -> list[nn.Module]:
        """Parsing encoder and parameter adapter."""
        return [self.parsing, self.adapter]

    def take_learner(self, other: ParsingInduced) -> None:
        """The encoder and adapter of a network that was trained where part labels are (Sec. 4.4).

        Raises:
            ValueError: either network has no learner, or they are of different settings.
        """
        if not isinstance(other, ParsingInduced):
            raise ValueError(f"a network {other.name} has no learner: give the weights of a parsing_induced")
        shared = ["backbone", "parsing_units", "features", "depth", "poolings"]
        if self.settings["backbone"] == "vgg16":  # hourglasses have batch norm in any case
            shared.append("norm")
        for network in (self, other):
            if network.settings["variant"] != "pil":
                raise ValueError(f"a {network.settings['variant']} has no learner: give networks of variant pil")
        for name in shared:
            if self.settings[name] != other.settings[name]:
                raise ValueError(
                    f"the learner was made with {name}={other.settings[name]}, and this network has "
                    f"{name}={self.settings[name]}: give them the same"
                )
        for mine, given in zip(self._learner(), other._learner(), strict=True):
            mine.load_state_dict(given.state_dict())

    def load_imagenet(self, path: str | Path) -> None:
        """ImageNet's weights for both networks, where they are VGG16: as `VGG16.load_imagenet`.

        Raises:
            ValueError: the networks are hourglasses.
        """
        if self.settings["backbone"] != "vgg16":
            raise ValueError(
                "ImageNet's weights are for VGG16, and these networks are hourglasses: give backbone=vgg16"
            )
        for network in (self.pose, getattr(self, "parsing", None)):
            if network is not None:
                network.load_imagenet(path)

    def train(self, mode: bool = True) -> ParsingInduced:
        """As usual, but a frozen learner stays as it is: its batch norm keeps the statistics it has."""
        super().train(mode)
        if self.settings["frozen"]:
            for part in self._learner():
                part.eval()
        return self


class HourglassEncoder(Hourglass):
    """Stacked hourglasses without the last stack's heat maps, which are made of refined features elsewhere.

    Gives the features that they would be made of, and the heat maps of the stacks before.
    """

    def __init__(self, *arguments: int) -> None:
        super().__init__(*arguments)
        del self.to_maps[-1]

    forward = Hourglass.encode


class ParameterAdapter(nn.Module):
    """From parsing features to one kernel per channel (Sec. 3.2, Fig. 3): 3x3 / 2, max pool, 3x3, max pool, 3x3.

    The padding is that of the authors' code: none in the first convolution, same size in the others; 64x64 features
    give 7x7 kernels.

    Departs: for small images poolings can be left out, the last first; the paper has both.

    Args:
        features: channels, in and out.
        poolings: 0 to 2.
    """

    def __init__(self, features: int, poolings: int = 2) -> None:
        super().__init__()
        self.poolings = poolings
        self.conv1 = nn.Conv2d(features, features, 3, stride=2)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        self.conv3 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, parsing: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c k k"]:
        x = self.conv1(parsing)  # (b, c, 31, 31) of 64x64
        x = self.conv2(F.max_pool2d(x, 2) if self.poolings > 0 else x)  # (b, c, 15, 15)
        return self.conv3(F.max_pool2d(x, 2) if self.poolings > 1 else x)  # (b, c, 7, 7)


def kernel_side(cells: int, poolings: int = 2) -> int:
    """Side of the kernels that `ParameterAdapter` makes of a map of so many cells a side.

    Raises:
        ValueError: it is even or below 1, so that no kernel can be centred.
    """
    side = (cells - 3) // 2 + 1
    for _ in range(poolings):
        side //= 2
    if side < 1 or side % 2 == 0:
        raise ValueError(
            f"parsing_induced: from {cells} cells a side, {poolings} poolings make kernels of side {max(side, 0)}, and "
            "an adaptive convolution needs an odd one: give another size, or poolings (0, 1 or 2)"
        )
    return side


def _encoder(
    backbone: str, maps: int, size: int, stacks: int, features: int, units: int, depth: int, norm: bool
) -> nn.Module:
    if backbone == "vgg16":
        return VGG16(features, norm)
    return HourglassEncoder(maps, size, stacks, features, units, depth)


def _encode(network: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Features, and the heat maps of earlier stacks."""
    found = network(images)
    return found if isinstance(network, HourglassEncoder) else (found, [])
