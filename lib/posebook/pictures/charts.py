"""Charts of numbers: training curves, scores by joint, matrices, sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from posebook.evaluation.statistics import interval
from posebook.extras import needs
from posebook.pictures.style import LINES, SERIES, figure, numpy_of, readable
from posebook.skeleton import Skeleton

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_curve(history: list[dict[str, float | int]], title: str = "Training") -> Figure:
    """A training curve: losses on a logarithmic scale, and beside them scores in percent where there are any.

    Args:
        history: a row a measurement with "step" and some of: names that end in "loss" (lower is better), any others
            as fractions (higher is better). Names that start with "validation" are bold, with dots.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    names = list(dict.fromkeys(name for row in history for name in row if name != "step"))
    losses = [name for name in names if name.endswith("loss")]
    groups = [("loss", losses), ("score (%)", [name for name in names if name not in losses])]
    groups = [(label, members) for label, members in groups if members]
    sheet, axes = figure(1, max(len(groups), 1), size=(5 * max(len(groups), 1), 3.5))
    sheet.suptitle(title)
    for ax, (label, members) in zip(axes[0], groups, strict=False):
        for i, name in enumerate(members):
            look = {"color": SERIES[i % len(SERIES)], "ls": LINES[i % len(LINES)]}
            rows = [(row["step"], row[name]) for row in history if name in row]
            steps, values = np.array(rows, float).T
            held_out = name.startswith("validation")
            mark = {"marker": "o", "markersize": 4, "linewidth": 2} if held_out else {"linewidth": 1}
            shown = values if label == "loss" else 100 * values
            ax.plot(steps, shown, label=name.replace("_", " "), **look, **mark)
        if label == "loss":
            # 2 and 0.05, not 2 x 10^0 and 5 x 10^-2.
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter(NullFormatter())
        else:
            ax.set_ylim(bottom=0)
        ax.set(xlabel="step", ylabel=label, xlim=(0, None))
        ax.grid(alpha=0.3)
        ax.legend()
    return sheet


def bar_by_joint(
    scores: dict[str, Float[Tensor, " j"]],
    skeleton: Skeleton,
    label: str = "PCKh@0.5 (%)",
    title: str = "",
    colours: dict[str, str] | None = None,
) -> Figure:
    """Several results joint by joint, side by side; the legend gives each one's plain mean.

    Args:
        scores: fractions by joint under each result's name; NaN leaves a gap.
        label: what is measured, with its unit.
        colours: of each result by name; None takes those of `SERIES` in turn.
    """
    colours = colours or {name: SERIES[i % len(SERIES)] for i, name in enumerate(scores)}
    sheet, axes = figure(size=(7, 0.9 + len(skeleton) * max(0.28, 0.13 * len(scores))))
    ax, height = axes[0, 0], 0.8 / max(len(scores), 1)
    places = np.arange(len(skeleton))
    for i, (name, fractions) in enumerate(scores.items()):
        values = 100 * numpy_of(fractions)
        offset = (i - (len(scores) - 1) / 2) * height
        ax.barh(
            places + offset,
            values,
            height * 0.92,
            color=colours[name],
            label=f"{name}, mean {np.nanmean(values):.1f}",
        )
    ax.set_yticks(places, [readable(name) for name in skeleton.joints])
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
    with needs("study", "a picture of a matrix"):
        import seaborn

    pretty = [readable(name) for name in names]
    sheet, axes = figure(size=(2.5 + 0.32 * len(names), 1.5 + 0.32 * len(names)))
    rows, columns = pretty[: values.shape[0]], pretty[: values.shape[1]]
    seaborn.heatmap(numpy_of(values), ax=axes[0, 0], square=True, cmap="viridis", linewidths=0.5, xticklabels=columns,
                    yticklabels=rows, cbar_kws={"label": label, "shrink": 0.7})  # fmt: skip
    axes[0, 0].tick_params(length=0)
    sheet.suptitle(title)
    return sheet


def plot_occlusion_sweep(curves: dict[str, list[dict[str, list]]], title: str = "") -> Figure:
    """Accuracy against the share of occluded joints: over all joints, the visible ones and the occluded ones.

    Each network has a line and a mark of its own, the mean over its seeds; around it lies the 95 % interval of the
    mean (Student's t) where there are two seeds or more.

    Args:
        curves: under a network's name one curve per seed, as `inference.occlusion_curve` gives them.

    Raises:
        ValueError: no curves, or curves of different shares.
    """
    everything = [curve for seeds in curves.values() for curve in seeds]
    if not everything or not all(curves.values()):
        raise ValueError("there is no curve to show: give each network one per seed, as occlusion_curve makes them")
    if any(curve["share"] != everything[0]["share"] for curve in everything):
        raise ValueError("the curves are of different shares of occluded joints: measure all at the same ones")
    sheet, axes = figure(1, 3, size=(11, 3.8))
    sheet.suptitle(title)
    for ax, among in zip(axes[0], ("all", "visible", "occluded"), strict=True):
        for i, (name, seeds) in enumerate(curves.items()):
            look = {"color": SERIES[i % len(SERIES)], "marker": "os^Dvx"[i % 6], "ls": LINES[i % len(LINES)]}
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
