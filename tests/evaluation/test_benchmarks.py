"""Annotation and prediction files read, and the tables that papers print."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from click.testing import CliRunner

from posebook.cli import main
from posebook.datasets.census import write_tags
from posebook.evaluation.benchmarks import BENCHMARKS, render, report
from posebook.evaluation.files import read_predictions, read_truth
from posebook.skeleton import HARD_JOINTS, MPII, TAGS

# What data/README of the real sets states for preds-example.h5 against valid.h5, in MPII's order.
PUBLISHED = (72.96, 77.79, 83.21, 82.79, 78.25, 72.82, 87.84, 96.42,
             96.11, 93.83, 78.01, 84.46, 91.88, 92.60, 84.52, 77.83)  # fmt: skip


@pytest.fixture
def files(tmp_path):
    """An annotation file and predictions for its people (twelve, or LSP's), and the predictions as an array."""

    def write(joints: int = 16, people: int = 12):
        random = np.random.default_rng(0)
        people = 2000 if joints == 14 else people
        part = random.uniform(20, 300, (people, joints, 2)).astype(np.float32)
        visible = random.integers(0, 2, (people, joints)).astype(float)
        annotations = tmp_path / ("joints.mat" if joints == 14 else "valid.h5")
        if joints == 14:
            occluded = random.random((people, joints, 1)) < 0.2
            scipy.io.savemat(annotations, {"joints": np.concatenate([part, occluded], -1).transpose(2, 1, 0)})
            part = part[1000:]
        else:
            part[0, 1], visible[0, 1] = -1, 0
            with h5py.File(annotations, "w") as file:
                file.update(part=part, visible=visible, normalize=random.uniform(30, 60, people))
                file.update(imgname=[b"one.jpg"] * people, center=np.full((people, 2), 160.0), scale=np.ones(people))
        preds = part + random.normal(0, 15, part.shape)
        with h5py.File(tmp_path / "preds.h5", "w") as file:
            file["preds"] = preds
        return annotations, tmp_path / "preds.h5", preds

    return write


def score(annotations, predictions, *more):
    return CliRunner().invoke(
        main, ["score", "--annotations", str(annotations), "--predictions", str(predictions), *more]
    )


def test_the_published_figures_are_reproduced(real_data):
    folder = real_data("mpii")
    run = score(folder / "valid.h5", folder / "preds-example.h5", "--json")
    assert run.exit_code == 0, run.output
    result = json.loads(run.output)
    assert [row["all"] for row in result["joints"].values()] == pytest.approx(PUBLISHED, abs=0.01)
    assert result["means"]["hard joints"]["occluded"] == pytest.approx(55.78, abs=0.01)
    assert result["means"]["hard joints"]["visible"] == pytest.approx(86.66, abs=0.01)
    # AUC once more, over 51 thresholds and the 14 joints that MPII ranks by.
    with h5py.File(folder / "valid.h5") as truth, h5py.File(folder / "preds-example.h5") as preds:
        part, size, predicted = truth["part"][:], truth["normalize"][:], preds["preds"][:]
        visible = truth["visible"][:] > 0
    distance = np.linalg.norm(part - predicted, axis=-1) / size[:, None]
    ranked = [j for j in range(16) if j not in (6, 7)]
    annotated = (part > 0).all(-1) | visible
    assert annotated.sum(0)[8:10].tolist() == [2932, 2932]
    counted = distance[:, ranked][annotated[:, ranked]]
    area = 100 * np.mean([(counted <= k / 100).mean() for k in range(51)])
    assert result["table"]["AUC"] == pytest.approx(area, abs=0.01)
    assert result["table"]["Mean"] == pytest.approx(100 * (counted <= 0.5).mean(), abs=0.01)


def test_real_predictions_score_the_same_from_matlab(real_data, tmp_path):
    folder = real_data("mpii")
    with h5py.File(folder / "preds-example.h5") as file:
        preds = file["preds"][:]
    scipy.io.savemat(tmp_path / "preds.mat", {"preds": preds.transpose(1, 2, 0)})
    expected = score(folder / "valid.h5", folder / "preds-example.h5")
    assert score(folder / "valid.h5", tmp_path / "preds.mat").output == expected.output


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("name", ["preds", "pred"])
@pytest.mark.parametrize("version", ["5", "7.3"])
def test_matlab_predictions_in_any_order_read_as_the_hdf5_ones(files, tmp_path, axes, name, version):
    annotations, predictions, preds = files()
    path, values = tmp_path / "preds.mat", preds.transpose(axes)
    if version == "5":
        scipy.io.savemat(path, {name: values, "note": "ours"})
    else:
        with h5py.File(path, "w", userblock_size=512) as file:
            file[name] = values.T
    assert torch.equal(read_predictions(path, 12, 16), read_predictions(predictions, 12, 16))
    assert torch.equal(read_predictions(path, 12, 16), torch.from_numpy(preds))
    assert score(annotations, path).output == score(annotations, predictions).output


def test_axes_that_cannot_be_told_apart_are_refused_from_matlab(tmp_path):
    square = np.random.default_rng(0).normal(size=(16, 16, 2))
    scipy.io.savemat(tmp_path / "preds.mat", {"preds": square})
    with pytest.raises(ValueError, match="cannot be told apart"):
        read_predictions(tmp_path / "preds.mat", 16, 16)
    with h5py.File(tmp_path / "preds.h5", "w") as file:
        file["preds"] = square
    assert torch.equal(read_predictions(tmp_path / "preds.h5", 16, 16), torch.from_numpy(square))


def test_a_single_person_survives_matlab(tmp_path):
    one = np.random.default_rng(0).normal(size=(16, 2, 1))
    scipy.io.savemat(tmp_path / "preds.mat", {"preds": one[..., 0]})
    assert torch.equal(read_predictions(tmp_path / "preds.mat", 1, 16), torch.from_numpy(one.transpose(2, 0, 1)))


def test_annotations_give_presence_and_sizes(files):
    annotations, _, _ = files()
    truth = read_truth(annotations, "mpii")
    assert truth.presence[0, 1] == 0
    assert set(truth.presence.unique().tolist()) == {0, 1, 2}
    with h5py.File(annotations) as file:
        assert truth.head_size.tolist() == pytest.approx(file["normalize"][:])
    shoulder, hip = MPII.index("l_shoulder"), MPII.index("r_hip")
    expected = (truth.joints[3, shoulder] - truth.joints[3, hip]).norm()
    assert truth.torso_size[3] == pytest.approx(float(expected))


def test_wrong_files_are_named_in_a_sentence(files, tmp_path):
    annotations, predictions, preds = files()

    def write(name, **fields):
        with h5py.File(tmp_path / name, "w") as file:
            file.update(fields)
        return tmp_path / name

    text = tmp_path / "notes.h5"
    text.write_text("not numbers")
    (tmp_path / "notes.mat").write_text("not numbers")
    scipy.io.savemat(tmp_path / "empty.mat", {"text": "abc"})
    wrong = {
        "missing.h5 does not exist": (annotations, tmp_path / "missing.h5"),
        "is not an HDF5 file": (annotations, text),
        "is not a MATLAB file": (annotations, tmp_path / "notes.mat"),
        "of numbers; it has text": (annotations, tmp_path / "empty.mat"),
        "has no 'preds' (or 'pred') of numbers; it has guesses": (annotations, write("a.h5", guesses=preds)),
        "is 11 x 16 x 2; the annotations need 12 x 16 x 2": (annotations, write("b.h5", preds=preds[:11])),
        "is 12 x 16 x 4": (annotations, write("c.h5", preds=np.ones((12, 16, 4)))),
        "d.h5 lacks": (write("d.h5", preds=preds), predictions),
        "missing.csv does not exist": (tmp_path / "missing.csv", predictions),
    }
    for sentence, (truth, guess) in wrong.items():
        run = score(truth, guess)
        assert run.exit_code == 1, sentence
        assert sentence in run.output
        assert "Traceback" not in run.output
    run = score(annotations, predictions, "--dataset", "flic")
    assert "has the 16 joints of MPII, and FLIC has 11" in run.output


@pytest.mark.parametrize(("name", "joints"), [("mpii", 16), ("lip", 16), ("lsp", 14), ("flic", 11)])
def test_every_benchmark_prints_its_table(files, name, joints):
    annotations, predictions, _ = files(joints)
    run = score(annotations, predictions, "--dataset", name)
    assert run.exit_code == 0, run.output
    lines = run.output.splitlines()
    columns = "Elbow Wrist" if name == "flic" else "Head Shoulder Elbow Wrist Hip Knee Ankle"
    assert lines[2].split() == [*columns.split(), *(["U.Body"] if name == "lip" else []), "Mean", "AUC"]
    assert len(lines[3].split()) == len(lines[2].split())
    assert all(joint in run.output for joint in BENCHMARKS[name].skeleton.joints)
    assert ("Upper arm" in run.output) == (name == "lsp")
    people = 1000 if name == "lsp" else 12
    assert json.loads(score(annotations, predictions, "--dataset", name, "--json").output)["people"] == people


def test_table_columns_are_means_of_their_joints(files):
    annotations, predictions, _ = files()
    truth = read_truth(annotations, "mpii")
    result = report(read_predictions(predictions, 12, 16), truth, "mpii")
    joints = result["joints"]
    assert result["table"]["Wrist"] == pytest.approx((joints["r_wrist"]["all"] + joints["l_wrist"]["all"]) / 2)
    assert result["table"]["Head"] == pytest.approx((joints["upper_neck"]["all"] + joints["head_top"]["all"]) / 2)
    assert result["means"]["hard joints"]["all"] == pytest.approx(np.mean([joints[j]["all"] for j in HARD_JOINTS]))
    assert sum(column in render(result) for column in result["table"]) == len(result["table"])


def test_lip_takes_head_size_from_the_joints_and_leaves_out_headless_images(files):
    annotations, predictions, _ = files()
    truth = read_truth(annotations, "lip")
    predicted = read_predictions(predictions, 12, 16)
    truth.presence[4:, MPII.index("head_top")] = 0
    result = BENCHMARKS["lip"].score(predicted, truth)
    assert int(result.counted.max()) == 4
    head = (truth.joints[:, 8] - truth.joints[:, 9]).norm(dim=-1)
    error = (predicted - truth.joints).norm(dim=-1)
    counted = truth.presence > 0
    counted[4:] = False
    right = counted & (error <= 0.5 * head[:, None])
    table = BENCHMARKS["lip"].table(result)
    assert table["U.Body"] == pytest.approx(100 * float(right[:, 8:].sum() / counted[:, 8:].sum()))
    both = [j for j in range(16) if j not in (6, 7)]
    assert table["Mean"] == pytest.approx(100 * float(right[:, both].sum() / counted[:, both].sum()))


def lip_lines(names, joints, third=None):
    """Lines of LIP's .csv, or without `third` of its predictions."""
    columns = joints if third is None else np.concatenate([joints, third[..., None]], -1)
    lines = [",".join([name, *map(repr, row.ravel().tolist())]) for name, row in zip(names, columns, strict=True)]
    return "\n".join(lines) + "\n"


def shifted(names, joints, third, by, only=range(16)):
    """The annotations themselves as predictions, these joints moved right by so many of each person's head sizes."""
    head = np.linalg.norm(joints[:, 8] - joints[:, 9], axis=-1)
    moved = joints.copy()
    # A person without a head is not counted: wherever the prediction lies.
    moved[:, list(only), 0] += np.where(np.isnan(head), 1e5, by * head)[:, None]
    return moved


def table(annotations, predictions):
    run = score(annotations, predictions, "--dataset", "lip", "--json")
    assert run.exit_code == 0, run.output
    result = json.loads(run.output)
    return result["table"], result["joints"], result["means"]


@pytest.fixture
def lip(tmp_path):
    """Forty people of LIP's in a .csv, three of them without a head: their names, joints and third column."""
    random = np.random.default_rng(0)
    names = [f"{number}_{number}.jpg" for number in range(40)]
    joints = random.integers(1, 300, (40, 16, 2)).astype(float)
    third = random.integers(0, 2, (40, 16)).astype(float)
    lost = random.random((40, 16)) < 0.1
    lost[:, [8, 9]] = False
    lost[[3, 5], 9], lost[7, 8] = True, True
    joints[lost], third[lost] = np.nan, np.nan
    (tmp_path / "lip_val_set.csv").write_text(lip_lines(names, joints, third))
    return tmp_path / "lip_val_set.csv", names, joints, third


def check_known_shifts(annotations, predictions, names, joints, third):
    """Scores that follow from how far predictions were moved, against those that the command prints."""
    head = ~np.isnan(joints[:, 8:10, 0]).any(1)
    counted = (~np.isnan(joints[..., 0]) & head[:, None]).sum(0)
    for by, right, area in ((0, 100, 100), (0.395, 100, 100 * 11 / 51), (0.4, 100, None), (0.6, 0, 0)):
        predictions.write_text(lip_lines(names, shifted(names, joints, third, by)))
        columns, rows, _ = table(annotations, predictions)
        assert [row["counted"] for row in rows.values()] == counted.tolist()
        assert {name for name, value in columns.items() if value == right} >= set(columns) - {"AUC"}
        # A distance of 0.4 head sizes is a threshold of the curve's and may fall on either side of it.
        assert columns["AUC"] == pytest.approx(area) if area is not None else 100 * 10 / 51 <= columns["AUC"] < 22
    # Pelvis and thorax alone are in no column; ankles, knees and hips are not in that of the upper body.
    for only, expected in (
        ((6, 7), {"Mean": 100, "U.Body": 100, "Head": 100, "Hip": 100}),
        (range(6), {"Head": 100, "U.Body": 100, "Hip": 0, "Knee": 0, "Ankle": 0}),
        ((8, 9), {"Head": 0, "Shoulder": 100, "U.Body": 100 * (1 - counted[8:10].sum() / counted[8:].sum())}),
        ((10,), {"Wrist": 50, "Mean": 100 * (1 - counted[10] / (counted[:6].sum() + counted[8:].sum()))}),
    ):
        predictions.write_text(lip_lines(names, shifted(names, joints, third, 0.6, only)))
        columns, _, means = table(annotations, predictions)
        assert {name: columns[name] for name in expected} == pytest.approx(expected)
        assert means["all joints"]["all"] == pytest.approx(100 * (1 - len(only) / 16))


def test_lip_predictions_moved_by_parts_of_a_head(lip, tmp_path):
    annotations, names, joints, third = lip
    check_known_shifts(annotations, tmp_path / "predictions.csv", names, joints, third)


def test_real_lip_annotations_moved_by_parts_of_a_head(real_data, tmp_path):
    annotations = real_data("lip") / "lip_val_set.csv"
    rows = [line.split(",") for line in annotations.read_text().splitlines()]
    values = np.array([row[1:] for row in rows], float).reshape(-1, 16, 3)
    assert np.isnan(values[:, 8:10, 0]).any(1).sum() == 294
    names = [row[0] for row in rows]
    check_known_shifts(annotations, tmp_path / "predictions.csv", names, values[..., :2], values[..., 2])


def test_each_challenge_of_lip_has_its_total(lip, tmp_path):
    annotations, names, joints, third = lip
    head = ~np.isnan(joints[:, 8:10, 0]).any(1)
    tags = torch.zeros(40, 6, dtype=torch.bool)
    tags[:20, TAGS.index("occlusion")] = tags[20:, TAGS.index("full_body")] = True
    tags[:, TAGS.index("head_missing")] = torch.from_numpy(~head)
    tags[3, TAGS.index("back_view")] = True  # who has no head
    write_tags(tmp_path / "tags.csv", names, tags)
    # Those of "full_body" are off by 0.6 head sizes, but for their arms.
    moved = shifted(names, joints, third, 0.6)
    moved[:20][head[:20]] = joints[:20][head[:20]]
    moved[20:, 10:] = joints[20:, 10:]
    predictions = tmp_path / "moved.csv"
    predictions.write_text(lip_lines(names, moved))
    given = ("--dataset", "lip", "--tags", tmp_path / "tags.csv")
    run = score(annotations, predictions, *map(str, given), "--json")
    assert run.exit_code == 0, run.output
    told = json.loads(run.output)["challenges"]
    there = ~np.isnan(joints[20:, :, 0])
    arms, others = there[:, 10:].sum(), there[:, [0, 1, 2, 3, 4, 5, 8, 9]].sum()
    assert told["occlusion"] == {"images": 20, "mean": 100.0}
    assert told["full_body"] == {"images": 20, "mean": pytest.approx(100 * arms / (arms + others))}
    assert told["head_missing"] == {"images": int((~head).sum()), "mean": None}
    assert told["back_view"] == {"images": 1, "mean": None}
    assert told["lower_body"] == {"images": 0, "mean": None}
    text = score(annotations, predictions, *map(str, given)).output
    assert "LIP leaves such images out" in text
    assert next(line for line in text.splitlines() if line.startswith("head_missing")).split()[1:] == ["3", "-"]

    plain = json.loads(score(annotations, predictions, "--dataset", "lip", "--json").output)
    assert "challenges" not in plain
    write_tags(tmp_path / "tags.csv", names[1:], tags[1:])
    assert (
        "has no line for 1 of the 40 images, the first is 0_0"
        in score(annotations, predictions, *map(str, given)).output
    )


def test_lip_predictions_are_read_by_name_with_or_without_a_third_column(lip, tmp_path):
    annotations, names, joints, third = lip
    truth = read_truth(annotations, "lip")
    assert truth.names == names
    assert torch.equal(truth.presence, torch.from_numpy(np.where(np.isnan(third), 0, 2 - third)).to(torch.uint8))
    order = np.random.default_rng(1).permutation(40)
    mixed = [names[i].removesuffix(".jpg") for i in order]
    for name, columns in (("two.csv", None), ("three.csv", third[order])):
        (tmp_path / name).write_text(lip_lines(mixed, joints[order], columns))
        found = read_predictions(tmp_path / name, 40, 16, names)
        assert torch.equal(found.nan_to_num(), torch.from_numpy(joints).nan_to_num())
        assert torch.equal(found.isnan(), torch.from_numpy(joints).isnan())
        # Without names, lines are taken as they come.
        unsorted = read_predictions(tmp_path / name, 40, 16).nan_to_num()
        assert torch.equal(unsorted, torch.from_numpy(joints[order]).nan_to_num())
    # A joint that was not predicted is wrong.
    some = joints.copy()
    some[0, 10] = np.nan
    assert not np.isnan(joints[0, 10]).any()
    (tmp_path / "some.csv").write_text(lip_lines(names, some))
    _, rows, _ = table(annotations, tmp_path / "some.csv")
    assert rows["r_wrist"]["all"] == pytest.approx(100 * (1 - 1 / rows["r_wrist"]["counted"]))


def test_lip_predictions_of_other_people_are_refused(lip, tmp_path):
    annotations, names, joints, _ = lip
    content = lip_lines(names, joints)
    for text, said in (
        (content.replace("39_39.jpg", "0_0.jpg"), "has no prediction for 39_39.jpg: are both"),
        (content.replace(".jpg", "_a.jpg"), "has no prediction for 0_0.jpg and 39 other photographs"),
        (
            content.replace("39_39.jpg,", "39_39.jpg,1,"),
            "line 40 has 34 fields; a line is a name and 32 numbers (x, y) or 48 (x, y, v)",
        ),
        (content[: content.rindex("39_39.jpg")], "has 39 lines; the annotations need 40 of a name and 32 numbers"),
        (content.replace("nan", "far"), "a field is not a number"),
        ("", "it is empty; a line is a name and 32 numbers"),
    ):
        (tmp_path / "predictions.csv").write_text(text)
        run = score(annotations, tmp_path / "predictions.csv", "--dataset", "lip")
        assert run.exit_code == 1
        assert said in run.output
        assert run.output.count("\n") == 1
    run = score(annotations, tmp_path / "missing.csv", "--dataset", "lip")
    assert "does not exist" in run.output


def test_of_lsp_the_last_thousand_are_scored(tmp_path):
    random = np.random.default_rng(0)
    joints = random.uniform(0, 100, (3, 14, 2000))
    joints[2] = random.random((14, 2000)) < 0.2
    joints[0, 3, 1005] = np.nan
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    truth = read_truth(tmp_path / "joints.mat", "lsp")
    expected = torch.tensor(joints[:2, :, 1000:].transpose(2, 1, 0)).float()
    assert torch.allclose(truth.joints, expected, equal_nan=True)
    known = expected.isfinite().all(-1)
    assert torch.equal(truth.presence > 0, known)
    assert torch.equal((truth.presence == 1)[known], torch.tensor(joints[2, :, 1000:].T == 1)[known])


def test_lspet_is_not_scored_as_lsp(tmp_path):
    random = np.random.default_rng(0)
    rows = random.uniform(0, 100, (14, 3, 2000))
    for count, share, sentence in ((2000, 0.9, "as in LSPET"), (1500, 0.2, "1,500 people and LSP 2,000")):
        rows[:, 2] = random.random((14, 2000)) < share
        scipy.io.savemat(tmp_path / "joints.mat", {"joints": rows[..., :count]})
        with pytest.raises(ValueError, match=sentence):
            read_truth(tmp_path / "joints.mat", "lsp")


def test_where_nobody_can_be_scored_it_is_said(files):
    annotations, predictions, _ = files(14)
    truth, predicted = read_truth(annotations, "lsp"), read_predictions(predictions, 1000, 14)
    # A joint that nobody has is a dash; the others count.
    truth.presence[:, 3] = 0
    result = report(predicted, truth, "lsp")
    assert result["joints"]["l_hip"]["all"] is None
    assert "-" in render(result).split()
    json.dumps(result, allow_nan=False)
    truth.torso_size[:] = 0
    with pytest.raises(ValueError, match="of 1,000 people nobody can be scored by LSP's rules: the torso size"):
        report(predicted, truth, "lsp")
    truth.presence[:] = 0
    with pytest.raises(ValueError, match="none of them has an annotated joint"):
        report(predicted, truth, "lsp")


def test_people_without_a_size_are_counted_as_left_out(files):
    annotations, predictions, _ = files()
    with h5py.File(annotations, "a") as file:
        file["normalize"][3:5] = 0
    run = score(annotations, predictions)
    assert run.exit_code == 0, run.output
    assert run.output.endswith("Left out: 2 people (head size not known, or 0)\n")
    result = json.loads(score(annotations, predictions, "--json").output)
    assert (result["left_out"], result["joints"]["l_hip"]["counted"]) == (2, 10)


def named(tmp_path, names, joints, order, kind):
    """Predictions with the names of their photographs, people in this order."""
    path = tmp_path / f"named.{kind}"
    if kind == "csv":
        path.write_text(lip_lines([names[i] for i in order], joints[order]))
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file.update(preds=joints[order], imgname=[names[i].encode() for i in order])
    else:
        cells = np.empty((len(order), 1), object)
        cells[:, 0] = [names[i] for i in order]
        scipy.io.savemat(path, {"preds": joints[order], "imgname": cells})
    return path


@pytest.mark.parametrize("kind", ["csv", "h5", "mat"])
def test_people_are_matched_by_the_names_of_their_photographs(files, tmp_path, kind):
    annotations, predictions, preds = files()
    names = [f"{number:09d}.jpg" for number in range(12)]
    with h5py.File(annotations, "a") as file:
        del file["imgname"]
        file["imgname"] = [name.encode() for name in names]
    order = np.random.default_rng(2).permutation(12)
    mixed = named(tmp_path, names, preds, order, kind)
    run, expected = score(annotations, mixed), score(annotations, predictions)
    assert run.stdout == expected.stdout
    assert "another order than the annotations: people are matched by the names" in run.stderr
    assert not score(annotations, named(tmp_path, names, preds, np.arange(12), kind)).stderr
    strange = score(annotations, named(tmp_path, [*names[:11], "other.jpg"], preds, order, kind))
    assert strange.exit_code == 1
    assert "has no prediction for 000000011.jpg" in strange.output
    # Of a photograph with two people, nobody can tell whose prediction is whose, unless they come in order.
    twice = [names[0], *names[:11]]
    with h5py.File(annotations, "a") as file:
        del file["imgname"]
        file["imgname"] = [name.encode() for name in twice]
    assert score(annotations, named(tmp_path, twice, preds, np.arange(12), kind)).stdout == expected.stdout
    refused = score(annotations, named(tmp_path, twice, preds, order, kind))
    assert refused.exit_code == 1
    assert "several of them are in 000000000" in refused.output


@pytest.mark.parametrize("kind", ["h5", "mat", "group"])
def test_a_third_number_per_joint_is_left_out(files, tmp_path, kind):
    _, _, preds = files()
    three = np.concatenate([preds, np.full((12, 16, 1), 0.5)], -1)
    if kind == "mat":
        scipy.io.savemat(tmp_path / "three.mat", {"preds": three.transpose(1, 2, 0)})
    else:
        with h5py.File(tmp_path / "three.h5", "w") as file:
            file["results/preds" if kind == "group" else "preds"] = three
    path = tmp_path / f"three.{'mat' if kind == 'mat' else 'h5'}"
    assert torch.equal(read_predictions(path, 12, 16), torch.from_numpy(preds))
