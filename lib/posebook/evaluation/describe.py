"""What a network consists of: its parts with their output shapes, parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from posebook.network import evaluating


def describe(model: nn.Module) -> dict:
    """The parts of a network and their totals, counted while one blank image of its size goes through.

    On the meta device (`with torch.device("meta"): model = create(...)`) only shapes go through, and the largest
    network takes a second or two.

    Returns:
        `model` and `settings`; `parameters` and `macs`, the totals for one image; and `parts` in the order in which
        they are called, each with `name`, `kind`, `output` (its shape, a list of shapes where there are several
        outputs, None where the part was not called), `parameters` and `macs`. Parameters that are in no part, but the
        network's own, come last, each as a part that is not called. A multiply-add (mac) is one multiplication with
        its addition, in convolutions and matrix products; normalisation, activations and pooling are not counted.
    """
    parts = dict(_parts(model))
    shapes: dict[str, list | None] = {}  # in the order in which the parts are called

    def record(name: str):
        return lambda module, inputs, output: shapes.update({name: _shapes(output)})

    hooks = [part.register_forward_hook(record(name)) for name, part in parts.items()]
    size = model.settings["size"]
    images = torch.zeros(1, 3, size, size, device=next(model.parameters()).device)
    try:
        with evaluating(model), FlopCounterMode(display=False) as counter, torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()

    shapes |= {name: None for name in parts if name not in shapes}
    root, flops = type(model).__name__, counter.get_flop_counts()
    rows = [
        {
            "name": name,
            "kind": type(parts[name]).__name__,
            "output": shape,
            "parameters": sum(p.numel() for p in parts[name].parameters()),
            "macs": sum(flops.get(f"{root}.{name}", {}).values()) // 2,
        }
        for name, shape in shapes.items()
    ]
    rows += [
        {"name": name, "kind": "Parameter", "output": None, "parameters": parameter.numel(), "macs": 0}
        for name, parameter in model.named_parameters(recurse=False)
    ]
    return {
        "model": root,
        "settings": model.settings,
        "parameters": sum(p.numel() for p in model.parameters()),
        "macs": counter.get_total_flops() // 2,
        "parts": rows,
    }


def table(description: dict) -> str:
    """What `describe` returns, as text for a terminal."""
    rows = [("part", "kind", "output", "parameters", "multiply-adds")]
    rows += [
        (part["name"], part["kind"], _text(part["output"]), f"{part['parameters']:,}", f"{part['macs']:,}")
        for part in description["parts"]
    ]
    rows.append(("total", description["model"], "", f"{description['parameters']:,}", f"{description['macs']:,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place < 3 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "-" * len(lines[0])
    settings = " ".join(f"{name}={value}" for name, value in description["settings"].items())
    return "\n".join([settings, "", lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _parts(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The top-level modules; a list of modules, which is never called itself, gives each of its entries."""
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _parts(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def _shapes(output: object) -> list | None:
    """The shape of a tensor, the shapes in a tuple, list or dictionary of them, None for anything else."""
    if isinstance(output, Tensor):
        return list(output.shape)
    if isinstance(output, dict):
        output = list(output.values())
    return [_shapes(entry) for entry in output] if isinstance(output, tuple | list) else None


def _text(shape: list | None) -> str:
    """A shape as 1x256x64x64, several with commas between."""
    if shape is None:
        return "-"
    if all(isinstance(side, int) for side in shape):
        return "x".join(map(str, shape))
    return ", ".join(map(_text, shape))
