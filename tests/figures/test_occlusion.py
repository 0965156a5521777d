"""Figures of which a share is hidden: the share is what was asked for, and nothing else changes with it."""

from __future__ import annotations

import itertools

import pytest
import torch

from posebook.datasets import open_dataset
from posebook.figures import occlusion, scenery
from posebook.figures.dataset import Figures
from posebook.figures.raster import Shapes, covers, rasterise
from posebook.sample import Dataset
from posebook.skeleton import MPII, OCCLUDED

SHARES = (0, 0.1, 0.25, 0.5)


@pytest.fixture(scope="module")
def sweep():
    return {share: Figures("test", size=64, occluded=share).batch(torch.arange(300)) for share in SHARES}


def _occluded(sample):
    return (sample.presence == OCCLUDED).sum(1), (sample.presence > 0).sum(1)


def test_the_share_of_occluded_joints_is_the_one_asked_for(sweep):
    for share, sample in sweep.items():
        occluded, present = _occluded(sample)
        assert float(occluded.sum() / present.sum()) == pytest.approx(share, abs=0.012)
        off = (occluded - share * present.float()).abs()
        assert off.mean() < 1
        assert off.max() <= 4
    assert (_occluded(sweep[0])[0] > 0).float().mean() < 0.1
    assert not _occluded(sweep[0.5])[0].eq(_occluded(sweep[0.5])[1]).any()


def test_nothing_but_objects_before_the_person_differs(sweep):
    bare = sweep[0]
    for less, more in itertools.pairwise(SHARES):
        a, b = sweep[less], sweep[more]
        for name in ("joints", "head_size", "torso_size", "index"):
            assert torch.equal(getattr(a, name), getattr(b, name))
        assert torch.equal(a.presence > 0, b.presence > 0)
        # What is hidden stays hidden, and what shows shows what it did without objects.
        assert not ((a.presence == OCCLUDED) & (b.presence != OCCLUDED)).any()
        shown = b.parsing > 0
        assert torch.equal(b.parsing[shown], bare.parsing[shown])
        assert (shown <= (a.parsing > 0)).all()
        assert (shown.sum() / (a.parsing > 0).sum()) < 1 - 0.5 * (more - less)
        # Pixels differ where objects are and, by the lens, next to them. Most of the picture is the same.
        changed = (a.images != b.images).any(1)
        assert 0.01 < changed.float().mean() < 0.25
    assert bare.instances.max() == 1


def test_every_joint_gets_hidden_about_as_often(sweep):
    half = (sweep[0.5].presence == OCCLUDED).sum(0) / (sweep[0.5].presence > 0).sum(0)
    assert half.min() > 0.3
    assert half.max() < 0.75


def test_people_hide_no_joints_of_their_own_and_are_the_same_at_any_size():
    small, large = (Figures("train", size=size, occluded=0).batch(torch.arange(200)) for size in (64, 128))
    torch.testing.assert_close(large.joints, small.joints * 2, atol=1e-3, rtol=0)
    ordinary = Figures("train", size=64, difficulty="plain").batch(torch.arange(200))
    assert (small.presence == OCCLUDED).float().mean() < 0.01
    assert (ordinary.presence == OCCLUDED).float().mean() > 0.05


def test_a_sample_depends_on_its_number_alone():
    figures = open_dataset("figures", "validation", size=64, occluded=0.4)
    assert isinstance(figures, Dataset)
    together, alone = figures.batch(torch.tensor([3, 7, 11])), figures.batch(torch.tensor([7]))
    assert torch.equal(together.images[1], alone.images[0])
    assert torch.equal(together.presence[1], alone.presence[0])
    others = Figures("test", size=64, occluded=0.4).batch(torch.tensor([3, 7, 11]))
    assert not torch.equal(together.joints, others.joints)


def test_a_pose_of_ones_own_can_be_hidden():
    poses = Figures("train")._prior.sample(torch.arange(6))
    number = torch.zeros(6, dtype=torch.long)
    bare, hidden = (Figures("test", size=64, occluded=share).posed(poses, number) for share in (0, 0.5))
    spread = (bare.joints.amax(1) - bare.joints.amin(1)).amax(1)
    assert (spread > 32).all()
    assert len(bare.joints.flatten(1).unique(dim=0)) == 6
    assert torch.equal(bare.joints, hidden.joints)
    assert (hidden.presence == OCCLUDED).sum() > (bare.presence == OCCLUDED).sum() + 20


def test_bad_shares():
    for share in (-0.1, 0.6, float("nan")):
        with pytest.raises(ValueError, match=r"share of 0 to 0\.5 of the joints"):
            Figures("test", occluded=share)
    with pytest.raises(ValueError, match="people is 1 then, not 2"):
        Figures("test", occluded=0.1, people=2)


def test_objects_are_like_those_of_scenes_without_a_share():
    keys = torch.arange(3000) * 2**40
    joints = 96 * torch.rand(3000, 16, 2, generator=torch.Generator().manual_seed(0))
    usual = scenery.objects(keys, joints, 96, "life")
    there = (usual.owner == scenery.OBJECT) & (usual.start_radius >= 0)
    ours = scenery.occluders(keys, joints, 96, 3)
    assert (ours.owner == scenery.OBJECT).all()
    assert there.sum() > 1500

    def sizes(shapes: Shapes, which: torch.Tensor) -> torch.Tensor:
        length = (shapes.end - shapes.start).norm(dim=-1)
        columns = torch.stack([length, shapes.start_radius, shapes.end_radius, shapes.relief, shapes.flat.float()], -1)
        return columns[which]

    expected, found = sizes(usual, there), sizes(ours, torch.ones_like(ours.flat))
    torch.testing.assert_close(found.mean(0), expected.mean(0), rtol=0.06, atol=0)
    torch.testing.assert_close(found.std(0), expected.std(0), rtol=0.06, atol=0)
    colours = ours.colours.mean((0, 1)) - usual.colours[there].mean(0)
    assert colours.abs().max() < 0.02
    # Everyone of them lies over a joint.
    assert covers(ours, joints).any(1).float().mean() > 0.99


def test_objects_come_until_the_share_is_reached():
    """Every person's objects by hand: those are kept that hide something new and do not go beyond the share."""
    size, people = 96, 200
    keys = torch.arange(people) * 2**40
    joints = 10 + 76 * torch.rand(people, 16, 2, generator=torch.Generator().manual_seed(1))
    inside = torch.rand(people, 16, generator=torch.Generator().manual_seed(2)) < 0.9
    hidden = torch.rand(people, 16, generator=torch.Generator().manual_seed(3)) < 0.1
    before = set()
    for share in (0, 0.2, 0.4):
        shapes = occlusion.objects(keys, joints, inside, hidden, share, size)
        kept = shapes.start_radius >= 0
        over = covers(shapes, joints.floor() + 0.5).transpose(1, 2)
        reached = []
        for person in range(people):
            gone = hidden[person] & inside[person]
            wanted = share * inside[person].float().sum()
            for place in kept[person].nonzero()[:, 0]:
                assert gone.sum() < wanted
                new = over[person, place] & inside[person] & ~gone
                assert 1 <= new.sum() <= 3
                gone = gone | new
            reached.append(gone.sum() - torch.maximum(wanted, (hidden[person] & inside[person]).sum()))
        reached = torch.stack(reached)
        assert reached.min() > -3
        assert reached.max() < 3
        assert abs(reached.mean()) < 0.25
        now = set(map(tuple, kept.nonzero().tolist()))
        assert before <= now
        before = now
    assert len(before) > 2 * people


def test_points_are_covered_by_the_shapes_that_are_drawn_there():
    """At the centres of pixels, the nearest of the shapes that cover a point is the one that the rasteriser draws."""
    figures = Figures("train", size=64)
    keys = torch.arange(4) * 2**40
    joints = figures.batch(torch.arange(4)).joints
    shapes = Shapes.join([scenery.objects(keys, joints, 64, "life"), scenery.occluders(keys, joints, 64, 5)])
    canvas = rasterise(shapes, 64, torch.zeros(4, 2))
    row, column = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    points = torch.stack([column, row], -1).flatten(0, 1).expand(4, -1, 2) + 0.5
    over = covers(shapes, points)
    nearest = shapes.depth[:, None].where(over, -torch.inf).argmax(-1)
    winner = torch.where(over.any(-1), nearest, -1).view(4, 64, 64)
    assert (winner != canvas.shape).float().mean() < 1e-3


def test_a_hand_before_the_face_is_hidden_by_the_body_and_a_sleeve_over_a_wrist_is_not():
    own = torch.zeros(16, 2, dtype=torch.bool)
    wrist, neck = MPII.index("r_wrist"), MPII.index("upper_neck")
    own[wrist, 1] = own[neck, 0] = True
    dot = torch.tensor([[[10.0, 10.0], [20.0, 20.0]]])
    two = torch.ones(1, 2)
    body = Shapes(
        start=dot, end=dot + 0.01, start_radius=3 * two, end_radius=3 * two, flat=two < 0,
        depth=torch.tensor([[0, 1.0]]), cut=-9 * two, colours=torch.zeros(1, 2, 2, 3),
        labels=torch.zeros(1, 2, 2).long(), owner=two.long(), axis_start=dot, axis_end=dot, axis_radius=two,
        relief=two, pattern=torch.zeros(1, 2, 3),
    )  # fmt: skip
    joints = torch.full((1, 16, 2), 40.0)
    joints[0, wrist], joints[0, neck] = dot[0, 1], dot[0, 1]
    hidden = occlusion.hidden_by_itself(body, joints, own)
    assert hidden.nonzero().tolist() == [[0, neck]]
    joints[0, neck] = dot[0, 0]
    assert not occlusion.hidden_by_itself(body, joints, own).any()
