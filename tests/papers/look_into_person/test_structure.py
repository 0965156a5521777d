"""Structure-sensitive learning: what its equations say, by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from posebook.coordinates import HeatmapCodec
from posebook.figures.dataset import Figures
from posebook.papers.look_into_person.structure import (
    REGIONS,
    joint_structure_loss,
    part_centres,
    part_regions,
    soft_centres,
    structure_sensitive_loss,
    thinned,
)
from posebook.skeleton import IGNORE_LABEL, PART_INDEX, PART_MIRROR, PARTS, PASCAL_PARTS

NAMES = [name for name, labels in REGIONS.items() if set(labels) & set(PARTS)]


def painted(**squares: tuple[int, int, int, int]) -> torch.Tensor:
    """A label map of 16x16 pixels with squares (left, top, width, height) of parts."""
    labels = torch.zeros(16, 16, dtype=torch.uint8)
    for name, (left, top, width, height) in squares.items():
        labels[top : top + height, left : left + width] = PART_INDEX[name]
    return labels


def logits_of(labels: torch.Tensor, height: float = 12.0) -> torch.Tensor:
    return height * F.one_hot(labels.long(), len(PARTS)).permute(0, 3, 1, 2).float()


def test_the_papers_nine_joints():
    regions = part_regions(len(PARTS))
    assert regions.shape == (9, 20)
    members = {name: {PARTS[k] for k in row.nonzero()[:, 0].tolist()} for name, row in zip(NAMES, regions, strict=True)}
    assert members["head"] == {"hat", "hair", "sunglasses", "face"}
    assert members["upper_body"] == {"upper_clothes", "coat", "scarf"}
    assert members["lower_body"] == {"pants", "skirt"}
    assert all(members[name] == {name} for name in NAMES[3:])
    assert regions.sum(0).max() == 1
    assert part_regions(len(PASCAL_PARTS)).shape == (4, 7)
    with pytest.raises(ValueError, match="5 part labels are no set's: there are 20 and 7"):
        part_regions(5)


def test_centres_by_hand():
    labels = painted(hair=(2, 0, 4, 2), face=(2, 2, 4, 2), l_arm=(10, 4, 1, 6), dress=(0, 10, 16, 2))
    labels[4, 10] = IGNORE_LABEL
    centres, there = part_centres(labels[None], part_regions(20))
    found = dict(zip(NAMES, centres[0].tolist(), strict=True))
    assert found["head"] == pytest.approx([4.0, 2.0])
    assert found["l_arm"] == pytest.approx([10.5, 7.5])  # its first pixel is ignored
    assert {name for name, present in zip(NAMES, there[0].tolist(), strict=True) if present} == {"head", "l_arm"}


def test_centres_are_those_of_loops_over_people():
    labels = Figures("train", 64).batch(torch.arange(6)).parsing
    centres, there = part_centres(labels, part_regions(20))
    for person in range(6):
        for region, name in enumerate(NAMES):
            mask = torch.isin(labels[person], torch.tensor([PART_INDEX[p] for p in REGIONS[name] if p in PARTS]))
            assert bool(there[person, region]) == bool(mask.any())
            if mask.any():
                row, column = mask.nonzero().float().mean(0).tolist()
                assert centres[person, region].tolist() == pytest.approx([column + 0.5, row + 0.5], abs=1e-3)


def test_soft_centres_of_hard_masks_are_the_centres():
    masks = torch.zeros(1, 1, 8, 8)
    masks[0, 0, 2:4, 5:7] = 1
    centres, mass = soft_centres(masks)
    assert centres[0, 0].tolist() == pytest.approx([6.0, 3.0])
    assert mass.item() == 4


def test_eq_1_by_hand():
    """Far from each other, two Gaussians differ by pi sigma^2 each; a region that is missed by one of them."""
    codec = HeatmapCodec(32, 1, 1.0)
    true = torch.tensor([[[8.0, 8.0], [24.0, 8.0], [0.0, 0.0]]])
    there = torch.tensor([[True, True, False]])
    maps = codec.encode(true, there)
    assert joint_structure_loss(maps, maps, there).item() == 0
    moved = codec.encode(torch.tensor([[[8.0, 8.0], [24.0, 24.0], [0.0, 0.0]]]), there)
    assert joint_structure_loss(moved, maps, there).item() == pytest.approx(2 * math.pi / (2 * 2), rel=1e-3)
    missed = codec.encode(true, torch.tensor([[True, False, False]]))
    assert joint_structure_loss(missed, maps, there).item() == pytest.approx(math.pi / (2 * 2), rel=1e-3)
    # Nobody in the image: no joint is off.
    nobody = torch.zeros(1, 3, dtype=torch.bool)
    assert joint_structure_loss(codec.encode(true, nobody), codec.encode(true, nobody), nobody).item() == 0


def test_eq_2_weighs_each_image_by_its_own_structure():
    regions = part_regions(20)
    labels = torch.stack([painted(l_arm=(2, 4, 2, 6), face=(6, 0, 3, 3)), painted(r_leg=(8, 6, 2, 8))])
    guesses = labels.clone()
    guesses[0][labels[0] == PART_INDEX["l_arm"]] = PART_INDEX["r_arm"]
    logits = logits_of(guesses)
    plain = structure_sensitive_loss(logits, labels, regions, reading="none")
    weighed = structure_sensitive_loss(logits, labels, regions, reading="weight")
    assert plain.keys() == {"parsing"}
    # The second image has its structure right, and so no loss is left of it.
    alone = structure_sensitive_loss(logits[:1], labels[:1], regions, reading="weight")
    torch.testing.assert_close(weighed["parsing"], alone["parsing"] / 2)
    codec = HeatmapCodec(16, 1, 1.0)
    true, found = (codec.encode(*part_centres(some[:1], regions)) for some in (labels, guesses))
    expected = (true - found).square().sum() / (2 * 2)
    cost = F.cross_entropy(logits[:1], labels[:1].long())
    assert alone["parsing"].item() == pytest.approx(float(expected * cost), rel=1e-4)
    assert alone["structure"].item() == pytest.approx(float(expected), rel=1e-4)


def test_swapped_arms_cost_as_much_as_other_pixels_by_the_parsing_loss_and_more_by_the_structure():
    regions = part_regions(20)
    true = painted(l_arm=(12, 4, 2, 6), r_arm=(2, 4, 2, 6), face=(6, 0, 4, 3))[None]
    table = torch.tensor(PART_MIRROR, dtype=torch.uint8)
    swapped = table[true.long()]
    elsewhere = true.clone()
    elsewhere[0, 10:14, 6:12] = PART_INDEX["dress"]  # as many pixels, of no region
    by = {
        reading: [
            float(structure_sensitive_loss(logits_of(some), true, regions, reading=reading)["parsing"])
            for some in (swapped, elsewhere)
        ]
        for reading in ("none", "weight", "soft")
    }
    assert by["none"][0] == pytest.approx(by["none"][1], rel=1e-4)
    assert by["weight"][1] == 0
    assert by["weight"][0] > by["none"][0]
    assert by["soft"][0] > 20 * by["soft"][1]


def test_the_weight_has_no_gradient_and_the_soft_reading_has():
    regions = part_regions(20)
    labels = Figures("train", 32).batch(torch.arange(3)).parsing
    torch.manual_seed(0)
    logits = torch.randn(3, 20, 32, 32, requires_grad=True)
    gradients = {}
    for reading in ("none", "weight", "soft"):
        loss = structure_sensitive_loss(logits, labels, regions, reading=reading)["parsing"]
        gradients[reading] = torch.autograd.grad(loss, logits)[0]
    # One factor per image tells the weighed gradient from the plain one.
    for plain, weighed in zip(gradients["none"], gradients["weight"], strict=True):
        factor = (plain * weighed).sum() / plain.square().sum()
        torch.testing.assert_close(weighed, factor * plain, atol=1e-6, rtol=1e-4)
    cosine = F.cosine_similarity(gradients["none"].flatten(1), gradients["soft"].flatten(1))
    assert cosine.min() < 0.9
    with pytest.raises(ValueError, match="structure is 'hard'; give none, weight, soft"):
        structure_sensitive_loss(logits, labels, regions, reading="hard")


def test_ignored_pixels_have_no_part_in_either_loss():
    regions = part_regions(20)
    labels = painted(l_arm=(2, 4, 2, 6), face=(6, 0, 3, 3))[None]
    labels[0, 12:] = IGNORE_LABEL
    logits = logits_of(torch.where(labels == IGNORE_LABEL, PART_INDEX["hat"], labels))
    for reading in ("weight", "soft"):
        terms = structure_sensitive_loss(logits, labels, regions, reading=reading)
        assert terms["structure"].item() < 1e-2


def test_labels_are_thinned_out_to_the_middle_of_each_cell():
    labels = torch.arange(64, dtype=torch.uint8).view(1, 8, 8)
    assert thinned(labels, 2).tolist() == [[[18, 22], [50, 54]]]
    assert thinned(labels, 8).equal(labels)
