from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information

from posebook.figures import random
from posebook.figures.prior import PosePrior
from posebook.grouping import information
from posebook.grouping.information import JointHistogram


def cells_by_hand(pose, present, window, lattice):
    """The cell of each present joint of one pose, None for the others."""
    inside = pose[present]
    low, high = inside.min(0), inside.max(0)
    side = (high - low).max() * window
    place = np.floor((pose - (low + high) / 2 + side / 2) / side * lattice).clip(0, lattice - 1)
    return [int(y) * lattice + int(x) if here else None for (x, y), here in zip(place, present, strict=True)]


def some_poses(people: int = 300, joints: int = 5, complete: bool = False):
    generator = torch.Generator().manual_seed(0)
    poses = torch.randn(people, joints, 2, generator=generator) * 40 + 100
    poses[:, 3] = poses[:, 2] + torch.randn(people, 2, generator=generator) * 3
    presence = torch.randint(1 if complete else 0, 3, (people, joints), generator=generator)
    presence[:, :2] = 2
    poses[presence == 0] = torch.nan
    return poses, presence


@pytest.fixture(scope="module")
def drawn():
    """Poses of the prior, single draws."""
    keys = random.keys("test", torch.arange(20_000), seed=2)
    prior = PosePrior.load()
    return torch.cat([prior.sample(some, candidates=1) for some in keys.split(2000)])


@pytest.mark.parametrize(("window", "lattice"), [(1.3, 4), (2.5, 16)])
@pytest.mark.parametrize("complete", [True, False])
def test_information_is_scikit_learns(window, lattice, complete):
    joints, presence = some_poses(complete=complete)
    matrix = JointHistogram(5, window, lattice).add(joints, None if complete else presence).matrix()
    present = presence.numpy() > 0
    cells = [
        cells_by_hand(p, h, window, lattice) for p, h in zip(joints.double().nan_to_num().numpy(), present, strict=True)
    ]
    for a in range(5):
        for b in range(5):
            both = [(row[a], row[b]) for row in cells if row[a] is not None and row[b] is not None]
            assert float(matrix[a, b]) == pytest.approx(mutual_info_score(*zip(*both, strict=True)), abs=1e-5)


@pytest.mark.parametrize("corrected", [False, True])
def test_the_same_poses_give_the_same_matrix_however_they_were_split(monkeypatch, corrected):
    joints, presence = some_poses()
    whole = JointHistogram(5).add(joints, presence)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    parts = [JointHistogram(5) for _ in range(3)]
    for number, some in enumerate(order.split(37)):
        parts[number % 3].add(joints[some], presence[some])
    merged = parts[2].merge(parts[0]).merge(parts[1])
    assert merged.poses == whole.poses == 300
    assert torch.equal(merged.pairs, whole.pairs)
    assert torch.equal(merged.matrix(corrected), whole.matrix(corrected))
    monkeypatch.setitem(information._AT_ONCE, "cpu", 3 * 300)
    again = JointHistogram(5).add(joints, presence)
    assert torch.equal(again.pairs, whole.pairs)
    torch.testing.assert_close(again.matrix(corrected), whole.matrix(corrected), atol=1e-6, rtol=0)


def test_a_histogram_is_saved_and_goes_on(tmp_path):
    joints, presence = some_poses()
    saved = JointHistogram(5, window=2).add(joints[:100], presence[:100])
    torch.save(saved.state_dict(), tmp_path / "counts.pt")
    again = JointHistogram(5, window=2)
    again.load_state_dict(torch.load(tmp_path / "counts.pt", weights_only=True))
    whole = JointHistogram(5, window=2).add(joints, presence)
    assert torch.equal(again.add(joints[100:], presence[100:]).matrix(), whole.matrix())
    assert again.poses == 300
    with pytest.raises(ValueError, match=r"window of 2 and a lattice of 16, not 2\.5 and 16"):
        JointHistogram(5).load_state_dict(saved.state_dict())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("corrected", [False, True])
def test_the_same_on_a_gpu(corrected):
    joints, presence = some_poses()
    # Halves and quarters are exact on both, so that no joint is on the edge of a cell on one of them alone.
    joints, frame = (joints * 4).round() / 4, (torch.full((300, 2), 100.0), torch.full((300,), 128.0))
    here = JointHistogram(5).add(joints, presence, *frame)
    there = JointHistogram(5, device="cuda").add(joints.cuda(), presence.cuda(), *(t.cuda() for t in frame))
    assert torch.equal(there.pairs.cpu(), here.pairs)
    torch.testing.assert_close(there.matrix(corrected).cpu(), here.matrix(corrected), atol=1e-6, rtol=0)
    assert torch.equal(there.matrix(corrected), there.matrix(corrected))
    assert there.merge(here).poses == 600


def test_a_given_frame_is_used():
    joints = torch.tensor([[[10.0, 10.0], [30.0, 50.0]], [[10.0, 10.0], [30.0, 50.0]], [[1.0, 1.0], [2.0, 2.0]]])
    centre = torch.tensor([[20.0, 20.0], [20.0, 20.0], [5.0, 5.0]])
    histogram = JointHistogram(2, window=2.0, lattice=4)
    # The lattice is 80 wide around (20, 20), from -20 to 60; the third pose is not framed.
    histogram.add(joints, None, centre, torch.tensor([40.0, 40.0, torch.nan]))
    assert histogram.poses == 2
    assert histogram.singles.nonzero().tolist() == [[0, 1 * 4 + 1], [1, 3 * 4 + 2]]
    assert histogram.pairs[0, 5, 14] == 2
    box = JointHistogram(2, window=2.0, lattice=4).add(joints)
    given = JointHistogram(2, window=2.0, lattice=4).add(
        joints, None, joints.mean(1), (joints[:, 1] - joints[:, 0]).amax(1)
    )
    assert torch.equal(box.pairs, given.pairs)


def test_diagonal_is_entropy():
    corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
    # Two joints hold the box in place, the third is in one of four cells, equally often.
    joints = torch.stack([corners[:1].expand(4, 2), corners[3:].expand(4, 2), corners * 0.9], 1).repeat(25, 1, 1)
    histogram = JointHistogram(3).add(joints)
    expected = torch.zeros(3, 3)
    expected[2, 2] = np.log(4)
    torch.testing.assert_close(histogram.matrix(), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(histogram.entropy(), expected.diag(), atol=1e-6, rtol=0)
    torch.testing.assert_close(histogram.entropy(corrected=True)[2], expected[2, 2] + 3 / 200, atol=1e-6, rtol=0)


def test_joints_never_seen_together_tell_nothing():
    joints = torch.randn(50, 3, 2, generator=torch.Generator().manual_seed(2))
    presence = torch.ones(50, 3, dtype=torch.uint8)
    presence[:25, 0] = 0
    presence[25:, 1] = 0
    histogram = JointHistogram(3).add(joints, presence)
    for matrix in (histogram.matrix(), histogram.matrix(corrected=True)):
        assert matrix[0, 1] == 0
        assert matrix.isfinite().all()


def test_normalised_runs_from_0_to_1_in_the_order_of_the_information():
    histogram = JointHistogram(5).add(*some_poses())
    normalised, matrix = histogram.normalised(), histogram.matrix()
    aside = torch.eye(5, dtype=torch.bool)
    assert (normalised[aside] == 0).all()
    rest, before = normalised[~aside], matrix[~aside]
    assert (rest.min(), rest.max()) == (0, 1)
    assert torch.corrcoef(torch.stack([rest, before]))[0, 1] == pytest.approx(1, abs=1e-5)
    for corrected in (False, True):
        assert torch.equal(JointHistogram(1).add(torch.rand(3, 1, 2)).normalised(corrected), torch.zeros(1, 1))


@pytest.mark.parametrize(("people", "window", "within"), [(300, 2.5, 0.01), (2000, 1.5, 0.003)])
def test_chance_is_the_exact_mean_over_independent_joints(drawn, people, window, within):
    histogram = JointHistogram(16, window).add(drawn[:people])
    rows, columns = histogram.pairs.sum(2), histogram.pairs.sum(1)
    chance = information._by_chance(rows.double(), columns.double())
    for pair in (0, 60):
        first, second = (torch.arange(256).repeat_interleave(of[pair]).numpy() for of in (rows, columns))
        exact = expected_mutual_information(contingency_matrix(first, second, sparse=True), people)
        assert float(chance[pair]) == pytest.approx(exact, rel=within)


def test_correction_gets_close_to_the_information_that_is_known(drawn):
    # People drawn from these 20,000, whose histograms then are the truth.
    truth = JointHistogram(16).add(drawn).matrix()
    above = torch.triu(torch.ones(16, 16, dtype=torch.bool), 1)
    generator = torch.Generator().manual_seed(0)
    for people in (500, 2000):
        few = JointHistogram(16).add(drawn[torch.randint(20_000, (people,), generator=generator)])
        raw, corrected = ((few.matrix(how) - truth)[above] for how in (False, True))
        assert raw.mean() > 0.1
        assert corrected.mean().abs() < 0.15 * raw.mean()
        assert corrected.square().mean() < 0.1 * raw.square().mean()


def test_independent_joints_tell_nothing_once_corrected(drawn):
    generator = torch.Generator().manual_seed(0)
    mixed = torch.stack([drawn[torch.randperm(20_000, generator=generator)[:2000], j] for j in range(16)], 1)
    frame = torch.zeros(2000, 2), torch.ones(2000)
    histogram = JointHistogram(16).add(mixed, None, *frame)
    above = torch.triu(torch.ones(16, 16, dtype=torch.bool), 1)
    assert histogram.matrix()[above].mean() > 0.1
    assert histogram.matrix(corrected=True)[above].mean() < 0.01


def test_bad_parameters():
    with pytest.raises(ValueError, match=r"must be positive, not 4, 0\.0 and 16"):
        JointHistogram(4, window=0.0)
    with pytest.raises(ValueError, match="needs 20 GB of counts for 16 joints"):
        JointHistogram(16, lattice=80)
    histogram = JointHistogram(4, lattice=4)
    with pytest.raises(ValueError, match="is of 4 joints, and these poses have 3"):
        histogram.add(torch.zeros(2, 3, 2))
    with pytest.raises(ValueError, match=r"not 4, 2\.5, 4 and 4, 2\.0, 4"):
        histogram.merge(JointHistogram(4, 2, 4))
    histogram.poses = 2**31 - 2
    with pytest.raises(ValueError, match="at most 2,147,483,647 poses"):
        histogram.add(torch.rand(2, 4, 2))
