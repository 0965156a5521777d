"""Diagrams of networks."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from posebook.pictures.style import figure
from posebook.skeleton import CENTRE_COLOUR

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
