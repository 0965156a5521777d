"""Commands that execute notebooks, serve their sliders, copy them and make them tidy."""

from __future__ import annotations

import signal

import click

from posebook.cli.common import friendly


@click.command()
@click.argument("notebooks", nargs=-1, metavar="[NOTEBOOK]...")
@click.option("--profile", default="quick", show_default=True, help="quick, study (minutes) or paper (real sets).")
@click.option(
    "-p", "--parameter", "parameters", nargs=2, multiple=True, metavar="NAME VALUE", help="Set a notebook's parameter."
)
@click.option("--output", default="runs", show_default=True, help="Folder for executed notebooks and their index.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="How many run at a time.")
@click.option("--cluster", help="Address of a Dask scheduler whose workers run them, in place of --jobs.")
@click.option(
    "--to",
    type=click.Choice(["html", "slides"]),
    default="html",
    show_default=True,
    help="What is written of each: a web page, or slides beside it. Both open without a network.",
)
@friendly(stopped="what was executed is kept, and the same command executes all of it again")
def run(
    notebooks: tuple[str, ...],
    profile: str,
    parameters: tuple[tuple[str, str], ...],
    output: str,
    jobs: int,
    cluster: str | None,
    to: str,
) -> None:
    """Execute notebooks (all of posebook's, where none is named) and write what came out, with an HTML index.

    A NOTEBOOK runs in its own folder. A folder stands for all notebooks within it.
    """
    from pathlib import Path

    from posebook.compute.cluster import on_cluster
    from posebook.notebooks.headless import run as run_notebooks

    folder = Path(output).resolve()
    with on_cluster(cluster) as workers:
        done = run_notebooks(notebooks, profile, dict(parameters), folder, workers or jobs, to == "slides")
    for notebook in done:
        click.echo(f"{notebook.seconds:5.0f} s  {notebook.file.relative_to(folder)}: {notebook.summary}")
    click.echo(f"Index of what was executed: {folder / 'index.html'}")


@click.command()
@click.argument("names", nargs=-1, metavar="[PAGE]...")
@click.option("--port", default=8866, show_default=True, type=click.IntRange(1, 65535), help="Port of the server.")
@click.option("--no-browser", is_flag=True, help="Do not open a browser; the address is printed.")
@friendly
def demo(names: tuple[str, ...], port: int, no_browser: bool) -> None:
    """Serve pages of the notebooks' sliders, without code: a PAGE is a paper's name, start_here or ledger.

    Without any, all of them, with a list. Ctrl-C ends it.
    """
    import tempfile
    from pathlib import Path

    from posebook.notebooks.demo import serve

    with tempfile.TemporaryDirectory(prefix="posebook-demo-") as folder:
        server = serve(names, Path(folder), port, not no_browser)
        try:
            code = server.wait()
        except KeyboardInterrupt as error:
            if getattr(error, "number", signal.SIGINT) != signal.SIGINT:
                server.terminate()
            server.wait()  # it was interrupted too, and ends its kernels
            code = 0
    if code:
        raise click.ClickException(f"the server of the pages ended (status {code}): what it said stands above")


@click.group()
def notebooks() -> None:
    """The notebooks: copy them to where they are studied, make them tidy. (`posebook run` executes them.)"""


@notebooks.command("copy")
@click.argument("folder", metavar="DIR")
@friendly
def notebooks_copy(folder: str) -> None:
    """Copy the notebooks and their glossary into the folder DIR; overwrites nothing that differs."""
    import shlex
    from importlib.util import find_spec

    from posebook.notebooks.course import copy

    click.echo(f"{len(copy(folder))} files are in {folder}. Now:")
    if find_spec("jupyterlab") is None:
        click.echo("  pip install 'posebook[study]'")
    click.echo(f"  jupyter lab {shlex.quote(folder)}")


@notebooks.command("tidy")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--check", is_flag=True, help="Change nothing; name the notebooks that are not tidy, and fail if any.")
@friendly
def notebooks_tidy(paths: tuple[str, ...], check: bool) -> None:
    """Write the links of notebooks (all of them, where none is named), and remove what makes differences noisy.

    A PATH is a notebook, or a folder of them. Links are the row that each notebook starts with, references to sections
    and notebooks, and first uses of the glossary's terms. Removed are records of when cells ran, the state of widgets,
    and the version of Python.
    """
    import os

    from posebook.notebooks.tidy import tidy

    changed = tidy(paths, write=not check)
    for path in changed:
        click.echo(os.path.relpath(path))
    if check and changed:
        raise click.ClickException(f"{len(changed)} of the notebooks are not tidy: run `posebook notebooks tidy`")
