"""Notebooks run headless: parameters checked, executed by papermill, several at a time, with an index of what came out.

A notebook runs in its own folder, as it does in JupyterLab; one within an installed package, which is not written to,
in that of its output. A cell tagged `summary` prints, as its last line, what the index and the command line say about
the notebook.
"""

from __future__ import annotations

import ast
import html
import json
import os
import platform
import signal
import sys
import threading
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from posebook.extras import needs
from posebook.notebooks.links import GLOSSARY
from posebook.notebooks.pages import reveal_source, write_page, write_slides, write_text
from posebook.paths import INSTALLED, NOTEBOOKS, alone, check_writable, replacing

# Parameters that name a place. They are made absolute, since a notebook does not run where the command was given.
PLACES = ("data_root", "output_dir", "photograph", "weights")

# The folder, within the output, of what the pages load: MathJax, and reveal.js for slides.
STATIC = "_static"

# Seconds for a kernel to come up: a cold disk or a busy machine takes more than papermill's minute.
START_TIMEOUT = 180
# How often a kernel that does not come up is started.
START_ATTEMPTS = 3

_SHARE = "the machines of a cluster must share the folders of the notebooks and of the output"


class NotebookError(ValueError):
    """A notebook stopped: which, at which cell, and why."""


@dataclass(frozen=True)
class Executed:
    """An executed notebook, as its file tells it.

    Attributes:
        file: the executed notebook; its HTML lies beside it.
        title: the notebook's first heading.
        summary: the last line that its cell tagged `summary` printed, else the title.
        profile: what it ran with; empty for a notebook without the parameter.
        seconds: how long it ran.
        failure: None, or where and why it stopped before its end.
    """

    file: Path
    title: str
    summary: str
    profile: str
    seconds: float
    failure: str | None


def find(paths: Iterable[str | Path] = ()) -> list[Path]:
    """Notebooks as given, a folder standing for all within it; without any, all of posebook's, in order of path.

    Raises:
        FileNotFoundError: a path that is neither a notebook nor a folder that holds one.
    """
    found: list[Path] = []
    for path in [Path(p) for p in paths] or [NOTEBOOKS]:
        within = [path]
        if path.is_dir():
            within = sorted(p for p in path.rglob("*.ipynb") if p.is_file() and not _hidden(p, path))
        if not within or within[0].suffix != ".ipynb" or not within[0].is_file():
            raise FileNotFoundError(f"there is no notebook at {path}: give an .ipynb file, or a folder of them")
        found += [p.resolve() for p in within]
    return list(dict.fromkeys(found))


def parameters_of(notebook: Path) -> dict[str, Any]:
    """The parameters of a notebook (its cell tagged `parameters`) and their defaults, None where it is an expression.

    They are what the cell assigns to plain names, so that the notebook need not say which kernel it is for.

    Raises:
        ValueError: the file is not a notebook that can be read, or the cell is not Python.
    """
    with needs("study", "running notebooks"):
        import nbformat

    try:
        cells = nbformat.read(notebook, as_version=4).cells
        tagged = (cell for cell in cells if "parameters" in cell.metadata.get("tags", []))
        body = ast.parse(next(tagged, {"source": ""})["source"]).body
    except SyntaxError as error:
        raise ValueError(f"{_shown(notebook)}: its cell of parameters is not Python ({error})") from error
    except Exception as error:
        raise ValueError(f"{_shown(notebook)} cannot be read as a notebook: {error}") from error
    found = {}
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            default = _literal(statement.value, otherwise=None)
            found |= {target.id: default for target in targets if isinstance(target, ast.Name)}
    return found


def settle(notebook: Path, profile: str, given: dict[str, Any]) -> dict[str, Any]:
    """The parameters a notebook is run with: those given, the profile where it has one, places made absolute.

    A tuple becomes a list: papermill hands over what JSON holds.

    Args:
        given: values, or their text as typed, which is read by the type of the notebook's default.

    Raises:
        ValueError: an unknown profile, a parameter that the notebook does not have, or a value of another type.
    """
    from posebook.parameters import check_profile

    known = parameters_of(notebook)
    values = {"profile": profile} if "profile" in known else {}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"{_shown(notebook)} has no parameter '{name}'; it has {', '.join(known) or 'none'}")
        values[name] = _as_typed(notebook, name, value, known[name])
    check_profile(values.get("profile", profile))
    for name in PLACES:
        # An empty place stays empty: a notebook then keeps nothing.
        if values.get(name):
            values[name] = str(Path(str(values[name])).expanduser().resolve())
    return values


def execute(
    notebook: Path,
    output: Path,
    parameters: dict[str, Any],
    progress: bool = True,
    slides: bool = False,
    static: Path | None = None,
) -> Executed:
    """Run one notebook in its own folder and write what came out, up to where it stopped, as a notebook and as HTML.

    Args:
        output: where the executed notebook goes; its HTML lies beside it.
        progress: show a bar that counts cells.
        slides: write slides beside the HTML, too.
        static: the folder for what the pages load; by default `_static` beside the notebook.

    Raises:
        FileNotFoundError: the notebook is not on this machine.
    """
    if not notebook.is_file():
        raise FileNotFoundError(f"there is no {notebook} on {platform.node()}: {_SHARE}")
    use_this_python()
    output.parent.mkdir(parents=True, exist_ok=True)
    with alone(output.with_name(f".{output.name}.lock"), str(_shown(output))):
        for page in (output.with_suffix(".html"), _slides_of(output)):
            page.unlink(missing_ok=True)
        failure = _run_cells(notebook, output, parameters, progress)
        _finish(output, notebook.parent, failure, static or output.parent / STATIC, slides)
        return read_executed(output)


def _run_cells(notebook: Path, output: Path, parameters: dict[str, Any], progress: bool) -> str | None:
    """Execute a notebook's cells and write them as they end; why it stopped, or None."""
    with needs("study", "running notebooks"):
        import papermill
        from jupyter_client import AsyncKernelManager
        from nbclient.exceptions import DeadKernelError

    kernels, stopped = [], threading.Event()

    class Kernel(AsyncKernelManager):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            kernels.append(self)

        async def start_kernel(self, *arguments: Any, **options: Any) -> None:
            if not stopped.is_set():
                await super().start_kernel(*arguments, **options)
            if stopped.is_set():
                _kill(self)
                raise RuntimeError("stopped before its kernel had started")

    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            # In a thread of its own, for in a process's first one nbclient takes signals for itself, and a Ctrl-C
            # would look like a kernel that died.
            with ThreadPoolExecutor(1) as pool:
                running = pool.submit(
                    papermill.execute_notebook,
                    *(_literally(path) for path in (notebook, output)),
                    parameters=parameters,
                    kernel_name="python3",
                    language="python",
                    cwd=output.parent if INSTALLED and notebook.is_relative_to(NOTEBOOKS) else notebook.parent,
                    start_timeout=START_TIMEOUT,
                    progress_bar={"desc": notebook.name} if progress else False,
                    # A kernel tells of its own sockets, and of the interrupt that comes before it is shut down, whether
                    # or not anything was running: no news to a reader of notebooks, who learns of a dead kernel from
                    # nbclient.
                    extra_arguments=["--log-level=CRITICAL"],
                    kernel_manager_class=Kernel,
                )
                try:
                    running.result()
                except KeyboardInterrupt:
                    # The thread ends when its kernel has.
                    stopped.set()
                    for kernel in kernels:
                        _kill(kernel)
                    raise
        except papermill.PapermillExecutionError as error:
            return f"{error.ename}: {error.evalue}"
        except DeadKernelError:
            return "the kernel died, as it does when memory runs out"
        except RuntimeError as error:
            # Kernels that start at the same time can pick the same port, and then one of them does not come up.
            if attempt == START_ATTEMPTS:
                return f"the kernel did not come up: {error}"
        else:
            return None


def _kill(kernel: Any) -> None:
    """End a kernel and what it started, where it has started itself."""
    with suppress(AttributeError, TypeError, OSError):
        os.killpg(kernel.provisioner.pid, signal.SIGKILL)


def run(
    notebooks: Iterable[str | Path] = (),
    profile: str = "quick",
    parameters: dict[str, Any] | None = None,
    output: str | Path = "runs",
    jobs: int = 1,
    slides: bool = False,
) -> list[Executed]:
    """Run notebooks, several at a time, with a progress bar, and write `index.html` over all that `output` holds.

    Each has its share of the cores. Within `on_cluster` the cluster's workers run them, one at a time each; their
    machines must have the notebooks' folder and that of the output where this one has them.

    Args:
        notebooks: files or folders; all of posebook's notebooks where none is given.
        profile: "quick", "study" or "paper", for the notebooks that have the parameter.
        parameters: values of other parameters, which every one of the notebooks must have.
        output: the folder the executed notebooks go to, laid out like posebook's or like the folder that was given.
        jobs: how many run at the same time.
        slides: write slides beside the HTML, too.

    Raises:
        FileNotFoundError: slides are wanted, and reveal.js is not installed.
        FileNotFoundError, ValueError: as `find` and `settle` do, before anything has run.
        FileNotFoundError: a machine of the cluster does not have these folders.
        NotebookError: a notebook stopped; those that were still running are stopped too, but for a cluster's.
    """
    from joblib import delayed
    from tqdm import tqdm

    from posebook.compute.cluster import as_they_end, is_elsewhere

    output = Path(output).resolve()
    notebooks = list(notebooks)
    files = find(notebooks)
    folders = [NOTEBOOKS, *(Path(path).resolve() for path in notebooks)]
    plan = [(file, _place(file, folders, output), settle(file, profile, parameters or {})) for file in files]
    places = [place for _, place, _ in plan]
    if len(set(places)) < len(places):
        raise ValueError("two of the notebooks have one name and would overwrite each other: give each an output")
    if set(places) & set(files):
        raise ValueError(f"{_shown(output)} is where the notebooks themselves lie: give another folder as output")
    check_writable(output)
    if slides:
        reveal_source()
    jobs = min(jobs, len(plan))
    single = jobs == 1 and not is_elsewhere()
    pages = {"slides": slides, "static": output / STATIC}
    ended = as_they_end((delayed(execute)(*step, progress=single, **pages) for step in plan), jobs)
    done = []
    with (
        closing(ended),
        tqdm(total=len(plan), unit="notebook", disable=single) as bar,
        warnings.catch_warnings(),
    ):
        # joblib warns of the notebooks that a failing one cancels, which is what is wanted.
        warnings.filterwarnings("ignore", message=".*have been cancelled", category=UserWarning)
        for executed in ended:
            if not executed.file.is_file():
                raise FileNotFoundError(f"{executed.file} was written on another machine only: {_SHARE}")
            done.append(executed)
            bar.update()
            if executed.failure:
                break
        ended.close()
    write_text(NOTEBOOKS / GLOSSARY, (output / GLOSSARY).with_suffix(".html"), output / STATIC)
    write_index(output)
    if done[-1].failure:
        notebook, page = files[places.index(done[-1].file)], done[-1].file.with_suffix(".html")
        raise NotebookError(f"{_shown(notebook)} stopped at {done[-1].failure} (see {_shown(page)})")
    return sorted(done, key=lambda executed: places.index(executed.file))


def _literally(path: Path) -> str:
    """A path as papermill takes it, which puts parameters where it finds braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def title_of(notebook: Any, file: Path) -> str:
    """A notebook's first heading, or its file's name where it has none."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    headings = [line for text in texts for line in text.splitlines() if line.startswith("# ")]
    return headings[0].lstrip("# ").strip() if headings else file.stem


def read_executed(file: Path) -> Executed:
    """What an executed notebook tells about itself."""
    with needs("study", "running notebooks"):
        import nbformat

    notebook = nbformat.read(file, as_version=4)
    about = notebook.metadata.get("papermill", {})
    # The record of another run may have come along with the notebook: only this run's tells how this one ended.
    ending = notebook.metadata.get("posebook", {})
    ended = ending.get("start_time") == about.get("start_time", "")
    printed = [
        line.strip()
        for cell in notebook.cells
        if "summary" in cell.metadata.get("tags", [])
        for out in cell.get("outputs", [])
        if out.output_type == "stream" and out.name == "stdout"
        for line in out.text.splitlines()
        if line.strip()
    ]
    return Executed(
        file=file,
        title=title_of(notebook, file),
        summary=printed[-1] if printed else title_of(notebook, file),
        profile=about.get("parameters", {}).get("profile", ""),
        seconds=about.get("duration") or 0.0,
        failure=ending["failure"] if ended else "an unknown cell: it was interrupted",
    )


def write_index(output: Path) -> Path:
    """Write `index.html`, a table of every executed notebook in a folder: title, summary, profile, time, link."""
    rows = []
    for file in find([output]):
        try:
            rows.append(_row(read_executed(file), output))
        except Exception:  # cut off in the middle of writing, as a killed run leaves it, or none of this command's
            continue
    index = output / "index.html"
    with replacing(index) as part:
        part.write_text(_INDEX.format(rows="\n".join(rows)), encoding="utf-8")
    return index


def _row(executed: Executed, output: Path) -> str:
    page, slides = executed.file.with_suffix(".html"), _slides_of(executed.file)
    summary = f"stopped at {executed.failure}" if executed.failure else executed.summary
    cells = [_linked(page, executed.title, output) if page.exists() else html.escape(executed.title)]
    cells[0] += f" ({_linked(slides, 'slides', output)})" if slides.exists() else ""
    cells += [html.escape(text) for text in (summary, executed.profile, f"{executed.seconds:.0f} s")]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _linked(page: Path, text: str, output: Path) -> str:
    # A name may look like an address ("javascript:"), and hold what ends one.
    return f'<a href="{quote(page.relative_to(output).as_posix())}">{html.escape(text)}</a>'


_INDEX = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>posebook: executed notebooks</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #ddd; vertical-align: top; }}
td:last-child {{ text-align: right; white-space: nowrap; }}
</style>
<h1>Executed notebooks</h1>
<table>
<tr><th>Notebook</th><th>Summary</th><th>Profile</th><th>Time</th></tr>
{rows}
</table>
</html>
"""


def _hidden(path: Path, below: Path) -> bool:
    """Whether a file lies in a hidden folder, as JupyterLab's checkpoints do."""
    return any(part.startswith(".") for part in path.relative_to(below).parts)


def _literal(source: str | ast.expr, otherwise: Any) -> Any:
    """What a Python literal, as text or parsed, stands for; `otherwise` for anything else."""
    try:
        return ast.literal_eval(source)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return otherwise


def _as_typed(notebook: Path, name: str, value: Any, default: Any) -> Any:
    """A value of the default's type, read from its text where it came as text; of any type where that is None."""
    if isinstance(value, str) and not isinstance(default, str):
        value = _literal(value, otherwise=value)
    wanted = {float: (int, float), tuple: (tuple, list), list: (tuple, list)}.get(type(default), type(default))
    # True and False are whole numbers to Python, and to nobody who gives a number of steps.
    fits = isinstance(value, wanted) and isinstance(value, bool) == isinstance(default, bool)
    if default is not None and not fits:
        raise ValueError(
            f"parameter '{name}' of {_shown(notebook)} takes a value like {default!r} "
            f"({type(default).__name__}), not {value!r}"
        )
    try:
        return json.loads(json.dumps(os.fspath(value) if isinstance(value, os.PathLike) else value))
    except TypeError as error:
        raise ValueError(
            f"parameter '{name}' of {_shown(notebook)} is handed over as JSON, which does not hold {value!r}: give "
            "numbers, text, or lists of them"
        ) from error


def _place(notebook: Path, folders: list[Path], output: Path) -> Path:
    """Where an executed notebook goes: as it lies in the first of the folders that holds it, else on top."""
    home = next((folder for folder in folders if folder in notebook.parents), notebook.parent)
    return output / notebook.relative_to(home)


def use_this_python() -> None:
    """Let the kernel named python3 be that of the running environment, whatever else Jupyter finds on the machine."""
    own = os.path.join(sys.prefix, "share", "jupyter")
    others = [path for path in os.environ.get("JUPYTER_PATH", "").split(os.pathsep) if path]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(dict.fromkeys([own, *others]))


def _finish(executed: Path, folder: Path, error: str | None, static: Path, slides: bool) -> None:
    """Record in an executed notebook how it ended, and write its HTML with the pictures of its own folder inside."""
    with needs("study", "running notebooks"):
        import nbformat

    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata["posebook"] = {
        "start_time": notebook.metadata.papermill.start_time,
        "failure": f"{_last_cell(notebook)}: {' '.join(error.split())}" if error else None,
    }
    with replacing(executed) as part:
        part.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    notebook.metadata["title"] = read_executed(executed).title  # what a browser's tab says
    write_page(notebook, executed.with_suffix(".html"), folder, static)
    if slides:
        write_slides(notebook, _slides_of(executed), folder, static)


def _slides_of(notebook: Path) -> Path:
    return notebook.with_suffix(".slides.html")


def _last_cell(notebook: Any) -> str:
    """The last cell that was started, by its number (as JupyterLab counts) and its first line of code."""
    code = [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    started = [(number, cell) for number, cell in enumerate(code, 1) if cell.metadata.papermill.get("start_time")]
    if not started:
        return "its start"
    number, cell = started[-1]
    lines = [line.strip() for line in cell.source.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return f"cell {number} ({lines[0] if lines else 'empty'})"


def _shown(path: Path) -> str:
    """A path as a person would type it: from the current folder, where it lies below."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
