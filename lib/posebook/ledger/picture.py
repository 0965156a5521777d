"""The ledger's pictures: all claims of a paper in words, and those of all papers at one look."""

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
from posebook.paths import replacing
from posebook.pictures.style import figure
from posebook.skeleton import CENTRE_COLOUR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {HOLDS: "#0072B2", FAILS: "#D55E00", UNDECIDED: CENTRE_COLOUR}
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
    order = sorted(measured, key=_order)
    reach = [_reach(row) for row in order]
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


def plot_overview(rows: Sequence[Row], title: str = "") -> Figure:
    """All claims at one look: a short line per claim with its 95 % interval, mean and the paper's number, by paper.

    All share one axis, percentage points from the bound that the claim is held against; what lies far beyond the others
    is cut off there, and its number stands beside it. A paper's heading counts its verdicts and says where runs are too
    short.

    Raises:
        ValueError: no rows.
    """
    from matplotlib.lines import Line2D

    measured = [row for row in rows if row.values]
    if not measured:
        raise ValueError("there is no claim to show: measure some with `posebook ledger`")
    papers = {name: [row for row in measured if row.paper == name] for name in dict.fromkeys(r.paper for r in measured)}
    limit = _limit(measured)
    columns = _columns({name: len(own) + 2 for name, own in papers.items()})
    lines = max(sum(len(papers[name]) + 2 for name in column) for column in columns)
    sheet, axes = figure(1, len(columns), size=(5.5 * len(columns), 1.4 + 0.19 * lines))
    sheet.suptitle(title)
    for ax, column in zip(axes[0], columns, strict=True):
        place, labels = 0, []
        for name in column:
            own = sorted(papers[name], key=_order)
            ax.axhspan(place - 0.45, place + 0.55, color="#eeeeee", zorder=-2)
            ax.text(-limit, place + 0.05, f" {_counted(own)}", fontsize=8.5, va="center")
            labels.append((place, name, "black"))
            for below, row in enumerate(own, 1):
                _draw_line(ax, place + below, row, limit)
                labels.append((place + below, _short(row, own), COLOURS[row.verdict]))
            place += len(own) + 2
        ax.axvline(0, color="black", lw=1, zorder=-1)
        ax.set(ylim=(lines - 0.5, -0.7), xlim=(-limit, limit), xlabel="percentage points from the bound")
        ax.grid(axis="x", alpha=0.3)
        ax.set_yticks([at for at, *_ in labels], [label for _, label, _ in labels], fontsize=8.5)
        ax.tick_params(axis="y", length=0)
        for (*_, colour), tick in zip(labels, ax.get_yticklabels(), strict=True):
            tick.set(color=colour, weight="bold" if colour == "black" else "normal")
        for side in ("left", "top", "right"):
            ax.spines[side].set_visible(False)
    handles = [Line2D([], [], label=verdict, color=colour, lw=4) for verdict, colour in COLOURS.items()]
    handles.append(Line2D([], [], label="the paper's number", color="black", marker="o", mfc="none", ls=""))
    sheet.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    return sheet


def draw_ledger(
    claims: Iterable[Claim], folder: str | Path = store.FOLDER, pictures: str | Path = store.OWN
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
        ax.plot(ends, [place, place], color=colour, lw=5, ls="-", alpha=0.55, solid_capstyle="butt")
    ax.plot(_from_bound(row, row.mean), place, "|", color=colour, markersize=12, markeredgewidth=3)
    ax.scatter([_from_bound(row, value) for value in row.values], [place + 0.28] * len(row.values), s=9, color="black")
    if row.claim.paper_value is not None:
        ax.plot(_from_bound(row, row.claim.paper_value), place, "o", ms=7, mfc="none", mec="black", zorder=4)


def _draw_line(ax: Axes, place: int, row: Row, limit: float) -> None:
    """The claim in the overview; beside the axis the numbers that lie beyond it."""
    colour, beyond = COLOURS[row.verdict], []
    if row.ci95 is not None:
        ends = [_from_bound(row, end) for end in row.ci95]
        ax.plot(ends, [place, place], color=colour, lw=5, ls="-", alpha=0.55, solid_capstyle="butt")
    mean = _from_bound(row, row.mean)
    if abs(mean) > limit:
        beyond.append(f"mean {mean:+.0f}")
    else:
        ax.plot(mean, place, "|", color=colour, markersize=9, markeredgewidth=2.5)
    if row.claim.paper_value is not None:
        number = _from_bound(row, row.claim.paper_value)
        if abs(number) > limit:
            beyond.append(f"paper {number:+.0f}")
        else:
            ax.plot(number, place, "o", ms=6, mfc="none", mec="black", zorder=4)
    if beyond:
        ax.annotate(", ".join(beyond), (1.01, place), xycoords=("axes fraction", "data"), fontsize=8, va="center")


def _limit(rows: Sequence[Row]) -> float:
    """Where the overview's axis ends: at the furthest end of an interval that is not far beyond the others."""
    reach = np.array([_reach(row) for row in rows])
    return float(np.ceil(reach[reach <= _FAR * np.median(reach)].max())) or 1.0


def _columns(lines: dict[str, int]) -> list[list[str]]:
    """Papers in two columns of nearly as many lines, in their order; a single one in a column of its own."""
    names = list(lines)
    cuts = [(names[:k], names[k:]) for k in range(1, len(names))]
    best = min(cuts, key=lambda cut: max(sum(lines[name] for name in part) for part in cut), default=(names,))
    return list(best)


def _counted(rows: Sequence[Row]) -> str:
    """A paper's verdicts counted, and whether its runs are too short for them."""
    counts = Counter(row.verdict for row in rows)
    told = f"{counts[HOLDS]} hold, {counts[FAILS]} do not, {counts[UNDECIDED]} undecided"
    short = any(row.length is not None and not row.length.enough for row in rows)
    return f"{told}; runs too short" if short else told


def _short(row: Row, beside: Sequence[Row]) -> str:
    """The claim's name, and what of the place it was measured on is not as for most of those beside it."""
    usual = Counter(some.on for some in beside).most_common(1)[0][0].split(", ")
    other = [word for word in row.on.split(", ") if word not in usual]
    name = row.id.removeprefix(f"{row.paper}_").replace("_", " ")
    return f"{name} ({', '.join(other)})" if other and name != ", ".join(other) else name


def _order(row: Row) -> tuple[int, float]:
    return list(COLOURS).index(row.verdict), -_from_bound(row, row.mean)


def _reach(row: Row) -> float:
    return max(abs(_from_bound(row, end)) for end in (*(row.ci95 or ()), row.mean))


def _from_bound(row: Row, value: float) -> float:
    return 100 * (value - row.claim.bound)


def _words(row: Row, *about: str) -> str:
    """The claim in words, in two lines at most; behind it what else is to be said, and of how many seeds it is."""
    lines = textwrap.wrap(row.claim.statement, 78)
    lines = lines if len(lines) < 3 else [lines[0], f"{lines[1].rstrip('.,')} ..."]
    told = "; ".join([*filter(None, about), row.counted])
    return "\n".join([*lines[:-1], f"{lines[-1]} [{told}]"])
