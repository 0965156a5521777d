"""Notebooks made tidy: they start with what the course says, and what differs from machine to machine is left out.

What is left out makes differences hard to read and shows nothing to a reader: when cells ran, the state of sliders, and
placeholders of widgets without their kernel. The picture that a slider left beside it stays. Pictures are stored small:
a history keeps each one for ever.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from posebook.notebooks.headless import find
from posebook.notebooks.links import REPOSITORY, chapter_of, install_code, link_row
from posebook.notebooks.pages import still_outputs
from posebook.notebooks.references import Outline, linked
from posebook.paths import NOTEBOOKS, replacing

# Tags and ids of the cells that are written here: of links, and of what installs posebook.
LINKS, INSTALL = "links", "install"

# Which kernel a notebook is for, without the version of the Python that it ran in.
KERNEL = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}

# A picture of more colours is no chart: it becomes JPEG of this quality.
MOST_COLOURS, QUALITY = 4000, 75

# Records of when and where a cell or a notebook ran.
_RECORDS = ("execution", "ExecuteTime", "papermill", "posebook", "widgets")


def tidy(paths: Iterable[str | Path] = (), write: bool = True) -> list[Path]:
    """Make notebooks tidy, and say which ones were not.

    Args:
        paths: notebooks, or folders of them; all of the repository's where none is given.
        write: whether files are changed.

    Raises:
        FileNotFoundError: as `headless.find` does.
        ValueError: a file that is not a notebook of format 4.
    """
    read = {path: (path.read_text(encoding="utf-8"), read_notebook(path)) for path in find(paths)}
    outlines = course_outlines()
    changed = []
    for path, (text, notebook) in read.items():
        new = as_text(tidied(notebook, name_of(path), outlines))
        if new != text:
            changed.append(path)
            if write:
                with replacing(path) as part:
                    part.write_text(new, encoding="utf-8", newline="\n")
    return changed


def tidied(
    notebook: Mapping[str, Any],
    name: str | None,
    outlines: Mapping[str, Outline],
    repository: str | None = REPOSITORY,
) -> dict[str, Any]:
    """A notebook without what makes differences noisy and, where it is of the course, with its links.

    Args:
        name: its path within `notebooks/`, without its ending; None for a notebook that lies elsewhere.
        outlines: of the course's notebooks, by name.
        repository: as `link_row` takes it.
    """
    cells = [_tidied_cell(cell) for cell in notebook["cells"]]
    if name is not None and chapter_of(name) is not None:
        cells = [cell for cell in cells if not {LINKS, INSTALL} & {*cell["metadata"].get("tags", [])}]
        texts = [cell for cell in cells if cell["cell_type"] == "markdown"]
        for cell, new in zip(texts, linked(name, [_source(cell) for cell in texts], outlines), strict=True):
            cell["source"] = new.splitlines(keepends=True)
        row = [link_row(name, repository)]
        links = {"cell_type": "markdown", "id": LINKS, "metadata": {"tags": [LINKS]}, "source": row}
        cells[:0] = [links, *_install(repository)]
    metadata = {key: value for key, value in notebook["metadata"].items() if key not in _RECORDS}
    return {**notebook, "cells": cells, "metadata": metadata | KERNEL}


def _install(repository: str | None) -> list[dict[str, Any]]:
    """The folded cell that installs posebook, as if it had run: where posebook is, it does nothing."""
    code = install_code(repository)
    metadata = {"jupyter": {"source_hidden": True}, "tags": [INSTALL]}
    cell = {"cell_type": "code", "id": INSTALL, "metadata": metadata, "execution_count": 0, "outputs": []}
    return [cell | {"source": code.splitlines(keepends=True)}] if code else []


def course_outlines() -> dict[str, Outline]:
    """The sections of every notebook that ships, by the notebook's name."""
    return {name_of(path): _outline(read_notebook(path)) for path in find()}


def read_notebook(path: Path) -> dict[str, Any]:
    """A notebook as its file has it.

    Raises:
        ValueError: the file is not a notebook of format 4.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if notebook["nbformat"] != 4 or not isinstance(notebook["cells"], list):
            raise ValueError(f"its format is {notebook['nbformat']}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a notebook of format 4 ({error}): open and save it in JupyterLab") from error
    return notebook


def as_text(notebook: Mapping[str, Any]) -> str:
    """A notebook as Jupyter writes it into a file."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def name_of(path: Path) -> str | None:
    """A notebook's path within `notebooks/`, without its ending; None where it lies elsewhere."""
    inside = path.is_relative_to(NOTEBOOKS)
    return path.relative_to(NOTEBOOKS).with_suffix("").as_posix() if inside else None


def _outline(notebook: Mapping[str, Any]) -> Outline:
    return Outline.of(_source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown")


def _source(cell: Mapping[str, Any]) -> str:
    return "".join(cell["source"])


def _tidied_cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    """A cell without records of its execution and without placeholders of widgets, what it printed in one piece."""
    cell = {**cell, "metadata": {key: value for key, value in cell["metadata"].items() if key not in _RECORDS}}
    if cell["cell_type"] == "code":
        cell["outputs"] = _joined([_small(output) for output in still_outputs(cell["outputs"])])
    return cell


def _joined(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs with what was printed in a row as one: a kernel cuts it at moments that differ between runs."""
    joined: list[dict[str, Any]] = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output["output_type"] == "stream" and output.get("name") == last.get("name"):
            text = "".join([*last["text"], *output["text"]])
            joined[-1] = {**last, "text": text.splitlines(keepends=True)}
        else:
            joined.append(output)
    return joined


def _small(output: dict[str, Any]) -> dict[str, Any]:
    """An output with its PNG stored as a palette of colours, or as JPEG where it has too many of them.

    Charts have few colours; photographs, rendered people and the heat maps over them have many.
    """
    from PIL import Image

    png = output.get("data", {}).get("image/png")
    if png is None:
        return output
    data, metadata = dict(output["data"]), dict(output.get("metadata", {}))
    text = png if isinstance(png, str) else "".join(png)
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"])
        if picture.mode == "P":
            return output
        picture.load()
    except (OSError, ValueError):
        return output  # no PNG, whatever it is called
    opaque = Image.new("RGB", picture.size, "white")
    opaque.paste(picture, mask=picture.getchannel("A") if "A" in picture.getbands() else None)
    file = io.BytesIO()
    if opaque.getcolors(MOST_COLOURS) is None:
        kind = "image/jpeg"
        opaque.save(file, "JPEG", quality=QUALITY, optimize=True)
    else:
        kind = "image/png"
        opaque.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    del data["image/png"]
    data[kind] = base64.b64encode(file.getvalue()).decode()
    if "image/png" in metadata:
        metadata[kind] = metadata.pop("image/png")
    return {**output, "data": data, "metadata": metadata}
