"""Installing and importing: pins in one place, Python checked before anything is installed, a light package."""

from __future__ import annotations

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


# Stands in for an environment in which the packages given, and whatever they need, are all that is installed.
IMPORT_ALL = """
import importlib, pkgutil, re, sys
from importlib import metadata

def needs(name, seen):
    key = re.sub("[-_.]+", "-", name).lower()
    if key not in seen:
        seen.add(key)
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            required = []
        for requirement in required:
            if "extra ==" not in requirement:
                needs(re.match(r"[\\w.-]+", requirement)[0], seen)
    return seen

allowed = {"posebook"}
for package in ("torch", "numpy", "jaxtyping"):
    needs(package, allowed)
blocked = {
    module
    for module, owners in metadata.packages_distributions().items()
    if not any(re.sub("[-_.]+", "-", owner).lower() in allowed for owner in owners)
}
assert {"matplotlib", "click", "h5py", "PIL", "scipy", "sklearn", "IPython", "ipywidgets", "tqdm"} <= blocked

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import posebook
names = [module.name for module in pkgutil.walk_packages(posebook.__path__, "posebook.")]
names.remove("posebook.cli")
for name in names:
    importlib.import_module(name)
print(*names)
"""


def test_the_package_imports_with_torch_numpy_and_jaxtyping_alone():
    ran = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert {"posebook.coordinates", "posebook.sample", "posebook.notebooks"} <= set(ran.stdout.split())
