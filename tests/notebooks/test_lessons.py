"""The table of the lessons counts what a reader meets."""

from __future__ import annotations

from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from lessons import COLUMNS, measure, table
from test_notebook_rules import LESSONS

PICTURE = new_output("display_data", data={"image/png": "iVBORw0KGgo="})
LESSON = [
    new_markdown_cell("# Heights 1\n\n**Time** 45 minutes to study. [Ten](../other.ipynb#ten) words."),
    new_code_cell("a = 1\nb = 2", outputs=[PICTURE], metadata={"alt": "A bar of one and a bar of two."}),
    new_markdown_cell("Both bars grow.\n\n**Predict, then run.** How high?"),
    new_code_cell("a + b"),
    new_code_cell("\n" * 30 + "hidden()", outputs=[PICTURE], metadata={"jupyter": {"source_hidden": True}}),
    new_markdown_cell("## 2. Exercises\n\n**1. Higher.** (easy) How?\n\n**2. Lower** is none."),
    new_code_cell("c = 3", outputs=[PICTURE], metadata={"alt": "Three."}),
]


def test_a_lesson_in_figures():
    assert measure(LESSON) == {
        "lines": 1,
        "most": 2,
        "words": 29,
        "minutes": 45,
        "exercises": 1,
        "predictions": 1,
        "pictures": 3,
        "captions": 1,
        "alternatives": 1,
    }


def test_a_notebook_of_text_alone_has_no_code_to_count():
    assert measure([new_markdown_cell("Nothing yet.")]) == dict.fromkeys(COLUMNS, 0) | {"words": 2}


def test_each_lesson_has_a_row():
    head, *rows = table().splitlines()
    assert head.split() == list(COLUMNS)
    assert [row.split()[0].rpartition("/")[2] for row in rows] == [path.stem for path in LESSONS]
    assert len({len(row) for row in (head, *rows)}) == 1
