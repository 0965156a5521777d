"""What all notebooks keep to, whatever they are about."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import nbformat
import pytest

from posebook.notebooks.tidy import INSTALL

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
LONGEST = 14  # visible lines of a cell
LESSONS = [path for path in NOTEBOOKS if not path.stem.endswith("_solutions")]


def cells(path: Path, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


def test_visible_cells_are_short(path):
    visible = [c.source for c in cells(path, "code") if not c.metadata.get("jupyter", {}).get("source_hidden")]
    long = [source.splitlines()[0] for source in visible if len(source.splitlines()) > LONGEST]
    assert not long, f"cells of more than {LONGEST} lines: split them, or fold those that draw"


def test_what_shows_results_cannot_go_stale(path):
    """Numbers from results/ are compared with what the notebook has stored, so that it is executed again with them."""
    reads = ("in_words(row)", "read_rows(", "render(rows)", "stored.read_text()", "RESULTS /")
    shown = [cell for cell in cells(path, "code") if any(text in cell.source for text in reads)]
    assert all("nbval-check-output" in cell.metadata.get("tags", []) for cell in shown), "tag it nbval-check-output"


def test_an_at_sign_stands_in_code_font(path):
    """Elsewhere, JupyterLab takes `PCKh@0.5` for an address and makes it a link to write to."""
    for cell in cells(path, "markdown"):
        prose = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$", "", cell.source, flags=re.DOTALL)
        assert not re.findall(r"\w+@\w", prose)


def test_every_code_cell_was_executed(path):
    """In one go from top to bottom, so that what stands under a cell is what it gives."""
    counts = [cell.execution_count for cell in cells(path, "code") if cell.source.strip()]
    assert counts == sorted(counts)
    assert len(set(counts)) == len(counts)


def test_a_wrong_profile_ends_the_first_cell_after_the_parameters(path):
    """Before minutes of imports and of data: one of the calls that refuse a profile stands at that cell's top level."""
    code = cells(path, "code")
    places = [k for k, cell in enumerate(code) if "parameters" in cell.metadata.get("tags", [])]
    for place in places:
        body = ast.parse(code[place + 1].source).body
        values = [statement.value for statement in body if isinstance(statement, ast.Expr | ast.Assign)]
        calls = [value for value in values if isinstance(value, ast.Call) and isinstance(value.func, ast.Name)]
        checks = [ast.unparse(call) for call in calls if call.func.id in ("check_profile", "check_parameters")]
        assert any(check == "check_profile(profile)" or "profile=profile" in check for check in checks)


def test_parameters_say_their_types_and_what_they_are(path):
    """`papermill --help-notebook` shows both."""
    for cell in cells(path, "code"):
        if "parameters" in cell.metadata.get("tags", []):
            statements = ast.parse(cell.source).body
            assert statements
            assert all(isinstance(s, ast.AnnAssign) and s.value is not None for s in statements)
            lines = cell.source.splitlines()
            assert all("  # " in lines[statement.lineno - 1] for statement in statements)
            for statement in statements:
                names = {None if part == "None" else part for part in ast.unparse(statement.annotation).split(" | ")}
                default = ast.literal_eval(statement.value)
                assert (None if default is None else type(default).__name__) in names


class Cell(ast.NodeVisitor):
    """Names that a cell of code sets, and those that each of its functions takes from the notebook."""

    def __init__(self, source: str) -> None:
        self.sets: set[str] = set()
        self.takes: dict[str, set[str]] = {}
        self.visit(ast.parse(source))

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.sets.add(node.id)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.sets.add(node.name)
        self._function(node.name, node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function("lambda", node)

    def visit_ListComp(self, node: ast.expr) -> None:
        """What it sets is its own."""

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def _function(self, name: str, node: ast.AST) -> None:
        names = [inner for inner in ast.walk(node) if isinstance(inner, ast.Name)]
        own = {inner.id for inner in names if isinstance(inner.ctx, ast.Store)}
        own |= {inner.arg for inner in ast.walk(node) if isinstance(inner, ast.arg)}
        self.takes.setdefault(name, set()).update({inner.id for inner in names} - own)


def test_what_a_slider_draws_keeps_its_names(path):
    """Else it moves nothing, or another picture, once the notebook has run to its end."""
    drawn: set[str] = set()  # what the sliders so far take from the notebook
    functions: dict[str, set[str]] = {}
    for code in cells(path, "code"):
        if code.id == INSTALL:
            continue
        cell = Cell(code.source)
        again = drawn & cell.sets
        assert not again, f"a slider above draws from {', '.join(again)}: give them other names here"
        todo = cell.takes.pop("lambda", set())
        functions |= cell.takes
        if "explore(" in code.source:
            todo |= functions.keys() & set(re.findall(r"\w+", code.source))
            while todo:
                drawn |= todo
                todo = set().union(*(functions.get(name, set()) for name in todo)) - drawn


@pytest.fixture(params=LESSONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def lesson(request) -> list[nbformat.NotebookNode]:
    return nbformat.read(request.param, as_version=4).cells


def text_of(cells: list[nbformat.NotebookNode]) -> str:
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def shows_picture(cell: nbformat.NotebookNode) -> bool:
    return any({"image/png", "image/jpeg"} & set(output.get("data", {})) for output in cell.get("outputs", []))


def has_alternative(cell: nbformat.NotebookNode) -> bool:
    return len(cell.metadata.get("alt", "").split()) >= 6


def is_caption(cell: nbformat.NotebookNode) -> bool:
    """Whether the cell below a picture starts with a sentence on it."""
    return cell.cell_type == "markdown" and not cell.source.lstrip().startswith(("#", "**Predict", "|", "$$"))


def exercises_of(text: str) -> list[str]:
    """How difficult each of a lesson's exercises is."""
    return re.findall(r"^\*\*\d+\. [^*]+\*\* \((easy|medium|hard)\)", text, flags=re.MULTILINE)


def test_pictures_say_what_they_show_to_those_who_do_not_see_them(lesson):
    pictures = [cell for cell in lesson if shows_picture(cell)]
    assert pictures
    missing = [cell.source.splitlines()[-1] for cell in pictures if not has_alternative(cell)]
    assert not missing, "give the cell's metadata an 'alt': what the picture shows, in a sentence"


def test_a_sentence_below_each_picture_says_what_to_see_in_it(lesson):
    below = [(cell, after) for cell, after in itertools.pairwise(lesson) if shows_picture(cell)]
    assert not shows_picture(lesson[-1])
    bare = [cell.source.splitlines()[-1] for cell, after in below if not is_caption(after)]
    assert not bare


def test_a_lesson_opens_with_a_picture(lesson):
    """Of the idea, or of the network at work: before its first section."""
    first = next(place for place, cell in enumerate(lesson) if re.search(r"^## \d+\. ", cell.source, re.MULTILINE))
    assert any(shows_picture(cell) for cell in lesson[:first])


def test_a_lesson_says_how_long_it_takes_to_study(lesson):
    (minutes,) = re.findall(r"\*\*Time\*\* (\d+) minutes to study", text_of(lesson))
    assert 30 <= int(minutes) <= 100


def test_a_reader_predicts_runs_and_answers(lesson):
    text = text_of(lesson)
    assert text.count("**Predict, then run.**") >= 2
    exercises = exercises_of(text)
    assert len(exercises) >= 2, "each starts as **1. Its name.** (easy), (medium) or (hard)"
    assert text.count("<summary>Hint</summary>") == len(exercises)
    answers = [cell.source for cell in lesson if cell.cell_type == "code" and re.search(r"\bcheck\.\w+\(", cell.source)]
    assert len(answers) == len(exercises), "each has a cell that calls its check from posebook.check"


def test_a_lesson_ends_with_what_was_learnt(lesson):
    headings = re.findall(r"^## (.*)$", text_of(lesson), flags=re.MULTILINE)
    assert any(re.fullmatch(r"(\d+\. )?What you learnt", heading) for heading in headings[-3:])


def test_no_question_is_left_open(lesson):
    """One that a section ends with is answered below the code that answers it; `Predict, then run` is one such."""
    for cell, after in itertools.pairwise(lesson):
        ends = cell.cell_type == "markdown" and cell.source.rstrip().endswith("?")
        assert not (ends and after.cell_type == "markdown"), cell.source[-80:]


def test_headings_are_whole_and_plain(lesson):
    """A table of contents shows a formula's source."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text_of(lesson), flags=re.DOTALL), flags=re.MULTILINE)
    assert not [heading for heading in headings if "$" in heading or heading.endswith(("...", ",", ":"))]
