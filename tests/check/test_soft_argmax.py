"""Exercises of "Soft-argmax": right answers, and what is said of plausible wrong ones."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from posebook.check import soft_argmax as check
from posebook.check.answers import WrongAnswer
from posebook.layers.soft_argmax import ramp, soft_argmax, spatial_softmax
from posebook.skeleton import MPII


def said(capsys) -> str:
    return capsys.readouterr().out


def parts_of(h):
    row = ramp(h.shape[-1], dtype=h.dtype).expand_as(h)
    ramps, phi = torch.stack([row, row.T]), spatial_softmax(h)
    return phi, ramps, (ramps * phi).sum((1, 2))


def l1(h, target, sign=True, eq5=False, flip=1, both=True):
    phi, ramps, location = parts_of(h)
    signs = (location - target).sign() if sign else torch.ones(2, dtype=h.dtype)
    slope = ramps * phi * (1 - phi) if eq5 else phi * (ramps - location[:, None, None])
    slope = flip * signs[:, None, None] * slope
    return slope.sum(0) if both else slope


def test_the_l1_gradient(capsys):
    check.l1_gradient(l1)
    assert said(capsys).startswith("Right: autograd")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"both": False}, "one number per cell"),
        ({"flip": -1}, "points the other way"),
        ({"eq5": True}, r"eq. \(5\)"),
        ({"sign": False}, "absolute value"),
        ({"flip": 2}, "the chain rule"),
    ],
)
def test_a_wrong_l1_gradient(options, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        check.l1_gradient(lambda h, target: l1(h, target, **options))


def covariance(h):
    phi, ramps, location = parts_of(h)
    return (ramps * h * phi).sum((1, 2)) - location * (h * phi).sum()


def test_the_covariance_of_sharpening(capsys):
    check.sharpening(covariance)
    assert said(capsys).startswith("Right:")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda h: -covariance(h), "by its inverse"),
        (lambda h: (parts_of(h)[1] * h * parts_of(h)[0]).sum((1, 2)), "a term is missing"),
        (
            lambda h: (parts_of(h)[1] * h).mean((1, 2)) - parts_of(h)[1].mean((1, 2)) * h.mean(),
            "under which distribution",
        ),
        (lambda h: 2 * covariance(h), "otherwise"),
    ],
)
def test_a_wrong_covariance_of_sharpening(answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        check.sharpening(answer)


def test_the_repaired_ramp(capsys):
    check.repaired(lambda locations: (11 * locations + 0.5) / 12)
    assert "50 locations" in said(capsys)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda o: o - 0.5 / 12, "not a constant apart"),
        (lambda o: 12 / 11 * o, "off by up to"),
        (lambda o: o, "off by up to"),
        (lambda o: ((11 * o + 0.5) / 12)[0], "the shape"),
    ],
)
def test_a_wrongly_repaired_ramp(answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        check.repaired(answer)


def parameters(inputs, outputs, kernel):
    own = inputs * kernel**2 + inputs * outputs + 2 * outputs
    return own + (inputs * outputs + 2 * outputs if inputs != outputs else 0)


def test_the_parameters_of_a_separable_residual(capsys):
    check.count(parameters)
    assert "four sizes" in said(capsys)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda i, o, k: i * k**2 + i * o, "batch norms"),
        (lambda i, o, k: i * k**2 + i * o + 2 * o, "needs layers of its own"),
        (lambda i, o, k: i * k**2 + i * o + 2 * o + i * o + 2 * o, "the input itself is added"),
        (lambda i, o, k: parameters(i, o, k) + (o - i) * k**2, "the channels that come in"),
        (lambda i, o, k: i * o * k**2 + 2 * o, "not full"),
        (lambda i, o, k: 7, "another number"),
    ],
)
def test_wrongly_counted_parameters(answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        check.count(answer)


def test_how_far_block_a_sees(capsys):
    check.seen_by_block_a((68, 36))
    assert "68 and 36" in said(capsys)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((36, 68), "the order is 5x5"),
        ((64, 36), "5x5 kernels more than 64"),
        ((68, 40), "3x3 kernels fewer than 40"),
        (68, "two numbers"),
    ],
)
def test_wrong_sights_of_block_a(answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        check.seen_by_block_a(answer)


def two(h, alpha, share=True, all_cells=False, sigmoid=True):
    x = (torch.arange(len(h), dtype=h.dtype) + 0.5) / len(h)
    phi, p = spatial_softmax(h), h.sigmoid()
    location = (alpha if share else 1.0) * phi * (x - (phi * x).sum())
    slope = p * (1 - p) if sigmoid else torch.ones_like(p)
    return location, slope if all_cells else slope * (h == h.max())


def test_the_two_gradients(capsys):
    check.two_gradients(two)
    assert "one from the probability" in said(capsys)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"share": False}, "only a share"), ({"all_cells": True}, "which cells"), ({"sigmoid": False}, "sigmoid has a")],
)
def test_two_wrong_gradients(options, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        check.two_gradients(lambda h, alpha: two(h, alpha, **options))


def net(locations, target, presence, l1=1.0, l2=2.0, there=1, divide=1.0):
    error = locations - target
    slope = (l1 * error.sign() + l2 * error) / presence.numel() / divide
    return torch.where((presence >= there)[..., None], slope, 0.0)


def test_the_elastic_nets_gradient(capsys):
    check.elastic_net_gradient(net)
    assert "160 numbers" in said(capsys)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"there": 0}, "absent joint"),
        ({"there": 2}, "occluded joints"),
        ({"l1": 0.0}, "the L1 part is missing"),
        ({"l2": 0.0}, "the squared part is missing"),
        ({"divide": 2.0}, "0.5 times too large"),
        ({"l2": 1.0}, "other values"),
    ],
)
def test_wrong_gradients_of_the_elastic_net(options, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        check.elastic_net_gradient(lambda *given: net(*given, **options))


def test_when_the_rate_is_half(capsys):
    check.half_rate((0.045 / 0.95, 0.55))
    assert said(capsys).startswith("Right:")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((0.55, 0.0474), "up: the highest"),
        ((0.05, 0.55), "up: at 0.0500 the factor is 0.525"),
        ((0.0474, 0.5), "down: at 0.5000"),
        ((4.74, 55), "between 0 and 1"),
    ],
)
def test_when_the_rate_is_not_half(answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        check.half_rate(answer)


def cheapest(likelier, apart, side):
    return max((1 - likelier) * apart - (2 * likelier - 1) / (2 * side), 0.0)


def test_the_cheapest_prediction(capsys):
    check.best(cheapest)
    assert "27 cases" in said(capsys)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda p, d, s: (1 - p) * d, "the mean"),
        (lambda p, d, s: 0.0, "the median"),
        (lambda p, d, s: (1 - p) * d - (2 * p - 1) / (2 * s), "outside"),
        (lambda p, d, s: s * cheapest(p, d, s), "in the unit of the coordinates"),
        (lambda p, d, s: cheapest(p, d, 2 * s), "lower elsewhere"),
    ],
)
def test_predictions_that_are_not_the_cheapest(answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        check.best(answer)


def limbs(found, joints, a, b):
    length = (joints[:, a] - joints[:, b]).norm(dim=-1)
    return length, (found[:, [a, b]] - joints[:, [a, b]]).norm(dim=-1)


def test_the_loose_version_of_pcp(capsys):
    check.loose(lambda *given: limbs(*given)[1].mean(1) <= limbs(*given)[0] / 2)
    assert "3 are right, and 1" in said(capsys)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda *given: limbs(*given)[1].amax(1) <= limbs(*given)[0] / 2, "strict version"),
        (lambda *given: limbs(*given)[1][:, 0] <= limbs(*given)[0] / 2, "only one"),
        (lambda *given: limbs(*given)[1].mean(1) <= limbs(*given)[0], "not within all of it"),
        (lambda *given: limbs(*given)[1].mean(1) < limbs(*given)[0] / 2, "ends off by 5 and 5 px"),
        (lambda *given: 0.75, "booleans"),
    ],
)
def test_wrong_loose_versions_of_pcp(answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        check.loose(answer)


def test_two_maps_averaged(capsys):
    check.read_both(lambda m, r, mirror: soft_argmax((m + r.flip(-1)[:, mirror]) / 2), MPII.mirror)
    assert "the greater say" in said(capsys)


def halfway(maps, mirrored, mirror):
    return (soft_argmax(maps) + soft_argmax(mirrored.flip(-1)[:, mirror])) / 2


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda m, r, mirror: soft_argmax((m + r) / 2), "not turned back"),
        (lambda m, r, mirror: soft_argmax((m + r.flip(-1)) / 2), "names of their other side"),
        (lambda m, r, mirror: soft_argmax((m + r[:, mirror]) / 2), "run from right to left"),
        (halfway, "averaging locations"),
        (lambda m, r, mirror: soft_argmax(m), "not averaged as logits"),
    ],
)
def test_two_maps_wrongly_averaged(answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        check.read_both(answer, MPII.mirror)


def seeds(deviation, half, t=lambda n: stats.t.ppf(0.975, n - 1)):
    n = 2
    while t(n) * deviation / n**0.5 > half:
        n += 1
    return n


def test_how_many_seeds_it_takes(capsys):
    check.seeds_needed(seeds)
    assert "7 for 0.01" in said(capsys)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda deviation, half: seeds(deviation, half, lambda n: 1.96), "t grows where seeds are few"),
        (lambda deviation, half: seeds(deviation, half) + 1, "are enough"),
        (lambda deviation, half: float(seeds(deviation, half)), "whole number"),
    ],
)
def test_wrong_numbers_of_seeds(answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        check.seeds_needed(answer)


@pytest.mark.parametrize("name", ["l1_gradient", "count", "best", "loose", "seeds_needed", "half_rate"])
def test_nothing_is_said_of_an_answer_that_is_not_given(name, capsys):
    getattr(check, name)(None)
    assert said(capsys) == "Not answered yet.\n"
