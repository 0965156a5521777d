"""MPII: the three kinds of annotation file, the splits, and crops around people."""

from __future__ import annotations

import io
import json
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from posebook.datasets import mpii, photographs
from posebook.datasets.mpii import MPII, read_annotations, read_split
from posebook.skeleton import MPII as SKELETON
from small_sets.mpii import people, write_h5, write_mat


@pytest.mark.parametrize("applied", [False, True])
def test_h5_gives_the_official_centre_and_scale(tmp_path, applied):
    fields = people(40)
    write_h5(tmp_path / "valid.h5", fields, applied)
    found = read_annotations(tmp_path / "valid.h5")
    np.testing.assert_allclose(found.centre, fields["center"], atol=1e-4)
    np.testing.assert_allclose(found.scale, fields["scale"], rtol=1e-6)
    np.testing.assert_allclose(found.head_size, fields["normalize"], rtol=1e-6)
    expected = (1 + fields["visible"]) * (fields["part"] > 0).any(-1)
    assert torch.equal(found.presence, torch.tensor(expected).to(torch.uint8))
    assert found.presence[0, 3] == 0
    assert found.images[7] == "000000007.jpg"


def test_the_official_mat_gives_what_the_h5_gives(tmp_path):
    fields = people(12)
    write_h5(tmp_path / "train.h5", fields)
    nobody = {"scale": 1.0, "objpos": {"x": 1.0, "y": 1.0}}
    no_scale = {"annopoints": {"point": [{"x": 1.0, "y": 1.0, "id": 0}]}}
    write_mat(tmp_path / "a.mat", fields, extra=(nobody, no_scale))
    write_mat(tmp_path / "b.mat", fields)
    h5 = read_annotations(tmp_path / "train.h5")
    for name in ("a.mat", "b.mat"):
        mat = read_annotations(tmp_path / name)
        assert mat.images == h5.images
        assert torch.equal(mat.presence, h5.presence)
        for field in ("joints", "centre", "scale", "head_size"):
            torch.testing.assert_close(getattr(mat, field), getattr(h5, field))


def test_a_mat_without_visibility_has_visible_joints(tmp_path):
    fields = people(3)
    write_mat(tmp_path / "a.mat", fields, tagged=False)
    found = read_annotations(tmp_path / "a.mat")
    assert torch.equal(found.presence, 2 * torch.tensor((fields["part"] > 0).all(-1)).to(torch.uint8))


def test_csv_people_have_the_window_of_their_box(tmp_path):
    fields = people(6)
    fields["part"][2, 9] = (300, -4.5)
    lines = [",".join(["a.jpg", *map(str, part.ravel())]) for part in fields["part"]]
    (tmp_path / "train_joints.csv").write_text("\n".join(lines) + "\n")
    found = read_annotations(tmp_path / "train_joints.csv")
    # The head reaches beyond the photograph's upper edge, and is annotated all the same.
    assert found.presence[2, 9] == 2
    head = 0.75 * np.linalg.norm(fields["part"][2, 8] - fields["part"][2, 9])
    assert found.head_size[2] == pytest.approx(head)
    assert found.presence[0].tolist() == [2] * 3 + [0] + [2] * 12
    assert found.presence[1].tolist() == [2] * 16
    head = 0.75 * np.linalg.norm(fields["part"][1, 8] - fields["part"][1, 9])
    assert found.head_size[1] == pytest.approx(head)
    person = mpii.as_people(found, tmp_path)[torch.tensor([1])]
    low, high = fields["part"][1].min(0), fields["part"][1].max(0)
    # The file's pixels count from 1.
    np.testing.assert_allclose(person.centre[0], (low + high) / 2 - 0.5, rtol=1e-5)
    np.testing.assert_allclose(person.joints[0], fields["part"][1] - 0.5, rtol=1e-5)
    assert person.window[0] == pytest.approx(1.25 * (high - low).max())


def test_the_lists_of_public_training_code_give_what_the_h5_gives(tmp_path):
    fields = people(9)
    fields["part"][2, 9] = (300, -4.5)  # a head above its photograph
    write_h5(tmp_path / "train.h5", fields)
    listed = [
        {
            "image": fields["imgname"][i].decode(),
            "joints": fields["part"][i].tolist(),
            "joints_vis": fields["visible"][i].tolist(),
            "center": fields["center"][i].tolist(),
            "scale": fields["scale"][i],
        }
        for i in range(9)
    ]
    (tmp_path / "train.json").write_text(json.dumps(listed))
    h5, found = (read_annotations(tmp_path / f"train.{kind}") for kind in ("h5", "json"))
    assert found.images == h5.images
    assert torch.equal(found.presence, h5.presence)
    assert found.presence[2, 9] == 2
    for field in ("joints", "centre", "scale"):
        torch.testing.assert_close(getattr(found, field), getattr(h5, field))
    head = 0.75 * np.linalg.norm(fields["part"][:, 8] - fields["part"][:, 9], axis=-1)
    np.testing.assert_allclose(found.head_size, head, rtol=1e-5)
    (tmp_path / "train.json").write_text("[{}]")
    with pytest.raises(ValueError, match=r"train\.json is not an annotation file of MPII"):
        read_annotations(tmp_path / "train.json")


def test_the_labels_of_public_evaluation_code_are_read(tmp_path):
    fields = people(7)
    order = np.random.default_rng(0).permutation(16)
    names = np.empty((1, 16), object)
    names[0] = [mpii.EVALUATION_NAMES[joint] for joint in order]
    boxes = np.zeros((2, 2, 7))
    boxes[1] = fields["normalize"] / 0.6 / np.sqrt(2)
    missing = (fields["part"] == 0).all(-1)
    savemat(
        tmp_path / "gt_valid.mat",
        {
            "dataset_joints": names,
            "jnt_missing": missing[:, order].T.astype(np.uint8),
            "pos_gt_src": fields["part"][:, order].transpose(1, 2, 0),
            "headboxes_src": boxes,
        },
    )
    found = read_annotations(tmp_path / "gt_valid.mat")
    np.testing.assert_allclose(found.joints, fields["part"], rtol=1e-6)
    np.testing.assert_allclose(found.head_size, fields["normalize"], rtol=1e-5)
    assert torch.equal(found.presence == 0, torch.from_numpy(missing))
    assert found.images == [""] * 7


@pytest.mark.parametrize("field", ["center", "scale"])
def test_a_person_who_is_nowhere_is_named(tmp_path, field):
    fields = people(5)
    fields[field][3] = np.nan
    write_h5(tmp_path / "train.h5", fields)
    with pytest.raises(ValueError, match=r"train\.h5: person 4 of 5 has joints, and no centre or scale"):
        read_annotations(tmp_path / "train.h5")


def test_files_that_are_something_else_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_annotations(tmp_path / "valid.h5")
    for name, content, said in (
        ("a.h5", b"text", "is not an HDF5 file"),
        ("a.mat", b"text", "get the set again"),
        ("a.csv", b"", "it is empty"),
        ("b.csv", b"a.jpg,1,2\n", "line 1 has 3 fields"),
        ("c.csv", b"a.jpg" + b",1" * 32 + b"\nb.jpg" + b",x" * 32, "in line 2 a field is not a number"),
        ("a.txt", b"text", ".h5, .csv, .json, .mat files"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=said):
            read_annotations(tmp_path / name)
    savemat(tmp_path / "b.mat", {"RELEASE": {"annolist": 3.0, "img_train": 1.0}})
    with pytest.raises(ValueError, match="not an annotation file"):
        read_annotations(tmp_path / "b.mat")
    write_h5(tmp_path / "b.h5", people(3) | {"part": np.zeros((3, 12, 2))})
    with pytest.raises(ValueError, match="3x12x2"):
        read_annotations(tmp_path / "b.h5")
    with pytest.raises(FileNotFoundError, match="no annotations of MPII for train"):
        read_split(tmp_path, "train")


def test_no_photograph_is_in_two_splits(tmp_path):
    fields = people(60)
    write_mat(tmp_path / mpii.MAT, fields)
    train, test = read_split(tmp_path, "train"), read_split(tmp_path, "test")
    assert {zlib.crc32(name.encode()) % 10 == 0 for name in test.images} == {True}
    assert set(train.images) | set(test.images) == {name.decode() for name in fields["imgname"]}
    assert not set(train.images) & set(test.images)
    write_h5(tmp_path / "valid.h5", {key: value[:7] for key, value in fields.items()})
    assert len(read_split(tmp_path, "train")) == 53
    assert read_split(tmp_path, "validation").images == [name.decode() for name in fields["imgname"][:7]]


def test_batches_follow_the_official_window(tmp_path):
    fields = people(9)
    fields["imgname"][8] = fields["imgname"][7]  # two people in one photograph
    write_h5(tmp_path / "valid.h5", fields)
    (tmp_path / "images").mkdir()
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)).save(file, "JPEG")
    for name in set(fields["imgname"][1:]):
        (tmp_path / "images" / name.decode()).write_bytes(file.getvalue())
    with pytest.warns(UserWarning, match="1 photographs are missing"):
        data = MPII(tmp_path, "test", size=64)
    sample = data.batch(torch.tensor([8, 0, 3]))
    assert sample.index.tolist() == [8, 0, 3]
    assert sample.presence[1].sum() == 0
    window = 250 * fields["scale"][8]
    centre = fields["center"][8] + (0, 15 * fields["scale"][8])
    expected = (fields["part"][8] - centre) * 64 / window + 32
    np.testing.assert_allclose(sample.joints[0], expected, atol=1e-3)
    assert sample.head_size[0] == pytest.approx(fields["normalize"][8] * 64 / window)
    inside = ((expected >= 0) & (expected < 64) & (fields["part"][8] < 600.5)).all(-1)
    np.testing.assert_array_equal(sample.presence[0], (1 + fields["visible"][8]) * inside)
    # Absent or not, what an annotation says outside its crop is told.
    fields["part"][1, 5] = fields["center"][1] + 126 * fields["scale"][1]
    (tmp_path / "valid.h5").unlink()
    write_h5(tmp_path / "valid.h5", fields)
    with pytest.warns(UserWarning, match="missing"):
        moved = MPII(tmp_path, "test", size=64)
    assert moved.outside == data.outside + 1
    assert moved.batch(torch.tensor([1])).presence[0, 5] == 0
    with pytest.raises(IndexError):
        data.batch(torch.tensor([9]))


def test_the_files_as_they_are(real_data):
    root = real_data("mpii")
    valid = read_annotations(root / "valid.h5")
    assert len(valid) == 2958
    # This file's centre and scale come with the window applied; the official ones are whole pixels.
    assert (valid.centre - valid.centre.round()).abs().max() < 1e-3
    held = (valid.presence > 0).float().mean()
    assert held == pytest.approx((44195 + 45) / 2958 / 16, abs=1e-6)
    # 2 upper necks and 43 head tops lie on or above the photograph's upper edge.
    assert (valid.presence[:, 8:10] > 0).sum(0).tolist() == [2932, 2932]
    length = mpii.head_length(valid.joints, valid.presence, SKELETON)
    ratio = (valid.head_size / length)[length.isfinite()]
    assert ratio.median() == pytest.approx(mpii.HEAD_OF_JOINTS, abs=2e-3)
    assert ((ratio - mpii.HEAD_OF_JOINTS).abs() < 0.03).float().mean() > 0.99
    box = mpii.as_people(valid, root)
    inside = ((valid.joints - box.centre[:, None]).abs() < box.window[:, None, None] / 2).all(-1)
    assert inside[valid.presence > 0].float().mean() > 0.99
    assert (len(read_annotations(root / "train_joints.csv")), len(read_split(root, "test"))) == (17928, 2958)
    assert not set(read_split(root, "train").images) & set(valid.images)
    with pytest.raises(FileNotFoundError, match="photographs"):
        MPII(root, "test")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fine, sentence = photographs.check("mpii", mpii.read_people(root), progress=False)
    assert not fine
    assert "put the set's images into" in sentence
