"""Patches stay within images, labels stay where they are, and joints that are covered become occluded."""

from __future__ import annotations

import pytest
import torch

from posebook.figures.dataset import Figures
from posebook.sample import Sample
from posebook.skeleton import MPII
from posebook.training.masking import KeypointMasking
from toy import people


@pytest.fixture(scope="module")
def crowd() -> Sample:
    """Rendered people with everything a sample can have."""
    return Figures("train", 64, people=3).batch(torch.arange(24))


def masked(sample: Sample, seed: int = 0, **options) -> Sample:
    masking = KeypointMasking(**{"cover": 0.0, "duplicate": 0.0} | options)
    return masking.apply(sample, masking.draw(len(sample), torch.Generator().manual_seed(seed)), MPII)


def changed_boxes(before: Sample, after: Sample) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of the pixels that differ, by image; nothing where none does."""
    boxes = []
    for one, other in zip(before.images, after.images, strict=True):
        rows, columns = torch.nonzero((one != other).any(0), as_tuple=True)
        if len(rows):
            boxes.append(tuple(map(int, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))))
        else:
            boxes.append(())
    return boxes


def test_labels_stay_and_everything_stays_inside(crowd):
    for seed in range(5):
        for options in ({"cover": 1.0}, {"duplicate": 1.0}, {"cover": 1.0, "duplicate": 1.0, "size": 0.5}):
            after = masked(crowd, seed, **options)
            for name, value in vars(crowd).items():
                if value is not None and name not in ("images", "presence", "people_presence"):
                    torch.testing.assert_close(getattr(after, name), value, rtol=0, atol=0, equal_nan=True)
            # Every pixel is one that the image has.
            for one, other in zip(crowd.images, after.images, strict=True):
                colours = {tuple(pixel) for pixel in one.flatten(1).T.tolist()}
                assert {tuple(pixel) for pixel in other.flatten(1).T.tolist()} <= colours


def test_a_covered_joint_becomes_occluded_and_no_other(crowd):
    after = masked(crowd, cover=1.0, size=0.2)
    side = round(0.2 * 64)
    hidden = 0
    for k, box in enumerate(changed_boxes(crowd, after)):
        if not box:
            continue
        left, top, right, bottom = box
        assert right - left <= side
        assert bottom - top <= side
        for joints, was, now in ((crowd.joints[k], crowd.presence[k], after.presence[k]),
                                 (crowd.people_joints[k].flatten(0, 1), crowd.people_presence[k].flatten(),
                                  after.people_presence[k].flatten())):  # fmt: skip
            changes = was != now
            hidden += int(changes.sum())
            assert (was[changes] == 2).all()
            assert (now[changes] == 1).all()
            # Within a patch around what changed; background may happen to look like what it covers.
            x, y = joints[changes].T
            assert ((x > left - side) & (x < right + side) & (y > top - side) & (y < bottom + side)).all()
            inside = (joints[:, 0] >= left) & (joints[:, 0] < right) & (joints[:, 1] >= top) & (joints[:, 1] < bottom)
            assert (now[inside & (was > 0)] == 1).all()
    assert hidden > len(crowd)


def test_a_duplicate_is_the_joints_patch_one_to_three_sides_away():
    """People in random images, so that a patch tells where it comes from."""
    sample = people(40, 64, 16)
    side = round(0.15 * 64)
    after = masked(sample, duplicate=1.0)
    near = 0
    for k, box in enumerate(changed_boxes(sample, after)):
        left, top, right, bottom = box
        assert (right - left, bottom - top) == (side, side)
        patch = after.images[k, :, top:bottom, left:right]
        windows = sample.images[k].unfold(1, side, 1).unfold(2, side, 1)  # (3, y, x, side, side)
        same = (windows == patch[:, None, None]).all(-1).all(-1).all(0)
        ((y, x),) = torch.nonzero(same).tolist()
        centre = torch.tensor([x, y]) + side / 2
        to_joint = (sample.joints[k] - centre).abs().amax(1)
        # A patch at the edge is moved inside.
        assert to_joint.min() <= 0.5 + side / 2
        distance = (torch.tensor([left, top]) - torch.tensor([x, y])).float().norm()
        near += side - 2 <= distance <= 3 * side + 2
    # Candidates beyond the edge are moved inside, and so may be nearer.
    assert near >= 36


def test_background_is_away_from_the_person():
    figures = Figures("train", 96, difficulty="plain").batch(torch.arange(64))
    after = masked(figures, cover=1.0, size=0.1)
    # What covers a joint of a whole, single person is nobody's.
    changed = (figures.images != after.images).any(1)
    side = round(0.1 * 96)
    body = figures.instances == 1
    patches = 0
    for k in range(64):
        rows, columns = torch.nonzero(changed[k], as_tuple=True)
        top, left = int(rows.min()), int(columns.min())
        patch = after.images[k, :, top : top + side, left : left + side]
        height, width = patch.shape[1:]
        windows = figures.images[k].unfold(1, height, 1).unfold(2, width, 1)
        where = torch.nonzero((windows == patch[:, None, None]).all(-1).all(-1).all(0)).tolist()
        patches += any(not body[k, y : y + height, x : x + width].any() for y, x in where)
    assert patches >= 60


def test_rates_are_parts_of_the_images(crowd):
    many = Figures("train", 32).batch(torch.arange(400))
    for rate in (0.0, 0.25, 1.0):
        for kind in ("cover", "duplicate"):
            after = masked(many, **{kind: rate})
            part = torch.tensor([bool(box) for box in changed_boxes(many, after)]).float().mean()
            assert abs(float(part) - rate) < 0.06, (kind, rate)
    assert masked(crowd).images is crowd.images


def test_images_of_nobody_are_left_alone():
    sample = people(6, 32, 16)
    sample.presence[:3] = torch.tensor([0, 1] * 8, dtype=torch.uint8)
    sample.joints[0] = torch.nan
    after = masked(sample, cover=1.0, duplicate=1.0)
    assert torch.equal(after.images[:3], sample.images[:3])
    assert torch.equal(after.presence[:3], sample.presence[:3])
    assert (after.images[3:] != sample.images[3:]).flatten(1).any(1).all()


def test_a_slice_of_the_draw_is_the_draw_of_the_slice(crowd):
    masking = KeypointMasking(1.0, 1.0)
    numbers = masking.draw(len(crowd), torch.Generator().manual_seed(0))
    whole = masking.apply(crowd, numbers, MPII)
    half = masking.apply(crowd[:12], numbers[:12], MPII)
    assert torch.equal(whole.images[:12], half.images)
    assert torch.equal(whole.presence[:12], half.presence)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cover": 1.5}, "masking: cover is 1.5; give a part of the images, 0 to 1"),
        ({"duplicate": -0.1}, "masking: duplicate is -0.1; give a part of the images, 0 to 1"),
        ({"size": 0}, "masking: size is 0; give a fraction of the image's side above 0, up to 0.5"),
        ({"size": 0.6}, "masking: size is 0.6; give a fraction"),
    ],
)
def test_numbers_out_of_range(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        KeypointMasking(**options)


def test_numbers_of_another_batch(crowd):
    masking = KeypointMasking()
    with pytest.raises(ValueError, match="masking was drawn for 3 images, the batch has 24"):
        masking.apply(crowd, masking.draw(3, torch.Generator().manual_seed(0)), MPII)
