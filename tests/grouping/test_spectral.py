from __future__ import annotations

import json

import pytest
import torch

from posebook.grouping.information import JointHistogram
from posebook.grouping.spectral import (
    PAPER_GROUPS,
    adjusted_rand,
    body_groups,
    bootstrap_groups,
    mutual_information,
    named_groups,
    overlapping_groups,
    placed_groups,
    spectral_groups,
)
from posebook.paths import DATA
from posebook.skeleton import FLIC, LSP, MPII

MEASURED = json.loads((DATA / "mutual_information.json").read_text())


@pytest.mark.parametrize("measured", MEASURED, ids=lambda m: f"{m['normalise']}-{m['window']:g}")
def test_information_measured_on_mpii_gives_the_papers_groups(measured):
    count = len(measured["groups"])
    groups = spectral_groups(torch.tensor(measured["matrix"]), count)
    assert groups == placed_groups(PAPER_GROUPS[count], MPII)
    assert [set(group) for group in measured["groups"]] == [set(named_groups([group], MPII)[0]) for group in groups]


def test_information_does_not_depend_on_place_or_size():
    generator = torch.Generator().manual_seed(1)
    joints = torch.randn(200, 6, 2, generator=generator)
    shift = torch.randint(-64, 64, (200, 1, 2), generator=generator)
    moved = mutual_information((joints.double() * 4 + shift).float())
    torch.testing.assert_close(moved, mutual_information(joints), atol=0.02, rtol=0)


def test_the_short_way_is_the_histograms():
    joints = torch.randn(200, 6, 2, generator=torch.Generator().manual_seed(1))
    presence = torch.randint(0, 3, (200, 6), generator=torch.Generator().manual_seed(2))
    histogram = JointHistogram(6, 2, 8).add(joints, presence)
    for corrected in (False, True):
        assert torch.equal(mutual_information(joints, presence, 2, 8, corrected), histogram.matrix(corrected))


def test_groups_are_the_blocks_of_the_affinity():
    blocks = [[0, 3, 4], [1, 6], [2, 5, 7]]
    information = torch.full((8, 8), 0.01)
    for block in blocks:
        for j in block:
            information[j, block] = 1.0
    assert spectral_groups(information, 3) == blocks
    information.fill_diagonal_(50.0)
    assert spectral_groups(information, 3) == blocks
    assert spectral_groups(information, 1) == [list(range(8))]
    assert spectral_groups(information, 8) == [[j] for j in range(8)]


def test_a_joint_that_tells_nothing_is_grouped_without_a_warning(recwarn):
    information = torch.zeros(6, 6)
    information[:2, :2] = information[2:5, 2:5] = 1.0  # joint 5 tells nothing about any other
    groups = spectral_groups(information, 3)
    assert groups == [[0, 1], [2, 3, 4], [5]]
    assert sorted(joint for group in spectral_groups(torch.zeros(6, 6), 3) for joint in group) == list(range(6))
    assert not recwarn.list


def test_body_groups_are_those_of_the_text():
    assert {frozenset(group) for group in named_groups(body_groups(MPII), MPII)} == {
        frozenset({"head_top", "upper_neck", "thorax"}),
        frozenset({"l_wrist", "l_elbow", "l_shoulder"}),
        frozenset({"r_wrist", "r_elbow", "r_shoulder"}),
        frozenset({"l_knee", "l_ankle"}),
        frozenset({"r_knee", "r_ankle"}),
        frozenset({"l_hip", "r_hip", "pelvis"}),
    }
    for skeleton, count in ((MPII, 6), (LSP, 6), (FLIC, 4)):
        groups = body_groups(skeleton)
        assert len(groups) == count
        assert sorted(joint for group in groups for joint in group) == list(range(len(skeleton)))


def test_the_papers_groups_have_every_joint_once():
    for count, names in PAPER_GROUPS.items():
        groups = placed_groups(names, MPII)
        assert len(groups) == count
        assert sorted(joint for group in groups for joint in group) == list(range(16))
        assert groups == sorted(sorted(group) for group in groups)


def test_shoulders_join_their_arms():
    groups = overlapping_groups(placed_groups(PAPER_GROUPS[5], MPII), MPII)
    named = [set(group) for group in named_groups(groups, MPII)]
    assert {"r_wrist", "r_elbow", "r_shoulder"} in named
    assert {"l_wrist", "l_elbow", "l_shoulder"} in named
    assert {"thorax", "upper_neck", "head_top", "r_shoulder", "l_shoulder"} in named
    assert sum(map(len, named)) == 18
    # Shoulders that are with their arms already stay once.
    assert overlapping_groups(body_groups(MPII), MPII) == body_groups(MPII)


def test_agreement_of_groupings():
    five, six = PAPER_GROUPS[5], PAPER_GROUPS[6]
    assert adjusted_rand(five, five[::-1]) == 1
    assert 0.8 < adjusted_rand(five, six) < 1
    assert adjusted_rand([["a", "b"], ["c", "d"]], [["a", "c"], ["b", "d"]]) < 0
    # Only the joints that both have are compared.
    assert adjusted_rand([["a", "b", "x"], ["c"]], [["c", "y"], ["b", "a"]]) == 1
    with pytest.raises(ValueError, match="groups that overlap"):
        adjusted_rand([[0, 1], [1, 2]], [[0, 1], [2]])
    with pytest.raises(ValueError, match="no joint in common"):
        adjusted_rand([["a"]], [[0]])


def three_pairs(people: int, noise: float):
    """Poses whose joints move in pairs (0, 3), (1, 4) and (2, 5)."""
    generator = torch.Generator().manual_seed(0)
    free = torch.rand(people, 3, 2, generator=generator)
    joints = torch.cat([free, free + noise * torch.randn(people, 3, 2, generator=generator)], 1)
    return joints, torch.full((people, 2), 0.5), torch.ones(people)


def test_clear_groups_stay_when_people_are_drawn_again():
    joints, centre, unit = three_pairs(400, 0.05)
    found = bootstrap_groups(joints, None, 3, 1.0, 6, centre, unit, draws=5)
    assert found.reference == [[0, 3], [1, 4], [2, 5]]
    assert found.same == 1
    assert found.draws == [found.reference] * 5
    assert torch.equal(found.together, torch.eye(3).repeat(2, 2))
    assert bootstrap_groups(joints, None, 3, 1.0, 6, centre, unit, 5, reference=[[0]]).same == 0


def test_groups_of_noise_do_not_stay():
    joints = torch.rand(60, 6, 2, generator=torch.Generator().manual_seed(0))
    frame = torch.full((60, 2), 0.5), torch.ones(60)
    found = bootstrap_groups(joints, None, 3, 1.0, 4, *frame, draws=10)
    assert found.same < 0.5
    assert 0 < found.together[~torch.eye(6, dtype=torch.bool)].mean() < 1
    assert bootstrap_groups(joints, None, 3, 1.0, 4, *frame, draws=10).draws == found.draws
    assert bootstrap_groups(joints, None, 3, 1.0, 4, *frame, draws=10, seed=1).draws != found.draws


def test_bad_parameters():
    with pytest.raises(ValueError, match="there are none"):
        mutual_information(torch.zeros(0, 4, 2))
    with pytest.raises(ValueError, match="must be positive"):
        mutual_information(torch.zeros(3, 4, 2), window=0.0)
    with pytest.raises(ValueError, match="4 joints make 1 to 4 groups, not 5"):
        spectral_groups(torch.eye(4), 5)
    with pytest.raises(ValueError, match="needs poses and draws, not 3 and 0"):
        bootstrap_groups(torch.zeros(3, 4, 2), draws=0)
