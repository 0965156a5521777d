"""What sets show: parts and challenges counted by hand, tables of challenges written and read, files that are wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from posebook.cli import main
from posebook.datasets.ccp import PART_OF_TAG
from posebook.datasets.census import back_view, census, read_tags, render, write_tags
from posebook.figures.dataset import Figures
from posebook.pictures.census import draw_census
from posebook.skeleton import MPII, PART_INDEX, PARTS, PASCAL_PARTS, TAGS
from small_sets import ccp, pascal
from small_sets.lip import blocks, write_part

HEADER = "image,occlusion,full_body,upper_body,lower_body,head_missing,back_view"
LEFT, RIGHT = MPII.index("l_shoulder"), MPII.index("r_shoulder")


def describe(*arguments):
    return CliRunner().invoke(main, ["data", "describe", *map(str, arguments)])


def maps_of(root) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(root.rglob("val_segmentations/*.png"))]


def test_parts_and_challenges_of_lip(tmp_path):
    names, joints, third = write_part(tmp_path, "val", 12)
    found = census("lip", tmp_path, progress=False)
    assert (found.dataset, found.splits, found.images, found.broken) == ("lip", ("test",), 12, {})
    shown = maps_of(tmp_path)
    assert found.parts == {name: sum((labels == PART_INDEX[name]).any() for labels in shown) for name in PARTS[1:]}
    assert 0 < min(found.parts.values()) < max(found.parts.values()) <= 12
    assert found.names == tuple(names)
    there = ~third.isnan()
    turned = there[:, LEFT] & there[:, RIGHT] & (joints[:, LEFT, 0] < joints[:, RIGHT, 0])
    looks = [{PARTS[n] for n in np.unique(labels)} for labels in (blocks_of(k, tmp_path, names) for k in range(12))]
    behind = [bool(turned[k]) and bool(looks[k] & {"hair", "hat"}) and "face" not in looks[k] for k in range(12)]
    assert found.challenges["occlusion"] == int((third == 1).any(1).sum()) > 0
    assert found.challenges["full_body"] == int(there.all(1).sum())
    assert found.challenges["head_missing"] == int((~there[:, 8:10].any(1)).sum())
    assert found.tags[:, TAGS.index("back_view")].tolist() == behind
    assert found.challenges["back_view"] == sum(behind)


def blocks_of(number: int, root, names) -> np.ndarray:
    return np.asarray(Image.open(next(root.rglob(f"val_segmentations/{names[number][:-4]}.png"))))


def test_all_splits_are_counted_together(tmp_path):
    write_part(tmp_path, "train", 80)
    write_part(tmp_path, "val", 8)
    every = census("lip", tmp_path, progress=False)
    each = [census("lip", tmp_path, split, progress=False) for split in ("train", "validation", "test")]
    assert every.splits == ("train", "validation", "test")
    assert every.images == sum(some.images for some in each) == 88
    assert every.parts == {name: sum(some.parts[name] for some in each) for name in every.parts}
    assert torch.equal(every.tags, torch.cat([some.tags for some in each]))


def test_who_is_seen_from_behind_by_hand():
    occurs = torch.zeros(6, len(PARTS), dtype=torch.bool)
    for row, names in enumerate((["hair"], ["hat"], ["hair", "face"], [], ["hair"], ["hair"])):
        occurs[row, [PART_INDEX[name] for name in names]] = True
    joints, presence = torch.zeros(6, 16, 2), torch.full((6, 16), 2, dtype=torch.uint8)
    joints[:, LEFT, 0], joints[:, RIGHT, 0] = 10, 20
    joints[4, LEFT, 0] = 30  # faces the camera
    presence[5, RIGHT] = 0
    assert back_view(occurs, joints, presence).tolist() == [True, True, False, False, False, False]


def test_rendered_people_who_are_found_are_seen_from_behind():
    """They are tagged by how they stand, which the rule does not know."""
    people = Figures("test", size=64).batch(torch.arange(300))
    occurs = torch.stack([(people.parsing == number).flatten(1).any(1) for number in range(len(PARTS))], 1)
    found, true = back_view(occurs, people.joints, people.presence), people.tags[:, TAGS.index("back_view")]
    hits = int((found & true).sum())
    assert hits > 10
    assert hits / int(found.sum()) > 0.8
    assert hits / int(true.sum()) > 0.3


def test_files_that_cannot_be_read_are_counted_nowhere(tmp_path):
    names, _, _ = write_part(tmp_path, "val", 6)
    folder = tmp_path / "TrainVal_parsing_annotations" / "val_segmentations"
    whole = census("lip", tmp_path, progress=False)
    (folder / f"{names[0][:-4]}.png").unlink()
    (folder / f"{names[1][:-4]}.png").write_bytes(b"no picture")
    Image.fromarray(blocks(30, 30, 0)).save(folder / f"{names[2][:-4]}.png")  # of another size than its photograph
    found = census("lip", tmp_path, progress=False)
    assert (found.images, found.names) == (3, tuple(names[3:]))
    assert {path.stem for path in found.broken} == {name[:-4] for name in names[:3]}
    assert torch.equal(found.tags, whole.tags[3:])
    ran = describe("lip", tmp_path, "--split", "test")
    assert ran.exit_code == 0, ran.output
    assert "Counted nowhere: 3 files that cannot be read, the first is" in ran.output
    for name in names:
        (folder / f"{name[:-4]}.png").write_bytes(b"no picture")
    nothing = census("lip", tmp_path, progress=False)
    assert (nothing.images, nothing.names, sum(nothing.parts.values())) == (0, (), 0)
    assert "part" in render(nothing)
    with pytest.raises(ValueError, match="nothing of lip could be counted"):
        draw_census(nothing)


def test_without_label_maps_joints_tell_all_but_the_back_view(tmp_path):
    write_part(tmp_path, "val", 8, labelled=False)
    found = census("lip", tmp_path, progress=False)
    assert (found.images, found.parts, len(found.names)) == (0, {}, 8)
    assert set(found.challenges) == set(TAGS) - {"back_view"}
    assert "nothing tells who is seen from behind" in render(found)
    ran = describe("lip", tmp_path, "--tags", tmp_path / "tags.csv")
    assert ran.exit_code == 1
    assert "has no label maps of LIP" in ran.output
    assert not (tmp_path / "tags.csv").exists()


def test_clothing_co_parsing_counts_the_parts_that_it_labels(tmp_path):
    maps = ccp.write_set(tmp_path, 20)
    found = census("ccp", tmp_path, progress=False)
    assert (found.images, found.challenges, found.tags) == (20, {}, None)
    assert "face" not in found.parts
    tags = [number for number, tag in enumerate(PART_OF_TAG) if PART_OF_TAG[tag] == "coat"]
    assert found.parts["coat"] == sum(np.isin(some, tags).any() for some in maps.values()) > 0


def test_people_of_one_photograph_count_its_label_map_once(tmp_path):
    pascal.write_set(tmp_path)
    found = census("pascal", tmp_path, "test", progress=False)
    assert found.images == len(pascal.TEST)
    assert tuple(found.parts) == PASCAL_PARTS[1:]
    assert max(found.parts.values()) <= found.images


def test_a_table_of_challenges_comes_back(tmp_path):
    tags = torch.rand(5, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    names = [f"{number}_7.jpg" for number in range(5)]
    write_tags(tmp_path / "tags.csv", names, tags)
    assert (tmp_path / "tags.csv").read_text().splitlines()[0] == HEADER
    asked = ["elsewhere/3_7.png", "0_7", "4_7.jpg"]
    assert torch.equal(read_tags(tmp_path / "tags.csv", asked), tags[[3, 0, 4]])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no table of challenges: its first line must be image,occlusion,full_body"),
        (f"{HEADER.replace('back_view', 'behind')}\na,0,0,0,0,0,0", "is no table of challenges"),
        ("a,0,0,0,0,0,0", "is no table of challenges"),
        (f"{HEADER}\na,0,0,0,0,0,2", "line 2 must be an image and 6 times 0 or 1"),
        (f"{HEADER}\na,0,0,0,0,0,0\nb,0,0,0", "line 3 must be an image and 6 times 0 or 1"),
        (f"{HEADER}\na.jpg,0,0,0,0,0,0\na.png,1,0,0,0,0,0", "line 3 has a.png, which an earlier line has too"),
        (f"{HEADER}\nb,0,0,0,0,0,0", "has no line for 1 of the 1 images, the first is a: add"),
    ],
)
def test_tables_that_are_no_challenges_are_told(text, sentence, tmp_path):
    (tmp_path / "tags.csv").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_tags(tmp_path / "tags.csv", ["a.png"])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_tags(tmp_path / "none.csv", ["a.png"])


def test_the_command_prints_draws_and_writes(tmp_path):
    names, _, _ = write_part(tmp_path, "val", 6)
    picture, table = tmp_path / "out" / "census.png", tmp_path / "out" / "tags.csv"
    ran = describe("lip", tmp_path, "--output", picture, "--tags", table, "--json")
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.output[ran.output.index("{") :])
    assert (told["images"], told["people"], told["splits"], told["unreadable"]) == (6, 6, ["test"], 0)
    assert list(told["parts"]) == list(PARTS[1:])
    assert list(told["challenges"]) == list(TAGS)
    with Image.open(picture) as image:
        assert image.format == "PNG"
    found = census("lip", tmp_path, progress=False)
    assert torch.equal(read_tags(table, names), found.tags)
    axes = draw_census(found).axes
    assert [bar.get_width() for bar in axes[0].patches] == sorted(found.parts.values(), reverse=True)
    assert [bar.get_width() for bar in axes[1].patches] == list(found.challenges.values())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("mpii", "."), "'mpii' has no part labels to count; those that have are lip, ccp, pascal"),
        (("lip", "."), "holds no lip_"),
        (("ccp", ".", "--tags", "tags.csv"), "challenges are of LIP's people, and ccp has none"),
        (("lip", ".", "--tags", "tags.txt"), "--tags is tags.txt; give a file that ends in .csv"),
        (("lip", ".", "--output", "picture.jpg"), "--output is picture.jpg; give a file that ends in .png"),
    ],
)
def test_what_cannot_be_described_is_told(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = describe(*arguments)
    assert ran.exit_code == 1
    assert sentence in ran.output
