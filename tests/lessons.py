"""The lessons in figures, a row per notebook as it is stored: `python tests/lessons.py`.

What `test_notebook_rules.py` asks of a lesson, for those who write one: how long its visible cells are, how much there
is to read, and how many of its pictures have a sentence below them and a text for those who do not see them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import nbformat

from test_notebook_rules import LESSONS, exercises_of, has_alternative, is_caption, shows_picture, text_of

COLUMNS = ("lines", "most", "words", "minutes", "exercises", "predictions", "pictures", "captions", "alternatives")


def measure(cells: Sequence[nbformat.NotebookNode]) -> dict[str, float | int]:
    """Of a lesson's cells: `lines` is the median of visible lines per code cell, and `most` those of the longest.

    Words are those of the text as it is read, without the addresses of links.
    """
    code = [cell for cell in cells if cell.cell_type == "code"]
    lines = [len(c.source.splitlines()) for c in code if not c.metadata.get("jupyter", {}).get("source_hidden")]
    text = text_of(cells)
    minutes = re.search(r"\*\*Time\*\* (\d+) minutes", text)
    followed = [(cell, after) for cell, after in itertools.pairwise([*cells, None]) if shows_picture(cell)]
    return {
        "lines": median(lines) if lines else 0,
        "most": max(lines, default=0),
        "words": len(re.sub(r"\]\([^)\s]*\)", "] ", text).split()),
        "minutes": int(minutes[1]) if minutes else 0,
        "exercises": len(exercises_of(text)),
        "predictions": text.count("**Predict, then run.**"),
        "pictures": len(followed),
        "captions": sum(after is not None and is_caption(after) for _, after in followed),
        "alternatives": sum(has_alternative(cell) for cell, _ in followed),
    }


def table(paths: Sequence[Path] = tuple(LESSONS)) -> str:
    rows = {f"{path.parent.name}/{path.stem}": measure(nbformat.read(path, as_version=4).cells) for path in paths}
    wide = max(map(len, rows), default=0)
    head = " " * wide + "".join(f"{name:>{len(name) + 2}}" for name in COLUMNS)
    return "\n".join(
        [head, *(f"{name:{wide}}" + "".join(f"{row[c]:>{len(c) + 2}g}" for c in COLUMNS) for name, row in rows.items())]
    )


if __name__ == "__main__":
    print(table())
