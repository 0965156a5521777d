"""LIP: its layouts and splits, joints in its own pixels, a mirror, and files that are wrong."""

from __future__ import annotations

import zlib

import pytest
import torch

from posebook.coordinates import Perturbation
from posebook.datasets import lip, open_dataset, sets
from posebook.datasets.lip import LIP, read_annotations
from posebook.sample import Dataset
from posebook.skeleton import MPII, PART_INDEX, PARTS
from posebook.training.augment import Augmentation, augment
from small_sets.lip import SIZES, write_part


@pytest.mark.parametrize(
    ("layout", "labelled"),
    [("{archive}/{name}", True), ("{archive}/{archive}/{name}", True), ("{name}", True), ("{name}", False)],
)
def test_layouts_joints_and_splits(tmp_path, layout, labelled):
    write_part(tmp_path, "train", 80, layout, labelled)
    names, joints, third = write_part(tmp_path, "val", 8, layout, labelled)
    splits = {split: open_dataset("lip", split, tmp_path, size=64) for split in ("train", "validation", "test")}
    assert all(isinstance(data, Dataset) for data in splits.values())
    paths = {split: {path.stem for path in data.people.paths} for split, data in splits.items()}
    assert paths["test"] == {name[:-4] for name in names}
    # Nobody in validation is from a photograph that train is from, too, and together they are LIP's training split.
    photographs = {split: {stem.split("_")[0] for stem in stems} for split, stems in paths.items()}
    assert photographs["validation"] == {p for p in map(str, range(1000, 1040)) if zlib.crc32(p.encode()) % 20 == 0}
    assert photographs["train"] == set(map(str, range(1000, 1040))) - photographs["validation"]
    assert 0 < splits["validation"].length < splits["train"].length == 80 - splits["validation"].length
    data = splits["test"]
    sample = data.batch(torch.arange(8))
    assert (data.skeleton, data.parts, sample.tags) == (MPII, PARTS, None)
    assert (sample.parsing is not None) == labelled
    presence = torch.where(third.isnan(), 0, 2 - third.nan_to_num()).to(torch.uint8)
    assert torch.equal(sample.presence, presence)
    # The whole image lies in the middle of the crop, its longer side from edge to edge.
    extents = torch.tensor(SIZES * 2).float()
    scale = (64 / extents.amax(1))[:, None, None]
    expected = (joints - 0.5 - extents[:, None] / 2) * scale + 32
    present = presence > 0
    torch.testing.assert_close(sample.joints[present], expected[present])
    head = (joints[:, MPII.index("upper_neck")] - joints[:, MPII.index("head_top")]).norm(dim=-1) * scale[:, 0, 0]
    known = present[:, MPII.index("upper_neck")] & present[:, MPII.index("head_top")]
    assert known.any()
    assert not known.all()
    torch.testing.assert_close(sample.head_size, torch.where(known, head, torch.nan), equal_nan=True)


def test_a_mirror_swaps_left_and_right_parts(tmp_path):
    write_part(tmp_path, "val", 8)
    sample = LIP(tmp_path, "test", 64).batch(torch.arange(8))
    mirrored = augment(sample, Augmentation(flip=1).draw(8, torch.Generator().manual_seed(0)), MPII)
    other = torch.arange(256, dtype=torch.uint8)
    for a, b in ((14, 15), (16, 17), (18, 19)):
        other[a], other[b] = b, a
        assert {PARTS[a], PARTS[b]} in [{f"l_{part}", f"r_{part}"} for part in ("arm", "leg", "shoe")]
    assert torch.equal(mirrored.parsing, other[sample.parsing.flip(-1).long()])
    sides = [PART_INDEX[name] for name in PARTS if name[:2] in ("l_", "r_")]
    assert sides == list(range(14, 20))
    assert all((sample.parsing == side).any() for side in sides)
    elbow, other_elbow = MPII.index("l_elbow"), MPII.index("r_elbow")
    assert torch.equal(mirrored.presence[:, elbow], sample.presence[:, other_elbow])


def test_a_perturbed_box_is_another_window_of_the_photograph(tmp_path):
    """Images and part labels alike, and what was read through one box is not taken for what another shows."""
    write_part(tmp_path, "val", 8)
    own, moved = (LIP(tmp_path, "test", 64) for _ in range(2))
    numbers, by = torch.arange(8), Perturbation((0.1, -0.2), 0.7)
    before = own.batch(numbers)
    after = own.perturbed(by).batch(numbers)
    moved.batch(numbers)  # which looks the windows up
    moved._forget()
    moved.people.centre += moved.people.window[:, None] * torch.tensor([0.1, -0.2])
    moved.people.window *= 0.7
    expected = moved.batch(numbers)
    for name in ("images", "parsing", "presence", "head_size"):
        torch.testing.assert_close(getattr(after, name), getattr(expected, name), equal_nan=True)
    present = after.presence > 0
    assert present.any()
    torch.testing.assert_close(after.joints[present], by.apply(before.joints, 64)[present], atol=1e-3, rtol=0)
    assert not torch.equal(after.images, before.images)
    assert torch.equal(own.batch(numbers).images, before.images)
    assert torch.equal(own.batch(numbers).parsing, before.parsing)


def test_joints_outside_their_image_are_absent(tmp_path):
    write_part(tmp_path, "val", 4)
    path = tmp_path / "TrainVal_pose_annotations" / "lip_val_set.csv"
    lines = [line.split(",") for line in path.read_text().splitlines()]
    # The first image is 90 x 120; its last pixels are counted from 1.
    lines[0][1:10] = ["90", "120", "0", "91", "120", "0", "90", "121", "1"]
    path.write_text("\n".join(map(",".join, lines)))
    data = LIP(tmp_path, "test", 64)
    assert data.batch(torch.tensor([0])).presence[0, :3].tolist() == [2, 0, 0]
    # Both lie in the crop of the padded image or just beyond it.
    assert data.outside == 1
    fine, sentence = sets.check("lip", tmp_path, progress=False)
    assert fine
    assert "2 of them outside their photograph and taken as absent" in sentence
    assert sentence.startswith("lip val: 4 people in 4 photographs, ")
    assert "4 label maps; every one can be read. Splits: " in sentence


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no lip_val_set\.csv.*TrainVal_pose_annotations/"):
        LIP(tmp_path, "test")
    with pytest.raises(FileNotFoundError, match=r"lip_val_set\.csv"):
        lip.check(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"missing\.csv does not exist"):
        read_annotations(tmp_path / "missing.csv")
    for content, said in (
        ("", "it is empty"),
        ("a.jpg,1,2\n", "line 1 has 3 fields"),
        ("a.jpg" + ",1" * 48 + "\nb.jpg" + ",x" * 48 + "\n", "in line 2 a field is not a number"),
    ):
        (tmp_path / "lip_val_set.csv").write_text(content)
        with pytest.raises(ValueError, match=rf"lip_val_set\.csv: {said}"):
            LIP(tmp_path, "test")
    write_part(tmp_path, "val", 4)
    (tmp_path / "lip_val_set.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no lip_train_set\.csv"):
        LIP(tmp_path, "validation")
    with pytest.raises(ValueError, match="no split is called 'val'"):
        LIP(tmp_path, "val")
    with pytest.raises(IndexError):
        LIP(tmp_path, "test").batch(torch.tensor([4]))


def test_lip_as_it_is(real_data):
    root = real_data("lip")
    with pytest.warns(UserWarning, match="9,997 photographs are missing"):
        data = LIP(root, "test", 96)
    assert data.length == 10_000
    there = torch.tensor([path.exists() for path in data.people.paths]).nonzero()[:, 0]
    sample = data.batch(there)
    assert len(there) == 3
    assert sample.parsing is None
    assert 0.2 < sample.images.mean() < 0.7
    # Of the images at hand one has no knees, no ankles and no left forearm; all other joints are visible.
    assert sorted((sample.presence == 2).sum(1).tolist()) == [10, 16, 16]
    assert torch.equal((sample.presence > 0).sum(1), (data.people.presence[there] > 0).sum(1))
    present = sample.presence > 0
    assert sample.joints[present].min() > 0
    assert sample.joints[present].max() < 96
    # Counted from 1: no coordinate of all the people is below 1, and some are 1.
    _, joints, presence = read_annotations(root / "lip_val_set.csv")
    assert float(joints[presence > 0].min()) == 1
    assert int((joints[presence > 0] == 1).sum()) == 580
