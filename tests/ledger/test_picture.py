"""All claims in one picture: in words, grouped by verdict, on one axis."""

from __future__ import annotations

from dataclasses import replace

import matplotlib
import numpy as np
import pytest

from posebook.ledger.picture import COLOURS, draw_ledger, plot_claims, plot_overview
from posebook.ledger.verdicts import FAILS, HOLDS, UNDECIDED, Gain, Row
from posebook.papers import PAPERS, select

FIRST, SECOND = (
    replace(claim, bound=bound, paper_value=number)
    for claim, bound, number in zip(select(["soft_argmax"])[2:4], (-0.02, 0.0), (0.05, None), strict=True)
)


def rows() -> list[Row]:
    """Of which the first holds, the second is undecided, and the third lies far from the others."""
    return [
        Row(SECOND, "figures", "study", {}, (0, 1, 2), (-0.01, 0.02, 0.0), {}),
        Row(FIRST, "figures", "study", {}, (0, 1, 2), (0.01, 0.03, 0.02), {}),
        Row(replace(SECOND, statement="Far away."), "lspet", "study", {}, (0, 1), (0.5, 0.52), {}),
    ]


def test_claims_are_in_words_grouped_by_verdict_on_one_axis():
    sheet = plot_claims(rows(), "Claims")
    near, far = sheet.axes
    labels = [label.get_text() for label in near.get_yticklabels()]
    # Those that hold come first, the furthest above its bound first.
    assert labels[0] == "Far away. [lspet, study; 2 seeds]"
    assert [label.replace("\n", " ")[:20] for label in labels[1:]] == [c.statement[:20] for c in (FIRST, SECOND)]
    assert "[3 seeds]" in labels[1]
    assert sheet.get_suptitle() == "Claims\n(figures, study, unless said otherwise)"
    # Percentage points from the bound: seeds at 1, 3, 2 are 3, 5, 4 from -2; the paper's 5 is 7 from it.
    seeds = [c.get_offsets()[:, 0].round(9).tolist() for c in near.collections if len(c.get_offsets()) == 3]
    assert seeds == [[3.0, 5.0, 4.0], [-1.0, 2.0, 0.0]]
    marks = [line.get_xdata()[0] for line in near.lines if line.get_marker() == "o"]
    assert marks == pytest.approx([7.0])
    assert [c.get_offsets()[:, 0].tolist() for c in far.collections] == [pytest.approx([50.0, 52.0])]


def test_intervals_are_drawn_through_where_series_have_lines_of_their_own():
    """A notebook's style has dashed lines for its second series and others."""
    with matplotlib.rc_context({"axes.prop_cycle": matplotlib.cycler(color="kr", linestyle=(":", "--"))}):
        sheets = plot_claims(rows()), plot_overview(rows())
    lines = [line for sheet in sheets for ax in sheet.axes for line in ax.lines if line.get_linewidth() == 5]
    assert len(lines) == 6
    assert {line.get_linestyle() for line in lines} == {"-"}


def test_without_any_far_claim_there_is_one_axis_and_without_claims_no_picture():
    assert len(plot_claims(rows()[:2]).axes) == 1
    with pytest.raises(ValueError, match="there is no claim to show"):
        plot_claims([Row(FIRST, "figures", "study", {}, reason="it rained")])


def test_all_claims_at_one_look_by_paper_with_verdicts_counted():
    other = select(["part_groups"])[0]
    short = Gain(gain=0.2, reached=0.5, floor=0.1)
    sheet = plot_overview(
        [
            *rows(),
            replace(rows()[1], claim=replace(FIRST, paper_value=0.01), options={"people": 4}),
            Row(other, "figures", "study", {}, (0, 1), (-0.031, -0.03), {}, short),
        ],
        "Claims",
    )
    names = FIRST.id.removeprefix("soft_argmax_").replace("_", " "), SECOND.id.removeprefix("soft_argmax_")
    left, right = sheet.axes
    told = [(label.get_text(), label.get_color()) for label in left.get_yticklabels()]
    assert told == [
        ("soft_argmax", "black"),
        (f"{names[1]} (lspet)", COLOURS[HOLDS]),
        (names[0], COLOURS[HOLDS]),
        (f"{names[0]} (4 people)", COLOURS[HOLDS]),
        (names[1], COLOURS[UNDECIDED]),
    ]
    assert [label.get_color() for label in right.get_yticklabels()] == ["black", COLOURS[FAILS]]
    # Both share one axis, and what lies beyond it is told beside it: a mean, and a paper's 5 that is 7 from -2.
    assert left.get_xlim() == right.get_xlim()
    assert left.get_xlim()[1] < 50
    written = [text.get_text().strip() for text in left.texts], [text.get_text().strip() for text in right.texts]
    assert written == (
        ["3 hold, 0 do not, 1 undecided", "mean +51", "paper +7"],
        ["0 hold, 1 do not, 0 undecided; runs too short"],
    )
    marks = [line.get_xdata()[0] for line in left.lines if line.get_marker() == "o"]
    assert marks == pytest.approx([3.0])
    assert len(plot_overview(rows()).axes) == 1, "one paper needs one column"
    with pytest.raises(ValueError, match="there is no claim to show"):
        plot_overview([])


def test_pictures_are_drawn_of_what_ships(tmp_path):
    drawn = draw_ledger(select(), pictures=tmp_path)
    names = {path.name for path in drawn}
    assert names == {"ledger.png", *(f"ledger_{paper}.png" for paper in PAPERS)}
    assert all(np.frombuffer(path.read_bytes()[:4], np.uint8).tolist() == [137, 80, 78, 71] for path in drawn)
