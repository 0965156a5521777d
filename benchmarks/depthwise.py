"""Convolution of each channel by itself, forward and backward, against `torch.nn.Conv2d` with a group a channel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from timing import medians, row
from torch import nn

from posebook.compute.precision import autocast, has_bf16
from posebook.compute.processes import pick_device
from posebook.layers import DepthwiseConv

# The largest of a prediction block's: at 256 pixels, and at the 96 pixels that fit into minutes.
CASES = ((4, 576, 32), (16, 288, 12))


def step(layer: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """Forward and backward, as a network under autocast does it."""

    def run() -> None:
        with autocast(x.device):
            y = layer(x)
        y.backward(torch.ones_like(y))

    return run


def measure() -> list[dict]:
    """Images a second of the two, in turns; checks first that they do the same."""
    device = pick_device("auto")
    dtype, rows = "bfloat16" if has_bf16(device) else "float32", []
    for images, channels, cells in CASES:
        ours = DepthwiseConv(channels, 5).to(device)
        theirs = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False).to(device)
        theirs.load_state_dict(ours.state_dict())
        x = torch.randn(images, channels, cells, cells, device=device).to(memory_format=torch.channels_last)
        x.requires_grad_()
        torch.testing.assert_close(ours(x), theirs(x))
        seconds = medians({"ours": step(ours, x), "baseline": step(theirs, x)})
        what = f"depthwise convolution 5x5, {images}x{channels}x{cells}x{cells}"
        note = f"forward and backward, {dtype}; against torch's own Conv2d"
        rows.append(row(what, seconds, images, "images/s", note))
    return rows


if __name__ == "__main__":
    print(*measure(), sep="\n")
