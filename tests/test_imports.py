"""Data flows one way: what each room of the library imports lies in it or below it, and no import leads back."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import posebook

# From the top down; a module of another name belongs to the vocabulary that all of these speak, at the bottom.
ROOMS = (
    ("cli", "notebooks", "parameters", "check"), ("papers",), ("ledger",), ("training",), ("pictures",),
    ("evaluation",), ("datasets",), ("figures",), ("grouping",),
)  # fmt: skip
LIBRARY = Path(posebook.__file__).parent


def level(module: str) -> int:
    """How far down the room of a module lies."""
    room = module.removeprefix("posebook.").split(".")[0]
    return next((number for number, names in enumerate(ROOMS) if room in names), len(ROOMS))


def imports(library: Path) -> dict[str, set[str]]:
    """Each module of the library, and those it imports anywhere, in functions and for type checking too."""
    files = {}
    for path in library.rglob("*.py"):
        name = ".".join(("posebook", *path.relative_to(library).with_suffix("").parts)).removesuffix(".__init__")
        files[name] = path
    graph = {}
    for name, path in files.items():
        wanted = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path} imports from where it lies: write the module's whole name"
                # What is imported from a package may be a module of it.
                named = {f"{node.module}.{alias.name}" for alias in node.names} & files.keys()
                wanted |= named or {node.module}
        graph[name] = (wanted & files.keys()) - {name}
    return graph


def faults(library: Path) -> list[str]:
    """A sentence for each import that points upwards, and one for a cycle."""
    graph = imports(library)
    found = [
        f"{name} imports {other}, which lies in a room above it"
        for name, wanted in graph.items()
        for other in sorted(wanted)
        if level(other) < level(name)
    ]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append(f"imports lead back: {' from '.join(error.args[1])}")
    return found


def test_imports_point_downwards_and_never_back():
    assert len(imports(LIBRARY)) > 60
    assert faults(LIBRARY) == []


@pytest.mark.parametrize(
    ("module", "line", "sentence"),
    [
        ("losses", "from posebook.training.loop import train", "posebook.losses imports posebook.training.loop, which"),
        (
            "datasets/lip",
            "def f():\n    import posebook.papers",
            "posebook.datasets.lip imports posebook.papers, which",
        ),
        (
            "figures/raster",
            "if TYPE_CHECKING:\n    from posebook.figures.dataset import Figures",
            "imports lead back: posebook.figures.",
        ),
        ("sample", "from posebook.losses import heatmap_mse\n\nfrom posebook import network", "imports lead back:"),
    ],
)
def test_an_import_that_breaks_the_rule_is_named(tmp_path, module, line, sentence):
    for path in LIBRARY.rglob("*.py"):
        copy = tmp_path / path.relative_to(LIBRARY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    with (tmp_path / f"{module}.py").open("a") as file:
        file.write(f"\n{line}\n")
    assert any(fault.startswith(sentence) for fault in faults(tmp_path)), faults(tmp_path)
