"""Poses, parsing and heat maps over images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from posebook.association import People
from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.evaluation.metrics import distances
from posebook.pictures.style import ERROR_COLOUR, SERIES, figure, numpy_of, readable
from posebook.sample import Sample
from posebook.skeleton import (
    CENTRE_COLOUR,
    COLOUR_OF_PART,
    IGNORE_LABEL,
    LEFT_COLOUR,
    OCCLUDED,
    PARTS,
    RIGHT_COLOUR,
    VISIBLE,
    Skeleton,
)  # fmt: skip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_pose(
    ax: Axes,
    joints: Float[Tensor, "j 2"],
    presence: Shaped[Tensor, " j"] | None,
    skeleton: Skeleton,
    width: float = 2.5,
    alpha: float = 1.0,
    colour: str | None = None,
) -> None:
    """One pose over whatever the axes show, in its pixels.

    Args:
        presence: absent joints and their limbs are left out, occluded ones are rings; None takes all as visible.
        width: of the limbs, in points; joints follow.
        colour: one for all, in place of the sides' colours.
    """
    from matplotlib.collections import LineCollection

    points = numpy_of(joints)
    present = np.full(len(points), VISIBLE) if presence is None else numpy_of(presence)
    present = np.where(np.isfinite(points).all(-1), present, 0)
    limbs = [(a, b) for a, b in skeleton.pairs(skeleton.limbs) if present[a] and present[b]]
    names = skeleton.joints
    sides = [colour or skeleton.side_colour(names[a], names[b]) for a, b in limbs]
    # A pale line beneath keeps limbs readable on dark clothes.
    for line, ink in ((width + 1.5, ["white"] * len(limbs)), (width, sides)):
        lines = points[limbs] if limbs else []
        ax.add_collection(LineCollection(lines, colors=ink, linewidths=line, alpha=alpha, capstyle="round", zorder=3))
    shown = present > 0
    inks = np.array([colour or skeleton.side_colour(name) for name in names])
    fill = np.where(present == OCCLUDED, "white", inks)
    for edge, extra in (("white", 1.4), (inks[shown], 0.0)):
        ax.scatter(*points[shown].T, s=(2 * width + extra) ** 2, c=fill[shown], edgecolors=edge,
                   linewidths=0.6 * width, alpha=alpha, zorder=4 + (extra == 0))  # fmt: skip


def show_image(ax: Axes, image: Float[Tensor, "3 h w"] | Float[Tensor, "h w"]) -> None:
    """An image without axes, its top-left corner at (0, 0), so that joints drawn over it lie where they belong."""
    pixels = numpy_of(image.clamp(0, 1))
    height, width = pixels.shape[-2:]
    pixels = pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels
    ax.imshow(pixels, extent=(0, width, height, 0), cmap="gray", vmin=0, vmax=1)
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.axis("off")


def show_samples(
    sample: Sample,
    skeleton: Skeleton,
    columns: int = 6,
    parsing: bool = False,
    titles: list[str] | None = None,
    parts: tuple[str, ...] = PARTS,
    beside: bool = False,
) -> Figure:
    """A sheet of the sample's images with their poses, or with their parsing labels and a legend of those that occur.

    Args:
        columns: people side by side.
        parts: what the labels are called, as in `draw_parsing`.
        beside: each image also stands bare, to the left of the one with labels.

    Raises:
        ValueError: parsing is asked for and the dataset has none.
    """
    if parsing and sample.parsing is None:
        raise ValueError("this dataset has no parsing labels: leave out parsing=True, or use figures")
    images = sample.images
    if beside:
        columns, images = 2 * columns, images.repeat_interleave(2, 0)
        titles = titles and [text for title in titles for text in (title, "")]
    sheet, panels = _sheet(images, columns, titles)
    panels = panels[1::2] if beside else panels
    if parsing:
        for labels, ax in zip(sample.parsing, panels, strict=True):
            draw_parsing(ax, labels, parts=parts)
        parsing_legend(sheet, sample.parsing, parts)
        return sheet
    for joints, presence, ax in zip(sample.joints, sample.presence, panels, strict=True):
        draw_pose(ax, joints, presence, skeleton, width=_line_width(columns))
    _pose_legend(sheet, [("visible", {"marker": "o"}), ("occluded", {"marker": "o", "markerfacecolor": "white"})])
    return sheet


def show_predictions(
    sample: Sample,
    predicted: Float[Tensor, "b j 2"],
    skeleton: Skeleton,
    columns: int = 4,
    threshold: float | None = None,
    titles: list[str] | None = None,
    measure: str | None = None,
) -> Figure:
    """Predictions in the sides' colours, the truth thin and black; lines lead from wrong predictions to the truth.

    Args:
        threshold: what is wrong, in head or torso sizes; None is 0.5 for PCKh and 0.2 for PCK.
        titles: above the images; None says how many joints are right, or that a person whose size is not known is not
            scored.
        measure: "PCKh" goes by head sizes, "PCK" by torso sizes; None is what the skeleton's benchmark is scored by.

    Raises:
        ValueError: another measure.
    """
    from matplotlib.collections import LineCollection

    measure = BENCHMARKS[skeleton.name].measure if measure is None else measure
    ways = {"PCKh": ("head", sample.head_size, 0.5), "PCK": ("torso", sample.torso_size, 0.2)}
    if measure not in ways:
        raise ValueError(f"measure must be one of {', '.join(ways)}, not '{measure}'")
    unit, size, usual = ways[measure]
    threshold = usual if threshold is None else threshold
    distance = distances(predicted, sample.joints, sample.presence, size)
    wrong = distance > threshold
    counted = (~distance.isnan()).sum(1)
    right = [
        f"{n - w} of {n} right" if n else "not scored"
        for n, w in zip(counted.tolist(), wrong.sum(1).tolist(), strict=True)
    ]
    sheet, panels = _sheet(sample.images, columns, right if titles is None else titles)
    width = _line_width(columns)
    for i, ax in enumerate(panels):
        draw_pose(ax, predicted[i], None, skeleton, width=width)
        draw_pose(ax, sample.joints[i], sample.presence[i], skeleton, width=width * 0.4, colour="black")
        misses = numpy_of(torch.stack([predicted[i][wrong[i]], sample.joints[i][wrong[i]]], 1))
        for line, ink in ((width + 1, "white"), (width * 0.7, ERROR_COLOUR)):
            ax.add_collection(LineCollection(misses, colors=ink, linewidths=line, linestyles=(0, (2, 1)), zorder=6))
    further = [
        ("truth", {"color": "black", "lw": 1}),
        (f"off by over {threshold:g} {unit} sizes", {"color": ERROR_COLOUR, "ls": ":"}),
    ]
    _pose_legend(sheet, further)
    return sheet


def show_people(
    images: Float[Tensor, "b 3 h w"],
    people: list[People],
    skeleton: Skeleton,
    columns: int = 4,
    titles: list[str] | None = None,
) -> Figure:
    """Several people over each image, each in a colour of their own, the best score's first.

    Args:
        people: of each image, as networks find them or `association.true_people` makes them of labels.
        titles: above the images; None says how many people there are.

    Raises:
        ValueError: another number of images than of lists of people, or none.
    """
    if len(images) != len(people):
        raise ValueError(f"there are {len(images)} images and people for {len(people)}: give as many of either")
    counts = ["1 person" if len(found) == 1 else f"{len(found)} people" for found in people]
    sheet, panels = _sheet(images, columns, counts if titles is None else titles)
    for found, ax in zip(people, panels, strict=True):
        for i, joints in enumerate(found.joints):
            # Missing joints are not numbers, and so are left out.
            draw_pose(ax, joints, None, skeleton, 0.8 * _line_width(columns), colour=SERIES[i % len(SERIES)])
    return sheet


def show_maps(
    image: Float[Tensor, "3 h w"],
    maps: Float[Tensor, "j h2 w2"],
    names: tuple[str, ...] | list[str],
    columns: int = 4,
    highest: float | None = None,
) -> Figure:
    """Heat maps over their image in grey, one a panel, all on one colour scale; titles give the height of the peak.

    Args:
        highest: value of the brightest colour; None takes the highest in the maps.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    grey = image.mean(0)
    titles = [f"{readable(name)}  {peak:.2f}" for name, peak in zip(names, maps.amax((1, 2)).tolist(), strict=True)]
    sheet, panels = _sheet(grey.expand(len(maps), *grey.shape), columns, titles)
    height, width = grey.shape
    colours = ScalarMappable(Normalize(0, float(maps.max()) if highest is None else highest), "inferno")
    for values, ax in zip(numpy_of(maps), panels, strict=True):
        # Little heat, little ink: the image stays visible where the map is low.
        ink = colours.to_rgba(values)
        ink[..., 3] = np.clip(colours.norm(values) * 2, 0, 0.85)
        ax.imshow(ink, extent=(0, width, height, 0), interpolation="nearest")
    sheet.set_size_inches(sheet.get_figwidth() + 1, sheet.get_figheight())
    sheet.colorbar(colours, ax=panels, shrink=0.6, label="height of the map")
    return sheet


def draw_parsing(ax: Axes, labels: Shaped[Tensor, "h w"], alpha: float = 0.75, parts: tuple[str, ...] = PARTS) -> None:
    """Part labels in their colours over whatever the axes show; background stays clear, ignored pixels are white.

    Args:
        parts: what the labels are called, in order: a dataset's `parts`. LIP's, unless others are given.

    Raises:
        ValueError: a part that `skeleton.COLOUR_OF_PART` has no colour for.
    """
    from matplotlib.colors import to_rgba_array

    table = np.zeros((256, 4))
    table[: len(parts)] = to_rgba_array(_colours(parts), alpha)
    table[0, 3] = 0
    table[IGNORE_LABEL] = (1, 1, 1, alpha)
    height, width = labels.shape
    ax.imshow(table[numpy_of(labels)], extent=(0, width, height, 0), interpolation="nearest")


def parsing_legend(sheet: Figure, labels: Shaped[Tensor, "*b h w"], parts: tuple[str, ...] = PARTS) -> None:
    """A legend below the figure of the parts that occur in the labels; `parts` and what raises as in `draw_parsing`."""
    from matplotlib.patches import Patch

    colours = _colours(parts)
    present = [label for label in labels.unique().tolist() if 0 < label < len(parts)]
    handles = [Patch(color=colours[label], label=readable(parts[label])) for label in present]
    if IGNORE_LABEL in labels:
        handles.append(Patch(facecolor="white", edgecolor="black", label="ignored"))
    sheet.legend(handles=handles, loc="outside lower center", ncols=_fitting(sheet, handles, 1.5), frameon=False)


def _colours(parts: tuple[str, ...]) -> list[str]:
    unknown = [name for name in parts if name not in COLOUR_OF_PART]
    if unknown:
        raise ValueError(f"there is no colour for the part '{unknown[0]}': add one to skeleton.COLOUR_OF_PART")
    return [COLOUR_OF_PART[name] for name in parts]


def _fitting(sheet: Figure, handles: list, inches: float) -> int:
    """How many entries of a legend fit side by side."""
    return max(1, min(len(handles), int(sheet.get_figwidth() / inches)))


def _line_width(columns: int) -> float:
    """Limbs as wide, in points, as the panels of a sheet ask for."""
    return min(3.0, 9.0 / columns)


def _sheet(images: Tensor, columns: int, titles: list[str] | None) -> tuple[Figure, list[Axes]]:
    """Images in a grid, and their axes in order."""
    if len(images) == 0:
        raise ValueError("there is no image to show: the sample is empty")
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    panel = min(3.0, 11 / columns)
    height = panel * images.shape[-2] / images.shape[-1] + (0.3 if titles else 0.05)
    sheet, axes = figure(rows, columns, size=(columns * panel, rows * height + 0.6))
    for ax in axes.flat[len(images) :]:
        ax.axis("off")
    panels = list(axes.flat[: len(images)])
    for i, ax in enumerate(panels):
        show_image(ax, images[i])
        if titles:
            ax.set_title(titles[i], fontsize=min(11, 5 * panel), fontweight="normal")
    return sheet, panels


def _pose_legend(sheet: Figure, further: list[tuple[str, dict]]) -> None:
    """A legend of the sides' colours and of what else the picture has."""
    from matplotlib.lines import Line2D

    sides = (("person's left", LEFT_COLOUR), ("person's right", RIGHT_COLOUR), ("middle", CENTRE_COLOUR))
    handles = [Line2D([], [], color=colour, lw=3, label=name) for name, colour in sides]
    for name, looks in further:
        ring = {"ls": "", "color": "black"} if "marker" in looks else {"lw": 2}
        handles.append(Line2D([], [], label=name, **{**ring, **looks}))
    sheet.legend(
        handles=handles, loc="outside lower center", ncols=_fitting(sheet, handles, 1.6), frameon=False, fontsize=9
    )
