"""Perturbed boxes, and conditional testing: who is looked at again, what is fused, what it costs, how it is chosen."""

from __future__ import annotations

from copy import copy

import pytest
import torch
from torch import nn

from posebook.coordinates import Perturbation
from posebook.evaluation.conditional import (
    BOXES,
    Thresholds,
    choose_thresholds,
    conditional_testing,
    scores_through_boxes,
)
from posebook.figures.dataset import Figures
from posebook.papers import create
from posebook.sample import Sample
from posebook.skeleton import MPII

SIZE, PEOPLE = 32, 40
TWO = (Perturbation(scale=0.8), Perturbation(shift=(0.1, -0.05), scale=1.3))


class Numbered:
    """People whose images say which person and which box they are."""

    name, split, skeleton, size, widen, length = "numbered", "test", MPII, SIZE, 1.0, PEOPLE
    device = torch.device("cpu")

    def __init__(self, boxes: tuple[Perturbation, ...] = TWO) -> None:
        self.boxes, self.by, self.asked = boxes, None, []
        self.joints = 8 + 16 * torch.rand(PEOPLE, 16, 2, generator=torch.Generator().manual_seed(0))

    def perturbed(self, by: Perturbation) -> Numbered:
        other = copy(self)
        other.by = by
        return other

    def batch(self, indices: torch.Tensor) -> Sample:
        trial = 0 if self.by is None else 1 + self.boxes.index(self.by)
        self.asked.extend((trial, number) for number in indices.tolist())
        images = torch.zeros(len(indices), 3, SIZE, SIZE)
        images[:, 0], images[:, 1] = indices[:, None, None] / 100, trial / 10
        joints = self.joints[indices] if self.by is None else self.by.apply(self.joints[indices], SIZE)
        return Sample(images, joints, torch.full((len(indices), 16), 2, dtype=torch.uint8),
                      torch.full((len(indices),), 4.0), torch.full((len(indices),), 8.0), indices)  # fmt: skip


class Told(nn.Module):
    """A network that is told what to find: off by so many pixels of the person's window, with a confidence."""

    def __init__(self, dataset: Numbered, off: torch.Tensor, confidence: torch.Tensor) -> None:
        super().__init__()
        self.dataset, self.off, self.confidence = dataset, off, confidence
        self.settings = {"size": SIZE}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def decode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        number, trial = (100 * images[:, 0, 0, 0]).round().long(), (10 * images[:, 1, 0, 0]).round().long()
        found = self.dataset.joints[number] + self.off[trial, number]
        boxes = [Perturbation(), *self.dataset.boxes]
        return torch.stack([boxes[t].apply(f, SIZE) for t, f in zip(trial, found, strict=True)]), self.confidence[
            trial, number
        ]


def told(off: float = 0.0, confidence: float = 1.0) -> tuple[Numbered, Told]:
    dataset = Numbered()
    return dataset, Told(dataset, torch.full((3, PEOPLE, 16, 2), off), torch.full((3, PEOPLE, 16), confidence))


def test_a_perturbation_and_back():
    points = torch.rand(5, 16, 2) * 64
    by = Perturbation(shift=(0.25, -0.1), scale=0.5)
    # The person's window starts a quarter of the box's new side to the left of it.
    torch.testing.assert_close(by.apply(torch.tensor([48.0, 25.6]), 64), torch.tensor([32.0, 32.0]))
    torch.testing.assert_close(by.undo(by.apply(points, 64), 64), points)
    # One after the other is the box that the second makes of the first's.
    other = Perturbation(shift=(-0.3, 0.2), scale=1.7)
    both = by.then(other)
    torch.testing.assert_close(both.apply(points, 64), other.apply(by.apply(points, 64), 64), atol=1e-3, rtol=0)
    assert Figures("test", 32).perturbed(by).perturbed(other).perturbation == both
    for scale in (0, -1.0):
        with pytest.raises(ValueError, match="perturbation: scale is"):
            Perturbation(scale=scale)


@pytest.mark.parametrize(
    "by", [Perturbation(), Perturbation((0.2, -0.1)), Perturbation(scale=0.6), Perturbation((0.1, 0.1), 1.5)]
)
def test_figures_through_a_box(by):
    own = Figures("test", 96)
    numbers = torch.arange(12)
    before, after = own.batch(numbers), own.perturbed(by).batch(numbers)
    torch.testing.assert_close(after.joints, by.apply(before.joints, 96), atol=1e-3, rtol=0)
    torch.testing.assert_close(after.head_size, before.head_size / by.scale)
    inside = ((after.joints >= 0) & (after.joints < 96)).all(-1)
    assert (after.presence[~inside] == 0).all()
    # What was in both is the same person at the same places; joints at an edge may be hidden at one size alone.
    both = inside & (before.presence > 0)
    assert (after.presence[both] > 0).all()
    assert (after.presence[both] == before.presence[both]).float().mean() > 0.97
    centre = torch.arange(96) + 0.5
    pixels = torch.stack(torch.meshgrid(centre, centre, indexing="xy"), -1)
    places = by.apply(pixels, 96).floor().long()
    seen = ((places >= 0) & (places < 96)).all(-1)
    x, y = places[seen].T
    same = before.instances[:, seen] == after.instances[:, y, x]
    assert same.float().mean() > 0.97
    if by == Perturbation():
        torch.testing.assert_close(after.images, before.images, atol=1e-5, rtol=0)
    # The set itself is what it was.
    assert torch.equal(own.batch(numbers).images, before.images)


def test_the_curve_is_of_the_people_s_own_windows():
    dataset, model = told()
    assert scores_through_boxes(model, dataset, TWO) == [1.0, 1.0]
    # Half a head is 2 pixels of the window, whatever a box makes of them: 1 to the right and down is less, 1.5 is more.
    dataset, model = told(off=1.0)
    assert scores_through_boxes(model, dataset, TWO) == [1.0, 1.0]
    dataset, model = told(off=1.5)
    assert scores_through_boxes(model, dataset, TWO) == [0.0, 0.0]
    network = create("hourglass", size=32, stacks=1, features=8, depth=1).eval()
    assert all(0 <= score <= 1 for score in scores_through_boxes(network, Figures("test", 32), TWO, count=8))


def test_who_is_sure_is_looked_at_once():
    dataset, model = told()
    thresholds = Thresholds(torch.full((16,), 0.5), 0.5, TWO)
    found = conditional_testing(model, dataset, thresholds)
    assert (found.passes == 1).all()
    torch.testing.assert_close(found.joints, dataset.joints)
    assert [trial for trial, _ in dataset.asked] == [0] * PEOPLE


def test_who_is_not_is_looked_at_until_every_joint_is_found_with_confidence():
    dataset, model = told()
    model.confidence[:, 3] = 0.2  # never
    model.confidence[0, 5, 7] = 0.2  # at first
    model.confidence[:2, 8, 1] = 0.2  # twice
    found = conditional_testing(model, dataset, Thresholds(torch.full((16,), 0.5), 0.5, TWO))
    expected = torch.ones(PEOPLE, dtype=torch.long)
    expected[3], expected[5], expected[8] = 3, 2, 3
    assert torch.equal(found.passes, expected)
    # And nobody else.
    assert sorted(pair for pair in dataset.asked if pair[0]) == [(1, 3), (1, 5), (1, 8), (2, 3), (2, 8)]
    assert found.confidence[5, 7] == 1
    assert found.confidence[3].max() == pytest.approx(0.2)
    torch.testing.assert_close(found.joints, dataset.joints, atol=1e-4, rtol=0)
    assert torch.equal(found.truth.joints, dataset.joints)


def test_confident_joints_are_averaged_and_others_are_not():
    dataset, model = told()
    model.confidence[:, 3, 0] = torch.tensor([0.4, 0.6, 0.8])
    model.off[:, 3, 0, 0] = torch.tensor([100.0, 3.0, 6.0])
    model.confidence[:, 4, 0] = torch.tensor([0.1, 0.3, 0.2])
    model.off[:, 4, 0, 0] = torch.tensor([100.0, 5.0, 6.0])
    found = conditional_testing(model, dataset, Thresholds(torch.full((16,), 0.9), 0.5, TWO)).joints - dataset.joints
    assert found[3, 0, 0].item() == pytest.approx((0.6 * 3 + 0.8 * 6) / 1.4, abs=1e-3)
    # None is confident: the surest.
    assert found[4, 0, 0].item() == pytest.approx(5, abs=1e-3)


def test_a_thresholds_is_chosen_by_what_it_gains():
    # Whoever is unsure is wrong at first, and found by the first perturbed box.
    dataset, model = told()
    model.confidence[0] = 0.5 + 0.5 * torch.rand(PEOPLE, 16, generator=torch.Generator().manual_seed(1))
    model.confidence[0, :4] = 0.1
    model.off[0, :4] = 50.0
    thresholds = choose_thresholds(model, dataset, boxes=TWO)
    found = conditional_testing(model, dataset, thresholds)
    torch.testing.assert_close(found.joints[:4], dataset.joints[:4], atol=1e-3, rtol=0)
    assert (found.passes[:4] == 2).all()
    # Where looking again is of no use, nobody is.
    dataset, model = told()
    assert (conditional_testing(model, dataset, choose_thresholds(model, dataset, boxes=TWO)).passes == 1).all()


def test_a_network_on_figures_costs_what_it_looks():
    network = create("hourglass", size=32, stacks=1, features=8, depth=1).eval()
    dataset = Figures("validation", 32)
    thresholds = choose_thresholds(network, dataset, 24)
    assert thresholds.boxes == BOXES
    always = Thresholds(torch.full((16,), torch.inf), thresholds.tau_s)
    assert (conditional_testing(network, dataset, always, 10).passes == 7).all()
