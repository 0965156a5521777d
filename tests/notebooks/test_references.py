"""References made links: to sections, notebooks and terms, as they are written and nowhere else."""

from __future__ import annotations

import re

import pytest

from posebook.notebooks.links import GLOSSARY
from posebook.notebooks.references import TERMS, Outline, anchor, linked, unlinked
from posebook.paths import NOTEBOOKS

HERE = "1_soft_argmax/1_derivation"
OUTLINES = {
    HERE: Outline.of(["# Title\n\n## 1. A map: half (a) cell?\n", "### More\n## 2. Why $T$?\n## 10. The end"]),
    "1_soft_argmax/2_network": Outline.of(["## 1. The layers"]),
    "00_start_here": Outline.of(["## 4. A joint becomes a map", "## 6. Training"]),
    "2_part_groups/1_mutual_information": Outline.of(["## 1. Nats"]),
}


def made(text: str, name: str = HERE) -> str:
    return linked(name, [text], OUTLINES)[0]


def test_an_outline_has_the_numbered_sections_outside_code():
    assert Outline.of(["## 1. One\n```\n## 2. Not\n```\n## Three\n### 4. Deeper"]).sections == {1: "1.-One"}
    assert anchor("5. Which, U or V?") == "5.-Which,-U-or-V?"
    assert [anchor(heading) for heading in ("1. $T$", "1. `code`", "1. Ärger", '1. "So"', "1. *So*")] == [None] * 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See section 1.", "See [section 1](#1.-A-map:-half-(a)-cell?)."),
        ("Section\n10's", "[Section\n10](#10.-The-end)'s"),
        (
            "(sections 1, 2 and 10)",
            "([sections 1](#1.-A-map:-half-(a)-cell?), 2 and [10](#10.-The-end))",
        ),
        ("Notebook 2, section 1, it", "[Notebook 2](2_network.ipynb), [section 1](2_network.ipynb#1.-The-layers), it"),
        ("notebook 2 (section 1)", "[notebook 2](2_network.ipynb) ([section 1](2_network.ipynb#1.-The-layers))"),
        ("section 1 of notebook 2", "[section 1](2_network.ipynb#1.-The-layers) of [notebook 2](2_network.ipynb)"),
        (
            "`00_start_here`, sections 4 and 6",
            "[`00_start_here`](../00_start_here.ipynb), "
            "[sections 4](../00_start_here.ipynb#4.-A-joint-becomes-a-map) and [6](../00_start_here.ipynb#6.-Training)",
        ),
        (
            "notebook 1 of `part_groups`",
            "[notebook 1](../2_part_groups/1_mutual_information.ipynb) of `part_groups`",
        ),
        ("notebooks 2 to 4", "[notebooks 2](2_network.ipynb) to [4](4_evaluation.ipynb)"),
        ("in `2_network`", "in [`2_network`](2_network.ipynb)"),
        ("`5_solutions.ipynb`", "[`5_solutions.ipynb`](5_solutions.ipynb)"),
        ("`4_parsing_induced/2_learner`", "[`4_parsing_induced/2_learner`](../4_parsing_induced/2_learner.ipynb)"),
    ],
)
def test_a_reference_becomes_a_link_and_can_be_unmade(text, expected):
    assert made(text) == expected
    assert unlinked(expected) == text
    assert made(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "section 3",  # there is none
        "section 2",  # its address would not be the same everywhere
        "Sec. 1, section 1.2, intersection 1, notebooks 7",
        "notebook 1",  # this one
        "`2_learner`, `data_root`",
        "`section 1` $section 1$ [section 1](mine.md) <section 1> https://a.b/section",
        "## 3. Section 1\n# heat map",
        "```\nsection 1 and a heat map\n```",
        "**1. A heat map.**",
        "| a heat map |",
        "*Human Pose Regression by Heat Map Detection and so on*",
        "$$\\text{loss of section 1}$$",
        "heat-map heatmaps lossless",
    ],
)
def test_what_is_no_reference_stays(text):
    assert made(text) == text


def test_solutions_speak_of_the_notebook_that_they_solve():
    texts = ["# Solutions", "## 1. Derivation\n\nAs in section 10.", "## 2. Network", "section 1"]
    result = linked("1_soft_argmax/5_solutions", texts, OUTLINES)
    assert result[1].endswith("As in [section 10](1_derivation.ipynb#10.-The-end).")
    assert result[3] == "[section 1](2_network.ipynb#1.-The-layers)"
    assert linked("00_solutions", ["section 6"], OUTLINES) == ["[section 6](00_start_here.ipynb#6.-Training)"]


def test_the_first_use_of_a_term_is_linked_and_no_other():
    texts = [
        "# Heat map\n\nA `heat map`, heat\nmaps and a heat map.",
        "Losses of a batch norm.",
        "A heat map per batch.",
    ]
    expected = [
        "# Heat map\n\nA `heat map`, [heat\nmaps](../GLOSSARY.md#heat-map) and a heat map.",
        "[Losses](../GLOSSARY.md#loss) of a [batch norm](../GLOSSARY.md#batch-norm).",
        "A heat map per [batch](../GLOSSARY.md#batch).",
    ]
    assert linked(HERE, texts, OUTLINES) == expected
    assert linked(HERE, expected, OUTLINES) == expected
    # An earlier use that was added since takes the link over.
    assert linked(HERE, ["A heat map.", *expected], OUTLINES)[:2] == [
        "A [heat map](../GLOSSARY.md#heat-map).",
        "# Heat map\n\nA `heat map`, heat\nmaps and a heat map.",
    ]


def test_terms_are_the_glossarys_entries():
    text = (NOTEBOOKS / GLOSSARY).read_text(encoding="utf-8")
    entries = re.findall(r'^<a id="([\w-]+)"></a>\n\*\*[^*]+\.\*\* ', text, re.MULTILINE)
    assert len(set(entries)) == len(entries) == len(re.findall(r"^\*\*", text, re.MULTILINE))
    assert set(TERMS) == set(entries)
    forms = [form for forms in TERMS.values() for form in forms]
    assert len(set(forms)) == len(forms)
