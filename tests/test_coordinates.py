from __future__ import annotations

import math

import pytest
import torch

from posebook.coordinates import HeatmapCodec, invert, pixel_centres, similarity, transform_points, warp


def blob(x: float, y: float, width: int, height: int, sigma: float = 3.0) -> torch.Tensor:
    """An image of one Gaussian at (x, y)."""
    across = torch.exp(-0.5 * ((pixel_centres(width) - x) / sigma) ** 2)
    down = torch.exp(-0.5 * ((pixel_centres(height) - y) / sigma) ** 2)
    return (down[:, None] * across)[None, None]


def centroid(image: torch.Tensor) -> torch.Tensor:
    """Centre of mass (x, y) of an image of one channel, in pixels."""
    mass = image[0, 0]
    x = (mass.sum(0) * pixel_centres(mass.shape[1])).sum()
    y = (mass.sum(1) * pixel_centres(mass.shape[0])).sum()
    return torch.stack([x, y]) / mass.sum()


def some_affines(count: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    draw = torch.rand(count, 4, generator=generator)
    return similarity(40 * draw[:, :2], 20 + 40 * draw[:, 2], 32, rotation=6 * draw[:, 3])


def test_first_pixel_centre_is_half_a_pixel_in():
    assert pixel_centres(3).tolist() == [0.5, 1.5, 2.5]


def test_similarity_puts_the_window_on_the_crop():
    centre, window = torch.tensor([[50.0, 30.0]]), torch.tensor([20.0])
    affine = similarity(centre, window, 64)
    window_corners = torch.tensor([[[40.0, 20.0], [60.0, 20.0], [60.0, 40.0], [50.0, 30.0]]])
    crop_corners = torch.tensor([[[0.0, 0.0], [64.0, 0.0], [64.0, 64.0], [32.0, 32.0]]])
    torch.testing.assert_close(transform_points(window_corners, affine), crop_corners)


def test_rotation_is_clockwise_as_seen():
    quarter = similarity(torch.tensor([[5.0, 5.0]]), torch.tensor([10.0]), 10, torch.tensor([math.pi / 2]))
    right_of_centre = torch.tensor([[[8.0, 5.0]]])
    torch.testing.assert_close(transform_points(right_of_centre, quarter), torch.tensor([[[5.0, 8.0]]]))


def test_invert_takes_points_back():
    affine = some_affines()
    points = 40 * torch.rand(5, 2, 3, 2, generator=torch.Generator().manual_seed(0))
    there = transform_points(points, affine)
    assert there.shape == points.shape
    assert not torch.allclose(there, points, atol=1)
    torch.testing.assert_close(transform_points(there, invert(affine)), points, atol=1e-3, rtol=0)


@pytest.mark.parametrize("rotation", [0.0, 0.7, -2.0])
@pytest.mark.parametrize("window", [30.0, 60.0])
def test_warp_carries_a_blob_to_where_its_point_goes(rotation, window):
    image = blob(33.3, 24.8, width=70, height=50)
    affine = similarity(torch.tensor([[30.0, 26.0]]), torch.tensor([window]), 48, torch.tensor([rotation]))
    moved = warp(image, affine, (48, 48))
    expected = transform_points(torch.tensor([[[33.3, 24.8]]]), affine)[0, 0]
    assert (centroid(moved) - expected).abs().max() < 0.05


def test_warp_to_a_rectangle_and_of_every_image_by_its_own_map():
    affine = torch.tensor([[[1.0, 0.0, 4.0], [0.0, 1.0, -3.0]], [[0.5, 0.0, 0.0], [0.0, 1.5, 0.0]]])
    images = blob(16.0, 15.0, 32, 32, sigma=2.0).expand(2, 1, 32, 32)
    moved = warp(images, affine, (40, 30))
    assert moved.shape == (2, 1, 40, 30)
    assert (centroid(moved[:1]) - torch.tensor([20.0, 12.0])).abs().max() < 0.05
    assert (centroid(moved[1:]) - torch.tensor([8.0, 22.5])).abs().max() < 0.05


def test_warp_by_nothing_changes_nothing():
    images = torch.rand(2, 3, 9, 7)
    identity = torch.eye(2, 3).expand(2, 2, 3)
    torch.testing.assert_close(warp(images, identity, (9, 7)), images, atol=1e-5, rtol=0)
    labels = torch.randint(0, 20, (2, 1, 9, 7)).float()
    assert torch.equal(warp(labels, identity, (9, 7), mode="nearest"), labels)


def test_padding_beyond_the_edge():
    images, away = torch.ones(1, 1, 8, 8), torch.tensor([[[1.0, 0.0, 20.0], [0.0, 1.0, 0.0]]])
    assert warp(images, away, 8).max() == 0
    assert warp(images, away, 8, padding="border").min() == 1


@pytest.mark.parametrize(("offset", "error"), [("none", 2.0), ("quarter", 1.0), ("parabola", 1e-3)])
def test_what_is_encoded_is_read_back(offset, error):
    codec = HeatmapCodec(size=64, stride=4)
    joints = 6 + 52 * torch.rand(3, 16, 2, generator=torch.Generator().manual_seed(0))
    found, peak = codec.decode(codec.encode(joints, torch.full((3, 16), 2)), offset)
    assert (found - joints).abs().max() <= error + 1e-4
    assert ((peak > math.exp(-0.25) - 1e-4) & (peak <= 1)).all()


def test_half_pixels_come_back_exactly():
    # The middle of cell (2, 5) at stride 4 is (10, 22): no offset, and a peak of exactly 1.
    codec = HeatmapCodec(size=32, stride=4)
    maps = codec.encode(torch.tensor([[[10.0, 22.0]]]), torch.tensor([[2]]))
    assert maps[0, 0, 5, 2] == 1
    for offset in ("none", "quarter", "parabola"):
        torch.testing.assert_close(codec.decode(maps, offset)[0], torch.tensor([[[10.0, 22.0]]]))


def test_encode_is_the_gaussian_written_out():
    codec = HeatmapCodec(size=24, stride=4, sigma=1.3)
    maps = codec.encode(torch.tensor([[[7.0, 15.5]]]), torch.tensor([[1]]))[0, 0]
    for row in range(6):
        for column in range(6):
            squared = (column + 0.5 - 7.0 / 4) ** 2 + (row + 0.5 - 15.5 / 4) ** 2
            assert maps[row, column].item() == pytest.approx(math.exp(-squared / (2 * 1.3**2)), rel=1e-4)


def test_no_target_is_a_denormal_number():
    maps = HeatmapCodec(size=256).encode(torch.tensor([[[1.0, 255.0]]]), torch.tensor([[2]]))
    assert maps.min() >= torch.finfo(torch.float32).tiny


def test_absent_and_outside_joints_have_blank_maps():
    codec = HeatmapCodec(size=32)
    joints = torch.tensor([[[10.0, 10.0], [10.0, 10.0], [-0.1, 10.0], [10.0, 32.0], [0.0, 31.9]]])
    maps = codec.encode(joints, torch.tensor([[0, 1, 2, 2, 2]]))
    assert (maps.flatten(2).amax(-1) > 0).tolist() == [[False, True, False, False, True]]


def test_scaling_an_image_scales_its_joints():
    joints, presence = torch.tensor([[[21.0, 13.0]]]), torch.tensor([[2]])
    small, large = HeatmapCodec(size=32, stride=2), HeatmapCodec(size=64, stride=4)
    torch.testing.assert_close(small.encode(joints, presence), large.encode(2 * joints, presence))


def test_any_number_of_leading_dimensions():
    codec = HeatmapCodec(size=32)
    joints, presence = 4 + 24 * torch.rand(2, 3, 5, 2), torch.full((2, 3, 5), 2)
    maps = codec.encode(joints, presence)
    assert maps.shape == (2, 3, 5, 8, 8)
    torch.testing.assert_close(maps[1, 2], codec.encode(joints[1, 2], presence[1, 2]))
    found, peak = codec.decode(maps)
    assert found.shape == joints.shape
    assert peak.shape == presence.shape


@pytest.mark.parametrize("offset", ["none", "quarter", "parabola"])
def test_a_peak_at_the_border_stays_inside(offset):
    codec = HeatmapCodec(size=32)
    joints = torch.tensor([[[0.2, 0.2], [31.8, 31.8], [0.2, 16.0]]])
    found, _ = codec.decode(codec.encode(joints, torch.full((1, 3), 2)), offset)
    assert ((found >= 0) & (found <= 32)).all()
    assert (found - joints).abs().max() <= 2
    blank, peak = codec.decode(torch.zeros(1, 1, 8, 8), offset)
    assert blank.isfinite().all()
    assert peak == 0


@pytest.mark.parametrize("offset", ["none", "quarter", "parabola"])
def test_a_codec_reads_by_its_own_offset_unless_told_otherwise(offset):
    codec, plain = HeatmapCodec(size=64, offset=offset), HeatmapCodec(size=64)
    maps = plain.encode(torch.tensor([[[30.7, 21.2]]]), torch.tensor([[2]]))
    assert torch.equal(codec.decode(maps)[0], plain.decode(maps, offset)[0])
    for other in ("none", "quarter", "parabola"):
        assert torch.equal(codec.decode(maps, other)[0], plain.decode(maps, other)[0])
    assert (offset == "quarter") == torch.equal(codec.decode(maps)[0], plain.decode(maps)[0])


def test_unknown_offset_is_named():
    with pytest.raises(ValueError, match="not 'half'"):
        HeatmapCodec(size=32).decode(torch.zeros(1, 1, 8, 8), "half")
    with pytest.raises(ValueError, match="offset must be 'none', 'quarter' or 'parabola', not 'half'"):
        HeatmapCodec(size=32, offset="half")
