"""Build the book: the committed notebooks as a site that opens without a network, in runs/book/html.

    python book/build.py                     (make book)
    python book/build.py --output DIR

The pages of `_toc.yml` are copied with their pictures into DIR/source, as jupyter-book needs them, and built by it. It
ends with an error where a page would load anything from elsewhere.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import yaml

from posebook.notebooks.pages import MATHJAX, install_mathjax, outside_loads, without_widgets
from posebook.paths import ROOT, check_writable

HERE = Path(__file__).parent
PICTURES = ("*.png", "*.jpg", "*.svg")


def chapters(node: object) -> list[str]:
    """The pages that a table of contents names, in order, without their endings."""
    if isinstance(node, list):
        return [page for part in node for page in chapters(part)]
    if not isinstance(node, dict):
        return []
    return [node[key] for key in ("root", "file") if key in node] + chapters(list(node.values()))


def stage(source: Path) -> list[str]:
    """Copy what the book is made of; returns its pages.

    A cell that JupyterLab shows folded gets the tag by which jupyter-book folds it.

    Raises:
        FileNotFoundError: the table of contents names a page that does not exist.
    """
    pages = chapters(yaml.safe_load((HERE / "_toc.yml").read_text()))
    for page in pages:
        found = [ROOT / f"{page}{ending}" for ending in (".ipynb", ".md") if (ROOT / f"{page}{ending}").is_file()]
        if not found:
            raise FileNotFoundError(f"book/_toc.yml names {page}, which is neither a notebook nor Markdown")
        target = source / found[0].relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if found[0].suffix == ".md":
            shutil.copy(found[0], target)
            continue
        notebook = without_widgets(nbformat.read(found[0], as_version=4))
        for cell in notebook.cells:
            if cell.metadata.get("jupyter", {}).get("source_hidden"):
                cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
            if "alt" in cell.metadata:
                cell.metadata["mystnb"] = {"image": {"alt": cell.metadata["alt"]}}
        nbformat.write(notebook, target)
    shutil.copytree(HERE / "_static", source / "_static")
    for file in ("LICENSE", "CITATION.cff"):  # which the first page links to
        shutil.copy(ROOT / file, source)
    for folder in {(ROOT / page).parent for page in pages} | {ROOT / "results"}:
        for picture in (file for pattern in PICTURES for file in folder.glob(pattern)):
            target = source / picture.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, target)
    return pages


def build(source: Path, output: Path) -> str:
    """Let jupyter-book build the site into `output / "_build" / "html"`; returns what it printed.

    Raises:
        SystemExit: it failed; what it printed says why.
    """
    config = yaml.safe_load((HERE / "_config.yml").read_text())
    config["sphinx"]["config"]["mathjax2_config"] = MATHJAX
    written = output / "_config.yml"
    written.write_text(yaml.safe_dump(config))
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(source)]
    options = ["--config", str(written), "--toc", str(HERE / "_toc.yml"), "--path-output", str(output), "--all"]
    ran = subprocess.run([*jupyter_book, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    (output / "build.log").write_text(ran.stdout)
    if ran.returncode:
        raise SystemExit(f"{ran.stdout}\njupyter-book failed; all that it printed is in {output / 'build.log'}")
    return ran.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the book from the committed notebooks.")
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "book", help="where the site goes, in html/")
    output = parser.parse_args().output.resolve()
    began = time.monotonic()
    check_writable(output)
    source, site = output / "source", output / "html"
    for folder in (source, site, output / "_build"):
        shutil.rmtree(folder, ignore_errors=True)
    pages = stage(source)
    printed = build(source, output)
    (output / "_build" / "html").rename(site)
    install_mathjax(site / "_static")

    warnings = [line for line in printed.splitlines() if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
    print("\n".join(warnings))
    html = {page: page.read_text(encoding="utf-8") for page in sorted(site.rglob("*.html"))}
    missing = [page for page in pages if site / f"{page}.html" not in html]
    loads = {page.relative_to(site): outside_loads(text) for page, text in html.items()}
    for sheet in site.rglob("*.css"):
        loads[sheet.relative_to(site)] = outside_loads(f"<style>{sheet.read_text(encoding='utf-8')}</style>")
    for page, addresses in loads.items():
        for address in addresses:
            print(f"{page} loads {address}")
    equations = sum(text.count('class="math') for text in html.values())
    size = sum(file.stat().st_size for file in site.rglob("*") if file.is_file()) / 1e6
    print(
        f"{len(pages)} pages, {equations:,} equations, {size:.0f} MB, {len(warnings)} warnings, "
        f"{time.monotonic() - began:.0f} s: {site / 'index.html'}"
    )
    if missing:
        raise SystemExit(f"not in the book: {', '.join(missing)}")
    if any(loads.values()):
        raise SystemExit("the pages above load from the web: see _config.yml for what turns that off")


if __name__ == "__main__":
    main()
