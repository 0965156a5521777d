"""Pages and slides of executed notebooks: what they show, and that they load nothing from a network."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from posebook.cli import main
from posebook.notebooks import pages

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"


def shown(**data: object) -> nbformat.NotebookNode:
    return new_output("display_data", data={name.replace("__", "/"): value for name, value in data.items()})


def executed() -> nbformat.NotebookNode:
    """A slider as one bundle and as two outputs, an equation, a folded cell, a title with HTML in it."""
    view = {VIEW: {"version_major": 2, "version_minor": 0, "model_id": "abc"}}
    bundle = new_output("display_data", data={**view, "image/png": PIXEL, "text/plain": "Explorer()"})
    bare = new_output("display_data", data={**view, "text/plain": "VBox(children=())"})
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# Heads & <b>maps</b>\n\nHalf of it costs \\$5; PCKh is read at `PCKh@0.5`."),
            new_code_cell("explore(draw)", outputs=[bundle]),
            new_markdown_cell("## An equation\n\n$$\\Psi = \\sum_i W_i \\Phi_i$$\n\nand $h_i$ within a line."),
            new_code_cell(
                "hidden = 1", metadata={"jupyter": {"source_hidden": True}}, outputs=[bare, shown(image__png=PIXEL)]
            ),
            new_markdown_cell("### No slide of its own"),
        ]
    )
    notebook.metadata["widgets"] = {STATE: {"state": {"abc": {}}, "version_major": 2, "version_minor": 0}}
    notebook.metadata["title"] = "Heads & <b>maps</b>"
    return notebook


def loads(page: Path) -> list[Path]:
    """Files beside a page that its scripts and style sheets name."""
    found = re.findall(r'<(?:script|link)[^>]* (?:src|href)="([^"]+)"', page.read_text())
    return [page.parent / name for name in found]


def test_links_to_notebooks_and_to_the_glossary_lead_to_their_pages(tmp_path):
    links = {
        "../GLOSSARY.md#heat-map": "../GLOSSARY.html#heat-map",
        "2_network.ipynb": "2_network.html",
        "2_network.ipynb#3.-The-loss": "2_network.html#3.-The-loss",
        "https://example.org/a.ipynb": "https://example.org/a.ipynb",
        "#2.-Here.md": "#2.-Here.md",
        "figure.png": "figure.png",
    }
    text = tmp_path / "text.md"
    text.write_text("# Links\n" + "\n".join(f"- [to]({address})" for address in links))
    pages.write_text(text, tmp_path / "text.html", tmp_path / "_static")
    found = re.findall(r'<a href="([^"]*)">to</a>', (tmp_path / "text.html").read_text())
    assert found == list(links.values())


def test_a_page_shows_pictures_for_widgets_and_loads_only_what_lies_beside_it(tmp_path):
    page = tmp_path / "paper" / "lesson.html"
    page.parent.mkdir()
    pages.write_page(executed(), page, tmp_path, tmp_path / "_static")

    text = page.read_text()
    assert pages.outside_loads(text) == []
    assert text.count(f"data:image/png;base64,{PIXEL}") == 2
    assert "widget-view" not in text
    assert "widget-state" not in text
    assert "VBox" not in text
    assert "<title>Heads &amp; &lt;b&gt;maps&lt;/b&gt;</title>" in text
    assert "\\sum_i W_i \\Phi_i" in text
    assert "<details><summary>Code</summary>" in text
    assert text.count("<details>") == 1
    assert [file.resolve() for file in loads(page)] == [tmp_path / "_static" / "mathjax" / "MathJax.js"]
    for file in loads(page):
        assert file.is_file()
    # What MathJax is told to load exists too.
    for name in pages.MATHJAX["config"]:
        assert (tmp_path / "_static" / "mathjax" / "config" / name).is_file()
        assert name in text


def test_the_notebook_itself_keeps_its_widgets():
    notebook = executed()
    still = pages.without_widgets(notebook)
    assert "widgets" in notebook.metadata
    assert [list(out.data) for cell in still.cells for out in cell.get("outputs", [])] == [
        ["image/png", "text/plain"],
        ["image/png"],
    ]
    assert VIEW in notebook.cells[1].outputs[0].data
    assert len(notebook.cells[3].outputs) == 2


def test_slides_start_at_headings_and_hide_code(tmp_path):
    pytest.importorskip("sphinx_revealjs", reason="reveal.js comes with the book's packages")
    page = tmp_path / "lesson.slides.html"
    pages.write_slides(executed(), page, tmp_path, tmp_path / "_static")

    text = page.read_text()
    assert pages.outside_loads(text) == []
    assert text.count("<section") == 4  # two slides, each a column of one
    assert "explore" not in text
    assert text.count(f"data:image/png;base64,{PIXEL}") == 2
    assert len(loads(page)) == 5
    for file in loads(page):
        assert file.is_file(), file
        if file.suffix == ".css":
            assert pages.outside_loads(f"<style>{file.read_text()}</style>") == []


def test_a_slide_starts_at_a_heading_within_a_cell_too():
    text = "What to see.\n\n## Next\n\n```\n# no heading\n```\n\n### Part of it\n\n## Last"
    cells = pages.with_slides(new_notebook(cells=[new_markdown_cell(text), new_code_cell("# x")])).cells
    assert [cell.source.splitlines()[0] for cell in cells] == ["What to see.", "## Next", "## Last", "# x"]
    assert ["slideshow" in cell.metadata for cell in cells] == [False, True, True, False]
    assert "\n".join(cell.source for cell in cells[:3]) == text
    assert len({cell["id"] for cell in cells}) == 4


def test_slides_are_as_the_notebook_marks_them():
    notebook = executed()
    notebook.cells[1].metadata["slideshow"] = {"slide_type": "subslide"}
    assert [cell.metadata.get("slideshow") for cell in pages.with_slides(notebook).cells] == [
        None, {"slide_type": "subslide"}, None, None, None,
    ]  # fmt: skip


def test_slides_without_reveal_js_are_refused_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "find_spec", lambda name: None)
    lesson = tmp_path / "lesson.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 0")]), lesson)
    ran = CliRunner().invoke(main, ["run", str(lesson), "--output", str(tmp_path / "runs"), "--to", "slides"])
    assert ran.exit_code == 1
    assert ran.output == (
        "Error: slides need reveal.js, which the book's packages bring: pip install -r book/requirements.txt\n"
    )


def test_slides_are_linked_from_the_index(tmp_path):
    pytest.importorskip("sphinx_revealjs", reason="reveal.js comes with the book's packages")
    lesson = tmp_path / "lesson.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# A <title>"), new_code_cell("print(1)")]), lesson)
    ran = CliRunner().invoke(main, ["run", str(lesson), "--output", str(tmp_path / "runs"), "--to", "slides"])
    assert ran.exit_code == 0, ran.output
    link = '<a href="lesson.html">A &lt;title&gt;</a> (<a href="lesson.slides.html">slides</a>)'
    assert link in (tmp_path / "runs" / "index.html").read_text()
    assert (tmp_path / "runs" / "lesson.slides.html").is_file()
    assert (tmp_path / "runs" / "_static" / "reveal.js" / "dist" / "reveal.js").is_file()


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ('<a href="https://a.org/x">text</a> https://a.org <link rel="canonical" href="https://a.org">', []),
        ('<script src="_static/MathJax.js"></script><img src="data:image/png;base64,AA=="><p style="color: red">', []),
        ('<script src="https://a.org/x.js"></script>', ["https://a.org/x.js"]),
        ('<img src="//a.org/badge.svg">', ["//a.org/badge.svg"]),
        ('<link href="http://a.org/x.css" rel="stylesheet">', ["http://a.org/x.css"]),
        ("<style>@import url('https://a.org/font');</style>", ["https://a.org/font"]),
        ('<p style="background: url(https://a.org/x.png)">', ["https://a.org/x.png"]),
        ("<script>script.src = 'https://a.org/x.js'</script>", ["https://a.org/x.js"]),
        ('<script type="module">import m from "https://a.org/m.mjs"</script>', ["https://a.org/m.mjs"]),
        ('<script>const URL = "https://a.org/never-fetched";</script>', []),
    ],
)
def test_loads_from_the_web_are_told_from_links(page, found):
    assert pages.outside_loads(page) == found


def test_mathjax_is_copied_once(tmp_path):
    there = pages.install_mathjax(tmp_path / "_static")
    (there / "MathJax.js").write_text("as it was")
    assert pages.install_mathjax(tmp_path / "_static") == there
    assert (there / "MathJax.js").read_text() == "as it was"
    assert [path.name for path in (tmp_path / "_static").iterdir()] == ["mathjax"]
