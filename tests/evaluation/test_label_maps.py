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
from posebook.datasets.census import write_tags
from posebook.evaluation.label_maps import MEDIUM, SMALL, check, count, match, report, scored
from posebook.evaluation.metrics import parsing_score
from posebook.skeleton import ATR_PARTS, IGNORE_LABEL, PARTS, PASCAL_PARTS, TAGS

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
    assert "label maps of lsp are not known: give --dataset lip, atr, pascal" in ran.output


def score(dataset: str, predicted, true, *more):
    given = ("--parsing", predicted, "--labels", true, "--jobs", "1", *more)
    return CliRunner().invoke(main, ["score", "--dataset", dataset, *map(str, given)])


def test_each_challenge_has_its_score(folders):
    predicted, true, _ = folders
    tags = torch.rand(COUNT, 6, generator=torch.Generator().manual_seed(0)) < 0.4
    tags[:, TAGS.index("lower_body")] = False
    matrices = count(match(predicted, true), PARTS, progress=False)
    plain, told = report(matrices, PARTS), report(matrices, PARTS, tags)
    assert told.items() >= plain.items()  # what there was without challenges is as it was
    for name, which in zip(TAGS, tags.T, strict=True):
        row, score_ = told["challenges"][name], parsing_score(matrices[which].sum(0))
        assert row["images"] == int(which.sum())
        if which.any():
            assert row["pixel_accuracy"] == pytest.approx(100 * float(score_.pixel_accuracy))
            assert row["mean_iou"] == pytest.approx(100 * float(score_.mean_iou))
    empty = {"images": 0, "pixel_accuracy": None, "mean_accuracy": None, "mean_iou": None}
    assert told["challenges"]["lower_body"] == empty

    table = predicted.parent / "tags.csv"
    write_tags(table, [f"{number:02d}" for number in range(COUNT)], tags)
    ran = score("lip", predicted, true, "--tags", table, "--json")
    assert json.loads(ran.output[ran.output.index("{") :]) == told
    lines = score("lip", predicted, true, "--tags", table).output.splitlines()
    assert next(line for line in lines if line.startswith("lower_body")).split() == ["lower_body", "0", "-", "-", "-"]
    table.write_text("\n".join(table.read_text().splitlines()[:-1]))
    assert "has no line for 1 of the 9 images, the first is 08" in score("lip", predicted, true, "--tags", table).output


@pytest.fixture
def atr(tmp_path):
    """One true label map in ATR's labels, and one predicted in LIP's."""
    pairs = (  # true, predicted
        ("hat", "hat"), ("hat", "hat"), ("hat", "hair"), ("hat", "coat"),
        ("dress", "dress"), ("belt", "dress"), ("bag", "coat"), ("bag", "background"),
        ("background", "background"), ("background", "glove"), (None, "hat"), ("l_arm", "l_arm"),
    )  # fmt: skip
    true = [IGNORE_LABEL if name is None else ATR_PARTS.index(name) for name, _ in pairs]
    for folder, labels in (("true", true), ("predicted", [PARTS.index(name) for _, name in pairs])):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.array(labels, np.uint8).reshape(3, 4)).save(tmp_path / folder / "a.png")
    return tmp_path / "predicted", tmp_path / "true"


def test_lip_labels_are_scored_on_atr_over_the_classes_of_both(atr):
    assert len(ATR_PARTS) == 18
    classes = scored(PARTS, ATR_PARTS)
    assert set(PARTS) - set(classes) == {"glove", "coat", "socks", "jumpsuits"}
    assert set(ATR_PARTS) - set(classes) == {"belt", "bag"}
    ran = score("atr", *atr, "--json")
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.output[ran.output.index("{") :])
    # Eight pixels count: belt, bag and 255 do not. Coat and glove are wrong, and no class of their own.
    assert tuple(told["iou"]) == classes
    assert told["all"]["pixel_accuracy"] == pytest.approx(100 * 5 / 8)
    assert told["iou"]["hat"] == told["accuracy"]["hat"] == pytest.approx(50)
    assert told["iou"]["dress"] == told["iou"]["l_arm"] == pytest.approx(100)
    assert told["iou"]["background"] == pytest.approx(50)
    assert told["iou"]["hair"] == pytest.approx(0)
    assert told["accuracy"]["hair"] is None
    assert told["all"]["mean_iou"] == pytest.approx(100 * (0.5 + 1 + 1 + 0.5 + 0) / 5)
    assert told["sizes"]["small"]["images"] == 1
    assert "upper_clothes" in score("atr", *atr).output


def test_numbers_are_held_against_the_labels_of_their_own_set(atr):
    assert "can be scored" in score("atr", *atr, "--check").output
    Image.fromarray(np.full((3, 4), 18, np.uint8)).save(atr[1] / "a.png")
    Image.fromarray(np.full((3, 4), 19, np.uint8)).save(atr[0] / "a.png")
    ran = score("atr", *atr, "--check")
    assert "true label map a.png: it holds label 18, and the set's are 0 to 17" in ran.output
    assert "it holds label 19, and the set's are 0 to 6" in score("pascal", *atr, "--check").output


def test_pascals_seven_classes(tmp_path):
    true = np.array([[0, 1, 2, 3], [4, 5, 6, 6]], np.uint8)
    guess = np.array([[0, 1, 2, 4], [4, 5, 6, 0]], np.uint8)
    for folder, labels in (("true", true), ("predicted", guess)):
        (tmp_path / folder).mkdir()
        Image.fromarray(labels).save(tmp_path / folder / "a.png")
    ran = score("pascal", tmp_path / "predicted", tmp_path / "true", "--json")
    told = json.loads(ran.output[ran.output.index("{") :])
    expected = dict(zip(PASCAL_PARTS, (50, 100, 100, 0, 50, 100, 50), strict=True))
    assert told["iou"] == pytest.approx(expected)
    assert told["all"]["mean_iou"] == pytest.approx(450 / 7)


@pytest.mark.parametrize(
    ("dataset", "given", "sentence"),
    [
        ("atr", ("--annotations", "a.csv", "--predictions", "b.csv"), "of atr label maps are scored, and no joints"),
        ("pascal", (), "of pascal label maps are scored, and no joints"),
        ("mpii", ("--annotations", "a", "--predictions", "b", "--tags", "t.csv"), "and the joints are of mpii"),
    ],
)
def test_options_that_do_not_go_together_are_told(dataset, given, sentence):
    ran = CliRunner().invoke(main, ["score", "--dataset", dataset, *given])
    assert ran.exit_code == 1
    assert sentence in ran.output
