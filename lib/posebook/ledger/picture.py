"""The ledger's picture: all claims of a paper at a look."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from posebook.ledger import readings as store
from posebook.ledger.claim import Claim
from posebook.ledger.verdicts import FAILS, HOLDS, UNDECIDED, Row, read_rows
from posebook.paths import RESULTS, replacing
from posebook.pictures.style import ERROR_COLOUR, SERIES, figure
from posebook.skeleton import CENTRE_COLOUR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {HOLDS: SERIES[0], FAILS: ERROR_COLOUR, UNDECIDED: CENTRE_COLOUR}
# An interval that reaches this many times further than the middle ones of its picture is drawn on an axis of its own.
_FAR = 4.0


def plot_claims(rows: Sequence[Row], title: str = "", paper: bool = False) -> Figure:
    """Each claim in a line: in words, its 95 % interval, mean and seeds, the paper's number; grouped by verdict.

    All share one axis, percentage points from the bound that the claim is held against; those that lie far beyond the
    others have one of their own, to the right.

    Args:
        paper: say which paper each claim is of.

    Raises:
        ValueError: no rows.
    """
    from matplotlib.lines import Line2D

    measured = [row for row in rows if row.values]
    if not measured:
        raise ValueError("there is no claim to show: measure some with `posebook ledger`")
    usual = Counter(row.on for row in measured).most_common(1)[0][0]
    order = sorted(measured, key=lambda row: (list(COLOURS).index(row.verdict), -_from_bound(row, row.mean)))
    reach = [max(abs(_from_bound(row, end)) for end in (*(row.ci95 or ()), row.mean)) for row in order]
    far = [place for place, most in enumerate(reach) if most > _FAR * float(np.median(reach))]
    near = [place for place in range(len(order)) if place not in far]
    sheet, axes = figure(1, 2 if far else 1, size=(11, 1.3 + 0.42 * len(order)))
    if far:
        axes[0, 0].get_gridspec().set_width_ratios([4, 1])
    sheet.suptitle(f"{title}\n({usual}, unless said otherwise)")
    for ax, shown in zip(axes[0], (near, far), strict=False):
        for place in shown:
            _draw(ax, place, order[place])
        ax.axvline(0, color="black", lw=1, zorder=0)
        ax.set(ylim=(len(order) - 0.5, -0.5), xlabel="percentage points above the bound")
        ax.grid(axis="x", alpha=0.3)
        ax.set_yticks([])
        for side in ("left", "top", "right"):
            ax.spines[side].set_visible(False)
        for place in range(1, len(order)):
            if order[place].verdict != order[place - 1].verdict:
                ax.axhline(place - 0.5, color=CENTRE_COLOUR, lw=0.6)
    axes[0, -1].set_xlabel("far from it" if far else "percentage points above the bound")
    labels = [_words(row, row.paper if paper else "", row.on if row.on != usual else "") for row in order]
    axes[0, 0].set_yticks(range(len(order)), labels, fontsize=8)
    axes[0, 0].tick_params(axis="y", length=0)
    for row, tick in zip(order, axes[0, 0].get_yticklabels(), strict=True):
        tick.set_color(COLOURS[row.verdict])
    looks = {
        HOLDS: {"color": COLOURS[HOLDS], "lw": 4},
        UNDECIDED: {"color": COLOURS[UNDECIDED], "lw": 4},
        FAILS: {"color": COLOURS[FAILS], "lw": 4},
        "a seed": {"color": "black", "marker": ".", "ls": ""},
        "the paper's number": {"color": "black", "marker": "o", "markerfacecolor": "none", "ls": ""},
    }
    handles = [Line2D([], [], label=label, **how) for label, how in looks.items()]
    sheet.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    return sheet


def draw_ledger(
    claims: Iterable[Claim], folder: str | Path = store.FOLDER, pictures: str | Path = RESULTS
) -> list[Path]:
    """Draw all that was ever measured of these claims: a picture per paper, and one of all where they are several."""
    rows = read_rows(claims, folder)
    papers = list(dict.fromkeys(row.paper for row in rows))
    sheets = {f"ledger_{paper}": [row for row in rows if row.paper == paper] for paper in papers}
    if len(papers) > 1:
        sheets["ledger"] = rows
    drawn = []
    for name, some in sheets.items():
        drawn.append(Path(pictures) / f"{name}.png")
        about = "All claims" if name == "ledger" else f"The claims of {name.removeprefix('ledger_')}"
        sheet = plot_claims(some, f"{about}, measured", paper=name == "ledger")
        with replacing(drawn[-1]) as part:
            sheet.savefig(part, format="png", dpi=100)
    return drawn


def _draw(ax: Axes, place: int, row: Row) -> None:
    colour = COLOURS[row.verdict]
    if row.ci95 is not None:
        ends = [_from_bound(row, end) for end in row.ci95]
        ax.plot(ends, [place, place], color=colour, lw=5, alpha=0.55, solid_capstyle="butt")
    ax.plot(_from_bound(row, row.mean), place, "|", color=colour, markersize=12, markeredgewidth=3)
    ax.scatter([_from_bound(row, value) for value in row.values], [place + 0.28] * len(row.values), s=9, color="black")
    if row.claim.paper_value is not None:
        ax.plot(_from_bound(row, row.claim.paper_value), place, "o", ms=7, mfc="none", mec="black", zorder=4)


def _from_bound(row: Row, value: float) -> float:
    return 100 * (value - row.claim.bound)


def _words(row: Row, *about: str) -> str:
    """The claim in words, in two lines at most; behind it what else is to be said, and of how many seeds it is."""
    lines = textwrap.wrap(row.claim.statement, 78)
    lines = lines if len(lines) < 3 else [lines[0], f"{lines[1].rstrip('.,')} ..."]
    told = "; ".join([*filter(None, about), row.counted])
    return "\n".join([*lines[:-1], f"{lines[-1]} [{told}]"])
