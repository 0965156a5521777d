"""Random draws and colours of rendered scenes."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from posebook.figures import random

# Skin from dark to light, and hair: points that real tones lie between.
_SKIN = (
    (0.21, 0.13, 0.10), (0.36, 0.22, 0.16), (0.55, 0.36, 0.26), (0.72, 0.52, 0.40), (0.87, 0.68, 0.56),
    (0.97, 0.84, 0.75),
)  # fmt: skip
_HAIR = (
    (0.06, 0.05, 0.05), (0.16, 0.10, 0.07), (0.33, 0.20, 0.11), (0.62, 0.45, 0.24), (0.85, 0.72, 0.45),
    (0.50, 0.20, 0.09), (0.62, 0.60, 0.58), (0.90, 0.89, 0.87),
)  # fmt: skip

TURN = 2 * math.pi


class Draws:
    """Random numbers of a batch of keys, handed out one after the other."""

    def __init__(self, keys: Int64[Tensor, " m"], total: int, stream: int) -> None:
        self._numbers = random.uniforms(keys, total, stream=stream)
        self._next = 0
        self.device = keys.device

    def uniform(self, low: float | int = 0.0, high: float | int = 1.0) -> Float[Tensor, " m"]:
        """One number a key, evenly from `low` to `high`."""
        return self.many(1, low, high)[:, 0]

    def many(self, count: int, low: float | int = 0.0, high: float | int = 1.0) -> Float[Tensor, "m count"]:
        """Several numbers a key."""
        if self._next + count > self._numbers.shape[1]:
            raise ValueError(f"{self._numbers.shape[1]} draws are not enough: raise the total")
        taken = self._numbers[:, self._next : self._next + count]
        self._next += count
        return low + (high - low) * taken

    def chance(self, probability: float | Tensor) -> Tensor:
        """True with the probability given."""
        return self.uniform() < probability

    def choice(self, weights: tuple[float, ...]) -> Tensor:
        """The number of an option, drawn by weight."""
        edges = torch.tensor(weights, device=self.device).cumsum(0)
        return torch.bucketize(self.uniform() * edges[-1], edges[:-1], right=True)


def hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Float[Tensor, "*m 3"]:
    """RGB of hue, saturation and value, all in [0, 1]."""
    k = (hue[..., None] * 6 + hue.new_tensor([5.0, 3.0, 1.0])) % 6
    return value[..., None] * (1 - saturation[..., None] * torch.minimum(k, 4 - k).clamp(0, 1))


def cloth(draws: Draws) -> Float[Tensor, "m 3"]:
    """Colours of clothing: a third near black, white or grey, the rest of any hue."""
    hue, muted, value = draws.uniform(), draws.uniform(), draws.uniform()
    saturation = torch.where(muted < 0.35, 0.08 * draws.uniform(), draws.uniform(0.25, 0.95))
    return hsv(hue, saturation, 0.08 + 0.87 * value)


def skin(draws: Draws) -> Float[Tensor, "m 3"]:
    """Skin tones, evenly over the range."""
    return _between(_SKIN, draws.uniform()) * (1 + draws.many(3, -0.06, 0.06))


def hair(draws: Draws) -> Float[Tensor, "m 3"]:
    """Hair, black and brown more often than the rest."""
    tones = torch.tensor(_HAIR, device=draws.device)[draws.choice((3.0, 3.0, 2.5, 1.2, 1.2, 0.7, 0.8, 0.5))]
    return tones * (1 + draws.many(3, -0.15, 0.15))


def _between(tones: tuple, position: Tensor) -> Tensor:
    table = torch.tensor(tones, device=position.device)
    place = position * (len(tones) - 1)
    lower = place.floor().long().clamp(max=len(tones) - 2)
    weight = (place - lower)[:, None]
    return table[lower] * (1 - weight) + table[lower + 1] * weight


def stripes(draws: Draws, probability: float) -> Float[Tensor, "m 3"]:
    """A cloth's pattern as `raster.Shapes.pattern` wants it; plain where the chance goes against it."""
    along = draws.uniform(8, 45) * draws.chance(0.7)
    across = draws.uniform(4, 22) * draws.chance(0.5)
    strength = draws.uniform(0.08, 0.45) * draws.chance(probability) * ((along + across) > 0)
    return torch.stack([along, across, strength], -1)
