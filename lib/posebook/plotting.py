"""Pictures: poses and parsing over images, heat maps, training curves, scores by joint.

Every function returns its figure and shows nothing by itself; in a notebook the figure that a cell ends with is shown.
Left and right keep the skeleton's two colours in every picture; an occluded joint is a ring, a visible one a dot.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from posebook.datasets.sample import Sample
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
)
from posebook.skeleton import PART_COLOURS as PART_COLOURS  # for bars beside the pictures of parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from posebook.association import People

# Okabe and Ito's colours that are neither left nor right: for series that have no side.
SERIES = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
ERROR_COLOUR = "#CC0000"


def style() -> None:
    """Set matplotlib's defaults for a notebook, once at its top: layout, sizes, fewer lines."""
    import matplotlib as mpl

    mpl.rcParams.update(
        {
            "figure.constrained_layout.use": True,
            "figure.dpi": 100,
            "figure.figsize": (7, 4),
            "font.size": 11,
            "axes.titlesize": 12,
            "axes.titleweight": "bold",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": mpl.cycler(color=SERIES),
            "legend.frameon": False,
            "image.interpolation": "nearest",
        }
    )


def figure(
    rows: int = 1, columns: int = 1, size: tuple[float | int, float | int] = (7, 4)
) -> tuple[Figure, np.ndarray]:
    """A figure and its grid of axes. Nobody shows it but who gets it: pyplot does not keep it."""
    # Importing pyplot is what teaches a notebook to display figures.
    import matplotlib.pyplot as plt

    result = plt.figure(figsize=size, layout="constrained")
    axes = result.subplots(rows, columns, squeeze=False)
    plt.close(result)
    return result, axes


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

    points = _numpy(joints)
    present = np.full(len(points), VISIBLE) if presence is None else _numpy(presence)
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
    pixels = _numpy(image.clamp(0, 1))
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
) -> Figure:
    """A sheet of the sample's images with their poses, or with their parsing labels and a legend of those that occur.

    Args:
        parts: what the labels are called, as in `draw_parsing`.

    Raises:
        ValueError: parsing is asked for and the dataset has none.
    """
    if parsing and sample.parsing is None:
        raise ValueError("this dataset has no parsing labels: leave out parsing=True, or use figures")
    sheet, panels = _sheet(sample.images, columns, titles)
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

    from posebook.metrics import distances
    from posebook.score import BENCHMARKS

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
        misses = _numpy(torch.stack([predicted[i][wrong[i]], sample.joints[i][wrong[i]]], 1))
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
    columns: int = 6,
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
    for values, ax in zip(_numpy(maps), panels, strict=True):
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
    ax.imshow(table[_numpy(labels)], extent=(0, width, height, 0), interpolation="nearest")


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


def plot_curve(history: list[dict[str, float | int]], title: str = "Training") -> Figure:
    """A training curve: losses on a logarithmic scale, and beside them scores in percent where there are any.

    Args:
        history: a row a measurement with "step" and some of: names that end in "loss" (lower is better), any others
            as fractions (higher is better). Names that start with "validation" are dotted and bold.
    """
    names = list(dict.fromkeys(name for row in history for name in row if name != "step"))
    losses = [name for name in names if name.endswith("loss")]
    groups = [("loss", losses), ("score (%)", [name for name in names if name not in losses])]
    groups = [(label, members) for label, members in groups if members]
    sheet, axes = figure(1, max(len(groups), 1), size=(5 * max(len(groups), 1), 3.5))
    sheet.suptitle(title)
    for ax, (label, members) in zip(axes[0], groups, strict=False):
        for name, colour in zip(members, SERIES * len(members), strict=False):
            rows = [(row["step"], row[name]) for row in history if name in row]
            steps, values = np.array(rows, float).T
            held_out = name.startswith("validation")
            mark = {"marker": "o", "markersize": 4, "linewidth": 2} if held_out else {"linewidth": 1}
            ax.plot(
                steps, values if label == "loss" else 100 * values, color=colour, label=name.replace("_", " "), **mark
            )
        if label == "loss":
            ax.set_yscale("log")
        else:
            ax.set_ylim(bottom=0)
        ax.set(xlabel="step", ylabel=label, xlim=(0, None))
        ax.grid(alpha=0.3)
        ax.legend()
    return sheet


def bar_by_joint(
    scores: dict[str, Float[Tensor, " j"]], skeleton: Skeleton, label: str = "PCKh@0.5 (%)", title: str = ""
) -> Figure:
    """Several results joint by joint, side by side; the legend gives each one's plain mean.

    Args:
        scores: fractions by joint under each result's name; NaN leaves a gap.
        label: what is measured, with its unit.
    """
    sheet, axes = figure(size=(7, 0.9 + len(skeleton) * max(0.28, 0.13 * len(scores))))
    ax, height = axes[0, 0], 0.8 / max(len(scores), 1)
    places = np.arange(len(skeleton))
    for i, (name, fractions) in enumerate(scores.items()):
        values = 100 * _numpy(fractions)
        offset = (i - (len(scores) - 1) / 2) * height
        ax.barh(
            places + offset,
            values,
            height * 0.92,
            color=SERIES[i % len(SERIES)],
            label=f"{name}, mean {np.nanmean(values):.1f}",
        )
    ax.set_yticks(places, [readable(name) for name in skeleton.joints])
    for name, tick in zip(skeleton.joints, ax.get_yticklabels(), strict=True):
        tick.set_color(skeleton.side_colour(name))
    ax.set(xlabel=label, xlim=(0, 100), ylim=(len(skeleton) - 0.5, -0.5))
    ax.grid(axis="x", alpha=0.3)
    ax.set_axisbelow(True)
    sheet.suptitle(title)
    sheet.legend(loc="outside lower center", ncols=min(len(scores), 3), frameon=False)
    return sheet


def matrix(
    values: Float[Tensor, "n m"], names: tuple[str, ...] | list[str], label: str = "", title: str = ""
) -> Figure:
    """A matrix of numbers by joint as colours: mutual information, confusions."""
    import seaborn

    pretty = [readable(name) for name in names]
    sheet, axes = figure(size=(2.5 + 0.32 * len(names), 1.5 + 0.32 * len(names)))
    rows, columns = pretty[: values.shape[0]], pretty[: values.shape[1]]
    seaborn.heatmap(_numpy(values), ax=axes[0, 0], square=True, cmap="viridis", linewidths=0.5, xticklabels=columns,
                    yticklabels=rows, cbar_kws={"label": label, "shrink": 0.7})  # fmt: skip
    axes[0, 0].tick_params(length=0)
    sheet.suptitle(title)
    return sheet


def diagram(
    boxes: dict[str, tuple[float | int, float | int, str, str | None]],
    ways: dict[str, dict],
    size: tuple[float | int, float | int] = (10, 4),
    title: str = "",
    notes: dict[str, str] | None = None,
) -> Figure:
    """Boxes and the ways between them, as of a network.

    Args:
        boxes: (x, y, text, colour) by name; x to the right and y upwards, both from 0 to 1. A box without colour is
            text alone, one without text a corner that ways turn at.
        ways: looks ("color", "lw", "ls") of a line, by the boxes that it leads through: {"image stem trunk": {}}.
        notes: what stands on the lines that leave a box, by the box's name.

    Raises:
        ValueError: a way through a box that is not there.
    """
    notes = notes or {}
    if missing := {name for way in ways for name in way.split()} - set(boxes):
        raise ValueError(f"no box is called '{min(missing)}'; there are {', '.join(boxes)}")
    sheet, axes = figure(size=size)
    ax = axes[0, 0]
    ax.axis("off")
    ax.set(xlim=(0, 1), ylim=(0, 1), title=title)
    middle = {"ha": "center", "va": "center"}
    frames = {}
    for name, (x, y, text, colour) in boxes.items():
        frame = {"boxstyle": "round,pad=0.4", "fc": colour or "white", "ec": CENTRE_COLOUR if colour else "white"}
        box = ax.text(x, y, text, fontsize=9, zorder=3, bbox=frame, **middle) if text else None
        frames[name] = box and box.get_bbox_patch()
    for way, looks in ways.items():
        for start, end in pairwise(way.split()):
            (x1, y1), (x2, y2) = boxes[start][:2], boxes[end][:2]
            line = {"arrowstyle": "-|>" if frames[end] else "-", "color": CENTRE_COLOUR, "capstyle": "round"}
            line |= {"shrinkA": 0, "shrinkB": 0, "patchA": frames[start], "patchB": frames[end]}
            # Drawn after the boxes, which only then lie where the layout puts them.
            ax.annotate("", (x2, y2), (x1, y1), zorder=4, arrowprops=line | looks)
            if start in notes:
                ax.text((x1 + x2) / 2, (y1 + y2) / 2, notes[start], fontsize=8, zorder=5,
                        bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none"}, **middle)  # fmt: skip
    return sheet


def plot_claims(rows: list[dict], title: str = "") -> Figure:
    """The ledger: a line a claim with its 95 % interval, mean and seeds, the bound it is held against, the verdict.

    Claims measure different things, so that each has a scale of its own, in points (hundredths).

    Args:
        rows: as `ledger.measure` and `ledger.read_rows` give them.

    Raises:
        ValueError: no rows.
    """
    from matplotlib.lines import Line2D

    if not rows:
        raise ValueError("there is no claim to show: measure some with `posebook ledger`")
    colours = {"holds": SERIES[0], "does not hold": ERROR_COLOUR}
    sheet, axes = figure(len(rows), size=(9, 0.9 + 0.95 * len(rows)))
    sheet.suptitle(title)
    for row, ax in zip(rows, axes[:, 0], strict=True):
        name = readable(row["claim"].removeprefix(f"{row['paper']}_"))
        on = row["on"]
        colour = colours.get(row["verdict"], CENTRE_COLOUR)
        ax.set_yticks([0], [f"{name}\n{row['place']}\n{on}, {len(row['seeds'])} seeds"], fontsize=8)
        ax.set(ylim=(-0.7, 0.7))
        ax.tick_params(axis="y", length=0)
        for side in ("left", "top", "right"):
            ax.spines[side].set_visible(False)
        ax.text(1.02, 0.5, row["verdict"], color=colour, weight="bold", va="center", transform=ax.transAxes)
        if row["mean"] is None:
            ax.text(0.5, 0.5, str(row.get("reason") or ""), ha="center", va="center", wrap=True, fontsize=8,
                    transform=ax.transAxes)  # fmt: skip
            ax.set_xticks([])
            continue
        ax.axvline(100 * row["bound"], color=CENTRE_COLOUR, ls=(0, (4, 3)), lw=1.5)
        if row["ci95"] is not None:
            ax.plot(100 * np.array(row["ci95"]), [0, 0], color=colour, lw=4, solid_capstyle="butt")
        ax.plot(100 * row["mean"], 0, "D", color=colour, markersize=8, markeredgecolor="white")
        ax.scatter(100 * np.array(row["values"]), np.full(len(row["values"]), -0.4), s=16, color="black", alpha=0.7)
        if row["paper_value"] is not None:
            ax.plot(100 * row["paper_value"], 0.4, "o", markersize=8, markerfacecolor="none", markeredgecolor="black")
        ax.grid(axis="x", alpha=0.3)
    axes[-1, 0].set_xlabel("points (hundredths)")
    looks = {
        "95 % interval": {"color": "black", "lw": 4},
        "mean": {"color": "black", "marker": "D", "ls": ""},
        "a seed": {"color": "black", "marker": ".", "ls": ""},
        "holds above": {"color": CENTRE_COLOUR, "ls": "--"},
        "the paper": {"color": "black", "marker": "o", "markerfacecolor": "none", "ls": ""},
    }
    handles = [Line2D([], [], label=label, **how) for label, how in looks.items()]
    sheet.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    return sheet


def plot_occlusion_sweep(curves: dict[str, list[dict[str, list]]], title: str = "") -> Figure:
    """Accuracy against the share of occluded joints: over all joints, the visible ones and the occluded ones.

    Each network has a line and a mark of its own, the mean over its seeds; around it lies the 95 % interval of the
    mean (Student's t) where there are two seeds or more.

    Args:
        curves: under a network's name a curve a seed, as `inference.occlusion_curve` gives them.

    Raises:
        ValueError: no curves, or curves of different shares.
    """
    from posebook.ledger import interval

    everything = [curve for seeds in curves.values() for curve in seeds]
    if not everything or not all(curves.values()):
        raise ValueError("there is no curve to show: give each network one a seed, as occlusion_curve makes them")
    if any(curve["share"] != everything[0]["share"] for curve in everything):
        raise ValueError("the curves are of different shares of occluded joints: measure all at the same ones")
    sheet, axes = figure(1, 3, size=(11, 3.8))
    sheet.suptitle(title)
    for ax, among in zip(axes[0], ("all", "visible", "occluded"), strict=True):
        for i, (name, seeds) in enumerate(curves.items()):
            look = {"color": SERIES[i % len(SERIES)], "marker": "os^Dvx"[i % 6], "ls": ("-", "--", "-.", ":")[i % 4]}
            # A share at which hardly a joint is occluded has no accuracy there.
            rows = [
                (np.mean(place), *interval(list(values)))
                for place, values in zip(
                    zip(*(curve["occluded_share"] for curve in seeds), strict=True),
                    zip(*(curve[among] for curve in seeds), strict=True),
                    strict=True,
                )
                if None not in values
            ]
            places = [100 * place for place, _, _ in rows]
            label = f"{name}, {len(seeds)} seed{'s' * (len(seeds) > 1)}" if among == "all" else None
            ax.plot(places, [100 * mean for _, mean, _ in rows], label=label, markersize=5, **look)
            if len(seeds) > 1:
                low, high = (100 * np.array([ci95 for _, _, ci95 in rows])).reshape(-1, 2).T
                ax.fill_between(places, low, high, color=look["color"], alpha=0.2, lw=0)
        ax.set_title(f"{among} joints", fontweight="normal")
        ax.set(xlabel="occluded joints (%)", xlim=(-2, 2 + 100 * max(everything[0]["share"])))
        ax.grid(alpha=0.3)
    # One scale for the three, within what an accuracy can be; an interval may be wider than that.
    low, high = zip(*(ax.get_ylim() for ax in axes[0]), strict=True)
    for ax in axes[0]:
        ax.set_ylim(max(min(low), 0), min(max(high), 100))
    axes[0, 0].set_ylabel("PCKh@0.5 (%)")
    sheet.legend(loc="outside lower center", ncols=min(len(curves), 3), frameon=False)
    return sheet


def save_pose_picture(
    path: str | Path,
    image: Float[Tensor, "3 h w"],
    joints: Float[Tensor, "j 2"],
    confidence: Float[Tensor, " j"],
    skeleton: Skeleton,
    unsure: float = 0.2,
) -> None:
    """The image with its pose as a PNG or JPEG of the same shape, at least 480 pixels along its longer side.

    Args:
        unsure: joints below this confidence are rings.

    Raises:
        ValueError: a file name that ends in no format for pictures.
    """
    height, width = image.shape[-2:]
    scale = max(1.0, 480 / max(height, width))
    sheet, axes = figure(size=(width * scale / 100, height * scale / 100))
    sheet.set_layout_engine("none")
    axes[0, 0].set_position((0, 0, 1, 1))
    show_image(axes[0, 0], image)
    presence = torch.where(confidence < unsure, OCCLUDED, VISIBLE)
    draw_pose(axes[0, 0], joints, presence, skeleton, width=max(2.0, max(height, width) * scale / 200))
    sheet.savefig(path, dpi=100)


def readable(name: str) -> str:
    """A joint's or part's name as it stands in a picture: `l_upper_arm` is "left upper arm"."""
    side = {"l_": "left ", "r_": "right "}.get(name[:2], "")
    return side + (name[2:] if side else name).replace("_", " ")


def _fitting(sheet: Figure, handles: list, inches: float) -> int:
    """How many entries of a legend fit side by side."""
    return max(1, min(len(handles), int(sheet.get_figwidth() / inches)))


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().float().numpy() if values.is_floating_point() else values.detach().cpu().numpy()


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
