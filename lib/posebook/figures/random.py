"""Random numbers by counter: what is drawn for a sample depends on the sample's key alone.

A generator with a state gives sample 7 other numbers when sample 3 is left out. Here every number is a hash of
(key, stream, counter), so that samples can be drawn in any order, in batches of any size, on any device:

    keys = random.keys("train", torch.arange(256), seed=0)
    placement = random.uniforms(keys, 4, stream=PLACEMENT)
    noise = random.normals(keys, 32, stream=NOISE)

The hash is the finaliser of SplitMix64 (Steele, Lea, Flood, *Fast Splittable Pseudorandom Number Generators*, 2014).
Keys and uniform numbers are the same bit for bit on every device, normal ones up to the rounding of log, cos and sin.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from posebook.sample import SPLITS, check_split

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_FORK = 0xD1342543DE82EF95
_MANTISSA = 24


def keys(split: str, indices: Int[Tensor, " b"], seed: int) -> Int64[Tensor, " b"]:
    """A key for each sample of a split, on the device of `indices`.

    Within one (split, seed) no two indices share a key; between two of them a shared key is as likely as any
    coincidence of 64 random bits.

    Raises:
        ValueError: an unknown split.
    """
    check_split(split)
    salt = _hash(_hash(seed) + SPLITS.index(split))
    return _mix(_mix(indices.long() + _signed(_GOLDEN)) + _signed(salt))


def fork(keys: Int64[Tensor, " b"], count: int) -> Int64[Tensor, "b count"]:
    """Several keys from each: for the people of a scene, say. No two of a key's are equal."""
    return _mix(keys[:, None] + torch.arange(1, count + 1, device=keys.device) * _signed(_FORK))


def uniforms(keys: Int64[Tensor, " b"], count: int, stream: int = 0) -> Float[Tensor, "b count"]:
    """Numbers in [0, 1), multiples of 2^-24; never 1.

    Args:
        count: numbers a key; the first ones do not depend on it.
        stream: which of a key's independent sequences. A caller with a stream of its own disturbs nobody else's
            numbers when it draws more or fewer.
    """
    return _uniforms(keys, count, 2 * stream)


def normals(keys: Int64[Tensor, " b"], count: int, stream: int = 0) -> Float[Tensor, "b count"]:
    """Standard normal numbers (Box and Muller, 1958); independent of `uniforms` of the same stream.

    Args:
        count, stream: as for `uniforms`.
    """
    pairs = (count + 1) // 2
    radius, angle = _uniforms(keys, 2 * pairs, 2 * stream + 1).reshape(-1, pairs, 2).unbind(-1)
    radius = (-2 * torch.log1p(-radius)).sqrt()
    angle = angle * (2 * math.pi)
    both = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], -1)
    return both.flatten(1)[:, :count]


def _uniforms(keys: Tensor, count: int, sequence: int) -> Tensor:
    start = _mix(keys + _signed(_hash(sequence)))
    counter = torch.arange(1, count + 1, device=keys.device) * _signed(_GOLDEN)
    bits = _mix(start[:, None] + counter)
    return _shift(bits, 64 - _MANTISSA).float() * 2.0**-_MANTISSA


def _mix(bits: Tensor) -> Tensor:
    """SplitMix64's finaliser, a bijection of 64-bit words; int64 wraps around as uint64 would."""
    bits = (bits ^ _shift(bits, 30)).mul_(_signed(_FIRST))
    bits = (bits ^ _shift(bits, 27)).mul_(_signed(_SECOND))
    return bits ^ _shift(bits, 31)


def _shift(bits: Tensor, by: int) -> Tensor:
    """Logical shift to the right: int64's own drags the sign along."""
    return (bits >> by).bitwise_and_((1 << (64 - by)) - 1)


def _hash(number: int) -> int:
    """`_mix` of a Python number, offset so that 0 does not stay 0."""
    bits = (number + _GOLDEN) % 2**64
    bits = (bits ^ bits >> 30) * _FIRST % 2**64
    bits = (bits ^ bits >> 27) * _SECOND % 2**64
    return bits ^ bits >> 31


def _signed(bits: int) -> int:
    """An unsigned 64-bit word as the int64 with the same bits."""
    return bits - 2**64 if bits >= 2**63 else bits
