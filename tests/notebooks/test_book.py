"""What book/build.py makes of the notebooks before jupyter-book sees them."""

from __future__ import annotations

import importlib.util

import nbformat
import pytest
import yaml

from posebook.paths import NOTEBOOKS, ROOT


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build", ROOT / "book" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_book_has_every_notebook_in_order(build):
    """Solutions come last in their part, and pages that are not notebooks exist."""
    listed = build.chapters(yaml.safe_load((ROOT / "book" / "_toc.yml").read_text()))
    notebooks = [file for file in listed if (ROOT / f"{file}.ipynb").is_file()]
    there = [path for path in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts]
    by_path = sorted(there, key=lambda path: (path.relative_to(NOTEBOOKS).parts[0][0], "solutions" in path.name, path))
    assert notebooks == [path.relative_to(ROOT).with_suffix("").as_posix() for path in by_path]
    for file in set(listed) - set(notebooks):
        assert (ROOT / f"{file}.md").is_file(), file


def test_staged_notebooks_fold_what_jupyterlab_folds_and_have_no_widgets(build, tmp_path):
    pages = build.stage(tmp_path)
    assert (tmp_path / "README.md").is_file()
    assert (tmp_path / "results" / "figures.jpg").is_file()
    folded = 0
    for page in pages:
        if not (tmp_path / f"{page}.ipynb").is_file():
            continue
        notebook = nbformat.read(tmp_path / f"{page}.ipynb", as_version=4)
        assert "widgets" not in notebook.metadata
        for cell in notebook.cells:
            hidden = bool(cell.metadata.get("jupyter", {}).get("source_hidden"))
            assert ("hide-input" in cell.metadata.get("tags", [])) == hidden
            folded += hidden
            for out in cell.get("outputs", []):
                assert not [kind for kind in out.get("data", {}) if "widget" in kind]
    assert folded > 10


def test_a_page_that_is_not_there_is_named(build, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "HERE", tmp_path)
    (tmp_path / "_toc.yml").write_text("root: README\nparts:\n- chapters:\n  - file: notebooks/7_none\n")
    with pytest.raises(FileNotFoundError, match=r"book/_toc.yml names notebooks/7_none, which is neither"):
        build.stage(tmp_path / "source")
