from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from posebook.coordinates import transform_points
from posebook.sample import Sample
from posebook.skeleton import IGNORE_LABEL, MPII, PART_INDEX
from posebook.training.augment import Augmentation, affine, augment, tint

SIZE = 48
LEFT, RIGHT = PART_INDEX["l_arm"], PART_INDEX["r_arm"]


def blobs(count: int = 6, size: int = SIZE) -> Sample:
    """Bright round spots whose centres are the joints, on a parsing map with a left arm on the left half."""
    generator = torch.Generator().manual_seed(3)
    joints = size * (0.25 + 0.5 * torch.rand(count, len(MPII), 2, generator=generator))
    centres = torch.arange(size) + 0.5
    squared = (centres[None, None, None, :] - joints[..., :1, None]).square() + (
        centres[None, None, :, None] - joints[..., 1:, None]
    ).square()
    spots = torch.exp(-squared / 8)  # (b, j, s, s)
    parsing = torch.full((count, size, size), LEFT, dtype=torch.uint8)
    parsing[..., size // 2 :] = RIGHT
    return Sample(
        images=spots[:, :3].clone(),
        joints=joints,
        presence=torch.randint(1, 3, (count, len(MPII)), generator=generator, dtype=torch.uint8),
        head_size=torch.full((count,), 5.0),
        torso_size=torch.full((count,), torch.nan),
        index=torch.arange(count),
        parsing=parsing,
        people_joints=joints[:, None].repeat(1, 2, 1, 1),
        people_presence=torch.full((count, 2, len(MPII)), 2, dtype=torch.uint8),
        instances=torch.ones(count, size, size, dtype=torch.uint8),
    )


def brightest(images: torch.Tensor) -> torch.Tensor:
    """Centre of the brightest pixel of each channel, as (x, y)."""
    place = images.flatten(-2).argmax(-1)
    return torch.stack([place % images.shape[-1], place // images.shape[-1]], -1) + 0.5


def draw(count: int, seed: int = 0, **ranges: float):
    return Augmentation(**ranges).draw(count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [None, 32, 96])
def test_image_and_joints_move_together(size):
    sample = blobs()
    changes = draw(6, scale=0.2, rotation=25, shift=0.05, shear=0.1)
    moved = augment(sample, changes, MPII, size)
    assert moved.images.shape[-1] == (size or SIZE)
    distance = (brightest(moved.images) - moved.joints[:, :3]).norm(dim=-1)
    assert distance.max() < 1.5 * max(1, (size or SIZE) / SIZE)
    growth = changes.scale * (size or SIZE) / SIZE
    torch.testing.assert_close(moved.head_size, 5 * growth)
    assert moved.torso_size.isnan().all()


def test_mirror_swaps_joints_and_parts_and_is_its_own_inverse():
    sample = blobs()
    changes = draw(6, flip=1)
    once = augment(sample, changes, MPII)
    torch.testing.assert_close(once.images, sample.images.flip(-1), atol=1e-5, rtol=0)
    wrist, other = MPII.index("l_wrist"), MPII.index("r_wrist")
    torch.testing.assert_close(once.joints[:, wrist, 0], SIZE - sample.joints[:, other, 0])
    torch.testing.assert_close(once.joints[:, wrist, 1], sample.joints[:, other, 1])
    assert torch.equal(once.presence[:, wrist], sample.presence[:, other])
    torch.testing.assert_close(once.people_joints[:, 1], once.joints)
    # Mirrored, the left half's left arm lies on the right half and is a right arm: the map looks as before.
    assert torch.equal(once.parsing, sample.parsing)
    twice = augment(once, changes, MPII)
    torch.testing.assert_close(twice.joints, sample.joints)
    torch.testing.assert_close(twice.images, sample.images, atol=1e-5, rtol=0)
    assert torch.equal(twice.presence, sample.presence)


def test_what_leaves_the_image_is_absent_and_what_enters_is_ignored():
    sample = blobs()
    changes = replace(draw(6, shift=0.5), shift=torch.tensor([[0.5, 0.0]]).repeat(6, 1))
    moved = augment(sample, changes, MPII)
    gone = sample.joints[..., 0] >= SIZE / 2
    assert gone.any()
    assert (~gone).any()
    assert torch.equal(moved.presence == 0, gone)
    assert torch.equal(moved.people_presence[:, 0] == 0, gone)
    assert (moved.parsing[..., : SIZE // 2] == IGNORE_LABEL).all()
    assert (moved.parsing[..., SIZE // 2 :] == LEFT).all()
    assert (moved.instances[..., : SIZE // 2] == 0).all()
    assert (moved.images[..., : SIZE // 2 - 1] == 0).all()


def test_tags_do_not_outlive_a_move():
    sample = replace(blobs(), tags=torch.ones(6, 6, dtype=torch.bool))
    assert augment(sample, draw(6, shift=0.3), MPII).tags is None
    assert augment(sample, draw(6, brightness=0.3), MPII).tags is sample.tags


def test_affine_against_one_step_after_the_other():
    changes = draw(8, scale=0.3, rotation=40, shift=0.2, shear=0.5, flip=0.5)
    point = torch.tensor([10.0, 30.0]).repeat(8, 1, 1)
    found = transform_points(point, affine(changes, SIZE, 96, SIZE))[:, 0]
    for i in range(8):
        x, y = 10.0 - SIZE / 2, 30.0 - SIZE / 2
        x = -x if changes.flip[i] else x
        x = x + float(changes.shear[i]) * y
        a, s = float(changes.rotation[i]), float(changes.scale[i]) * 96 / SIZE
        x, y = s * (math.cos(a) * x - math.sin(a) * y), s * (math.sin(a) * x + math.cos(a) * y)
        expected = torch.tensor([x, y]) + 48 + 96 * changes.shift[i]
        torch.testing.assert_close(found[i], expected, atol=1e-3, rtol=0)
    assert changes.flip.any()
    assert not changes.flip.all()


def test_colours_against_one_step_after_the_other():
    images = 0.3 + 0.4 * torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    changes = draw(4, brightness=0.2, contrast=0.3, saturation=0.4)
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    for image, found, b, c, s in zip(
        images, tint(images, changes), changes.brightness, changes.contrast, changes.saturation, strict=True
    ):
        expected = image * b
        grey = (expected * weights).sum(0, keepdim=True)
        expected = grey + s * (expected - grey)
        mean = (expected * weights).sum(0).mean()
        expected = (mean + c * (expected - mean)).clamp(0, 1)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_nothing_asked_costs_nothing():
    sample = blobs()
    assert augment(sample, draw(6), MPII) is sample
    tinted = augment(sample, draw(6, brightness=0.5), MPII)
    assert tinted.joints is sample.joints
    assert not torch.equal(tinted.images, sample.images)


def test_a_slice_of_the_draw_is_the_draw_of_the_slice():
    sample = blobs()
    ranges = {"scale": 0.25, "rotation": 30, "flip": 0.5, "contrast": 0.2}
    whole = augment(sample, draw(6, **ranges), MPII)
    half = augment(sample[3:], draw(6, **ranges)[3:], MPII)
    torch.testing.assert_close(half.images, whole.images[3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(half.joints, whole.joints[3:])
    # Switching one change off leaves the others what they were.
    assert torch.equal(draw(6, rotation=30).rotation, draw(6, **ranges).rotation)


def test_shrinking_averages():
    stripes = blobs(1)
    stripes.images = (torch.arange(SIZE) % 2).float().expand(1, 3, SIZE, SIZE).contiguous()
    small = augment(stripes, draw(1), MPII, SIZE // 4)
    torch.testing.assert_close(small.images, torch.full_like(small.images, 0.5))
    torch.testing.assert_close(small.joints, stripes.joints / 4)


def test_a_window_is_the_middle_of_the_image():
    sample = blobs()
    middle = augment(sample, draw(6), MPII, window=SIZE // 2)
    quarter = SIZE // 4
    cut = slice(quarter, SIZE - quarter)
    torch.testing.assert_close(middle.images, sample.images[..., cut, cut], atol=1e-5, rtol=0)
    torch.testing.assert_close(middle.joints, sample.joints - quarter)
    torch.testing.assert_close(middle.head_size, sample.head_size)
    # Turned by 45 degrees, the window's corners still show what lies around it: no black, nothing to ignore.
    turned = replace(draw(6, rotation=45), rotation=torch.full((6,), math.pi / 4))
    assert not (augment(sample, turned, MPII, window=SIZE // 2).parsing == IGNORE_LABEL).any()
    assert (augment(sample, turned, MPII).parsing == IGNORE_LABEL).any()


def test_bad_ranges_and_bad_batches():
    with pytest.raises(ValueError, match=r"flip is 1\.5; give a number from 0 to 1"):
        Augmentation(flip=1.5)
    with pytest.raises(ValueError, match=r"scale is 1\.0"):
        Augmentation(scale=1.0)
    sample = blobs()
    with pytest.raises(ValueError, match="drawn for 5 images, the batch has 6"):
        augment(sample, draw(5, flip=1), MPII)
    sample.images = sample.images[..., :40]
    with pytest.raises(ValueError, match="48 x 40"):
        augment(sample, draw(6, flip=1), MPII)
