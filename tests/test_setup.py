"""Installing and importing: pins in one place, Python checked before anything is installed, a light package."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
import yaml

from absent import all_but, needed_by
from posebook.extras import needs
from posebook.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    """The package that a requirement names, spelt as the package index compares names."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def pins(file: str = "requirements.txt") -> dict[str, str]:
    """Versions by package, from a file each of whose lines has to be one exact pin."""
    lines = [line.split("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
    found = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines if line]
    assert all(found), f"{file} holds something that is not an exact pin"
    return {name_of(match[1]): match[2] for match in found}


def test_every_dependency_is_pinned_once_and_nothing_else():
    extras = dict(PROJECT["optional-dependencies"])
    assert sorted(map(name_of, extras.pop("book"))) == sorted(pins("book/requirements.txt"))
    wanted = [*PROJECT["dependencies"], *chain.from_iterable(extras.values())]
    assert sorted(map(name_of, wanted)) == sorted(pins())


def test_conda_takes_its_pins_from_requirements():
    conda, binder = (
        yaml.safe_load((ROOT / file).read_text())["dependencies"]
        for file in ("environment.yml", "binder/environment.yml")
    )
    python = next(entry for entry in conda if str(entry).startswith("python"))
    assert [entry for entry in conda if entry != python] == ["pip", {"pip": ["-r requirements.txt", "-e ."]}]
    # Paths start from the file's own folder.
    cpu = "--extra-index-url https://download.pytorch.org/whl/cpu"
    assert binder == [python, "pip", {"pip": [cpu, "-r ../requirements.txt", "-e .."]}]
    version = [int(part) for part in re.findall(r"\d+", python)]
    assert version >= [int(part) for part in re.findall(r"\d+", PROJECT["requires-python"])]


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="only .venv promises the pinned versions")
def test_installed_versions_are_the_pinned_ones():
    assert {name: metadata.version(name).split("+")[0] for name in pins()} == pins()


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_names_a_python_that_is_too_old(tmp_path):
    old = tmp_path / "python3.8"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    made = subprocess.run(
        ["make", "--no-print-directory", "run", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert made.returncode != 0
    assert made.stdout.strip() == (
        f"posebook needs Python 3.11 or later, and {old} is not: name another, as in make run PYTHON=python3.12"
    )
    assert not (tmp_path / "venv").exists()


IMPORT_ALL = """
import importlib, pkgutil
assert {"matplotlib", "click", "h5py", "PIL", "scipy", "sklearn", "IPython", "ipywidgets", "tqdm"} <= blocked
import posebook
names = [module.name for module in pkgutil.walk_packages(posebook.__path__, "posebook.")]
names = [name for name in names if not name.startswith("posebook.cli")]
for name in names:
    importlib.import_module(name)
print(*names)
"""


def test_the_package_imports_with_torch_numpy_and_jaxtyping_alone():
    ran = subprocess.run(
        [sys.executable, "-c", all_but("torch", "numpy", "jaxtyping") + IMPORT_ALL], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert {"posebook.coordinates", "posebook.sample", "posebook.notebooks"} <= set(ran.stdout.split())


def imports_of(path: Path) -> list[tuple[str, str | None]]:
    """The packages that a module imports when it runs, each with the extra that it says it needs them from."""
    found = []

    def walk(node: ast.AST, extra: str | None) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        for item in node.items if isinstance(node, ast.With) else ():
            if ast.unparse(item.context_expr).startswith("needs("):
                extra = item.context_expr.args[0].value
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module]
        # torch's door to a package that torch does not bring.
        names = ["tensorboard" if name == "torch.utils.tensorboard" else name.split(".")[0] for name in names]
        found.extend((name, extra) for name in names)
        for child in ast.iter_child_nodes(node):
            walk(child, extra)

    walk(ast.parse(path.read_text()), None)
    return found


def test_an_import_of_what_may_be_absent_says_which_extra_brings_it():
    brought = {extra: needed_by(*map(name_of, some)) for extra, some in PROJECT["optional-dependencies"].items()}
    core = {name_of(requirement) for requirement in PROJECT["dependencies"]}
    owners = metadata.packages_distributions()
    faults, seen = [], set()
    for path in sorted((ROOT / "lib" / "posebook").rglob("*.py")):
        for module, extra in imports_of(path):
            packages = {name_of(owner) for owner in owners.get(module, [module])}
            if module in sys.stdlib_module_names or module == "posebook" or packages & core:
                continue
            seen.add((module, extra))
            if not packages & brought.get(extra, set()):
                faults.append(f"{path.name} imports {module} with {extra or 'no'} extra")
    assert not faults
    assert {("sklearn", "study"), ("tensorboard", "study"), ("distributed", "cluster")} <= seen


def test_what_an_absent_extra_is_needed_for_is_said_in_a_sentence():
    sentence = r"^a slider needs no_such_package, which is not installed: pip install 'posebook\[study\]'$"
    with pytest.raises(ModuleNotFoundError, match=sentence), needs("study", "a slider"):
        import no_such_package.part  # noqa: F401


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_threads_wait_for_a_short_time_unless_somebody_has_said_how_long(given, expected):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("GOMP_", "OMP_"))} | given
    look = "import sys, os, posebook; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", look], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [expected, "False"]


def test_make_lab_has_kernels_wait_as_long():
    assert "lab: export GOMP_SPINCOUNT ?= 3000" in (ROOT / "Makefile").read_text()
