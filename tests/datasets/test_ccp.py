"""CCP: its tags in LIP's parts, crops around the labelled person, splits, and files that are wrong."""

from __future__ import annotations

import warnings
import zlib

import numpy as np
import pytest
import torch
from scipy.io import savemat

from posebook.datasets import open_dataset, sets
from posebook.datasets.ccp import CCP, CONTEXT, LABELLED, PART_OF_TAG, part_table
from posebook.sample import Dataset
from posebook.skeleton import IGNORE_LABEL, MPII, PART_INDEX, PARTS
from posebook.training.augment import Augmentation, augment
from small_sets.ccp import HEIGHT, TAGS, WIDTH, write_set, write_tags


def everyone(root, size: int = 99, **options):
    """All samples of the three splits, and the names of their photographs."""
    data = [CCP(root, split, size, **options) for split in ("train", "validation", "test")]
    return {path.stem: d.batch(torch.tensor([i])) for d in data for i, path in enumerate(d.people.paths)}


def test_every_tag_is_named_and_no_part_with_a_side_is_guessed():
    assert len(PART_OF_TAG) == 59
    assert PART_OF_TAG["null"] == "background"
    assert {part for part in PART_OF_TAG.values() if part} == set(LABELLED) <= set(PARTS)
    assert list(LABELLED) == sorted(LABELLED, key=PART_INDEX.get)
    assert set(PARTS) - set(LABELLED) == {"face", "l_arm", "r_arm", "l_leg", "r_leg", "l_shoe", "r_shoe"}
    shoes = ("boots", "clogs", "flats", "heels", "loafers", "pumps", "sandals", "shoes", "sneakers", "wedges")
    assert all(PART_OF_TAG[tag] is None for tag in (*shoes, "skin", "tights", "stockings"))


def test_parsing_is_the_tags_in_lips_parts_around_the_person(tmp_path):
    maps = write_set(tmp_path)
    found = everyone(tmp_path)
    assert set(found) == set(maps)
    # The person is 32 x 70 pixels at (20, 5), so the window is 77 a side, from (-2.5, 1.5) on: 99 pixels, 9 for 7.
    centres = (np.arange(99) + 0.5) * 7 / 9
    columns, rows = np.floor(centres - 2.5).astype(int), np.floor(centres + 1.5).astype(int)
    assert CONTEXT * 70 == 77
    for name, sample in found.items():
        inside = (columns >= 0) & (columns < WIDTH)
        tags = maps[name][np.ix_(rows, columns[inside])]
        assert np.array_equal(sample.parsing[0].numpy()[:, inside], part_table_of(TAGS)[tags])
        assert (sample.parsing[0, :, ~inside] == IGNORE_LABEL).all()
        # The photograph shows the same window: greys are four times the tags' numbers.
        difference = np.abs(sample.images[0, 0].numpy()[:, inside] - tags * 4 / 255)
        assert np.median(difference) < 0.02
        assert sample.images[..., ~inside].max() < 0.1


def test_a_sample_has_no_joints_and_a_mirror_leaves_its_parts(tmp_path):
    write_set(tmp_path, 12)
    data = open_dataset("ccp", "train", tmp_path, size=64)
    sample = data.batch(torch.arange(data.length))
    assert isinstance(data, Dataset)
    assert (data.skeleton, data.parts, data.outside) == (MPII, PARTS, 0)
    assert sample.joints.shape == (data.length, 16, 2)
    assert not sample.presence.any()
    assert sample.head_size.isnan().all()
    assert sample.torso_size.isnan().all()
    assert sample.people_joints is None
    changes = Augmentation(flip=1).draw(data.length, torch.Generator().manual_seed(0))
    assert torch.equal(augment(sample, changes, MPII).parsing, sample.parsing.flip(-1))
    wide = CCP(tmp_path, "train", 64, widen=2.0).batch(torch.tensor([0]))
    # Twice the window around the same centre: its middle is the usual one at half the scale.
    assert torch.equal(wide.parsing[0, 16:48, 16:48], CCP(tmp_path, "train", 32).batch(torch.tensor([0])).parsing[0])


def test_splits_go_by_the_photographs_numbers(tmp_path):
    maps = write_set(tmp_path, 60)
    names = {
        split: {path.stem for path in CCP(tmp_path, split).people.paths} for split in ("train", "validation", "test")
    }
    assert {name for name in maps if zlib.crc32(name.encode()) % 10 == 0} == names["test"] != set()
    assert {name for name in maps if zlib.crc32(name.encode()) % 10 == 1} == names["validation"] != set()
    assert set(maps) - names["test"] - names["validation"] == names["train"]
    # Who is in a split does not depend on who else is there.
    gone = sorted(names["train"])[0]
    (tmp_path / "annotations" / "pixel-level" / f"{gone}.mat").unlink()
    assert {path.stem for path in CCP(tmp_path, "train").people.paths} == names["train"] - {gone}
    with pytest.raises(ValueError, match="no split is called 'all'"):
        CCP(tmp_path, "all")


def test_the_numbers_of_tags_are_the_files_own(tmp_path):
    write_set(tmp_path, 3)
    before = everyone(tmp_path)
    write_tags(tmp_path, TAGS[::-1])
    assert np.array_equal(part_table(tmp_path)[::-1], part_table_of(TAGS))
    after = everyone(tmp_path)
    assert any(not torch.equal(before[name].parsing, after[name].parsing) for name in before)
    write_tags(tmp_path, ["shawl", *TAGS[1:]])
    with pytest.raises(ValueError, match=r"label_list\.mat does not name CCP's 59 tags \(null, shawl differ\)"):
        CCP(tmp_path, "train")
    (tmp_path / "label_list.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"label_list\.mat does not exist"):
        CCP(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match=r"pixel-level holds no \.mat files"):
        CCP(tmp_path / "photos", "train")


def part_table_of(tags) -> np.ndarray:
    parts = [PART_OF_TAG[tag] for tag in tags]
    return np.array([IGNORE_LABEL if part is None else PART_INDEX[part] for part in parts], np.uint8)


def test_a_number_below_0_is_no_tag(tmp_path):
    """Also of signed numbers and doubles, with which it would count from the last tag backwards."""
    maps = write_set(tmp_path, 12)
    name = CCP(tmp_path, "train").people.paths[0].stem
    for kind in (np.int8, np.float64):
        tags = maps[name].astype(kind)
        tags[40, 30] = -2
        savemat(tmp_path / "annotations" / "pixel-level" / f"{name}.mat", {"groundtruth": tags})
        fine, sentence = sets.check("ccp", tmp_path, progress=False)
        assert not fine
        assert f"{name}.mat: its groundtruth is not a map of the 59 tags" in sentence


def test_wrong_and_empty_maps_are_ignored(tmp_path):
    maps = write_set(tmp_path, 12)
    folder = tmp_path / "annotations" / "pixel-level"
    names = sorted(path.stem for path in CCP(tmp_path, "train").people.paths)[:5]
    savemat(folder / f"{names[0]}.mat", {"groundtruth": np.full((HEIGHT, WIDTH), 59, np.uint8)})
    savemat(folder / f"{names[1]}.mat", {"labels": maps[names[1]]})
    savemat(folder / f"{names[2]}.mat", {"groundtruth": maps[names[2]][:50]})
    (folder / f"{names[3]}.mat").write_bytes(b"broken")
    # Nobody tagged this one: not a photograph of background alone.
    savemat(folder / f"{names[4]}.mat", {"groundtruth": np.zeros((HEIGHT, WIDTH), np.uint8)})
    data = CCP(tmp_path, "train", 32)
    with pytest.warns(UserWarning, match="cannot be read") as caught:
        sample = data.batch(torch.arange(data.length))
    assert len(caught) == 1
    ignored = {
        path.stem for path, parsing in zip(data.people.paths, sample.parsing, strict=True) if parsing.min() == 255
    }
    assert ignored == set(names)
    assert len(data.broken) == 4
    fine, sentence = sets.check("ccp", tmp_path, progress=False)
    assert not fine
    assert "12 label maps; but 4 cannot be read" in sentence
    for name in names[:4]:
        savemat(folder / f"{name}.mat", {"groundtruth": maps[name]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fine, sentence = sets.check("ccp", tmp_path, progress=False)
    assert fine
    assert sentence == (
        "ccp: 12 people in 12 photographs, 0 joints annotated; every photograph can be read. 12 label maps; every one "
        "can be read. Splits: 9 train, 2 validation, 1 test."
    )


def test_ccp_as_it_is(real_data):
    root = real_data("ccp")
    data = {split: CCP(root, split, 64) for split in ("train", "validation", "test")}
    assert sum(d.length for d in data.values()) == 904
    assert min(d.length for d in data.values()) > 70
    sample = data["test"].batch(torch.arange(data["test"].length))
    counts = sample.parsing.flatten().long().bincount(minlength=256)
    occurring = {PARTS[label] for label in counts[:20].nonzero()[:, 0].tolist()}
    assert occurring <= set(LABELLED)
    assert occurring >= {"background", "hair", "dress", "coat", "pants", "upper_clothes", "skirt", "sunglasses"}
    # A person is 0.9 of the window high: the labelled rows reach from near its top to near its bottom.
    known = sample.parsing[(sample.parsing != IGNORE_LABEL).flatten(1).any(1)]
    person = (known != PART_INDEX["background"]) & (known != IGNORE_LABEL)
    rows = person.any(2).float()
    assert 0.5 < float(rows.mean()) < 0.95
    # Hair lies above the middle, pants below it.
    height = torch.arange(64.0)[:, None].expand(64, 64)
    for part, above in (("hair", True), ("pants", False)):
        places = known == PART_INDEX[part]
        assert (float(height.expand_as(places)[places].mean()) < 32) == above
    assert 0.2 < float(sample.images.mean()) < 0.7
