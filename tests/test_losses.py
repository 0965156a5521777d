from __future__ import annotations

import math

import pytest
import torch

from posebook.coordinates import HeatmapCodec
from posebook.losses import elastic_net, heatmap_mse, presence_cross_entropy


def case(count: int = 4, joints: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn(count, joints, 6, 6, generator=generator)
    target = torch.rand(count, joints, 6, 6, generator=generator)
    presence = torch.randint(0, 3, (count, joints), generator=generator)
    return maps, target, presence.to(torch.uint8)


def test_heatmap_mse_one_cell_at_a_time():
    maps, target, presence = case()
    total = 0.0
    for b in range(4):
        for j in range(3):
            if presence[b, j] > 0:
                total += sum((maps[b, j, r, c] - target[b, j, r, c]).item() ** 2 for r in range(6) for c in range(6))
    assert heatmap_mse(maps, target, presence).item() == pytest.approx(total / 12, rel=1e-5)


@pytest.mark.parametrize(("size", "sigma"), [(128, 1.0), (256, 1.0), (128, 2.0)])
def test_blank_maps_cost_the_energy_of_a_gaussian_at_any_size(size, sigma):
    codec = HeatmapCodec(size, sigma=sigma)
    presence = torch.full((1, 1), 2)
    target = codec.encode(torch.full((1, 1, 2), 0.45 * size), presence)
    assert heatmap_mse(torch.zeros_like(target), target, presence).item() == pytest.approx(math.pi * sigma**2, rel=1e-3)


def test_absent_joints_teach_nothing_and_occluded_ones_as_much_as_visible_ones():
    maps, target, _ = case()
    presence = torch.tensor([0, 1, 2], dtype=torch.uint8).expand(4, 3).clone()
    maps.requires_grad_()
    loss = heatmap_mse(maps, target, presence)
    loss.backward()
    assert torch.count_nonzero(maps.grad[:, 0]) == 0
    assert (maps.grad[:, 1:] != 0).all()
    assert heatmap_mse(maps, target, presence.clamp(max=1)) == loss
    assert heatmap_mse(maps, target, torch.zeros_like(presence)) == 0


def test_mean_over_halves_is_the_loss_of_the_whole():
    maps, target, presence = case()
    presence[:2] = 0  # one half has no joint at all
    halves = [heatmap_mse(maps[part], target[part], presence[part]) for part in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(torch.stack(halves).mean(), heatmap_mse(maps, target, presence))


def test_bfloat16_maps_are_summed_in_float32():
    maps, target, presence = case()
    half = maps.bfloat16()
    torch.testing.assert_close(heatmap_mse(half, target, presence), heatmap_mse(half.float(), target, presence))


def place_case(count: int = 4, joints: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    places, target = torch.rand(2, count, joints, 2, generator=generator)
    presence = torch.randint(0, 3, (count, joints), generator=generator)
    return places, target, presence.to(torch.uint8)


def test_elastic_net_one_coordinate_at_a_time():
    places, target, presence = place_case()
    assert 0 < (presence > 0).sum() < 12
    total = 0.0
    for b in range(4):
        for j in range(3):
            if presence[b, j] > 0:
                errors = (places[b, j] - target[b, j]).tolist()
                total += sum(abs(error) + error**2 for error in errors)
    assert elastic_net(places, target, presence).item() == pytest.approx(total / 12, rel=1e-5)


def test_elastic_net_takes_no_notice_of_what_absent_joints_hold():
    places, target, _ = place_case()
    presence = torch.tensor([0, 1, 2], dtype=torch.uint8).expand(4, 3)
    places.requires_grad_()
    clean = elastic_net(places, target, presence)
    target[:, 0] = math.nan
    loss = elastic_net(places, target, presence)
    assert loss == clean
    loss.backward()
    assert places.grad.isfinite().all()
    assert not places.grad[:, 0].any()
    assert places.grad[:, 1:].all()
    assert elastic_net(places, target, torch.zeros_like(presence)) == 0


def test_cross_entropy_is_minus_the_logarithm_of_the_chance():
    logits = torch.tensor([[-2.0, 0.0, 1.5]])
    presence = torch.tensor([[0, 1, 2]], dtype=torch.uint8)
    chance = [1 / (1 + math.exp(-logit)) for logit in (-2.0, 0.0, 1.5)]
    expected = -(math.log(1 - chance[0]) + math.log(chance[1]) + math.log(chance[2])) / 3
    assert presence_cross_entropy(logits, presence).item() == pytest.approx(expected, rel=1e-5)
    # Far out the probability is 0 or 1 in float32, and its logarithm would be infinite.
    assert presence_cross_entropy(torch.full((1, 3), -200.0), torch.ones(1, 3)).item() == pytest.approx(200)


@pytest.mark.parametrize("loss", ["elastic_net", "presence_cross_entropy"])
def test_mean_over_halves_is_the_whole_for_places_and_presence(loss):
    places, target, presence = place_case()
    presence[:2] = 0  # one half has no joint at all

    def of(part: slice) -> torch.Tensor:
        if loss == "elastic_net":
            return elastic_net(places[part], target[part], presence[part])
        return presence_cross_entropy(places[part, :, 0], presence[part])

    torch.testing.assert_close(torch.stack([of(slice(0, 2)), of(slice(2, 4))]).mean(), of(slice(0, 4)))
