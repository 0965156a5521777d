"""Checks of the exercises of `5_look_into_person`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from posebook.check.answers import compare, exercise, function, number, require
from posebook.evaluation.metrics import parsing_score
from posebook.skeleton import PART_INDEX


@exercise
def frequency_weighted_iou(answer: Any, whole: Int[Tensor, "classes classes"] | None = None) -> str:
    """Benchmark, 1: a function from a confusion matrix (numpy, rows are the truth) to each class's IoU by its weight.

    Args:
        whole: a matrix whose score is told where the answer is right.
    """
    matrix = np.array([[50, 2, 3], [4, 20, 1], [0, 9, 11]])
    right, true, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    iou = right / (true + predicted - right)
    found = _number(answer, matrix)
    require(not _alike(found, iou.mean()), "every class weighs the same here, which is mean IoU")
    require(
        not _alike(found, (predicted * iou).sum() / matrix.sum()),
        "the weights are shares of the predicted pixels; those of the true pixels are wanted, which are in the rows",
    )
    require(found <= 1, f"a weighted mean of IoUs cannot be {found:.3g}: the weights have to add up to 1")
    wanted = float((true * iou).sum() / matrix.sum())
    compare(found, wanted, "weigh each class's IoU by its share of the true pixels, and add up")
    absent = np.zeros((4, 4), int)
    absent[np.ix_([0, 2, 3], [0, 2, 3])] = matrix  # the second of the four classes neither occurs nor is predicted
    found = _number(answer, absent)
    require(not math.isnan(found), "a class that neither occurs nor is predicted makes the sum nan: 0 times 0 / 0")
    compare(found, wanted, "a class that neither occurs nor is predicted changes the score: its weight is 0")
    absent[2, 1], absent[2, 2] = 5, absent[2, 2] - 5  # now it is predicted, and its IoU is 0
    right, true, predicted = np.diag(absent), absent.sum(1), absent.sum(0)
    wanted = float((true * right / (true + predicted - right)).sum() / true.sum())
    compare(_number(answer, absent), wanted, "wrong where a class that does not occur is predicted")
    if whole is None:
        return f"{wanted:.3f} with a class that does not occur and is predicted"
    means = f"{_number(answer, whole.numpy()):.3f}, where their mean IoU is {parsing_score(whole).mean_iou:.3f}"
    return f"of the shifted people of section 2 it is {means}"


@exercise
def dice(answer: Any) -> str:
    """Benchmark, 2: a function from a class's IoU to its Dice."""
    half = _number(answer, 0.5)
    require(not _alike(half, 0.5), "Dice is not IoU: between 0 and 1 the two differ")
    require(not _alike(half, 1 / 3), "0.5 gives less than 0.5, yet Dice is never below IoU: is this IoU from Dice?")
    compare(_number(answer, 1.0), 1.0, "two regions that are the same have a Dice of 1")
    compare(_number(answer, 0.0), 0.0, "two regions without a common pixel have a Dice of 0")
    for a, b, common in ((30, 20, 10), (9, 9, 6), (40, 5, 5)):  # pixels of each region, and of both
        told = f"regions of {a} and {b} pixels of which {common} are common have another Dice"
        compare(_number(answer, common / (a + b - common)), 2 * common / (a + b), told)
    return f"at an IoU of 0.5 Dice is {half:.3f}"


@exercise
def shifted_box(answer: Any) -> str:
    """Benchmark, 3: a function from a box's width and height and a shift (dx, dy) to the IoU of the two boxes."""
    compare(_number(answer, 6, 3, 1, 0), 5 / 7, "a shift to the right alone is not what section 4 has")
    found = _number(answer, 5, 9, 1, 1)
    require(not _alike(found, 4 / 6), "the shift downwards makes no difference here")
    require(not _alike(found, 32 / 60), "the union is not the box around both boxes, which has empty corners")
    for w, h, dx, dy, told in (
        (5, 9, 1, 1, "a diagonal shift: which pixels do the two boxes have in common?"),
        (5, 9, -2, 3, "wrong for a shift to the left: it costs as much as one to the right"),
        (8, 6, 2, -3, "wrong for a shift upwards: it costs as much as one downwards"),
        (4, 4, 4, 0, "a box that is moved by its whole width has nothing in common with the first"),
        (3, 12, 1, -20, "wrong where the boxes no longer touch: the intersection is empty, and no box with a sign"),
        (4, 4, -9, 9, "wrong where the boxes are apart in both directions: is the product of two negatives an area?"),
    ):
        both = _box(w, h, 0, 0), _box(w, h, dx, dy)
        compare(_number(answer, w, h, dx, dy), (both[0] & both[1]).sum() / (both[0] | both[1]).sum(), told)
    return f"6 x 3 pixels, about a shoe at 64 px, moved by (1, 1): {_number(answer, 6, 3, 1, 1):.3f}"


@exercise
def dilations(answer: Any) -> str:
    """The joint network, 1: of the layers behind one, two and three dropped strides, on a signal."""
    numbers = torch.as_tensor(answer) if isinstance(answer, Sequence) and not isinstance(answer, str) else None
    require(
        numbers is not None and numbers.shape == (3,) and not numbers.is_floating_point() and bool((numbers > 0).all()),
        "three whole numbers from 1 on are wanted: the dilations in Res-3, Res-4 and Res-5",
    )
    random = torch.Generator().manual_seed(1)
    signal, kernels = torch.randn(1, 1, 256, generator=random), torch.randn(3, 1, 1, 3, generator=random)
    strided = dense = signal
    for k, (kernel, d) in enumerate(zip(kernels, numbers.tolist(), strict=True), 3):
        strided = F.conv1d(strided[..., ::2], kernel, padding=1)
        dense = F.conv1d(dense, kernel, padding=d, dilation=d)
        apart = 2 ** (k - 2)
        require(
            torch.allclose(dense[..., ::apart], strided, atol=1e-5),
            f"Res-{k} with dilation {d} does not give the numbers that it gave behind the strides: how far apart are "
            "two neighbours of the strided signal, counted in positions of the dense one?",
        )
    return f"cells at 384 px: {(384 // 4) ** 2:,} instead of {(384 // 32) ** 2:,}"


@exercise
def weights_that_meet(answer: Any) -> str:
    """The joint network, 2: a function from a map's side and a dilation to how many of nine weights meet the map."""
    for side, d in ((48, 6), (16, 8), (7, 3), (10, 9), (5, 12), (9, 9)):
        ones = torch.ones(1, 1, side, side)
        wanted = float(F.conv2d(ones, torch.ones(1, 1, 3, 3), padding=d, dilation=d).mean())
        found = _number(answer, side, d)
        about = f"({side} cells, dilation {d}: {found:.3g})"
        require(not _alike(found, wanted**0.5) or wanted == 1, f"this counts one row of three taps, not nine {about}")
        require(
            not _alike(found, 9 * max(0, side - d) ** 2 / side**2) or wanted == 1,
            f"not every tap meets the map equally often: where is the middle one? {about}",
        )
        beyond = f"wrong where the dilation is larger than the map: can a number of positions be negative? {about}"
        compare(found, wanted, f"another number meets the map {about}" if d <= side else beyond, 1e-3)
    return "the paper's four dilations: " + ", ".join(f"{_number(answer, 48, d):.2f}" for d in (6, 12, 18, 24))


@exercise
def small_kernels(answer: Any) -> str:
    """The joint network, 3: a function from a side and channels to 3x3 convolutions that together see that side."""
    for side in (3, 5, 7, 9):
        made = _called(answer, side, 4)
        require(isinstance(made, nn.Module), f"a network is wanted, not {type(made).__name__}")
        layers = [module for module in made.modules() if not list(module.children())]
        require(
            all(isinstance(layer, nn.Conv2d) for layer in layers),
            f"nothing but convolutions is wanted, and there is {[type(layer).__name__ for layer in layers]}",
        )
        require(all(layer.kernel_size == (3, 3) for layer in layers), "only kernels of 3x3 are wanted")
        x = torch.zeros(1, 4, 21, 21)
        x[0, :, 10, 10] = torch.nan
        y = made(x)
        require(
            y.shape == x.shape, f"4 x 21 x 21 became {' x '.join(map(str, y.shape[1:]))}: mind padding and channels"
        )
        seen = int(y[0, 0].isnan().sum())
        require(seen == side**2, f"side {side}: a cell sees {seen} cells, not {side} x {side}")
    many, one = (sum(p.numel() for p in m.parameters()) for m in (_called(answer, 9, 256), nn.Conv2d(256, 256, 9)))
    return f"in the place of a 9x9 kernel with 256 channels {many:,} instead of {one:,} parameters"


@exercise
def break_even(answer: Any) -> str:
    """Structure, 1: a function from sigma to the distance at which misplaced and missing regions cost the same."""
    one, two = _number(answer, 1.0), _number(answer, 2.0)
    require(math.isfinite(one) and one > 0, f"{one} is no distance: where do the two costs cross?")
    require(not _alike(one, two), "sigma makes no difference here, and a wider Gaussian is felt further away")
    require(
        not _alike(one, math.sqrt(2 * math.log(2))),
        "there one Gaussian has fallen to half its height; what counts is the product of two of them",
    )
    for sigma in (1.0, 0.8, 2.5):
        at = _number(answer, sigma)
        ratio = 2 * (1 - math.exp(-(at**2) / (4 * sigma**2)))  # of pi sigma^2 (1 - ...) and pi sigma^2 / 2
        told = f"sigma {sigma:g}: at {at:.3f} cells a misplaced region costs {ratio:.2f} times as much as a missing one"
        compare(ratio, 1.0, told, tolerance=2e-3)
    return f"in the image's pixels, with cells of 4 and sigma 1: {4 * one:.1f}"


@exercise
def stray_pixels(answer: Any) -> str:
    """Structure, 2: a function from a region's pixels, a distance and a shift to a number of stray pixels."""
    for pixels, far, shift in ((20, 30, 2.0), (60, 24, 4.0), (9, 40, 20.0)):
        found = _number(answer, pixels, far, shift)
        require(
            not _alike(found, pixels * shift / far),
            "the strays belong to the region, too: the new centre is the mean over all of its pixels",
        )
        moved = found * far / (pixels + found)
        told = f"{found:.2f} strays {far} pixels away move the centre of {pixels} pixels by {moved:.2f}, not by {shift}"
        compare(moved, shift, told, tolerance=1e-3 * shift)
    return f"a shoe of 18 pixels moves by a cell of 4 with {_number(answer, 18, 30, 4):.1f} strays 30 pixels away"


@exercise
def balanced(answer: Any) -> str:
    """Structure, 3: a function that scales a batch's weights to a mean of 1."""
    weights = torch.tensor([0.2, 1.4, 0.0, 0.4])
    found = torch.as_tensor(_called(answer, weights))
    require(found.shape == weights.shape, f"{tuple(weights.shape)} weights became {tuple(found.shape)}")
    require(_alike(float(found.mean()), 1.0), f"the mean is {float(found.mean()):.3f}, not 1")
    compare(found * weights.mean(), weights, "the ratios between the weights have changed")
    compare(_called(answer, 9 * weights), found, "weights nine times as large, as with another sigma, give others")
    blank = torch.as_tensor(_called(answer, torch.zeros(4)))
    require(not bool(blank.isnan().any()), "a batch in which every weight is 0 becomes nan: what is divided by what?")
    require(bool((blank > 0).all()), "a batch in which every weight is 0 teaches nothing; without eq. (2) it would")
    compare(blank, torch.ones(4), "a batch in which every weight is 0 should count as it does without eq. (2)")
    before, after = ([round(value, 2) for value in some.tolist()] for some in (weights, found))
    return f"weights {before} become {after}"


@exercise
def swapped(answer: Any, matrix: Int[Tensor, "20 20"] | None = None) -> str:
    """Evaluation, 1: a function from a confusion matrix (rows are the truth) to the share on the wrong side.

    Args:
        matrix: one whose share is told where the answer is right.
    """
    left, right = PART_INDEX["l_arm"], PART_INDEX["r_arm"]
    example = torch.zeros(20, 20, dtype=torch.long)
    example[left, left], example[left, right], example[left, 0] = 2, 1, 5
    found = _number(answer, example)
    require(not _alike(found, 1 / 8), "pixels of an arm that are called background are on neither side: leave them out")
    require(not _alike(found, 1 / 2), "wrong ones for right ones is no share: divide by both together")
    require(not _alike(found, 2 / 3), "this is the share on the right side")
    compare(found, 1 / 3, "two pixels on the right side, one on the wrong side, five called background")
    example[0, 0] = 1000
    compare(_number(answer, example), 1 / 3, "parts without a side are their own mirror part: they count here")
    leg = PART_INDEX["r_leg"]
    example[leg, leg] = 6
    example[leg, PART_INDEX["l_shoe"]] = 4  # the wrong kind of label
    compare(
        _number(answer, example),
        1 / 9,
        "with ten pixels of a leg, four of them called a shoe: count pixels of all parts together, of the right kind",
    )
    if matrix is None:
        return "one pixel of nine"
    return f"of the network's pixels {_number(answer, matrix):.0%}, where guessing a side would give 50 %"


@exercise
def seeds_needed(answer: Any) -> str:
    """Evaluation, 2: a function from a mean difference and its deviation to how many seeds leave 0 out, or None."""
    function(answer)
    found = answer(1.0, 1.0)
    mistakes = {
        4: "1.96 is the factor of many seeds; Student's is larger for few",
        6: "the degrees of freedom are one fewer than the seeds",
        5: "an interval has two ends: 2.5 % lie beyond each",
        None: "a difference as large as its deviation needs no more than 50 seeds",
    }
    require(found not in mistakes, f"d = s = 1: {mistakes.get(found)}")
    for d, s, wanted, told in (
        (1.0, 1.0, 7, "look at the smallest n whose interval leaves out 0"),
        (1.0, 0.01, 2, "hardly any deviation: the smallest number that is allowed is enough"),
        (-1.0, 1.0, 7, "a negative difference needs as many seeds as a positive one"),
        (0.5, 1.0, 18, "look at the smallest n whose interval leaves out 0"),
        (0.01, 1.0, None, "50 seeds are not enough there, which None says"),
    ):
        require(answer(d, s) == wanted, f"d = {d:g}, s = {s:g}: {told}")
    return f"seeds by d in units of s: { ({d: answer(d, 1.0) for d in (0.5, 0.75, 1.0, 1.5, 2.0)}) }"


def _called(answer: Any, *inputs: Any) -> Any:
    function(answer)
    result = answer(*inputs)
    require(result is not None, "the function returns None: does its last line start with `return`?")
    return result


def _number(answer: Any, *inputs: Any) -> float:
    return number(_called(answer, *inputs))


def _alike(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-6)


def _box(w: int, h: int, dx: int, dy: int) -> np.ndarray:
    pixels = np.zeros((60, 60), bool)
    pixels[24 + dy : 24 + dy + h, 24 + dx : 24 + dx + w] = True
    return pixels
