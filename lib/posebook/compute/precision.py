"""bfloat16 and channels-last where the processor is faster with them, and the one switch that turns bfloat16 off.

Weights stay in float32 throughout; autocast rounds a convolution's inputs to bfloat16 and sums in float32.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn

# "0" turns bfloat16 off everywhere that nobody asked for it by argument.
SWITCH = "POSEBOOK_BF16"

TensorOrModule = TypeVar("TensorOrModule", Tensor, nn.Module)


def has_bf16(device: torch.device | str) -> bool:
    """Whether the device multiplies bfloat16 in hardware: recent CUDA GPUs, and CPUs with AVX512-BF16 or AMX.

    torch runs bfloat16 on any CPU, and on one without the instructions it is several times slower than float32.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return kind == "cpu" and _cpu_has_bf16()


def _cpu_has_bf16() -> bool:
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    # Older releases of torch answer the same two questions under private names.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@contextmanager
def float32_by_default() -> Iterator[None]:
    """A context in which new tensors are float32, as weights and images are, whatever the caller's default is."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def use_bf16(device: torch.device | str, bf16: bool | None = None) -> bool:
    """Whether work on the device runs in bfloat16.

    Args:
        bf16: True or False decides; None means where the device has it, unless the environment variable
            `POSEBOOK_BF16` is 0.

    Raises:
        ValueError: the environment variable is neither 0 nor 1.
    """
    if bf16 is not None:
        return bf16
    switch = os.environ.get(SWITCH, "1")
    if switch not in ("0", "1"):
        raise ValueError(f"the environment variable {SWITCH} is '{switch}'; set it to 0 (off) or 1 (where there is)")
    return switch == "1" and has_bf16(device)


def autocast(device: torch.device | str, bf16: bool | None = None) -> AbstractContextManager:
    """A context in which networks run in bfloat16, or as they are where `use_bf16` says no, as on the meta device.

    Example:
        >>> with autocast("cpu", bf16=True):
        ...     (torch.ones(1, 2) @ torch.ones(2, 1)).dtype
        torch.bfloat16
    """
    if not use_bf16(device, bf16):
        return in_float32(device)
    return torch.autocast(torch.device(device).type, torch.bfloat16)


def is_autocast(device: torch.device | str) -> bool:
    """Whether work on the device is under autocast here. Shapes alone, as on the meta device, have no precision."""
    kind = torch.device(device).type
    return kind != "meta" and torch.is_autocast_enabled(kind)


def in_float32(device: torch.device | str) -> AbstractContextManager:
    """A context without autocast, for the few operations that bfloat16's eight bits are too few for."""
    return torch.autocast(torch.device(device).type, enabled=False) if is_autocast(device) else nullcontext()


def channels_last(what: TensorOrModule) -> TensorOrModule:
    """The images, or the module with its weights, laid out with channels innermost, as fast convolutions want them.

    A module is changed in place, as with `Module.to`; values and shapes stay what they are.
    """
    return what.to(memory_format=torch.channels_last)
