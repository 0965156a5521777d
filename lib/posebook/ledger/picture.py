"""The ledger's pictures: a line a claim."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from posebook.ledger.claim import Claim
from posebook.ledger.verdicts import read_rows
from posebook.paths import RESULTS, replacing
from posebook.pictures.style import ERROR_COLOUR, SERIES, figure, readable
from posebook.skeleton import CENTRE_COLOUR

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_ledger(claims: Iterable[Claim], results: str | Path = RESULTS) -> list[Path]:
    """Draw all that was ever measured of these claims, a paper a picture: `ledger_PAPER.png` in that folder."""
    rows, pictures = read_rows(claims, results), []
    for paper in dict.fromkeys(r["paper"] for r in rows):
        pictures.append(Path(results) / f"ledger_{paper}.png")
        with replacing(pictures[-1]) as part:
            of_paper = [r for r in rows if r["paper"] == paper]
            plot_claims(of_paper, f"Measured against the claims of {paper}").savefig(part, format="png", dpi=100)
    return pictures


def plot_claims(rows: list[dict], title: str = "") -> Figure:
    """The ledger: a line a claim with its 95 % interval, mean and seeds, the bound it is held against, the verdict.

    Claims measure different things, so that each has a scale of its own, in points (hundredths).

    Args:
        rows: as `measure.measure` and `verdicts.read_rows` give them.

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
