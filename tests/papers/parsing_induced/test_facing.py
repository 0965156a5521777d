"""What predicted kernels tell of people: known on networks whose kernels are made by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from posebook.coordinates import HeatmapCodec
from posebook.datasets import open_dataset
from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.evaluation.metrics import Truth
from posebook.papers import create
from posebook.papers.parsing_induced import facing as module
from posebook.papers.parsing_induced.facing import TooFew, TwoKernels, facing, strangers, swapped, two_kernels
from posebook.sample import Sample
from posebook.skeleton import MPII, TAGS

SIZE, JOINTS = 64, len(MPII)
# No joint is so near to its mirror joint, or to another place of it, that both count as found.
PLACES = torch.stack([4.0 * torch.arange(JOINTS) + 2, torch.full((JOINTS,), 32.0)], -1)
PAIRED = torch.tensor(MPII.mirror) != torch.arange(JOINTS)


class Switch(nn.Module):
    """Where the first kernel value is below 0.5 joints lie where they do in front views, else they are mirrored.

    An image's red tells how the person faces, its green how much of a back view the network takes it for.
    """

    def __init__(self, variant: str = "pil") -> None:
        super().__init__()
        self.settings = {"variant": variant, "size": SIZE}
        self.codec = HeatmapCodec(SIZE, 4)

    def forward(self, images, kernels=None):
        if kernels is None:
            kernels = images[:, 1:2, :3, :3].clone()  # (b, 1, 3, 3)
        mirrored = kernels[:, 0, 0, 0, None, None] > 0.5
        joints = torch.where(mirrored, PLACES[MPII.mirror], PLACES)
        presence = torch.full(joints.shape[:2], 2, dtype=torch.uint8)
        return SimpleNamespace(maps=self.codec.encode(joints, presence), kernels=kernels)

    def maps(self, outputs):
        return outputs.maps


class Turned:
    """People of whom every fourth is seen from behind, and whose left and right are then the other way round.

    Args:
        taken: how much of a back view the network takes each of four people for; the last is seen from behind.
    """

    name, skeleton, widen, size, device = "figures", MPII, 1.0, SIZE, torch.device("cpu")

    def __init__(self, split="test", length=40, taken=(0.0, 0.0, 0.0, 1.0), backs=1) -> None:
        self.split, self.length, self.taken, self.backs = split, length, torch.tensor(taken), backs

    def batch(self, indices):
        back = indices % 4 >= 4 - self.backs
        images = torch.zeros(len(indices), 3, SIZE, SIZE)
        images[:, 0] = back[:, None, None].float()
        images[:, 1] = self.taken[indices % 4][:, None, None]
        tags = torch.zeros(len(indices), len(TAGS), dtype=torch.bool)
        tags[:, TAGS.index("back_view")] = back
        return Sample(
            images=images,
            joints=torch.where(back[:, None, None], PLACES[MPII.mirror], PLACES),
            presence=torch.full((len(indices), JOINTS), 2, dtype=torch.uint8),
            head_size=torch.full((len(indices),), 4.0),
            torso_size=torch.full((len(indices),), 8.0),
            index=indices,
            tags=tags,
        )


def test_of_kernels_that_are_a_switch_the_facing_is_all_there_is():
    found = facing(Switch(), Turned(), Turned("train", None), batch_size=7)
    unpaired = 1 - PAIRED.float().mean().item()
    assert found == pytest.approx(
        {
            "own": 1.0,
            "same_way": 1.0,
            "two_true": 1.0,
            "two_predicted": 1.0,
            "one_number": 1.0,
            # Those without sides are found either way.
            "other_way": unpaired,
            # The mean kernel is that of a front view: three quarters of the people are.
            "any_way": 0.75 + 0.25 * unpaired,
            "facing_accuracy": 1.0,
            "front_views": 0.75,
            "swapped_other": 1.0,
        }
    )  # and no joint is wrong with people's own kernels


def test_a_facing_that_is_taken_wrongly_costs_where_it_is_told_and_not_where_it_is_known():
    # One front view of three looks like a back view.
    found = facing(Switch(), Turned(taken=(0.0, 0.0, 1.0, 1.0)), Turned("train", None), 40)
    lost = 0.25 * PAIRED.float().mean().item()
    assert found["facing_accuracy"] == pytest.approx(0.75)
    assert found["own"] == found["two_predicted"] == found["one_number"] == pytest.approx(1 - lost)
    assert found["two_true"] == 1.0
    assert found["swapped_own"] == 1.0


def test_means_are_of_training_people_alone():
    # Those of the training set look the other way round, and so the nearer mean tells the wrong way.
    found = facing(Switch(), Turned(), Turned("train", None, taken=(1.0, 1.0, 1.0, 0.0)))
    assert found["facing_accuracy"] == 0.0
    assert found["two_predicted"] == found["own"] == 1.0
    assert found["two_true"] == found["other_way"] < 1


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_two_kernels_are_means_and_the_line_through_them(device):
    torch.manual_seed(0)
    kernels = torch.randn(9, 4, 3, 3)
    back = torch.arange(9) % 3 == 0
    found = two_kernels(kernels, back)
    assert torch.allclose(found.front, sum(kernels[i] for i in (1, 2, 4, 5, 7, 8)) / 6, atol=1e-6)
    assert torch.allclose(found.back, (kernels[0] + kernels[3] + kernels[6]) / 3, atol=1e-6)
    found = TwoKernels(found.front.to(device), found.back.to(device))
    kernels, back = kernels.to(device), back.to(device)
    chosen, told, nearest = found.chosen(back), found.tell(kernels), found.nearest(kernels)
    assert chosen.shape == nearest.shape == kernels.shape
    assert told.shape == (9,)
    assert {some.device.type for some in (chosen, told, nearest)} == {device}
    if device == "cpu":
        assert torch.equal(found.tell(chosen), back)
        assert torch.allclose(found.nearest(chosen), chosen, atol=1e-5)
        # What is left out is at right angles to the line.
        assert torch.allclose(
            ((kernels - nearest) * (found.back - found.front)).sum((1, 2, 3)), torch.zeros(9), atol=1e-4
        )


def test_a_stranger_is_somebody_else():
    back = torch.rand(50, generator=torch.Generator().manual_seed(0)) < 0.2
    same, other = strangers(back)
    assert torch.equal(back[same], back)
    assert torch.equal(back[other], ~back)
    assert (same != torch.arange(50)).all()
    # Each is somebody's stranger once; of the other way, the few are taken evenly.
    assert torch.equal(same.sort().values, torch.arange(50))
    counts = other[~back].bincount(minlength=50)[back]
    assert counts.max() - counts.min() <= 1


def test_swaps_are_counted_among_the_wrong_joints():
    benchmark = BENCHMARKS["mpii"]
    truth = Truth(PLACES[None], torch.full((1, JOINTS), 2, dtype=torch.uint8), torch.tensor([4.0]), torch.tensor([8.0]))
    assert swapped(PLACES[None], truth, benchmark).isnan()
    predicted = PLACES[None].clone()
    left, right, head = (MPII.index(name) for name in ("l_knee", "r_knee", "head_top"))
    predicted[0, [left, right]] = PLACES[[right, left]]
    assert float(swapped(predicted, truth, benchmark)) == 1.0
    predicted[0, [head, MPII.index("l_ankle")]] = -10.0
    assert float(swapped(predicted, truth, benchmark)) == 0.5
    # Where the mirror joint is not there, nobody can tell.
    truth.presence[0, left] = 0
    assert float(swapped(predicted, truth, benchmark)) == 0.0


def test_figures_and_the_network_itself():
    sets = [open_dataset("figures", split, size=32, difficulty="plain") for split in ("test", "train")]
    model = create("parsing_induced", stacks=1, features=8, depth=1, parsing_units=1, poolings=0, size=32).train()
    found = facing(model, *sets, count=24)
    names = {
        "own",
        "same_way",
        "other_way",
        "any_way",
        "two_true",
        "two_predicted",
        "one_number",
        "facing_accuracy",
        "front_views",
    }
    assert names <= found.keys()
    assert all(0 <= value <= 1 for value in found.values())
    assert model.training
    assert found == facing(model, *sets, count=24)


def test_what_cannot_be_compared_is_said(monkeypatch):
    with pytest.raises(TooFew, match=r"of 40 people, 0 are seen from behind and 40 are not: .* at least 2 of either"):
        facing(Switch(), Turned(backs=0), Turned("train", None))
    with pytest.raises(TooFew, match="at least 1 of either"):
        facing(Switch(), Turned(), Turned("train", None, backs=4))
    with pytest.raises(ValueError, match="a pose predicts no kernels: give a network of variant pil"):
        facing(Switch("pose"), Turned(), Turned("train", None))
    untagged = Turned()
    monkeypatch.setattr(untagged, "batch", lambda indices: replace(Turned().batch(indices), tags=None))
    with pytest.raises(ValueError, match="figures/test does not tell who is seen from behind: take figures"):
        facing(Switch(), untagged, Turned("train", None))
    assert module.TRAINING_PEOPLE > 40  # more than the held-out people here
