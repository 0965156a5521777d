"""The sliders of a paper's notebooks on one page without code, which Voila serves.

The cells that such a page runs are tagged `demo` in the notebooks: the sliders, and what they need. A cell that trains
a network is tagged `trains` as well: what follows it waits for a click, so that nobody has to wait for it.
"""

from __future__ import annotations

import ast
import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posebook.extras import needs
from posebook.notebooks.headless import find, title_of, use_this_python
from posebook.notebooks.references import unlinked
from posebook.paths import NOTEBOOKS

if TYPE_CHECKING:
    from ipywidgets import Widget
    from nbformat import NotebookNode

# One namespace per notebook: on a page of several, each calls its own network `network`.
_namespaces: dict[str, dict[str, Any]] = {}
# Parameters of a page.
given: dict[str, Any] = {}


def pages() -> dict[str, list[Path]]:
    """The notebooks that each page is made of: a page per paper, one for the start and one for the ledger, by name."""
    found: dict[str, list[Path]] = {}
    for path in find([NOTEBOOKS]):
        if any(_marked(cell) for cell in _read(path).cells):
            first = path.relative_to(NOTEBOOKS).parts[0]
            found.setdefault(re.sub(r"^\d+_", "", Path(first).stem), []).append(path)
    return found


def build(name: str, **parameters: Any) -> NotebookNode:
    """The page of this name, as a notebook that plays the cells of others.

    Args:
        name: as `pages` has it.
        parameters: other values than the notebooks' own, for those that have the parameter.

    Raises:
        ValueError: there is no such page.
    """
    with needs("study", "a page of sliders"):
        from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    known = pages()
    if name not in known:
        raise ValueError(f"there is no page '{name}' of sliders; there are {', '.join(known)}")
    page = [
        new_code_cell(f"from posebook.notebooks.demo import given, on_click, play, prepare\n\ngiven |= {parameters!r}")
    ]
    for path in known[name]:
        notebook, cells, needed, text = path.relative_to(NOTEBOOKS).as_posix(), _read(path).cells, [], []
        page.append(new_markdown_cell(f"# {title_of(_read(path), path)}"))
        for number, cell in enumerate(cells):
            if cell.cell_type == "markdown":
                # Links lead nowhere from a page, and what is optional is so for who studies the notebook.
                plain = re.sub(r"^(#.*) \(optional\)$", r"\1", unlinked(cell.source), flags=re.MULTILINE)
                text += plain.split("\n\n")
            if not _marked(cell):
                continue
            if "explore(" not in cell.source:
                needed.append(number)
                continue
            # What belongs to the slider is the section's heading and the paragraph above it.
            page.append(new_markdown_cell("\n\n".join(dict.fromkeys([_headings(text)[-1], text[-1]]))))
            if any("trains" in cells[n].metadata.tags for n in needed):
                page.append(new_code_cell(f"on_click({notebook!r}, {', '.join(map(str, [*needed, number]))})"))
            else:
                page += [new_code_cell(f"prepare({notebook!r}, {', '.join(map(str, needed))})")] if needed else []
                page.append(new_code_cell(f"play({notebook!r}, {number})"))
            needed = []
    return new_notebook(cells=page, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def play(notebook: str, *numbers: int) -> Any:
    """Run cells of a notebook in its own namespace; gives what the last of them ends with, which a page shows.

    Args:
        notebook: by its path within the folder of notebooks.
        numbers: the cells, counted from 0, text included.
    """
    import torch

    # Without nbformat, whose import takes longer than torch's: somebody waits for the first picture.
    cells = json.loads((NOTEBOOKS / notebook).read_text(encoding="utf-8"))["cells"]
    space = _namespaces.setdefault(notebook, {"__name__": "__main__"})
    usual, result = torch.get_default_dtype(), None
    try:
        for number in numbers:
            where, body = f"{notebook}, cell {number}", ast.parse("".join(cells[number]["source"])).body
            last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
            exec(compile(ast.Module(body, []), where, "exec"), space)
            result = eval(compile(ast.Expression(last.value), where, "eval"), space) if last else None
            if "parameters" in cells[number]["metadata"].get("tags", []):
                space.update({key: value for key, value in given.items() if key in space})
    finally:
        # What a notebook sets for itself, the others on the page do not have.
        torch.set_default_dtype(usual)
    return result


def prepare(notebook: str, *numbers: int) -> None:
    """Run cells of a notebook that others need, without showing what they show."""
    import matplotlib.pyplot as plt

    with needs("study", "a page of sliders"):
        from IPython.utils.capture import capture_output

    with capture_output():
        play(notebook, *numbers)
        plt.close("all")


def on_click(notebook: str, *numbers: int) -> Widget:
    """A button that runs cells of a notebook; the last of them ends with sliders, which take the button's place."""
    with needs("study", "a slider"):
        import ipywidgets

    button = ipywidgets.Button(description="Train a network", tooltip="takes up to a minute")
    box = ipywidgets.VBox([button])

    def run(_: object) -> None:
        box.children = [ipywidgets.HTML("Training ...")]
        try:
            prepare(notebook, *numbers[:-1])
            box.children = [play(notebook, numbers[-1]).box]
        except Exception as error:
            # A page hides what a button's callback raises.
            box.children = [ipywidgets.HTML(html.escape(f"{type(error).__name__}: {error}")), button]

    button.on_click(run)
    return box


def serve(
    names: Iterable[str], folder: Path, port: int = 8866, browser: bool = True, **parameters: Any
) -> subprocess.Popen:
    """Write pages of sliders into a folder and start Voila on them; several come with a list of them.

    Raises:
        ValueError: there is no such page.
        ModuleNotFoundError: Voila is not installed.
    """
    with needs("study", "a page of sliders"):
        import nbformat

    with needs("study", "serving a page of sliders"):
        import voila  # noqa: F401 (it is run in a process of its own)
    files = []
    for name in list(names) or pages():
        files.append(folder / f"{name}.ipynb")
        nbformat.write(build(name, **parameters), files[-1])
    use_this_python()
    command = [sys.executable, "-m", "voila", str(files[0] if len(files) == 1 else folder), f"--port={port}"]
    # A page appears cell by cell; kernels of pages that were closed go after ten minutes.
    command += ["--progressive_rendering=True", "--show_tracebacks=True"] + ["--no-browser"] * (not browser)
    command += ["--MappingKernelManager.cull_interval=60", "--MappingKernelManager.cull_idle_timeout=600"]
    return subprocess.Popen(command, env=os.environ | {"PYTHONWARNINGS": "ignore"})


def _read(path: Path) -> NotebookNode:
    with needs("study", "a page of sliders"):
        import nbformat

    return nbformat.read(path, as_version=4)


def _marked(cell: NotebookNode) -> bool:
    return "demo" in cell.metadata.get("tags", [])


def _headings(text: list[str]) -> list[str]:
    return [line for paragraph in text for line in paragraph.splitlines() if line.startswith("#")]
