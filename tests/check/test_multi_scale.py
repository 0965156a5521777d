"""Right answers to the exercises on the multi-scale network, and what is said of plausible wrong ones."""

from __future__ import annotations

import math

import pytest
import torch

from posebook.check import multi_scale as check
from posebook.check.answers import WrongAnswer
from posebook.sample import Sample
from posebook.skeleton import MPII


@pytest.fixture
def sample() -> Sample:
    """Six people of whom all joints are visible, on images that differ from pixel to pixel."""
    random = torch.Generator().manual_seed(0)
    return Sample(
        images=torch.rand(6, 3, 64, 64, generator=random),
        joints=8 + 48 * torch.rand(6, 16, 2, generator=random),
        presence=torch.full((6, 16), 2, dtype=torch.uint8),
        head_size=torch.full((6,), 10.0),
        torso_size=torch.full((6,), 20.0),
        index=torch.arange(6),
    )


def added_parameters(stacks, features, joints, scales):
    return stacks * (scales - 1) * (features + 1) * joints


def map_gradient(maps, target):
    difference = maps - target
    return difference / difference.norm(dim=(2, 3), keepdim=True).clamp_min(1e-12) / (maps.shape[0] * maps.shape[1])


def metric(groups, joints, alpha):
    membership = torch.zeros(len(groups), joints).scatter_(1, groups, 1.0)
    return torch.eye(joints) / joints + alpha * membership.T @ membership


def unseen_error(membership):
    return torch.tensor([1.0 if n == "head_top" else -1.0 if n == "thorax" else 0.0 for n in MPII.joints])


def balanced_weights(membership, alpha):
    count = membership.sum(0)
    return 1 / len(count) + alpha * (count.mean() - count)


def paste(images, source, goal, side):
    result = images.clone()
    for k, ((x, y), (u, v)) in enumerate(zip(source.tolist(), goal.tolist(), strict=True)):
        result[k, :, v : v + side, u : u + side] = images[k, :, y : y + side, x : x + side]
    return result


def hidden_by(joints, presence, corner, side):
    low = corner[:, None]
    inside = ((joints >= low) & (joints < low + side)).all(-1)
    return torch.where(inside & (presence == 2), 1, presence)


def masked_share(presence, cover):
    visible = (presence == 2).sum(1)
    return cover * (visible > 0).sum() / visible.sum()


def own_window(points, shift, scale, size):
    return (points - size / 2) * scale + size / 2 + size * torch.tensor(shift)


def fuse(joints, confidence, tau_s):
    fused = torch.where((confidence >= tau_s)[..., None], joints, torch.nan).nanmedian(0).values
    return torch.where(fused.isnan(), most_confident(joints, confidence), fused)


def most_confident(joints, confidence, tau_s=None):
    return joints.gather(0, confidence.argmax(0)[None, ..., None].expand(1, *joints.shape[1:]))[0]


def fuse_by_mean(joints, confidence, tau_s):
    enough = (confidence >= tau_s)[..., None]
    mean = torch.where(enough, joints, 0).sum(0) / enough.sum(0)
    return torch.where(mean.isnan(), most_confident(joints, confidence), mean)


def expected_passes(first, later, further=6):
    return 1 + first * sum(later**k for k in range(further))


def of_one_look(joints, confidence, tau_s):
    return torch.where((confidence >= tau_s)[..., None], joints, torch.nan).nanmedian(0).values


RIGHT = [
    (check.added_parameters, added_parameters, (), "at the paper's size 98,688"),
    (check.map_gradient, map_gradient, (), "autograd agrees"),
    (check.median_height, lambda s: math.exp(-0.5 * (0.6745 * s / 4) ** 2), (), "it is 0.797"),
    (check.metric, metric, (), "the library's loss"),
    (check.unseen_error, unseen_error, (), "errors at thorax, head_top"),
    (check.balanced_weights, balanced_weights, (), "negative for r_knee, r_hip, l_hip, l_knee, r_elbow, l_elbow"),
    (check.paste, paste, (), "each of five images"),
    (check.hidden_by, hidden_by, (), "only what is visible"),
    (check.own_window, own_window, (), "own window"),
    (check.fuse, fuse, (), "the most confident look"),
    (
        check.expected_passes,
        expected_passes,
        (torch.tensor([1, 1, 3, 7]),),
        "with 50% unsure at first and 86% later it gives 3.1 passes; measured are 3.0",
    ),
]


@pytest.mark.parametrize(("ask", "answer", "others", "said"), RIGHT, ids=[ask.__name__ for ask, *_ in RIGHT])
def test_a_right_answer_is_right(ask, answer, others, said, capsys):
    ask(answer, *others)
    assert capsys.readouterr().out.startswith("Right: ")
    ask(answer, *others)
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("ask", [ask for ask, *_ in RIGHT], ids=lambda ask: ask.__name__)
def test_no_answer_and_one_that_is_no_function(ask, capsys):
    others = (torch.tensor([1, 2]),) if ask is check.expected_passes else ()
    ask(None, *others)
    assert capsys.readouterr().out == "Not answered yet.\n"
    with pytest.raises(WrongAnswer, match="a function is wanted here, not int"):
        ask(7, *others)


def medians_of_both_middle_looks(joints, confidence, tau_s):
    """Of an even number of looks the mean of the two in the middle, as NumPy has it."""
    found = most_confident(joints, confidence)
    for n, j in (confidence >= tau_s).any(0).nonzero().tolist():
        found[n, j] = joints[confidence[:, n, j] >= tau_s, n, j].quantile(0.5, dim=0)
    return found


def test_both_medians_of_an_even_number_are_right(capsys):
    check.fuse(medians_of_both_middle_looks)
    assert capsys.readouterr().out.startswith("Right: ")


def test_a_singular_vector_is_an_unseen_error_too(capsys):
    def by_svd(membership):
        grouped = (membership.sum(0) > 0).nonzero()[:, 0]
        vectors = torch.linalg.svd(membership[:, grouped])[2]
        pattern = torch.zeros(16)
        pattern[grouped] = vectors[-1] / vectors[-1].abs().max()
        return pattern

    check.unseen_error(by_svd)
    assert "thorax, head_top" in capsys.readouterr().out


def test_the_share_of_masked_joints(sample, capsys):
    check.masked_share(masked_share, sample, MPII)
    assert "Right: 3.1% of the visible joints" in capsys.readouterr().out
    check.masked_share(None, sample, MPII)
    assert capsys.readouterr().out == "Not answered yet.\n"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda presence, cover: cover, "some have none, and some have several"),
        (lambda presence, cover: cover * 2 / int((presence > 0).sum()), "annotated; the visible ones are asked for"),
        (lambda presence, cover: cover * 2 / presence.numel(), "share of all joints"),
        (lambda presence, cover: (cover / (presence == 2).sum(1)).nan_to_num(posinf=0).mean(), "a mean over images"),
        (lambda presence, cover: masked_share(presence, 1.0), "right for `cover` 1"),
        (lambda presence, cover: masked_share(presence, 0.5), "right for `cover` 0.5, but not for 1"),
        (lambda presence, cover: 0.1, "two of three images"),
    ],
)
def test_a_wrong_share_of_masked_joints(answer, sentence, sample):
    with pytest.raises(WrongAnswer, match=sentence):
        check.masked_share(answer, sample, MPII)


WRONG = [
    (check.added_parameters, lambda s, f, j, k: s * k * (f + 1) * j, "with one scale the network is Newell's"),
    (check.added_parameters, lambda s, f, j, k: s * (k - 1) * f * j, "some numbers are missing"),
    (check.added_parameters, lambda s, f, j, k: (k - 1) * (f + 1) * j, "right for one stack, but not for two"),
    (check.added_parameters, lambda s, f, j, k: s * (k > 1) * (f + 1) * j, "right for two scales, but not for three"),
    (check.added_parameters, lambda s, f, j, k: s * (k - 1) * (f * j + f), "it is not 32"),
    (
        check.map_gradient,
        lambda p, g: (p - g) / (p - g).norm(dim=(2, 3), keepdim=True) / 15,
        "the map without error: what does the division give",
    ),
    (check.map_gradient, lambda p, g: map_gradient(g, p), "the other way"),
    (check.map_gradient, lambda p, g: 15 * map_gradient(p, g), "15 times what it should be"),
    (check.map_gradient, lambda p, g: (p - g).sign() / 15, "the norm of single cells"),
    (check.map_gradient, lambda p, g: (p - g) / (p - g).norm(), "each map has a norm of its own"),
    (check.map_gradient, lambda p, g: map_gradient(p, g).sum(1), "the shape is"),
    (check.map_gradient, lambda p, g: [0.0], "return a tensor, not list"),
    (check.map_gradient, lambda p, g: (p - g) ** 3, "autograd finds another gradient"),
    (check.median_height, lambda s: math.exp(-0.5 * (1.1774 * s / 4) ** 2), "two dimensions"),
    (check.median_height, lambda s: 1 / math.sqrt(1 + s**2 / 16), "the mean height"),
    (check.median_height, lambda s: math.exp(-0.5 * (0.6745 * s) ** 2), "of 200,001 drawn heights are below yours"),
    (check.median_height, lambda s: math.exp(-0.5 * 0.6745 * s / 4), "of 200,001 drawn heights are below yours"),
    (check.metric, lambda g, n, a: torch.eye(n) + a * (metric(g, n, 1.0) - torch.eye(n) / n), "with alpha 0"),
    (
        check.metric,
        lambda g, n, a: (
            torch.eye(n) / n + a * (m := torch.zeros(len(g), n).scatter_add_(1, g, torch.ones(g.shape))).T @ m
        ),
        "its last joint stands there twice",
    ),
    (check.metric, lambda g, n, a: metric(g, n, a**2), "it gives a loss of"),
    (check.metric, lambda g, n, a: metric(g, n, a).triu(), "not symmetric"),
    (check.metric, lambda g, n, a: torch.eye(len(g)) / n, r"the shape is \(14, 14\)"),
    (check.unseen_error, lambda m: torch.zeros(16), "no joint has an error of size 1"),
    (
        check.unseen_error,
        lambda m: torch.eye(16)[MPII.index("pelvis")],
        "only joints without a group take part: pelvis",
    ),
    (
        check.unseen_error,
        lambda m: torch.eye(16)[MPII.index("r_knee")] - torch.eye(16)[MPII.index("r_ankle")],
        "the errors of r_knee, r_hip do not cancel",
    ),
    (check.unseen_error, lambda m: torch.ones(14), "the shape is"),
    (check.balanced_weights, lambda m, a: torch.full((16,), 1 / 16), "is not constant"),
    (check.balanced_weights, lambda m, a: 1 / 16 - a * m.sum(0), "is constant, but"),
    (check.balanced_weights, lambda m, a: 1 / 16 + a * m.sum(0), "joints in many groups get the larger weight"),
    (check.paste, lambda i, s, g, side: paste(i, g, s, side), "source and goal are exchanged"),
    (check.paste, lambda i, s, g, side: paste(i, s.flip(1), g.flip(1), side), "x and y are exchanged"),
    (check.paste, lambda i, s, g, side: paste(i, s, g, side) * (paste(i, s, g, side) != i), "pixels outside the patch"),
    (check.paste, lambda i, s, g, side: i, "the patch does not show what is at its source"),
    (check.paste, lambda i, s, g, side: paste(i, s, g, side)[0], "the shape is"),
    (
        check.hidden_by,
        lambda j, p, c, side: torch.where(((j >= c[:, None]) & (j < c[:, None] + side)).all(-1), 1, p),
        "a joint that is absent became present",
    ),
    (
        check.hidden_by,
        lambda j, p, c, side: torch.where(((j >= c[:, None]) & (j < c[:, None] + side)).all(-1), 0, p),
        "occluded, and not absent",
    ),
    (check.hidden_by, lambda j, p, c, side: hidden_by(j[..., :1], p, c[:, :1], side), "below the patch"),
    (check.hidden_by, lambda j, p, c, side: hidden_by(j[..., 1:], p, c[:, 1:], side), "to the left or to the right"),
    (check.hidden_by, lambda j, p, c, side: hidden_by(j, p, c - side // 2, side), "the patch begins at its corner"),
    (check.hidden_by, lambda j, p, c, side: p, "a visible joint in the middle of the patch"),
    (check.hidden_by, lambda j, p, c, side: torch.tensor([[1, 1, 2, 2, 2, 1, 0]]), "with all joints elsewhere"),
    (check.own_window, lambda p, shift, s, size: p * s + size * torch.tensor(shift), "the middle of a larger box"),
    (check.own_window, lambda p, shift, s, size: own_window(p, shift, 1 / s, size), "a larger box shows more"),
    (
        check.own_window,
        lambda p, shift, s, size: own_window(p, (-shift[0], -shift[1]), s, size),
        "you move points left",
    ),
    (check.own_window, lambda p, shift, s, size: (p - 32) * s + 32 + torch.tensor(shift), "points are in pixels"),
    (
        check.own_window,
        lambda p, shift, s, size: own_window(p + size * torch.tensor(shift), (0.0, 0.0), s, size),
        "in whose sides is the shift",
    ),
    (check.own_window, lambda p, shift, s, size: p + 1, "changes no point"),
    (check.fuse, of_one_look, "not a number for a joint that no look is sure of"),
    (check.fuse, fuse_by_mean, "not their median"),
    (check.fuse, most_confident, "the most confident look for all joints"),
    (
        check.fuse,
        lambda j, c, t: torch.where((c >= t).any(0)[..., None], j.median(0).values, most_confident(j, c)),
        "looks below tau_s count as well",
    ),
    (check.fuse, lambda j, c, t: j.median(0).values, "the most confident one is to stand"),
    (check.fuse, lambda j, c, t: fuse(j, c, 0.7), "that is not their median"),
]


@pytest.mark.parametrize(
    ("ask", "answer", "sentence"), WRONG, ids=[f"{ask.__name__}-{said[:25]}" for ask, _, said in WRONG]
)
def test_a_wrong_answer_is_told_what_is_wrong(ask, answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        ask(answer)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda first, later: first + later, "sure after the first look is looked at once"),
        (lambda first, later: 1 + first * sum(later ** (k + 1) for k in range(6)), "is seen twice"),
        (lambda first, later: expected_passes(first, later, 7), "one look too many"),
        (lambda first, later: expected_passes(first, later, 5), "one look is missing"),
        (lambda first, later: 1 + first * min(6, 1 / max(1e-9, 1 - later)), "does not go on for ever"),
        (lambda first, later: 1 + first * (1 + 5 * later), "not right where it is open"),
    ],
)
def test_a_wrong_number_of_passes(answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        check.expected_passes(answer, torch.tensor([1, 2, 7]))
