"""What every network has in common: how it is used, its settings, and what those that put out heat maps share.

Every network is used in the same way:

    outputs = network(images)                      # (b, 3, s, s) in [0, 1] to whatever it likes
    loss, terms = network.loss(outputs, batch)     # a scalar, and its parts by name
    joints, confidence = network.decode(outputs)   # (b, j, 2) in pixels, (b, j)

`network.name` is what the catalogue in `papers` calls it, and `network.settings` what it was made with, `joints` and
`size` among it; all have defaults. A network that makes heat maps also has `maps(outputs)`, (b, j, h, w), and a `codec`
that reads them: inference then averages maps over flips and scales, and coordinates otherwise.

One that tells body parts has `parses` True, and gives how likely each is by `probabilities(outputs)`, (b, parts, s, s),
and the likeliest by `labels(outputs)`, (b, s, s). One that finds no joints has `finds_joints` False.

One that is trained in phases has their number in `phases`; `enter(phase)` has it train what that phase trains, and
`phase` is the one that it is in.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from posebook.coordinates import HeatmapCodec
from posebook.losses import heatmap_mse
from posebook.sample import Sample

Setting = int | float | bool | str


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The network in evaluation mode; afterwards it is in the mode that it was in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def settings_of(network: type[nn.Module]) -> dict[str, Setting]:
    """The settings that a class of networks takes, each with its default."""
    return {name: parameter.default for name, parameter in inspect.signature(network).parameters.items()}


def chosen(arguments: dict[str, Any]) -> dict[str, Setting]:
    """A constructor's own arguments, which are the network's settings: `chosen(locals())` in its first line."""
    return {name: value for name, value in arguments.items() if name not in ("self", "__class__")}


def check_settings(network: type[nn.Module], settings: dict[str, Setting]) -> None:
    """ValueError for a setting that a class of networks does not have."""
    known = settings_of(network)
    for name in settings:
        if name not in known:
            raise ValueError(f"model '{network.name}' has no setting '{name}'; it has {', '.join(known)}")


def check_counts(network: str, **counts: Setting) -> None:
    """ValueError for a setting, given by its name, that is not a whole number of at least 1."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{network}: {name} is {value!r}; give a whole number of at least 1")


def check_choice(network: str, name: str, value: Setting, known: tuple[Setting, ...]) -> None:
    """ValueError for a setting that is none of those known."""
    if value not in known:
        raise ValueError(f"{network}: {name} is {value!r}; give {', '.join(map(str, known))}")


def check_sigma(network: str, sigma: Setting) -> None:
    """ValueError for a standard deviation that no Gaussian has."""
    if isinstance(sigma, bool) or not isinstance(sigma, int | float) or not 0 < sigma < math.inf:
        raise ValueError(f"{network}: sigma is {sigma!r}; give the Gaussians' standard deviation in cells, above 0")


def check_weight(network: str, name: str, value: Setting, of: str) -> None:
    """ValueError for what cannot be the weight of a term of a loss."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{network}: {name} is {value!r}; give the {of}'s weight, 0 or above")


def check_poolings(network: str, size: int, stride: int, depth: int) -> None:
    """ValueError for a side of the input that a stride and so many poolings do not divide."""
    step = stride * 2**depth
    if size % step:
        raise ValueError(
            f"{network}: size is {size}, which {depth} poolings at stride {stride} do not divide; "
            f"give a multiple of {step}, or a smaller depth"
        )


def stack_losses(
    maps: Float[Tensor, "b stacks j h w"], target: Float[Tensor, "b j h w"], presence: Shaped[Tensor, "b j"]
) -> dict[str, Float[Tensor, ""]]:
    """`heatmap_mse` of every stack, by its name: intermediate supervision."""
    return {f"stack_{k}": heatmap_mse(some, target, presence) for k, some in enumerate(maps.unbind(1), start=1)}


class HeatmapNetwork(nn.Module):
    """A network whose outputs are heat maps of each of its stacks, (b, stacks, joints, cells, cells).

    A subclass sets `settings` and `codec`; one with other outputs says in `maps` where the last stack's heat maps are.
    """

    settings: dict[str, Setting]
    codec: HeatmapCodec
    finds_joints = True

    def loss(
        self, outputs: Float[Tensor, "b stacks joints cells cells"], batch: Sample
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Intermediate supervision: the sum of `heatmap_mse` over the stacks, and each stack's own."""
        target = self.codec.of(outputs).encode(batch.joints, batch.presence)
        terms = stack_losses(outputs, target, self.learnt(batch))
        return torch.stack(list(terms.values())).sum(), terms

    def learnt(self, batch: Sample) -> Shaped[Tensor, "b joints"]:
        """Not 0 where a joint has a part in the loss: here, where it is present."""
        return batch.presence

    def decode(self, outputs: Any) -> tuple[Float[Tensor, "b joints 2"], Float[Tensor, "b joints"]]:
        """Joints in image pixels and the height of each peak, from the last stack."""
        return self.codec.decode(self.maps(outputs))

    def maps(self, outputs: Any) -> Float[Tensor, "b joints cells cells"]:
        """The last stack's heat maps, which inference averages over mirror images and scales."""
        return outputs[:, -1]


class ParsingNetwork(nn.Module):
    """A network that tells body parts, or can.

    A subclass has the setting `parts`, and `probabilities(outputs)`: of each part at each pixel of the image, 1 in sum.
    """

    settings: dict[str, Setting]
    parses = True

    def labels(self, outputs: Any) -> Int[Tensor, "b s s"]:
        """The most likely part of every pixel of the image."""
        return self.probabilities(outputs).argmax(1)


def parses(network: nn.Module) -> bool:
    """Whether a network tells body parts."""
    return getattr(network, "parses", False)


def finds_joints(network: nn.Module) -> bool:
    """Whether a network finds joints."""
    return getattr(network, "finds_joints", True)
