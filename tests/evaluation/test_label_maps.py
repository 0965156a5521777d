"""Folders of label maps: what is scored, and what is said of folders that cannot be."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import confusion_matrix, jaccard_score

from posebook.cli import main
from posebook.evaluation.label_maps import MEDIUM, SMALL, check, count, match, report
from posebook.skeleton import IGNORE_LABEL, PARTS

COUNT = 9


@pytest.fixture
def folders(tmp_path):
    """True and predicted label maps of several sizes, some in grey and some with a palette, with ignored pixels."""
    rng = np.random.default_rng(0)
    maps = {"true": [], "predicted": []}
    for number in range(COUNT):
        shape = (20 + number, 31)
        labels = rng.integers(0, 6, shape, dtype=np.uint8)  # most classes never occur
        guess = np.where(rng.random(shape) < 0.7, labels, rng.integers(0, 8, shape, dtype=np.uint8)).astype(np.uint8)
        labels[:3, :4] = IGNORE_LABEL
        for name, values in (("true", labels), ("predicted", guess)):
            image = Image.fromarray(values)
            if number % 2:
                image = image.convert("P")
                image.putpalette([k % 256 for k in range(768)])
                image.frombytes(values.tobytes())
            (tmp_path / name).mkdir(exist_ok=True)
            image.save(tmp_path / name / f"{number:02d}.png")
            maps[name].append(values)
    return tmp_path / "predicted", tmp_path / "true", maps


def run(*arguments):
    return CliRunner().invoke(main, ["score", "--dataset", "lip", "--jobs", "1", *map(str, arguments)])


def test_scores_are_those_of_scikit_learn(folders):
    predicted, true, maps = folders
    truth, guess = (np.concatenate([some.ravel() for some in maps[name]]) for name in ("true", "predicted"))
    kept = truth != IGNORE_LABEL
    matrices = count(match(predicted, true), PARTS, progress=False)
    expected = confusion_matrix(truth[kept], guess[kept], labels=range(len(PARTS)))
    assert torch.equal(matrices.sum(0), torch.from_numpy(expected))
    # Sums over parts of the images are the whole.
    assert torch.equal(matrices[:4].sum(0) + matrices[4:].sum(0), matrices.sum(0))

    told = report(matrices, PARTS)
    iou = jaccard_score(truth[kept], guess[kept], labels=range(8), average=None)
    assert [told["iou"][name] for name in PARTS[:8]] == pytest.approx(100 * iou, rel=1e-5)
    assert told["iou"][PARTS[8]] is None
    assert told["accuracy"][PARTS[7]] is None
    assert told["all"]["mean_iou"] == pytest.approx(100 * iou.mean(), rel=1e-5)
    assert told["all"]["pixel_accuracy"] == pytest.approx(100 * (truth[kept] == guess[kept]).mean(), rel=1e-5)


def test_two_processes_count_the_same(folders, monkeypatch):
    predicted, true, _ = folders
    pairs = match(predicted, true)
    monkeypatch.setattr("posebook.evaluation.label_maps._AT_A_TIME", 2)
    assert torch.equal(count(pairs, PARTS, 2, progress=False), count(pairs, PARTS, 1, progress=False))


def test_people_are_sorted_by_their_area():
    matrices = torch.zeros(4, 20, 20, dtype=torch.long)
    for number, area in enumerate((SMALL - 1, SMALL, MEDIUM - 1, MEDIUM)):
        matrices[number, 5, 5], matrices[number, 0, 0] = area, 10**6  # background is not of the person
    told = report(matrices, PARTS)
    assert [told["sizes"][name]["images"] for name in ("small", "medium", "large")] == [1, 2, 1]


def test_the_command_prints_tables_and_json(folders):
    predicted, true, _ = folders
    given = ("--parsing", predicted, "--labels", true)
    ran = run(*given)
    assert ran.exit_code == 0, ran.output
    assert "mean IoU" in ran.output
    assert "sunglasses" in ran.output
    ran = CliRunner().invoke(main, ["score", "--dataset", "lip", "--jobs", "1", *map(str, given), "--json"])
    assert json.loads(ran.output[ran.output.index("{") :])["images"] == COUNT


def test_a_submission_is_checked_before_it_is_scored(folders):
    predicted, true, maps = folders
    assert check(predicted, true, PARTS, progress=False) == []
    assert "can be scored" in run("--parsing", predicted, "--labels", true, "--check").output

    (predicted / "00.png").unlink()
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(predicted / "new.png")
    Image.fromarray(maps["true"][1][:-1] % 6).save(predicted / "01.png")
    Image.fromarray(np.zeros((*maps["true"][2].shape, 3), np.uint8)).save(predicted / "02.png")
    Image.fromarray(np.full(maps["true"][3].shape, 20, np.uint8)).save(predicted / "03.png")
    Image.fromarray(maps["true"][4]).save(predicted / "04.png")
    (predicted / "05.png").write_bytes(b"no picture")
    (predicted / "notes.txt").write_text("")
    faults = check(predicted, true, PARTS, progress=False)
    for start in (
        "00.png is missing",
        "new.png has no true label map",
        "notes.txt is no PNG",
        "01.png: it is 31 x 20 pixels large, and its true label map 31 x 21",
        "02.png: it is a picture in RGB, not one of label numbers",
        "03.png: it holds label 20",
        "04.png: it holds 255",
        "05.png: cannot identify image file",
    ):
        assert sum(fault.startswith(start) for fault in faults) == 1, (start, faults)
    assert len(faults) == 8
    ran = run("--parsing", predicted, "--labels", true, "--check")
    assert ran.exit_code == 1
    assert "cannot be scored as it is: 8 faults" in ran.output
    assert "lacks 1 of the 9 label maps" in run("--parsing", predicted, "--labels", true).output


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("--parsing", "here"), "label maps are scored with --parsing and --labels together"),
        (("--check",), "label maps are scored with --parsing and --labels together"),
        (("--annotations", "lip.csv"), "give --annotations and --predictions to score joints"),
        ((), "give --annotations and --predictions to score joints, or --parsing and --labels"),
        (("--parsing", "nowhere", "--labels", "nowhere"), "nowhere is no folder: give one of label maps"),
        (("--parsing", ".", "--labels", "."), "there is no PNG in ."),
    ],
)
def test_what_cannot_be_scored_is_told(given, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = run(*given)
    assert ran.exit_code == 1
    assert sentence in ran.output


def test_label_maps_of_other_sets_are_refused():
    ran = CliRunner().invoke(main, ["score", "--dataset", "lsp", "--parsing", "a", "--labels", "b"])
    assert "label maps of lsp are not known: give --dataset lip" in ran.output
