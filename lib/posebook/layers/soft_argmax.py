"""Soft-argmax: the place a heat map expects, with a gradient (Luvizon, Tabia, Picard, 2017, Sec. 3.2.1)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from posebook.coordinates import pixel_centres
from posebook.precision import in_float32

RAMPS = ("centres", "paper", "official")


def ramp(
    count: int, kind: str = "centres", device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Float[Tensor, " count"]:
    """What the cells along one side of a map stand for, as a fraction of that side: W of eq. (3).

    Args:
        kind: "centres" takes the middle of each cell, (i - 1/2) / count for i = 1, 2, ...; "paper" is i / count as
            eq. (3) has it, half a cell more; "official" runs from 0 to 1, as the authors' code does: half a cell less
            at one end and half a cell more at the other.
    """
    if kind == "centres":
        return (pixel_centres(count, device) / count).to(dtype)
    if kind == "paper":
        return torch.arange(1, count + 1, device=device, dtype=dtype) / count
    if kind == "official":
        return torch.linspace(0, 1, count, device=device, dtype=dtype)
    raise ValueError(f"ramps are {', '.join(RAMPS)}; there is no '{kind}'")


def spatial_softmax(maps: Float[Tensor, "*b h w"], temperature: int | float = 1.0) -> Float[Tensor, "*b h w"]:
    """Each map made a distribution over its cells, eq. (1); above temperature 1 it is flatter, below it is sharper."""
    return torch.softmax(maps.flatten(-2) / temperature, -1).reshape(maps.shape)


def soft_argmax(
    maps: Float[Tensor, "*b h w"], temperature: int | float = 1.0, ramps: str = "centres"
) -> Float[Tensor, "*b 2"]:
    """The expected place (x, y) of each map under its spatial softmax, eqs. (2)-(4), in [0, 1] of the map's sides.

    Half precision is taken to float32 first: a rounded probability shifts all of the sum.

    Args:
        maps: logits.
        temperature: what logits are divided by; a sharp one keeps a flat background from pulling the place to the
            middle of the map.
        ramps: as in `ramp`.

    Example:
        >>> maps = torch.zeros(4, 4)
        >>> maps[1, 2] = 20.0
        >>> soft_argmax(maps)  # the centre of the third column and of the second row
        tensor([0.6250, 0.3750])
    """
    height, width = maps.shape[-2:]
    flat = maps.flatten(-2).to(torch.promote_types(maps.dtype, torch.float32))
    x = ramp(width, ramps, maps.device, flat.dtype)
    y = ramp(height, ramps, maps.device, flat.dtype)
    places = torch.stack([x.repeat(height), y.repeat_interleave(width)], -1)  # (h w, 2)
    with in_float32(maps.device):
        return torch.softmax(flat / temperature, -1) @ places
