"""What readers of real sets share: who is held out, and sets of a handful of people."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from posebook.datasets import open_dataset, sets
from posebook.datasets.photographs import assign, in_folder
from small_sets import ccp, lip, mpii
from small_sets.mpii import people


def test_who_is_held_out_does_not_depend_on_who_else_is_there():
    names = [f"{number}.jpg" for number in range(400)]
    of = assign(names, 10, ("test", "validation"))
    for name, split in zip(names, of, strict=True):
        assert split == {0: "test", 1: "validation"}.get(zlib.crc32(name.encode()) % 10, "train")
    some = names[::3]
    assert assign(some, 10, ("test", "validation")) == of[::3]
    # Everybody in a photograph is in its split.
    assert assign([name for name in names for _ in range(2)], 10, ("test",))[::2] == assign(names, 10, ("test",))


@pytest.mark.parametrize("count", [3, 4, 5, 8, 12])
def test_every_split_of_a_small_set_has_somebody(count):
    names = [f"{number}.jpg" for number in range(count)]
    of = assign(names, 20, ("test", "validation"))
    assert set(of) == {"train", "test", "validation"}
    assert of.count("train") >= count - 2 - sum(zlib.crc32(name.encode()) % 20 < 2 for name in names)
    assert assign(names[::-1], 20, ("test", "validation")) == of[::-1]


def test_fewer_photographs_than_splits_are_refused():
    with pytest.raises(ValueError, match="2 photographs cannot be shared out to train, test, validation: give 3 or"):
        assign(["a", "b", "b"], 10, ("test", "validation"))


def small_lip(root):
    lip.write_part(root, "train", 6)
    lip.write_part(root, "val", 2)


def small_ccp(root):
    ccp.write_set(root, 5)


def small_mpii(root):
    fields = people(4)
    fields["imgname"][1] = fields["imgname"][0]  # two people in one photograph
    mpii.write_mat(root / "mpii_human_pose_v1_u12_1.mat", fields)
    mpii.write_images(root, fields)


@pytest.mark.parametrize(("name", "write"), [("lip", small_lip), ("ccp", small_ccp), ("mpii", small_mpii)])
def test_a_handful_of_people_has_all_its_splits_and_the_check_tells_them(tmp_path, name, write):
    write(tmp_path)
    found = {split: open_dataset(name, split, tmp_path, 32) for split in ("train", "validation", "test")}
    for dataset in found.values():
        assert dataset.length >= 1
        assert dataset.batch(torch.arange(dataset.length)).images.shape[1:] == (3, 32, 32)
    shown = [set(dataset.people.paths) for dataset in found.values()]
    assert not shown[0] & (shown[1] | shown[2])
    fine, sentence = sets.check(name, tmp_path, progress=False)
    assert fine
    counts = ", ".join(f"{dataset.length} {split}" for split, dataset in found.items())
    assert sentence.endswith(f" Splits: {counts}.")


@pytest.mark.parametrize("name", ["../secret.jpg", "a/../../secret.jpg", "/etc/passwd", "a\0.jpg"])
def test_annotations_name_files_within_their_folder_alone(tmp_path, name):
    assert in_folder(tmp_path, ["b.jpg", "sub/c"], ".x") == [tmp_path / "b.jpg.x", tmp_path / "sub/c.x"]
    with pytest.raises(ValueError, match=r"which is not in .*: names lead to files within it"):
        in_folder(tmp_path, ["b.jpg", name])


def test_a_set_whose_annotations_lead_elsewhere_is_not_opened(tmp_path):
    Image.new("RGB", (640, 480)).save(tmp_path / "secret.jpg")
    (tmp_path / "mpii" / "images").mkdir(parents=True)
    fields = mpii.people(4, seed=0)
    fields["imgname"] = np.array(["../../secret.jpg"] * 4, "S16")
    mpii.write_h5(tmp_path / "mpii" / "valid.h5", fields)
    with pytest.raises(ValueError, match=r"annotations name '../../secret.jpg', which is not in"):
        open_dataset("mpii", "test", tmp_path / "mpii", 32)
