"""The exercises of `00_start_here`: right answers, and what is said of plausible wrong ones."""

from __future__ import annotations

import pytest
import torch

from posebook.check import start as check
from posebook.check.answers import WrongAnswer
from posebook.skeleton import MPII


def refused(checked, answer, sentence: str) -> None:
    with pytest.raises(WrongAnswer, match=sentence):
        checked(answer)


@pytest.mark.parametrize("answer", [(2.625, 5.125), [0.25 * 10.5, 0.25 * 20.5], torch.tensor([2.625, 5.125])])
def test_half_a_pixel_and_then_the_scale(answer, capsys):
    check.half_pixel(answer)
    assert capsys.readouterr().out.startswith("Right: ")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((2.5, 5.0), "before scaling"),
        ((3.0, 5.5), "before the scale or after it"),
        ((2.125, 4.625), "the tool itself"),
        ((2.375, 4.875), "the other way"),
        ((5.125, 2.625), "x comes first"),
        ((40.0, 80.0), "write down the wrist"),
        ((2.625,), r"the shape is \(1,\), where \(2,\) is wanted"),
        ("2.6", "not str"),
    ],
)
def test_other_half_pixels(answer, sentence):
    refused(check.half_pixel, answer, sentence)


def centres(maps, stride=4, half=0.5):
    height, width = maps.shape[-2:]
    weights = maps / maps.sum((-2, -1), keepdim=True)
    x = (weights.sum(-2) * (torch.arange(width) + half)).sum(-1)
    y = (weights.sum(-1) * (torch.arange(height) + half)).sum(-1)
    return stride * torch.stack([x, y], -1)


def test_the_centre_of_mass(capsys):
    check.centre_of_mass(centres)
    assert capsys.readouterr().out == "Right: mean error 0.000 px on maps without noise\n"


def highest_cell(maps):
    cell = maps.flatten(-2).argmax(-1)
    return torch.stack([cell % 32, cell // 32], -1) * 4 + 2.0


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda maps: centres(maps).flip(-1), "x and y are exchanged"),
        (lambda maps: centres(maps, stride=1), "how many pixels is a cell wide"),
        (lambda maps: centres(maps, half=0), "half a cell too far"),
        (lambda maps: centres(maps, 1, 0), "counted from 0"),
        (lambda maps: centres(maps) * maps.sum((-2, -1))[..., None], "sum to 1"),
        (lambda maps: centres(maps) * maps.sum((-2, -1))[..., None] / 6.2832, "have not"),
        (highest_cell, "the mean error is 1.5"),
        (lambda maps: centres(maps)[:, 0], r"gives \(300, 2\)"),
        (lambda maps: centres(maps).tolist(), "gives list"),
        ((1.0, 2.0), "not tuple"),
    ],
)
def test_other_readings_of_a_map(answer, sentence):
    refused(check.centre_of_mass, answer, sentence)


def flipped(image, joints):
    return image.flip(-1), (joints * torch.tensor([-1.0, 1.0]) + torch.tensor([image.shape[-1], 0.0]))[MPII.mirror]


def test_the_mirror(capsys):
    check.mirrored(flipped)
    assert capsys.readouterr().out.startswith("Right: ")


def only(change):
    """A mirror whose joints are otherwise: a function of the image's width and the joints."""
    return lambda image, joints: (image.flip(-1), change(image.shape[-1], joints))


def point(x, y):
    return torch.stack([x, y], -1)


def in_place(image, joints):
    joints[:, 0] = image.shape[-1] - joints[:, 0]
    return image.flip(-1), joints[MPII.mirror]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (only(lambda width, joints: point(width - joints[:, 0], joints[:, 1])), "under its old name"),
        # The solution that swaps x and not y.
        (only(lambda width, joints: point((width - joints[:, 0])[MPII.mirror], joints[:, 1])), "kept its y"),
        (only(lambda width, joints: joints[MPII.mirror]), "the points have not moved"),
        (only(lambda width, joints: point(width - 1 - joints[:, 0], joints[:, 1])[MPII.mirror]), "one pixel off"),
        (only(lambda width, joints: (width - joints)[MPII.mirror]), "leaves the heights"),
        (only(lambda width, joints: point(-joints[:, 0], joints[:, 1])[MPII.mirror]), "as far from the right edge"),
        (only(lambda width, joints: point(width - joints[:, 0], joints[MPII.mirror, 1])), "x is not right"),
        (only(lambda width, joints: joints[:3]), r"have shape \(3, 2\)"),
        (lambda image, joints: (image.flip(-2), joints), "upside down"),
        (lambda image, joints: (image, joints), "not mirrored"),
        (lambda image, joints: image.flip(-1), "two things"),
        (in_place, "changes what it is given"),
        (7, "not int"),
    ],
)
def test_other_mirrors(answer, sentence):
    refused(check.mirrored, answer, sentence)
