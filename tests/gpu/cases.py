"""Every network, loss and set of people in a small size, for tests that run them on another device than the CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from posebook import losses
from posebook.figures.dataset import Figures
from posebook.network import Setting
from posebook.papers import create
from posebook.papers.parsing_induced.network import VARIANTS
from posebook.sample import Sample

SIZE = 64
# Sixteen cells a side, then poolings down to four: batch norm has at least 64 values a channel everywhere.
HOURGLASS = {"stacks": 2, "features": 16, "depth": 2}
PARSING = HOURGLASS | {"parsing_units": 1, "poolings": 1}
BLOCKS = {"blocks": 2, "features": 36}
PERSON = {"depth": 14, "width": 4, "features": 16, "pooled": False, "norm": True, "scales": 2}
OVERLAP = (
    "r_ankle r_knee l_ankle l_knee r_hip l_hip pelvis, pelvis thorax upper_neck head_top r_shoulder l_shoulder, "
    "r_shoulder r_elbow r_wrist, l_shoulder l_elbow l_wrist"
)

# A network's name, and the settings over its defaults.
NETWORKS: dict[str, tuple[str, dict[str, Setting]]] = {
    "hourglass": ("hourglass", HOURGLASS),
    "look_into_person": ("look_into_person", PERSON | {"refinements": 1}),
    "look_into_person mean": ("look_into_person", PERSON | {"merge": "mean", "norm": False, "checkpointing": True}),
    "look_into_person parsing": ("look_into_person", PERSON | {"tasks": "parsing", "refinements": 0}),
    "look_into_person pose": ("look_into_person", PERSON | {"tasks": "pose", "refinements": 0}),
    "look_into_person_parsing": ("look_into_person_parsing", PERSON),
    "look_into_person_parsing soft": ("look_into_person_parsing", PERSON | {"structure": "soft"}),
    "multi_scale": ("multi_scale", HOURGLASS | {"scales": 2}),
    "multi_scale as printed": (
        "multi_scale",
        HOURGLASS | {"scales": 2, "norm": "cells", "combination": "maximum", "regression": False},
    ),
    "part_groups": ("part_groups", HOURGLASS | {"width": 8}),
    "part_groups overlapping": ("part_groups", HOURGLASS | {"width": 8, "groups": OVERLAP, "propagate": "specific"}),
    "part_groups tasks": ("part_groups", HOURGLASS | {"variant": "baseline", "leave_out": "r_ankle l_ankle"}),
    "part_groups deep_baseline": ("part_groups", HOURGLASS | {"variant": "deep_baseline"}),
    "soft_argmax": ("soft_argmax", BLOCKS),
    "soft_argmax no context": ("soft_argmax", BLOCKS | {"context": 0, "ramps": "official"}),
    "soft_argmax_detection": ("soft_argmax_detection", BLOCKS),
    **{f"parsing_induced {name}": ("parsing_induced", PARSING | {"variant": name}) for name in VARIANTS},
    "parsing_induced official": ("parsing_induced", PARSING | {"order": "official"}),
    "parsing_induced people": ("parsing_induced", PARSING | {"people": True}),
    "parsing_induced frozen": ("parsing_induced", PARSING | {"frozen": True}),
    "parsing_induced vgg16": (
        "parsing_induced",
        {"backbone": "vgg16", "stacks": 1, "features": 16, "poolings": 0},
    ),
}


def network(case: str) -> nn.Module:
    """A network of `NETWORKS`, the same weights each time."""
    name, settings = NETWORKS[case]
    torch.manual_seed(0)
    return create(name, size=SIZE, **settings)


def people(count: int = 4, **options: int | float) -> Sample:
    """Rendered people with all labels there are; options as of `Figures`."""
    return Figures("train", SIZE, **({"people": 3} | options)).batch(torch.arange(count))


def _random(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def _presence() -> Tensor:
    return torch.randint(0, 3, (4, 5), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def _labels() -> Tensor:
    labels = torch.randint(0, 7, (4, 32, 32), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    labels[:, :3] = 255
    return labels


# Each loss, and arguments of it: what is learnt comes first.
LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[[], tuple[Tensor, ...]]]] = {
    "heatmap_mse": (losses.heatmap_mse, lambda: (_random(4, 5, 16, 16), 1 - _random(4, 5, 16, 16), _presence())),
    "heatmap_loss": (
        partial(losses.heatmap_loss, norm="map"),
        lambda: (_random(4, 5, 16, 16), 1 - _random(4, 5, 16, 16), _presence()),
    ),
    "structure_loss": (
        partial(losses.structure_loss, combination="maximum", norm="cells"),
        lambda: (_random(4, 5, 16, 16), 1 - _random(4, 5, 16, 16), _presence(), torch.tensor([[0, 1, 1], [2, 3, 4]])),
    ),
    "structure_aware_loss": (
        partial(losses.structure_aware_loss, alpha=0.1),
        lambda: (_random(4, 5, 16, 16), 1 - _random(4, 5, 16, 16), _presence(), torch.tensor([[0, 1, 1], [2, 3, 4]])),
    ),
    "elastic_net": (losses.elastic_net, lambda: (_random(4, 5, 2), 1 - _random(4, 5, 2), _presence())),
    "presence_cross_entropy": (losses.presence_cross_entropy, lambda: (8 * _random(4, 5) - 4, _presence())),
    "parsing_cross_entropy": (losses.parsing_cross_entropy, lambda: (9 * _random(4, 7, 8, 8), _labels())),
    "offset_loss": (
        losses.offset_loss,
        lambda: (_random(4, 10, 8, 8), 1 - _random(4, 10, 8, 8), _random(4, 5, 8, 8) > 0.5),
    ),
}
