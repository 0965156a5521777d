"""Executed notebooks as web pages and as slides that load nothing from a network: what they need lies beside them.

Equations are drawn by MathJax, slides turned by reveal.js. Copies of both come into one folder that pages link to.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from copy import copy, deepcopy
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from posebook.extras import needs
from posebook.paths import alone, replacing

WIDGET = "application/vnd.jupyter.widget-view+json"

_HEADING = re.compile(r"##? ")

# An address of a notebook or of Markdown that is not on the web.
_LINK = re.compile(r"""(<a href="(?![a-z]+:|/)[^"#]*)\.(?:ipynb|md)((?:#[^"]*)?")""")

# For MathJax.Hub.Config: the package has the STIX fonts alone. Without `config` MathJax asks for one in its address.
MATHJAX = {
    "config": ["TeX-AMS-MML_HTMLorMML-full.js", "Safe.js"],
    "HTML-CSS": {"availableFonts": [], "webFont": "STIX-Web", "imageFont": None, "linebreaks": {"automatic": True}},
    "TeX": {"equationNumbers": {"autoNumber": "AMS", "useLabelIds": True}},
    "messageStyle": "none",
}

_TEX = {"inlineMath": [["$", "$"], ["\\(", "\\)"]], "processEscapes": True, "processEnvironments": True}

# What nbconvert's pages load from elsewhere stands in these blocks. A cell that JupyterLab shows folded is folded here.
_PAGE = """\
{%- extends 'index.html.j2' -%}
{%- block html_head_js_jquery -%}{%- endblock -%}
{%- block html_head_js_requirejs -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}
<script type="text/x-mathjax-config">MathJax.Hub.Config({{ resources.posebook.mathjax | json_dumps }})</script>
<script src="{{ resources.mathjax_url }}" async></script>
{%- endblock -%}
{%- block input -%}
{%- if cell.metadata.get('jupyter', {}).get('source_hidden') -%}
<details><summary>Code</summary>{{ super() }}</details>
{%- else -%}
{{ super() }}
{%- endif -%}
{%- endblock -%}
"""

_SLIDES = (
    _PAGE
    + """\
{%- block html_head_css -%}
<style>
.reveal .slides section { max-height: 100%; overflow-y: auto; text-align: left; }
.reveal .slides h1, .reveal .slides h2, .reveal .slides h3 { text-transform: none; }
.reveal img { max-height: 75vh; }
</style>
{%- endblock -%}
{%- block footer_js -%}
<script src="{{ resources.reveal.url_prefix }}/dist/reveal.js"></script>
<script src="{{ resources.reveal.url_prefix }}/plugin/notes/notes.js"></script>
<script>
Reveal.initialize({ hash: true, center: false, width: 1100, height: 750, slideNumber: "c/t", plugins: [RevealNotes] });
Reveal.on("slidechanged", event => MathJax.Hub.Queue(["Rerender", MathJax.Hub, event.currentSlide]));
</script>
{%- endblock -%}
"""
)


def write_page(notebook: Any, file: Path, folder: Path, static: Path) -> None:
    """Write an executed notebook as a web page.

    Args:
        notebook: as nbformat reads it.
        file: where the page goes.
        folder: what the paths of pictures in the text start from.
        static: the folder for MathJax, to which the page links.
    """
    with needs("study", "a page of a notebook"):
        from nbconvert import HTMLExporter

    _write(HTMLExporter(raw_template=_PAGE, embed_images=True), notebook, file, folder, static)


def write_slides(notebook: Any, file: Path, folder: Path, static: Path) -> None:
    """Write an executed notebook as slides: its text, equations and pictures without the code.

    A slide starts at each heading of the first or second level, unless cells tell of their slides themselves.

    Args:
        notebook, file, folder, static: as for `write_page`; reveal.js comes into `static` too.

    Raises:
        FileNotFoundError: reveal.js is not installed; says how it is.
    """
    with needs("study", "slides"):
        from nbconvert import SlidesExporter

    reveal = _installed(reveal_source(), static / "reveal.js")
    exporter = SlidesExporter(
        raw_template=_SLIDES,
        embed_images=True,
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        reveal_url_prefix=_link(reveal, file),
        reveal_theme="white",  # the others' fonts are on the web
    )
    _write(exporter, with_slides(notebook), file, folder, static)


def write_text(source: Path, file: Path, static: Path) -> None:
    """Write a Markdown file as a web page like those of notebooks."""
    with needs("study", "a page of a notebook"):
        from nbformat.v4 import new_markdown_cell, new_notebook

    write_page(new_notebook(cells=[new_markdown_cell(source.read_text("utf-8"))]), file, source.parent, static)


def with_slides(notebook: Any) -> Any:
    """A copy whose headings of the first and second level start a slide; as it is where a cell tells of slides."""
    marked = deepcopy(notebook)
    if any("slide_type" in cell.metadata.get("slideshow", {}) for cell in marked.cells):
        return marked
    marked.cells = [part for cell in marked.cells for part in _cut_at_headings(cell)]
    for cell in marked.cells:
        if cell.cell_type == "markdown" and _HEADING.match(cell.source.lstrip()):
            cell.metadata["slideshow"] = {"slide_type": "slide"}
    return marked


def without_widgets(notebook: Any) -> Any:
    """A copy in which a widget is the picture that comes with it, as no kernel stands behind a page to move it."""
    still = deepcopy(notebook)
    still.metadata.pop("widgets", None)
    for cell in still.cells:
        if cell.cell_type == "code":
            cell["outputs"] = still_outputs(cell["outputs"])
    return still


def still_outputs(outputs: Iterable[Any]) -> list[Any]:
    """A cell's outputs with pictures in the place of widgets; a widget that brings none is left out."""
    kept = []
    for output in outputs:
        data = output.get("data", {})
        if WIDGET in data:
            rest = {kind: value for kind, value in data.items() if kind != WIDGET}
            # All that a widget without a picture has to show is its Python name.
            if rest.keys() <= {"text/plain"}:
                continue
            output = copy(output)
            output["data"] = rest
        kept.append(output)
    return kept


def install_mathjax(static: Path) -> Path:
    """The folder of MathJax within `static`, copied from its package where it is missing."""
    return _installed(_package("jupyter_server_mathjax") / "static", static / "mathjax")


def reveal_source() -> Path:
    """The folder of reveal.js as a package brings it.

    Raises:
        FileNotFoundError: it is not installed; says how it is.
    """
    if find_spec("sphinx_revealjs") is None:
        raise FileNotFoundError(
            "slides need reveal.js, which the book's packages bring: pip install -r book/requirements.txt"
        )
    return _package("sphinx_revealjs") / "_static" / "revealjs"


class _Loads(HTMLParser):
    """Collects what a page loads when it is opened, as against what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag
        given = {name: value or "" for name, value in attrs}
        self.found += [given[name] for name in ("src", "data", "poster") if name in given]
        self.found += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
        # Canonical addresses, next pages and the like are not fetched.
        if tag == "link" and {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "manifest"} & set(
            given.get("rel", "").split()
        ):
            self.found.append(given.get("href", ""))
        self.found += _styled(given.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "style":
            self.found += _styled(data)
        elif self._within == "script":
            self.found += re.findall(r"""(?:\bfrom|\bimport\(|\.src\s*=|\brequire\(\[?)\s*["']([^"']+)""", data)


def outside_loads(page: str) -> list[str]:
    """The addresses on the web from which an HTML page, or a style sheet in <style>, loads something when opened."""
    parser = _Loads()
    parser.feed(page)
    return [address for address in parser.found if re.match(r"\s*(https?:)?//", address)]


def _styled(css: str) -> list[str]:
    return re.findall(r"""(?:url\(|@import\s+(?!url))\s*["']?([^"')\s;]+)""", css)


def _cut_at_headings(cell: Any) -> list[Any]:
    """A cell of text in pieces, each of which starts with a heading of the first or second level, but for the first."""
    if cell.cell_type != "markdown":
        return [cell]
    pieces, fenced = [[]], False
    for line in cell.source.splitlines():
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        if _HEADING.match(line) and not fenced and any(pieces[-1]):
            pieces.append([])
        pieces[-1].append(line)
    parts = [deepcopy(cell) for _ in pieces]
    for number, (part, lines) in enumerate(zip(parts, pieces, strict=True)):
        part.source = "\n".join(lines)
        if number and "id" in cell:  # of up to 64 characters
            part["id"] = f"{cell['id'][:60]}-{number}"
    return parts


def _write(exporter: Any, notebook: Any, file: Path, folder: Path, static: Path) -> None:
    mathjax = install_mathjax(static)
    exporter.mathjax_url = _link(mathjax / "MathJax.js", file)
    resources = {
        "metadata": {"name": file.stem, "path": str(folder)},
        "posebook": {"mathjax": {**MATHJAX, "tex2jax": _TEX}},
    }
    page, _ = exporter.from_notebook_node(without_widgets(notebook), resources=resources)
    # Notebooks and the glossary become pages that lie as they do.
    page = _LINK.sub(r"\1.html\2", page)
    with replacing(file) as part:
        part.write_text(page, encoding="utf-8")


def _link(target: Path, page: Path) -> str:
    return Path(os.path.relpath(target, page.parent)).as_posix()


def _package(name: str) -> Path:
    """Where a package lies, without importing it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the package {name} is not installed: pip install -r requirements.txt")
    return Path(spec.submodule_search_locations[0])


def _installed(source: Path, target: Path) -> Path:
    """A copy of a folder, made whole or not at all: several notebooks may end at the same time and want it."""
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    with alone(target.with_name(f".{target.name}.lock"), f"copying {target.name}"):
        if not target.is_dir():
            shutil.rmtree(part, ignore_errors=True)  # as a killed process left it
            shutil.copytree(source, part).rename(target)
    return target
