"""Soft-argmax: the place a heat map expects, with a gradient (Luvizon, Tabia, Picard, 2017, Sec. 3.2.1)."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx

from posebook.compute.precision import in_float32
from posebook.coordinates import pixel_centres

RAMPS = ("centres", "paper", "official")

Temperature = int | float | Float[Tensor, "*joints"]


def ramp(
    count: int, kind: str = "centres", device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Float[Tensor, " count"]:
    """What the cells along one side of a map stand for, as a fraction of that side: W of eq. (3).

    Args:
        kind: "centres" takes the middle of each cell, (i - 1/2) / count for i = 1, 2, ...; "paper" is i / count as
            eq. (3) has it, half a cell more; "official" runs from 0 to 1, as the authors' code does: half a cell less
            at one end and half a cell more at the other.

    Raises:
        ValueError: another kind.
    """
    if kind == "centres":
        return pixel_centres(count, device).to(dtype) / count
    if kind == "paper":
        return torch.arange(1, count + 1, device=device, dtype=dtype) / count
    if kind == "official":
        return torch.linspace(0, 1, count, device=device, dtype=dtype)
    raise ValueError(f"ramps are {', '.join(RAMPS)}; there is no '{kind}'")


def spatial_softmax(maps: Float[Tensor, "*b h w"], temperature: Temperature = 1.0) -> Float[Tensor, "*b h w"]:
    """Each map made a distribution over its cells, eq. (1); above temperature 1 it is flatter, below it is sharper.

    Arguments and what raises as in `soft_argmax`.
    """
    maps, temperature = _tempered(maps, temperature)
    return _softmax(maps, temperature).reshape(maps.shape)


def soft_argmax(
    maps: Float[Tensor, "*b h w"], temperature: Temperature = 1.0, ramps: str = "centres"
) -> Float[Tensor, "*b 2"]:
    """The expected place (x, y) of each map under its spatial softmax, eqs. (2)-(4), in [0, 1] of the map's sides.

    Half precision is taken to float32 first: a rounded probability shifts all of the sum.

    With Phi the softmax, W_ijd the ramps and Psi_d the place, the gradient is exactly

        dPsi_d / dh_ij = Phi_ij (W_ijd - Psi_d) / temperature

    Departs: eq. (5) as printed is W_ijd Phi_ij (1 - Phi_ij), which leaves out what h_ij takes from the other cells'
    probabilities; all of it would have one sign.

    Args:
        maps: logits.
        temperature: what logits are divided by; a sharp one keeps a flat background from pulling the place to the
            middle of the map. A tensor is one for all maps or one for each along their last leading axes (joints), and
            gets a gradient where it asks for one.
        ramps: as in `ramp`.

    Raises:
        ValueError: a temperature that is not above 0, or unknown ramps.

    Example:
        >>> maps = torch.zeros(4, 4)
        >>> maps[1, 2] = 20.0
        >>> soft_argmax(maps)  # the centre of the third column and of the second row
        tensor([0.6250, 0.3750])
    """
    with in_float32(maps.device):
        maps, temperature = _tempered(maps.to(torch.promote_types(maps.dtype, torch.float32)), temperature)
        return _Place.apply(maps, temperature, ramps)


class _Place(torch.autograd.Function):
    """`soft_argmax`, with its gradient written out.

    torch's own would come to the same in twice the time: the gradient of the product with the places is as large as
    the maps, and the softmax's goes over it three times. Here the gradient is written once and multiplied once.

    It cannot be differentiated twice, nor go through torch.func, for which torch has an error of its own.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, maps: Float[Tensor, "*b h w"], temperature: int | float, ramps: str
    ) -> Float[Tensor, "*b 2"]:
        height, width = maps.shape[-2:]
        across, down, x, y = _ramps(height, width, ramps, maps.device, maps.dtype)
        softmax = _softmax(maps, temperature)  # (..., h w)
        # Two products with a vector are several times faster than one with a matrix of two columns.
        expected = torch.stack([softmax @ x, softmax @ y], -1)  # (..., 2)
        # A copy, so that whoever gets the place may change it in place.
        ctx.save_for_backward(softmax, expected.clone())
        ctx.across, ctx.down, ctx.temperature = across, down, temperature
        return expected

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Float[Tensor, "*b 2"]) -> tuple[Float[Tensor, "*b h w"], None, None]:
        # Grad mode is on where the gradient shall have one too; torch's once_differentiable may miss that.
        if torch.is_grad_enabled():
            raise RuntimeError("soft_argmax has no second derivative: take the sums over spatial_softmax yourself")
        softmax, expected = ctx.saved_tensors
        gradient = _divided(gradient, ctx.temperature)
        across = gradient[..., :1] * (ctx.across - expected[..., :1])  # (..., w)
        down = gradient[..., 1:] * (ctx.down - expected[..., 1:])  # (..., h)
        both = across[..., None, :] + down[..., None]  # (..., h, w)
        return both.mul_(softmax.view(both.shape)), None, None


@lru_cache(maxsize=32)
def _ramps(
    height: int, width: int, kind: str, device: torch.device, dtype: torch.dtype
) -> tuple[Float[Tensor, " w"], Float[Tensor, " h"], Float[Tensor, " hw"], Float[Tensor, " hw"]]:
    """The ramp along a row, the one along a column, and the x and the y of every cell, flat.

    Kept, since on small maps making them takes a fifth of the time; and never as inference tensors, since training may
    find here what prediction left.
    """
    with torch.inference_mode(False):
        across, down = ramp(width, kind, device, dtype), ramp(height, kind, device, dtype)
        return across, down, across.repeat(height), down.repeat_interleave(width)


def _softmax(maps: Float[Tensor, "*b h w"], temperature: int | float) -> Float[Tensor, "*b hw"]:
    return torch.softmax(_divided(maps.flatten(-2), temperature), -1)


def _divided(values: Float[Tensor, "*b"], temperature: int | float) -> Float[Tensor, "*b"]:
    """Values by temperature, without a pass over them where it is 1."""
    return values if temperature == 1 else values / temperature


def _tempered(maps: Float[Tensor, "*b h w"], temperature: Temperature) -> tuple[Float[Tensor, "*b h w"], int | float]:
    """Maps divided by a temperature that is a tensor, and the number that is left to divide them by.

    Raises:
        ValueError: a temperature that is not above 0, or one for other maps than these.
    """
    if not isinstance(temperature, Tensor):
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature is {temperature}; give a number above 0")
        return maps, temperature
    if temperature.device.type != "meta" and not (temperature > 0).all():
        raise ValueError(f"temperature is {temperature.detach().min():g} somewhere; give numbers above 0")
    given, leading = tuple(temperature.shape), tuple(maps.shape[:-2])
    if given != leading[len(leading) - len(given) :]:
        raise ValueError(f"temperature is {given} and there are {leading} maps; give one number, or one per joint")
    return maps / temperature[..., None, None], 1
