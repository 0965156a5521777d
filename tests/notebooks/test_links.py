"""The course's rows of links, and every link and anchor of every text: it leads somewhere."""

from __future__ import annotations

import re
from functools import cache
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
import yaml

from posebook.notebooks.links import COURSE, ORDER, REPOSITORY, chapter_of, link_row
from posebook.paths import NOTEBOOKS, ROOT

TEXTS = [
    *sorted(NOTEBOOKS.rglob("*.ipynb")),
    NOTEBOOKS / "GLOSSARY.md",
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", "results/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


@cache
def text_of(path: Path) -> str:
    """The Markdown of a notebook or a page, without code."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    else:
        text = path.read_text(encoding="utf-8")
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


@cache
def anchors(path: Path) -> set[str]:
    """What can be linked to: a notebook's headings by JupyterLab's rule, a page's by GitHub's, and explicit ids."""
    headings = re.findall(r"^#+ +(.*?) *$", text_of(path), re.MULTILINE)
    plain = [re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading) for heading in headings]
    if path.suffix == ".ipynb":
        found = {heading.replace(" ", "-") for heading in plain}
    else:
        found = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in plain}
    return found | set(re.findall(r'<a id="([^"]+)">', text_of(path)))


def addresses(path: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "", text_of(path))
    found = re.findall(r"\]\(((?:[^()\s]|\([^()\s]*\))*)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    return [address for address in found if not re.match(r"[a-z]+:", address)]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(path):
    for address in addresses(path):
        file, _, fragment = address.partition("#")
        target = (path.parent / unquote(file)).resolve() if file else path
        assert target.exists(), f"{address}: no such file"
        assert target.is_relative_to(ROOT), f"{address} leads out of the repository"
        assert not fragment or unquote(fragment) in anchors(target), f"{address}: no such heading"


def test_the_course_is_the_notebooks_that_there_are():
    names = {*(name for name, _ in ORDER), *(chapter.solutions for chapter in COURSE)}
    assert names == {path.relative_to(NOTEBOOKS).with_suffix("").as_posix() for path in NOTEBOOKS.rglob("*.ipynb")}
    for name, title in ORDER:
        heading = re.search(r"^# (.*)", text_of(NOTEBOOKS / f"{name}.ipynb"), re.MULTILINE)[1]
        assert heading.partition(":")[0] == title or heading == title


def test_citations_are_those_of_the_papers():
    """In CITATION.cff's words: the authors' family names, and the year."""
    references = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"]
    names = [", ".join(author["family-names"] for author in paper["authors"]) for paper in references]
    expected = [f"{who} {paper['year']}" for who, paper in zip(names, references, strict=True)]
    papers = [chapter for chapter in COURSE if chapter.url]
    assert [chapter.citation for chapter in papers[1:]] == expected
    assert all(re.match(r"https://(arxiv\.org/abs/\d{4}\.\d{4,5}$|openaccess\.thecvf\.com/)", p.url) for p in papers)


def test_a_row_leads_to_neighbours_solutions_glossary_and_paper():
    assert link_row("1_soft_argmax/4_evaluation", None) == (
        "previous: [Soft-argmax 3: training](3_training.ipynb)"
        " · next: [Part groups 1: mutual information](../2_part_groups/1_mutual_information.ipynb)"
        " · [solutions](5_solutions.ipynb) · [glossary](../GLOSSARY.md)"
        " · paper: [Luvizon, Tabia, Picard 2017](https://arxiv.org/abs/1710.02322)"
    )
    # The ledger is on no paper.
    assert link_row("6_ledger", None).startswith(
        "previous: [Look into Person 4: training and evaluation](5_look_into_person/4_evaluation.ipynb) · "
    )
    assert link_row("6_ledger", None).endswith(" · [solutions](6_solutions.ipynb) · [glossary](GLOSSARY.md)")
    last, _ = ORDER[-1]
    assert "next: " not in link_row(last, None)
    assert link_row("00_solutions", None).startswith("exercises: [Start here](00_start_here.ipynb) · [glossary]")
    assert link_row("00_start_here", None).startswith("next: ")
    assert chapter_of("mine/own") is None
    with pytest.raises(ValueError, match=r"^mine/own is not in the course: add it to COURSE"):
        link_row("mine/own")


def test_with_a_public_address_a_row_leads_to_binder_colab_and_the_book():
    name = "2_part_groups/3_training"
    row = link_row(name, "https://github.com/Somebody/course/")
    assert row.startswith(link_row(name, None) + " · [Binder]")
    assert re.findall(r"\[(?:Binder|Colab|book)\]\(([^)]*)\)", row) == [
        f"https://mybinder.org/v2/gh/Somebody/course/main?urlpath=lab/tree/notebooks/{name}.ipynb",
        f"https://colab.research.google.com/github/Somebody/course/blob/main/notebooks/{name}.ipynb",
        f"https://somebody.github.io/course/notebooks/{name}.html",
    ]
    for address in ("github.com/Somebody/course", "https://github.com/Somebody", "https://gitlab.com/some/course"):
        with pytest.raises(ValueError, match=r"give one like https://github\.com/OWNER/NAME$"):
            link_row(name, address)


def test_rows_lead_there_only_once_there_is_an_address():
    names = chain((name for name, _ in ORDER), (chapter.solutions for chapter in COURSE))
    rows = [link_row(name) for name in names]
    assert all(("mybinder" in row) == (REPOSITORY is not None) for row in rows)
