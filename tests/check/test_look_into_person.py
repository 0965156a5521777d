"""Exercises of Look into Person: right answers pass, and plausible wrong ones are told what is wrong."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from posebook.check import look_into_person as check
from posebook.check.answers import WrongAnswer
from posebook.skeleton import PART_MIRROR

SIDED = [k for k in range(20) if PART_MIRROR[k] != k]
OTHER = [PART_MIRROR[k] for k in SIDED]


def iou_of(matrix):
    right, true, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    with np.errstate(invalid="ignore"):
        return right / (true + predicted - right)


def weighted(matrix):
    return np.nansum(matrix.sum(1) / matrix.sum() * iou_of(matrix))


def box(w, h, dx, dy):
    common = max(0, w - abs(dx)) * max(0, h - abs(dy))
    return common / (2 * w * h - common)


def loose_box(w, h, dx, dy):
    common = (w - abs(dx)) * (h - abs(dy))
    return common / (2 * w * h - common)


def met(cells, d):
    return (1 + 2 * max(0, cells - d) / cells) ** 2


def stack(side, channels, layers=lambda side: (side - 1) // 2, between=(), **options):
    options = {"padding": 1} | options
    made = [[nn.Conv2d(channels, channels, 3, **options), *between] for _ in range(layers(side))]
    return nn.Sequential(*(layer for group in made for layer in group))


def balanced(weights):
    mean = weights.mean()
    return weights / mean if mean > 0 else torch.ones_like(weights)


def swapped(matrix):
    right, wrong = matrix[SIDED, SIDED].sum(), matrix[SIDED, OTHER].sum()
    return wrong / (right + wrong)


def per_part(matrix):
    right, wrong = matrix[SIDED, SIDED].double(), matrix[SIDED, OTHER].double()
    return (wrong / (right + wrong)).nanmean()


def every_part(matrix):
    mirrored = matrix[range(20), PART_MIRROR].sum() - matrix.diag()[[k not in SIDED for k in range(20)]].sum()
    return mirrored / (matrix.diag().sum() + mirrored)


def seeds(d, s, factor=lambda n: stats.t.ppf(0.975, n - 1)):
    return next((n for n in range(2, 51) if abs(d) > factor(n) * s / n**0.5), None)


RIGHT = [
    (check.frequency_weighted_iou, weighted, "with a class that does not occur"),
    (check.dice, lambda iou: 2 * iou / (1 + iou), r"at an IoU of 0\.5 Dice is 0\.667"),
    (check.shifted_box, box, r"moved by \(1, 1\): 0\.385"),
    (check.dilations, (2, 4, 8), "9,216 instead of 144"),
    (check.dilations, [2, 4, 8], "9,216 instead of 144"),
    (check.weights_that_meet, met, r"7\.56, 6\.25, 5\.06, 4\.00"),
    (check.small_kernels, stack, "2,360,320 instead of 5,308,672"),
    (check.break_even, lambda sigma: 2 * sigma * math.sqrt(math.log(2)), r"sigma 1: 6\.7"),
    (check.stray_pixels, lambda pixels, far, shift: pixels * shift / (far - shift), r"2\.8 strays"),
    (check.balanced, balanced, r"become \[0\.4, 2\.8, 0\.0, 0\.8\]"),
    (check.swapped, swapped, "one pixel of nine"),
    (check.seeds_needed, seeds, r"0\.5: 18, 0\.75: 10, 1\.0: 7"),
]

WRONG = [
    (check.frequency_weighted_iou, 0.5, "a function is wanted here, not float"),
    (check.frequency_weighted_iou, lambda m: None, "returns None"),
    (check.frequency_weighted_iou, iou_of, "has to return one number, not ndarray"),
    (check.frequency_weighted_iou, lambda m: np.nanmean(iou_of(m)), "which is mean IoU"),
    (check.frequency_weighted_iou, lambda m: weighted(m.T), "shares of the predicted pixels"),
    (check.frequency_weighted_iou, lambda m: np.nansum(m.sum(1) * iou_of(m)), "the weights have to add up to 1"),
    (check.frequency_weighted_iou, lambda m: (m.sum(1) / m.sum() * iou_of(m)).sum(), "makes the sum nan"),
    (check.frequency_weighted_iou, lambda m: np.diag(m).sum() / m.sum(), "weigh each class's IoU"),
    (check.dice, lambda iou: iou, "Dice is not IoU"),
    (check.dice, lambda iou: iou / (2 - iou), "is this IoU from Dice"),
    (check.dice, lambda iou: 2 * iou / (2 + iou), "have a Dice of 1"),
    (check.dice, lambda iou: iou**0.5, "30 and 20 pixels of which 10 are common"),
    (check.shifted_box, lambda w, h, dx, dy: (w - dx) / (w + dx), "makes no difference"),
    (check.shifted_box, lambda w, h, dx, dy: (w - dx) * (h - dy) / ((w + dx) * (h + dy)), "empty corners"),
    (
        check.shifted_box,
        lambda w, h, dx, dy: (w - dx) * (h - dy) / (2 * w * h - (w - dx) * (h - dy)),
        "a shift to the left",
    ),
    (check.shifted_box, loose_box, "no longer touch"),
    (check.shifted_box, lambda *box_and_shift: max(0, loose_box(*box_and_shift)), "apart in both directions"),
    (check.dilations, 8, "three whole numbers"),
    (check.dilations, (2, 4), "three whole numbers"),
    (check.dilations, (1, 2, 4), "Res-3 with dilation 1"),
    (check.dilations, (2, 2, 2), "Res-4 with dilation 2"),
    (check.dilations, (2, 4, 6), "Res-5 with dilation 6"),
    (check.weights_that_meet, lambda n, d: met(n, d) ** 0.5, "one row of three taps"),
    (check.weights_that_meet, lambda n, d: 9 * ((n - d) / n) ** 2, "where is the middle one"),
    (check.weights_that_meet, lambda n, d: (1 + 2 * (n - d) / n) ** 2, "can a number of positions be negative"),
    (check.weights_that_meet, lambda n, d: (1 + (n - d) / n) ** 2, "another number meets the map"),
    (check.small_kernels, lambda side, channels: None, "returns None"),
    (check.small_kernels, lambda side, channels: side, "a network is wanted, not int"),
    (check.small_kernels, lambda side, channels: nn.Conv2d(channels, channels, side, padding=side // 2), "sees|only"),
    (check.small_kernels, lambda s, c: stack(s, c, lambda side: side // 2 + 1), "side 3: a cell sees 25 cells"),
    (check.small_kernels, lambda s, c: stack(s, c, padding=0), "became 4 x 19 x 19: mind padding"),
    (check.small_kernels, lambda s, c: stack(s, c, between=(nn.ReLU(),)), "nothing but convolutions"),
    (check.break_even, lambda sigma: 2 * math.sqrt(math.log(2)), "sigma makes no difference"),
    (check.break_even, lambda sigma: sigma * math.sqrt(2 * math.log(2)), "the product of two of them"),
    (check.break_even, lambda sigma: sigma * math.log(2), "times as much as a missing one"),
    (check.break_even, lambda sigma: math.inf, "is no distance"),
    (check.stray_pixels, lambda pixels, far, shift: pixels * shift / far, "the strays belong to the region"),
    (check.stray_pixels, lambda pixels, far, shift: pixels * (far - shift) / shift, r"move the centre of 20 pixels"),
    (check.stray_pixels, lambda pixels, far, shift: round(pixels * shift / (far - shift)), r"by 1\.43, not by 2\.0"),
    (check.balanced, lambda weights: weights, "the mean is 0.500, not 1"),
    (check.balanced, lambda weights: weights / weights.sum(), "the mean is 0.250"),
    (check.balanced, lambda weights: weights - weights.mean() + 1, "the ratios between the weights"),
    (check.balanced, lambda weights: weights / weights.mean(), "becomes nan"),
    (check.balanced, lambda weights: weights / weights.mean().clamp_min(1e-6), "teaches nothing"),
    (check.balanced, lambda weights: weights.mean(), "weights became"),
    (check.swapped, lambda m: m[SIDED, OTHER].sum() / m[SIDED].sum(), "on neither side"),
    (check.swapped, lambda m: m[SIDED, OTHER].sum() / m[SIDED, SIDED].sum(), "is no share"),
    (check.swapped, lambda m: 1 - swapped(m), "the share on the right side"),
    (check.swapped, every_part, "parts without a side"),
    (check.swapped, per_part, "pixels of all parts together"),
    (check.seeds_needed, 7, "a function is wanted"),
    (check.seeds_needed, lambda d, s: seeds(d, s, lambda n: 1.96), "1.96 is the factor of many seeds"),
    (check.seeds_needed, lambda d, s: seeds(d, s, lambda n: stats.t.ppf(0.975, n)), "degrees of freedom"),
    (check.seeds_needed, lambda d, s: seeds(d, s, lambda n: stats.t.ppf(0.95, n - 1)), "two ends"),
    (check.seeds_needed, lambda d, s: seeds(max(d, 0), s), "a negative difference"),
    (check.seeds_needed, lambda d, s: seeds(d, s) or 50, "which None says"),
]


@pytest.mark.parametrize(("question", "answer", "told"), RIGHT)
def test_a_right_answer_is_said_to_be_right(question, answer, told, capsys):
    question(answer)
    assert re.search(f"^Right: .*{told}", capsys.readouterr().out)


@pytest.mark.parametrize(("question", "answer", "told"), WRONG)
def test_a_wrong_answer_is_told_what_is_wrong(question, answer, told):
    with pytest.raises(WrongAnswer, match=told):
        question(answer)


def test_what_a_network_gives_is_told_where_it_is_handed_over(capsys):
    people = torch.diag(torch.arange(20))
    check.frequency_weighted_iou(weighted, people)
    check.swapped(swapped, people)
    told = capsys.readouterr().out
    assert "section 2 it is 1.000, where their mean IoU is 1.000" in told
    assert "of the network's pixels 0 %" in told.replace("0%", "0 %")
