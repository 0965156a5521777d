"""Extended PASCAL-Person-Part: the release's files, everyone in the photograph, whole photographs, wrong files."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch
from scipy.io import savemat

from posebook.coordinates import similarity, transform_points
from posebook.datasets import open_dataset, pascal, sets
from posebook.datasets.pascal import FILE_ORDER, PARTS, PASCAL, read_scenes
from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.sample import Dataset
from posebook.skeleton import GROUPINGS, IGNORE_LABEL, LSP, SKELETONS
from posebook.skeleton import PASCAL as SKELETON
from posebook.training.augment import Augmentation, augment
from small_sets.pascal import (
    ARCHIVES,
    BUNDLE,
    HEIGHT,
    RELEASE,
    TEST,
    TRAIN,
    WIDTH,
    cells,
    write_people,
    write_set,
)


def truth_of(people, name):
    """Joints and presence of a photograph's people in posebook's order."""
    rows = torch.from_numpy(people[name][0]).float()[:, [FILE_ORDER.index(joint) for joint in SKELETON.joints]]
    presence = torch.tensor([0, 2, 1])[rows[..., 2].long()].to(torch.uint8)
    return rows[..., :2], presence


def test_the_skeleton_is_lsps_with_a_forehead():
    assert SKELETONS[SKELETON.name] is SKELETON
    assert sorted(SKELETON.joints) == sorted(FILE_ORDER)
    assert SKELETON.joints[:13] == LSP.joints[:13]
    assert SKELETON.mirror == LSP.mirror
    assert SKELETON.pairs(SKELETON.limbs) == LSP.pairs(LSP.limbs)
    for name in GROUPINGS:
        groups = SKELETON.groups(name)
        assert sorted({joint for group in groups for joint in group}) == list(range(14))
        assert groups == LSP.groups(name)


@pytest.mark.parametrize("layout", [RELEASE, BUNDLE, ARCHIVES])
def test_people_of_the_release(tmp_path, layout):
    people = write_set(tmp_path, layout)
    data = open_dataset("pascal", "test", tmp_path, size=64)
    assert isinstance(data, Dataset)
    assert (data.skeleton, data.parts) == (SKELETON, PARTS)
    assert data.length == sum(len(people[name][1]) for name in TEST)
    sample = data.batch(torch.arange(data.length))
    assert sample.people_joints.shape == (data.length, 3, 14, 2)
    row = 0
    for name in TEST:
        joints, presence = truth_of(people, name)
        boxes = torch.from_numpy(people[name][1]).float()
        centre, window = (boxes[:, :2] + boxes[:, 2:]) / 2, 1.1 * (boxes[:, 2:] - boxes[:, :2]).amax(1)
        for person in range(len(joints)):
            assert data.people.paths[row].stem == name
            others = [person, *(other for other in range(len(joints)) if other != person)]
            affine = similarity(centre[[person]], window[[person]], 64)
            placed = transform_points(joints[None, others], affine)[0]
            shown = ((placed >= 0) & (placed < 64)).all(-1)
            expected = presence[others] * shown
            assert torch.equal(sample.people_presence[row, : len(joints)], expected)
            assert not sample.people_presence[row, len(joints) :].any()
            known = expected > 0
            torch.testing.assert_close(sample.people_joints[row, : len(joints)][known], placed[known])
            # Whoever is to be found comes first.
            assert torch.equal(sample.presence[row], expected[0])
            torch.testing.assert_close(sample.joints[row][known[0]], placed[0][known[0]])
            neck, forehead = SKELETON.index("neck"), SKELETON.index("forehead")
            head = (joints[others, neck] - joints[others, forehead]).norm(dim=-1) * 64 / window[person]
            there = (presence[others][:, [neck, forehead]] > 0).all(1)
            sizes = torch.cat([torch.where(there, head, torch.nan), torch.full((3 - len(joints),), torch.nan)])
            torch.testing.assert_close(sample.people_head_size[row], sizes, equal_nan=True)
            torch.testing.assert_close(sample.head_size[row], sizes[0], equal_nan=True)
            row += 1
    # The label maps are cropped with the photographs: greys are forty times the labels.
    known = sample.parsing != IGNORE_LABEL
    agree = (sample.images[:, 0] * 255 / 40).round() == sample.parsing
    assert agree[known].float().mean() > 0.85
    assert set(sample.parsing[known].tolist()) == set(range(7))
    assert sample.images[:, 0][~known].mean() < 0.05


def test_whole_photographs_show_everyone(tmp_path):
    people = write_set(tmp_path)
    data = PASCAL(tmp_path, "test", 80, crop="photograph")
    sample = data.batch(torch.arange(data.length))
    assert data.length == len(TEST)
    scale, above = 80 / WIDTH, (WIDTH - HEIGHT) / 2
    for row, name in enumerate(TEST):
        joints, presence = truth_of(people, name)
        count = len(joints)
        assert torch.equal(sample.people_presence[row, :count], presence)
        expected = (joints + torch.tensor([0.0, above])) * scale
        known = presence > 0
        torch.testing.assert_close(sample.people_joints[row, :count][known], expected[known])
        assert torch.equal(sample.presence[row], presence[0])
    assert (sample.parsing[:, :10] == IGNORE_LABEL).all()
    assert (sample.parsing[:, 10:70] != IGNORE_LABEL).all()
    assert torch.equal(sample.parsing[:, 10:70:10, 5::10], sample.parsing[:, 14:70:10, 9::10])
    # A photograph without a file of joints, or with an empty one, has nobody in it.
    (tmp_path / "PersonJoints" / f"{TEST[1]}.mat").unlink()
    write_people(tmp_path / "PersonJoints" / f"{TEST[2]}.mat", [], [])
    fewer = PASCAL(tmp_path, "test", 80, crop="photograph").batch(torch.arange(len(TEST)))
    assert not fewer.people_presence[1:3].any()
    assert not fewer.presence[1:3].any()
    assert fewer.people_head_size[1:3].isnan().all()
    assert torch.equal(fewer.parsing, sample.parsing)
    assert torch.equal(fewer.presence[3:], sample.presence[3:])
    assert PASCAL(tmp_path, "test", 80).length == number_of_people(people) - sum(
        len(people[name][1]) for name in TEST[1:3]
    )
    with pytest.raises(ValueError, match="crop must be one of person, photograph, not 'box'"):
        PASCAL(tmp_path, "test", crop="box")


def number_of_people(people) -> int:
    return sum(len(people[name][1]) for name in TEST)


def test_a_mirror_moves_everyone_and_leaves_the_parts(tmp_path):
    write_set(tmp_path)
    sample = PASCAL(tmp_path, "test", 64).batch(torch.arange(8))
    mirrored = augment(sample, Augmentation(flip=1).draw(8, torch.Generator().manual_seed(0)), SKELETON)
    assert torch.equal(mirrored.parsing, sample.parsing.flip(-1))
    swapped = sample.people_joints[:, :, SKELETON.mirror]
    present = sample.people_presence[:, :, SKELETON.mirror] > 0
    assert torch.equal(mirrored.people_presence > 0, present)
    expected = swapped * torch.tensor([-1.0, 1]) + torch.tensor([64.0, 0])
    torch.testing.assert_close(mirrored.people_joints[present], expected[present])
    score = BENCHMARKS[SKELETON.name].score(sample.joints, sample)
    assert score.names == SKELETON.joints
    assert float(score.mean) == 1


def test_splits_and_unannotated_people(tmp_path):
    people = write_set(tmp_path)
    held_out = {name for name in TRAIN if zlib.crc32(name.encode()) % 10 == 0}
    scenes = {split: read_scenes(tmp_path, split) for split in ("train", "validation", "test")}
    assert set(scenes["validation"].names) == held_out != set()
    assert scenes["train"].names == [name for name in TRAIN if name not in held_out]
    assert scenes["test"].names == TEST
    assert scenes["test"].counts.tolist() == [len(people[name][1]) for name in TEST]
    assert scenes["test"].starts.tolist() == [0, *scenes["test"].counts.cumsum(0)[:-1].tolist()]
    # Nobody is to be found of whom no joint is annotated, but everyone stands among the others.
    joints, boxes = people[TEST[0]]
    count = len(joints)
    joints[0, :, 2] = 0
    write_people(tmp_path / "PersonJoints" / f"{TEST[0]}.mat", joints, boxes)
    data = PASCAL(tmp_path, "test", 64)
    assert data.length == number_of_people(people) - 1
    assert int(data.batch(torch.tensor([0])).people_presence.any(-1).sum()) == count - 1


def test_joints_outside_their_photograph_are_absent(tmp_path):
    people = write_set(tmp_path)
    name = next(name for name in TEST if len(people[name][1]) == 2)
    joints, boxes = people[name]
    boxes[:] = [[0, 0, 100, 100], [10, 0, 60, 60]]
    joints[..., 2], joints[..., :2] = 1, 50
    # A box may reach beyond the photograph; so may a joint in it.
    joints[:, 3, :2], joints[:, 4, :2], joints[1, 5, :2] = (-2, 50), (50, -1), np.nan
    write_people(tmp_path / "PersonJoints" / f"{name}.mat", joints, boxes)
    data = PASCAL(tmp_path, "test", 64)
    row = next(i for i, path in enumerate(data.people.paths) if path.stem == name)
    sample = data.batch(torch.tensor([row]))
    places = [SKELETON.index(FILE_ORDER[place]) for place in (3, 4)]
    assert not sample.people_presence[0, :2, places].any()
    assert sample.people_presence[0, 1, SKELETON.index(FILE_ORDER[5])] == 0
    assert int((sample.people_presence[0] > 0).sum()) == 2 * 12 - 1
    fine, sentence = sets.check("pascal", tmp_path, progress=False)
    assert fine
    assert "4 of them outside their photograph" in sentence
    photographs = len(TRAIN) + len(TEST)
    assert f"in {photographs} photographs, " in sentence
    assert f"{photographs} label maps; every one can be read. Splits: " in sentence


def test_broken_photographs_and_missing_labels(tmp_path):
    people = write_set(tmp_path)
    good = PASCAL(tmp_path, "test", 64).batch(torch.arange(6))
    name = TEST[1]
    (tmp_path / "JPEGImages" / f"{name}.jpg").write_bytes((tmp_path / "JPEGImages" / f"{name}.jpg").read_bytes()[:-300])
    data = PASCAL(tmp_path, "test", 64)
    with pytest.warns(UserWarning, match=rf"{name}\.jpg cannot be read.*data check pascal {tmp_path}`"):
        sample = data.batch(torch.arange(6))
    broken = torch.tensor([path.stem == name for path in data.people.paths[:6]])
    assert broken.sum() == len(people[name][1])
    assert not sample.people_presence[broken].any()
    assert sample.people_head_size[broken].isnan().all()
    assert (sample.parsing[broken] == IGNORE_LABEL).all()
    assert torch.equal(sample.people_joints[~broken], good.people_joints[~broken])
    assert torch.equal(sample.parsing[~broken], good.parsing[~broken])
    (tmp_path / "SegmentationPart").rename(tmp_path / "elsewhere")
    data = PASCAL(tmp_path, "train", 64)
    assert data.batch(torch.arange(4)).parsing is None
    sentence = sets.check("pascal", tmp_path, progress=False)[1]
    assert "no label maps: samples have no parsing. Splits: " in sentence


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no train_id\.txt"):
        PASCAL(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match=r"holds no train_id\.txt"):
        pascal.check(tmp_path)
    people = write_set(tmp_path)
    path = tmp_path / "PersonJoints" / f"{TEST[0]}.mat"
    joints, boxes = people[TEST[0]]
    for content in ({"joints": cells([joints[0][:13]]), "boxes": cells([boxes[0]])}, {"joints": cells([joints[0]])}):
        savemat(path, content)
        with pytest.raises(ValueError, match=rf"{TEST[0]}\.mat does not hold joints \(14x3\) and boxes"):
            PASCAL(tmp_path, "test")
    path.write_bytes(b"broken")
    with pytest.raises(ValueError, match="does not hold joints"):
        PASCAL(tmp_path, "test")
    (tmp_path / "val_id.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"val_id\.txt names no photograph"):
        PASCAL(tmp_path, "test")
    (tmp_path / "val_id.txt").write_text("2007_000001\n")
    with pytest.raises(ValueError, match="nobody's joints for the 1 photographs"):
        PASCAL(tmp_path, "test")
    (tmp_path / "PersonJoints").rename(tmp_path / "joints")
    with pytest.raises(FileNotFoundError, match="put the release's PersonJoints/ there"):
        PASCAL(tmp_path, "train")
