"""The picture of a census: how often each part and each challenge occurs in a set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from posebook.datasets.census import Census
from posebook.paths import replacing
from posebook.pictures.style import SERIES, figure, readable
from posebook.skeleton import COLOUR_OF_PART

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_census(found: Census) -> Figure:
    """Look into Person's Fig. 3 and 4 of any set: images per part, the most frequent first, and people per challenge.

    Raises:
        ValueError: a census in which nothing was counted.
    """
    panels = []
    if found.images:
        parts = dict(sorted(found.parts.items(), key=lambda pair: -pair[1]))
        title = f"Images with each part, of {found.images:,}"
        panels.append((title, parts, [COLOUR_OF_PART[name] for name in parts]))
    if found.names:
        challenges = found.challenges
        panels.append((f"People per challenge, of {len(found.names):,}", challenges, [SERIES[0]] * len(challenges)))
    if not panels:
        raise ValueError(f"nothing of {found.dataset} could be counted, so there is nothing to draw: see the table")
    longest = max(len(counts) for _, counts, _ in panels)
    sheet, axes = figure(1, len(panels), size=(5.5 * len(panels), 1.2 + 0.26 * longest))
    for ax, (title, counts, colours) in zip(axes[0], panels, strict=True):
        _bars(ax, counts, colours)
        ax.set_title(title)
    sheet.suptitle(f"{found.dataset}: {', '.join(found.splits)}")
    return sheet


def save_census(path: str | Path, found: Census) -> None:
    """Write the picture of a census as PNG."""
    sheet = draw_census(found)
    with replacing(Path(path)) as part:
        sheet.savefig(part, format="png", dpi=100)


def _bars(ax: Axes, counts: dict[str, int], colours: list[str]) -> None:
    bars = ax.barh(range(len(counts)), list(counts.values()), color=colours)
    ax.bar_label(bars, [f"{count:,}" for count in counts.values()], padding=3, fontsize=9)
    ax.set_yticks(range(len(counts)), [readable(name) for name in counts])
    ax.set(ylim=(len(counts) - 0.5, -0.5), xlim=(0, 1.15 * max(1, *counts.values())))
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    ax.set_xticks([])
