"""Rendered figures: their labels are exact, their samples reproducible, their scenes as hard as promised."""

from __future__ import annotations

import pytest
import torch

from posebook.datasets import open_dataset
from posebook.figures import people
from posebook.figures.dataset import LENGTHS, Figures
from posebook.figures.raster import Shapes, rasterise
from posebook.skeleton import MPII, PART_INDEX, PARTS, TAGS


@pytest.fixture(scope="module")
def life():
    return Figures("train").batch(torch.arange(400))


@pytest.fixture(scope="module")
def plain():
    return Figures("train", difficulty="plain").batch(torch.arange(96))


def test_a_sample_depends_on_its_number_alone():
    figures = Figures("train", size=64)
    together = figures.batch(torch.tensor([3, 7, 11, 1_000_000_007]))
    alone = figures.batch(torch.tensor([11]))
    assert torch.equal(together.images[2], alone.images[0])
    assert torch.equal(together.joints[2], alone.joints[0])
    assert torch.equal(together.parsing[2], alone.parsing[0])
    assert together.index.tolist() == [3, 7, 11, 1_000_000_007]


def test_splits_and_seeds_differ():
    first = torch.arange(32)
    poses = [Figures(s, size=32, seed=k).batch(first).joints for s in ("train", "validation", "test") for k in (0, 1)]
    rows = torch.cat(poses).flatten(1)
    assert len(rows.unique(dim=0)) == len(rows)


def test_a_larger_image_shows_the_same_people():
    small = Figures("train", size=64).batch(torch.arange(16))
    large = Figures("train", size=128).batch(torch.arange(16))
    assert torch.allclose(large.joints, small.joints * 2, atol=1e-3)
    shrunk = torch.nn.functional.avg_pool2d(large.images, 2)
    assert (shrunk - small.images).abs().mean() < 0.06


# Three samples each: their images' mean and standard deviation, their joints' mean, their presence.
FROZEN = {
    ("train", ()): (
        [0.42185, 0.53039, 0.46193], [0.15878, 0.2785, 0.08515], [27.634, 29.847, 31.765],
        ["2212211112221112", "2222122222222112", "2222222222122222"],
    ),
    ("validation", (("difficulty", "plain"),)): (
        [0.54266, 0.6463, 0.66685], [0.10224, 0.16405, 0.08535], [31.477, 30.199, 31.54],
        ["2222222222222111", "2222222222122222", "2222222222222222"],
    ),
    ("test", (("people", 3),)): (
        [0.37659, 0.32649, 0.36324], [0.20716, 0.22793, 0.18792], [36.543, 25.644, 29.537],
        ["2222222222022222", "2212122212222122", "2112121112222112"],
    ),
    ("validation", (("difficulty", "plain"), ("people", 4))): (
        [0.53245, 0.66659, 0.62554], [0.11908, 0.12377, 0.14659], [19.418, 23.79, 42.238],
        ["2222222222222111", "2222222222122222", "2222222222222222"],
    ),
    ("test", (("seed", 5),)): (
        [0.49026, 0.27186, 0.5178], [0.24481, 0.25878, 0.26586], [27.813, 30.435, 32.323],
        ["2222222222222222", "2211221122212122", "2112211222122222"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("which", "expected"), FROZEN.items())
def test_people_stay_who_they_were(which, expected):
    """Trained weights and stored results are of these people; another processor moves their pixels in the last bits."""
    split, options = which
    sample = Figures(split, size=64, **dict(options)).batch(torch.tensor([0, 7, 500]))
    means, spreads, places, presence = expected
    assert sample.images.mean((1, 2, 3)).tolist() == pytest.approx(means, abs=1e-4)
    assert sample.images.std((1, 2, 3)).tolist() == pytest.approx(spreads, abs=1e-4)
    assert sample.joints.mean((1, 2)).tolist() == pytest.approx(places, abs=2e-3)
    assert ["".join(map(str, row)) for row in sample.presence.tolist()] == presence


def test_lengths_and_errors():
    assert Figures("train").length is None
    assert Figures("test").length == LENGTHS["test"]
    with pytest.raises(IndexError, match="0 to 1999"):
        Figures("test").batch(torch.tensor([2000]))
    with pytest.raises(ValueError, match="no split is called 'val'; there are train, validation, test"):
        Figures("val")
    with pytest.raises(ValueError, match="life, objects, plain"):
        Figures("train", difficulty="easy")
    with pytest.raises(ValueError, match="8 divides"):
        Figures("train", size=100)
    with pytest.raises(ValueError, match="1 to 4 people with labels, not 5"):
        Figures("train", people=5)
    with pytest.raises(ValueError, match="figures, lsp"):
        open_dataset("coco", split="train")
    with pytest.raises(ValueError, match="data_root"):
        open_dataset("lspet", split="train")


def test_scenes_are_as_hard_as_promised(life):
    annotated = (life.presence > 0).sum()
    assert 0.10 <= (life.presence == 1).sum() / annotated <= 0.25
    assert 0.02 <= (life.presence == 0).float().mean() <= 0.15
    covered = torch.stack([(life.presence == 1)[:, j].any() for j in range(16)])
    assert covered.all()


def test_half_of_the_scenes_hold_an_object_or_another_person(monkeypatch):
    from posebook.figures import dataset as figures

    owners = []
    draw = figures.rasterise
    monkeypatch.setattr(figures, "rasterise", lambda *a: owners.append(draw(*a)) or owners[-1])
    Figures("train").batch(torch.arange(200))
    seen = torch.cat([(canvas.owner > 1).flatten(1).any(1) for canvas in owners])
    assert seen.float().mean() >= 0.5


def test_all_parts_and_challenges_occur(life):
    assert set(life.parsing.unique().tolist()) == set(range(len(PARTS)))
    assert life.tags.any(0).all(), dict(zip(TAGS, life.tags.float().mean(0).tolist(), strict=True))
    assert not life.tags.all(0).any()


def test_plain_figures_are_whole_and_alone(plain):
    assert (plain.presence > 0).float().mean() > 0.99
    assert plain.instances.max() == 1
    assert (plain.presence == 1).float().mean() < 0.15


def test_objects_stand_before_the_people_that_are_plain_without_them(plain):
    hidden = Figures("train", difficulty="objects").batch(torch.arange(96))
    torch.testing.assert_close(hidden.joints, plain.joints)
    assert hidden.instances.max() == 1
    more = (hidden.presence == 1).float().mean() - (plain.presence == 1).float().mean()
    assert more > 0.03
    assert ((hidden.presence == 1) >= (plain.presence == 1)).float().mean() > 0.99


def test_visible_limbs_carry_their_label(plain):
    """At a visible wrist or ankle the parsing map shows the person, and never the other side's limb."""
    for side, other in (("l", "r"), ("r", "l")):
        for joint, wrong in (("wrist", "arm"), ("ankle", "leg"), ("ankle", "shoe")):
            j = MPII.index(f"{side}_{joint}")
            seen = plain.presence[:, j] == 2
            x, y = plain.joints[seen, j].long().clamp(0, 127).unbind(-1)
            label = plain.parsing[seen.nonzero()[:, 0], y, x]
            assert (label > 0).float().mean() > 0.97
            assert not (label == PART_INDEX[f"{other}_{wrong}"]).any()


def test_the_face_tells_front_from_back(plain):
    back = plain.tags[:, TAGS.index("back_view")]
    face = (plain.parsing == PART_INDEX["face"]).flatten(1).sum(1).float()
    area = (plain.parsing > 0).flatten(1).sum(1)
    assert 0.05 < back.float().mean() < 0.6
    assert (face / area)[~back].mean() > 2 * (face / area)[back].mean()


@pytest.fixture(scope="module")
def groups():
    return Figures("train", people=4).batch(torch.arange(120))


def test_everyone_is_labelled_where_several_are_asked_for(groups):
    assert groups.people_joints.shape == (120, 4, 16, 2)
    assert torch.equal(groups.people_joints[:, 0], groups.joints)
    assert torch.equal(groups.people_presence[:, 0], groups.presence)
    assert torch.equal(groups.people_head_size[:, 0], groups.head_size)
    assert set(groups.instances.unique().tolist()) == {0, 1, 2, 3, 4}
    assert torch.equal(groups.parsing > 0, groups.instances > 0)
    # A visible joint of each person lies on that person.
    j = MPII.index("pelvis")
    for person in range(4):
        seen = groups.people_presence[:, person, j] == 2
        x, y = groups.people_joints[seen, person, j].long().clamp(0, 127).unbind(-1)
        assert (groups.instances[seen.nonzero()[:, 0], y, x] == person + 1).float().mean() > 0.95


def test_scenes_of_several_people_show_two_or_more_of_them(groups):
    there = ~groups.people_head_size.isnan()
    count = there.sum(1)
    assert set(count.tolist()) == {2, 3, 4}
    assert min(count.bincount()[2:]) > 24  # of 40 expected
    # Who is there comes first, and who is not has no joints.
    assert (there.int().diff(dim=1) <= 0).all()
    assert not groups.people_presence[~there].any()
    inside = (groups.people_presence > 0).sum(-1)
    assert ((inside >= 8).sum(1) >= 2).all()
    visible = (groups.people_presence == 2).sum(-1)[there].float()
    assert (visible >= 8).float().mean() > 0.9
    pixels = (groups.instances[:, None] == torch.arange(1, 5)[:, None, None]).flatten(2).sum(-1)
    assert torch.equal(pixels > 0, inside > 0)


def test_people_are_smaller_in_larger_groups(groups):
    count = (~groups.people_head_size.isnan()).sum(1)
    heads = [groups.people_head_size[count == n].nanmean() for n in (2, 3, 4)]
    assert heads[0] > 1.15 * heads[1] > 1.15**2 * heads[2]
    # People of a group are apart: hardly two joints of a name fall within a cell of a heat map.
    gap = (groups.people_joints[:, :, None] - groups.people_joints[:, None]).norm(dim=-1)  # (b, p, p, j)
    there = groups.people_presence > 0
    pair = there[:, :, None] & there[:, None] & torch.ones(4, 4, dtype=torch.bool).triu(1)[..., None]
    assert (gap[pair] < 4).float().mean() < 0.01


def test_plain_groups_are_whole_and_a_larger_image_shows_the_same():
    plain = Figures("train", people=3, difficulty="plain").batch(torch.arange(48))
    there = ~plain.people_head_size.isnan()
    assert (plain.people_presence[there] > 0).all()
    small = Figures("train", size=64, people=3, difficulty="plain").batch(torch.arange(40, 48))
    torch.testing.assert_close(small.people_joints * 2, plain.people_joints[40:], atol=1e-3, rtol=0)


def test_sizes_of_head_and_torso(life):
    neck, top = MPII.index("upper_neck"), MPII.index("head_top")
    expected = 0.75 * (life.joints[:, neck] - life.joints[:, top]).norm(dim=-1)
    assert torch.allclose(life.head_size, expected)
    assert life.torso_size.isfinite().all()


def _strokes(batch: int, count: int, seed: int) -> Shapes:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(batch, count, *shape, generator=generator)

    start, end = draw(2) * 80 - 8, draw(2) * 80 - 8
    return Shapes(
        start=start, end=end, start_radius=draw() * 14 - 2, end_radius=draw() * 14 - 2, flat=draw() < 0.4, depth=draw(),
        cut=draw() * 2 - 0.7, colours=draw(2, 3), labels=(draw(2) * 20).long(), owner=(draw() * 4).long(),
        axis_start=start, axis_end=end, axis_radius=draw() + 1, relief=draw(), pattern=torch.zeros(batch, count, 3),
    )  # fmt: skip


def test_the_rasteriser_agrees_with_testing_every_shape_at_every_pixel():
    size = 64
    shapes = _strokes(3, 12, seed=1)
    shapes.start_radius = torch.where(shapes.end_radius < 0, -1.0, shapes.start_radius.clamp_min(0))
    canvas = rasterise(shapes, size, torch.zeros(3, 2))
    centres = torch.arange(size) + 0.5
    for b in range(3):
        nearest, winner = torch.full((size, size), -1.0), torch.full((size, size), -1)
        for n in range(12):
            if shapes.start_radius[b, n] < 0:
                continue
            start, delta = shapes.start[b, n], shapes.end[b, n] - shapes.start[b, n]
            x, y = centres[None, :] - start[0], centres[:, None] - start[1]
            free = (x * delta[0] + y * delta[1]) / delta.square().sum()
            t = free.clamp(0, 1)
            radius = torch.lerp(shapes.start_radius[b, n], shapes.end_radius[b, n], t)
            radius = radius * torch.where(free < shapes.cut[b, n], 1.13, 1.0)
            inside = (x - t * delta[0]).square() + (y - t * delta[1]).square() < radius.square()
            if shapes.flat[b, n]:
                inside &= free == t
            closer = inside & (shapes.depth[b, n] > nearest)
            nearest[closer], winner[closer] = shapes.depth[b, n], n
        assert (canvas.shape[b] != winner).float().mean() < 1e-3


def test_own_shapes_name_every_joint():
    own = people.own_shapes()
    assert own.shape == (16, len(people.NAMES))
    assert own.any(1).all()
    knee, hand = MPII.index("l_knee"), people.NAMES.index("hand_l")
    assert not own[knee, hand]


def test_figures_do_not_depend_on_the_callers_default_type():
    figures = Figures("test", size=32)
    before = figures.batch(torch.arange(3))
    torch.set_default_dtype(torch.float64)
    try:
        after = Figures("test", size=32).batch(torch.arange(3))
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(before.images, after.images)
    assert torch.equal(before.joints, after.joints)
