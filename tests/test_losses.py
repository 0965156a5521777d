from __future__ import annotations

import math

import pytest
import torch

from posebook.coordinates import HeatmapCodec
from posebook.losses import (
    NORMS,
    elastic_net,
    heatmap_loss,
    heatmap_mse,
    presence_cross_entropy,
    structure_aware_loss,
    structure_loss,
)


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


# A pair and a triplet of the three joints of `case`.
GROUPS = torch.tensor([[0, 1, 1], [0, 1, 2]])


def by_hand(error: list[float], norm: str) -> float:
    """The size of a map of these differences, by its definition."""
    if norm == "cells":
        return sum(abs(e) for e in error)
    squares = sum(e * e for e in error)
    return squares if norm == "squared" else math.sqrt(squares)


@pytest.mark.parametrize("norm", NORMS)
def test_equation_1_one_cell_at_a_time(norm):
    maps, target, presence = case()
    total = 0.0
    for b in range(4):
        for j in range(3):
            if presence[b, j] > 0:
                total += by_hand((maps[b, j] - target[b, j]).flatten().tolist(), norm)
    assert heatmap_loss(maps, target, presence, norm).item() == pytest.approx(total / 12, rel=1e-5)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("combination", ["sum", "maximum"])
def test_equation_2_one_cell_at_a_time(norm, combination):
    maps, target, presence = case()
    combine = {"sum": sum, "maximum": max}[combination]
    total = 0.0
    for b in range(4):
        for group in ((0, 1), (0, 1, 2)):
            there = [j for j in group if presence[b, j] > 0]
            if not there:
                continue
            cells = [(r, c) for r in range(6) for c in range(6)]
            total += by_hand(
                [
                    combine([maps[b, j, r, c].item() for j in there])
                    - combine([target[b, j, r, c].item() for j in there])
                    for r, c in cells
                ],
                norm,
            )
    found = structure_loss(maps, target, presence, GROUPS, combination, norm)
    assert found.item() == pytest.approx(total / 4, rel=1e-5)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("combination", ["sum", "maximum"])
def test_both_terms_of_equation_2_at_once(norm, combination):
    maps, target, presence = case()
    presence[1, 2] = 0
    gradients = []
    for both in (True, False):
        some = maps.clone().requires_grad_()
        if both:
            loss = structure_aware_loss(some, target, presence, GROUPS, 0.3, combination, norm)
        else:
            loss = heatmap_loss(some, target, presence, norm)
            loss = loss + 0.3 * structure_loss(some, target, presence, GROUPS, combination, norm)
        gradients.append([loss.detach(), *torch.autograd.grad(loss, some)])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("combination", ["sum", "maximum"])
def test_norms_have_a_finite_gradient_at_no_error(norm, combination):
    _, target, presence = case()
    presence[0] = 0
    maps = target.clone().requires_grad_()
    loss = structure_aware_loss(maps, target, presence, GROUPS, 1.0, combination, norm)
    loss.backward()
    assert loss == 0
    assert torch.count_nonzero(maps.grad) == 0


def test_the_printed_norm_pulls_as_hard_at_any_distance_and_the_squared_one_less_near_by():
    """What eq. (1) does as printed: cells of a small error get the gradient of those of a large one."""
    target, presence = torch.zeros(1, 1, 2, 2), torch.ones(1, 1)
    gradients = {}
    for norm in ("cells", "squared"):
        maps = torch.tensor([[[[1.0, 0.01], [0.0, -0.5]]]], requires_grad=True)
        heatmap_loss(maps, target, presence, norm).backward()
        gradients[norm] = maps.grad.flatten().tolist()
    assert gradients["cells"] == [1.0, 1.0, 0.0, -1.0]
    assert gradients["squared"] == pytest.approx([2.0, 0.02, 0.0, -1.0])


def test_a_combination_cannot_see_joints_that_swap_places():
    """Within a group, a sum or a maximum is the same: only the first term of eq. (2) tells."""
    codec = HeatmapCodec(32)
    joints = torch.tensor([[[6.0, 6.0], [22.0, 10.0], [14.0, 26.0]]])
    presence = torch.full((1, 3), 2)
    target = codec.encode(joints, presence)
    swapped = codec.encode(joints[:, [1, 0, 2]], presence)
    for combination in ("sum", "maximum"):
        assert structure_loss(swapped, target, presence, GROUPS, combination) == 0
    assert heatmap_loss(swapped, target, presence) > 1


def test_unknown_norms_and_combinations():
    maps, target, presence = case()
    with pytest.raises(ValueError, match="norm is 'l3'; give squared, cells, map"):
        heatmap_loss(maps, target, presence, "l3")
    with pytest.raises(ValueError, match="combination is 'mean'; give sum or maximum"):
        structure_loss(maps, target, presence, GROUPS, "mean")
