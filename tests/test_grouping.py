from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from posebook import grouping
from posebook.grouping import mutual_information, spectral_groups


def cells_by_hand(pose, present, window, lattice):
    """The cell of each present joint of one pose, None for the others."""
    inside = pose[present]
    low, high = inside.min(0), inside.max(0)
    side = (high - low).max() * window
    place = np.floor((pose - (low + high) / 2 + side / 2) / side * lattice).clip(0, lattice - 1)
    return [int(y) * lattice + int(x) if here else None for (x, y), here in zip(place, present, strict=True)]


@pytest.mark.parametrize(("window", "lattice"), [(1.3, 4), (2.5, 16)])
@pytest.mark.parametrize("complete", [True, False])
def test_information_is_scikit_learns(window, lattice, complete):
    generator = torch.Generator().manual_seed(0)
    joints = torch.randn(300, 5, 2, generator=generator) * 40 + 100
    joints[:, 3] = joints[:, 2] + torch.randn(300, 2, generator=generator) * 3
    presence = torch.randint(0 if not complete else 1, 3, (300, 5), generator=generator)
    presence[:, :2] = 2
    joints[presence == 0] = torch.nan
    information = mutual_information(joints, None if complete else presence, window, lattice)
    present = presence.numpy() > 0
    cells = [
        cells_by_hand(p, h, window, lattice) for p, h in zip(joints.double().nan_to_num().numpy(), present, strict=True)
    ]
    for a in range(5):
        for b in range(5):
            both = [(row[a], row[b]) for row in cells if row[a] is not None and row[b] is not None]
            expected = mutual_info_score(*zip(*both, strict=True))
            assert float(information[a, b]) == pytest.approx(expected, abs=1e-5)


def test_information_does_not_depend_on_place_size_or_how_much_is_counted_at_once(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    joints = torch.randn(200, 6, 2, generator=generator)
    information = mutual_information(joints)
    shift = torch.randint(-64, 64, (200, 1, 2), generator=generator)
    moved = mutual_information((joints.double() * 4 + shift).float())
    torch.testing.assert_close(moved, information, atol=0.02, rtol=0)
    monkeypatch.setattr(grouping, "_CELLS_AT_ONCE", 5 * 16**4)
    assert torch.equal(mutual_information(joints), information)


def test_diagonal_is_entropy():
    corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
    # Two joints hold the box in place, the third is in one of four cells, equally often.
    joints = torch.stack([corners[:1].expand(4, 2), corners[3:].expand(4, 2), corners * 0.9], 1).repeat(25, 1, 1)
    information = mutual_information(joints)
    expected = torch.zeros(3, 3)
    expected[2, 2] = np.log(4)
    torch.testing.assert_close(information, expected, atol=1e-6, rtol=0)


def test_joints_never_seen_together_tell_nothing():
    joints = torch.randn(50, 3, 2, generator=torch.Generator().manual_seed(2))
    presence = torch.ones(50, 3, dtype=torch.uint8)
    presence[:25, 0] = 0
    presence[25:, 1] = 0
    information = mutual_information(joints, presence)
    assert information[0, 1] == 0
    assert information.isfinite().all()


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


def test_bad_parameters():
    with pytest.raises(ValueError, match="there are none"):
        mutual_information(torch.zeros(0, 4, 2))
    with pytest.raises(ValueError, match="must be positive"):
        mutual_information(torch.zeros(3, 4, 2), window=0.0)
    with pytest.raises(ValueError, match="4 joints make 1 to 4 groups, not 5"):
        spectral_groups(torch.eye(4), 5)
