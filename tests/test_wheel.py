"""The wheel: built, installed where there is no repository, and used from another folder. About 40 seconds."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from absent import all_but
from posebook.paths import NOTEBOOKS, ROOT

pytest.importorskip("hatchling", reason="needs the package that builds the wheel: pip install 'posebook[test]'")

# Pictures of the notebooks are nearly half of it, weights the other. It is 46 MB; a data set caught by chance is more.
LIMIT = 55e6


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        ROOT,
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        folder,
    ]
    made = subprocess.run(build, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """Python of a fresh environment with the wheel, and all packages of this one but its posebook."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    # What venv calls them, on every system.
    places = sysconfig.get_paths(scheme="venv", vars={"base": str(home), "platbase": str(home)})
    python = Path(places["scripts"], "python")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--no-compile"]
    made = subprocess.run([*install, wheel], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    # A folder named in a .pth file has its packages found and its own .pth files, as that of an editable install, not.
    here = sysconfig.get_paths()
    Path(places["purelib"], "packages.pth").write_text(f"{here['purelib']}\n{here['platlib']}\n")
    jupyter = home / "share" / "jupyter"
    shutil.copytree(Path(sys.prefix, "share", "jupyter", "nbconvert"), jupyter / "nbconvert")
    kernel = {"argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"], "language": "python"}
    (jupyter / "kernels" / "python3").mkdir(parents=True)
    (jupyter / "kernels" / "python3" / "kernel.json").write_text(json.dumps(kernel | {"display_name": "Python 3"}))
    return python


@pytest.fixture
def run(python, tmp_path, monkeypatch) -> Callable[..., str]:
    """Run a program of the fresh environment in a folder away from the repository: gives what it printed."""
    for name in ("PYTHONPATH", "JUPYTER_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def call(program: str, *arguments: object, fails: bool = False) -> str:
        command = [python.with_name(program), *map(str, arguments)]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ)
        assert (ran.returncode != 0) == fails, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    return call


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < LIMIT


# All in one process: it is importing torch that takes long.
CORE = """
import warnings
from pathlib import Path

extra = {"jupyterlab", "ipywidgets", "IPython", "seaborn", "sklearn", "papermill", "nbformat", "tensorboard"}
extra |= {"distributed", "dask", "pytest", "kornia"}
assert not extra - blocked, extra - blocked

import posebook
assert Path(posebook.__file__).is_relative_to(sys.prefix), posebook.__file__

import torch
from click.testing import CliRunner
from posebook.cli import main
from posebook.datasets import open_dataset
from posebook.ledger.readings import append, read
from posebook.pictures import save_pose_picture, show_samples
from posebook.pictures.label_maps import save_label_map
from posebook.skeleton import PARTS

def posebook_(*arguments, fails=False):
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code != 0) == fails, (arguments, result.output, result.exception)
    return result.output

figures = open_dataset("figures", "test", size=64)
sample = figures.batch(torch.arange(2))
show_samples(sample, figures.skeleton).savefig("people.png")
save_pose_picture("person.png", sample.images[0], sample.joints[0], torch.ones(16), figures.skeleton)

assert "person_pose.json" in posebook_("predict", "person.png", "--output", "found")

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    tiny = ("--steps", "10", "--batch-size", "2", "--size", "32", "--set", "features=8")
    table = posebook_("train", "hourglass", *tiny, "--tensorboard")
told = [str(some.message) for some in caught if "TensorBoard" in str(some.message)]
assert told == ["training goes on without it: a TensorBoard log needs tensorboard, which is not installed: "
                "pip install 'posebook[study]'"], told
assert "mean of all 16" in table

for folder in ("true", "predicted"):
    Path(folder).mkdir()
    save_label_map(Path(folder, "one.png"), sample.parsing[0], PARTS)
maps = ("--dataset", "lip", "--parsing", "predicted", "--labels", "true", "--jobs", "1")
assert "100.0" in posebook_("score", *maps)

assert "soft_argmax" in posebook_("ledger", "--claims", "soft_argmax", "--list")
assert not Path("results").exists()
shipped = read("soft_argmax")
one = next(iter(shipped.values()))
from dataclasses import replace
append([replace(one, digest="another")])
assert len(Path("results/readings/soft_argmax.jsonl").read_text().splitlines()) > len(shipped)
assert len(read("soft_argmax")) == len(shipped) + 1
posebook_("ledger", "--claims", "soft_argmax", "--draw", "--markdown")

Path("one.csv").write_text("a.jpg" + ",1,2" * 16 + "\\n")
for extra, *arguments in (
    ("study", "run"),
    ("study", "prior", "check"),
    ("cluster", "ledger", "--cluster", "tcp://127.0.0.1:1"),
):
    said = posebook_(*arguments, fails=True)
    told = f", which is not installed: pip install 'posebook[{extra}]'\\n"
    assert said.startswith("Error: ") and said.endswith(told), said
"""


def test_what_needs_no_extra_works_without_them_anywhere(run, tmp_path):
    run("python", "-c", all_but("posebook") + CORE)
    assert (tmp_path / "people.png").stat().st_size > 10_000
    found = json.loads((tmp_path / "found" / "person_pose.json").read_text())
    assert len(found["joints"]) == 16
    assert (tmp_path / "runs" / "hourglass-figures-quick" / "last.safetensors").is_file()
    assert (tmp_path / "results" / "ledger_soft_argmax.png").is_file()


def test_the_course_is_copied_and_runs(run, python, tmp_path):
    assert "Usage: posebook" in run("posebook", "--help")
    package = Path(run("python", "-c", "import posebook; print(posebook.__path__[0])").strip())
    assert package.is_relative_to(python.parents[1])
    before = {path for path in package.rglob("*") if "__pycache__" not in path.parts}

    assert run("posebook", "notebooks", "copy", "my course").endswith("Now:\n  jupyter lab 'my course'\n")
    copied = sorted(path for path in (tmp_path / "my course").rglob("*") if path.is_file())
    files = [*NOTEBOOKS.rglob("*.ipynb"), NOTEBOOKS / "GLOSSARY.md"]
    files = sorted(file for file in files if ".ipynb_checkpoints" not in file.parts)
    assert [file.relative_to(NOTEBOOKS) for file in files] == [
        file.relative_to(tmp_path / "my course") for file in copied
    ]
    assert all(filecmp.cmp(*pair, shallow=False) for pair in zip(files, copied, strict=True))

    said = run("posebook", "run", "my course/00_solutions.ipynb", "--output", "executed")
    assert "00_solutions.ipynb: Solutions to" in said
    assert (tmp_path / "executed" / "00_solutions.html").is_file()
    assert {path for path in package.rglob("*") if "__pycache__" not in path.parts} == before
