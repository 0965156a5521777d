"""Convolution with a kernel per image and channel, in time and memory, against a convolution with b * c groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from soft_argmax import Memory
from timing import medians
from torch import Tensor

from posebook.compute.precision import channels_last, has_bf16
from posebook.compute.processes import pick_device
from posebook.layers.adaptive_conv import dynamic_depthwise_conv2d

# Images, channels, cells, side of the kernels: the paper's layer, and those that are trained in minutes.
CASES = ((32, 256, 64, 7), (16, 64, 16, 7), (16, 64, 16, 3))


def grouped(features: Tensor, kernels: Tensor) -> Tensor:
    """The usual way: all images' channels side by side, a group each."""
    b, c, h, w = features.shape
    side = kernels.shape[-1]
    together = F.conv2d(
        features.reshape(1, b * c, h, w), kernels.reshape(b * c, 1, side, side), padding=side // 2, groups=b * c
    )
    return together.view(b, c, h, w)


WAYS = {"ours": dynamic_depthwise_conv2d, "baseline": grouped}


def memory(way: Callable, leaves: tuple[Tensor, Tensor], gradient: Tensor) -> dict[str, int]:
    """Bytes kept from forward for backward, and the most at any time, the features among them while they are needed."""
    with Memory() as counted:
        # A copy stands for what the layer before gives: it goes away unless something keeps it.
        maps = way(leaves[0].clone(), leaves[1])
        kept = counted.bytes - maps.untyped_storage().nbytes()
        torch.autograd.grad(maps, leaves, gradient)
    return {"kept for backward": kept, "peak": counted.peak}


def agree(leaves: tuple[Tensor, Tensor], gradient: Tensor) -> None:
    """AssertionError where the two ways differ in more than rounding."""
    results = []
    for way in WAYS.values():
        maps = way(*leaves)
        results.append((maps.detach(), *torch.autograd.grad(maps, leaves, gradient)))
    for ours, theirs in zip(*results, strict=True):
        error = (ours.double() - theirs.double()).norm() / theirs.double().norm()
        assert error < (0.005 if ours.dtype == torch.bfloat16 else 1e-5), f"they differ by {error:.1e}"


def measure(device: str = "auto", cases: Iterable[tuple[int, int, int, int]] = CASES) -> list[dict]:
    """Images a second in turns, forward alone and with backward, and memory; checks first that both agree."""
    where = pick_device(device)
    fastest = torch.bfloat16 if has_bf16(where) else torch.float32
    rows = []
    for images, channels, cells, side in cases:
        what = f"a {side}x{side} kernel per image and channel, {images}x{channels}x{cells}x{cells}"
        for dtype in sorted({torch.float32, fastest}, key=str):
            torch.manual_seed(0)
            features = channels_last(torch.randn(images, channels, cells, cells, device=where, dtype=dtype))
            kernels = torch.randn(images, channels, side, side, device=where, dtype=dtype)
            gradient = channels_last(torch.randn(features.shape, device=where, dtype=dtype))
            leaves = features.requires_grad_(), kernels.requires_grad_()
            agree(leaves, gradient)

            def forward(way: Callable, leaves: tuple = leaves) -> Callable[[], object]:
                return lambda: way(*(leaf.detach() for leaf in leaves))

            def both(way: Callable, leaves: tuple = leaves, gradient: Tensor = gradient) -> Callable[[], object]:
                return lambda: torch.autograd.grad(way(*leaves), leaves, gradient)

            name = str(dtype).removeprefix("torch.")
            for step, kind in ((forward, "forward"), (both, "forward and backward")):
                # What takes a millisecond is measured oftener.
                repeats = 7 if features.numel() > 1e6 else 25
                seconds = medians({key: step(way) for key, way in WAYS.items()}, repeats)
                rate = {key: images / value for key, value in seconds.items()}
                rows.append(_row(f"{what}, {kind}", rate, "images/s", name))
            if dtype == fastest:
                sizes = {key: memory(way, leaves, gradient) for key, way in WAYS.items()}
                rows += [
                    _row(f"{what}, {kind}", {key: size[kind] / 1e6 for key, size in sizes.items()}, "MB", name)
                    for kind in ("kept for backward", "peak")
                ]
    return rows


def _row(what: str, values: dict[str, float], unit: str, dtype: str) -> dict:
    """A row of the table; of memory, less is better."""
    ratio = values["ours"] / values["baseline"]
    ratio = 1 / ratio if unit == "MB" else ratio
    note = f"{dtype}; against b * c groups"
    return {"what": what, **values, "unit": unit, "ratio": ratio, "note": note}


if __name__ == "__main__":
    for row in measure():
        ratio = f"{row['ours']:.4g} against {row['baseline']:.4g} {row['unit']}, {row['ratio']:.2f} x"
        print(f"{row['what']} ({row['note']}): {ratio}")
