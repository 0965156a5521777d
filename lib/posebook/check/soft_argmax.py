"""Checks of the exercises of "Soft-argmax", notebooks 1 to 4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from posebook.check.answers import compare, exercise, require
from posebook.evaluation.statistics import interval
from posebook.layers.separable import SeparableResidual
from posebook.layers.soft_argmax import ramp, soft_argmax, spatial_softmax
from posebook.losses import elastic_net
from posebook.papers.soft_argmax.network import BlockA, aggregate
from posebook.training.schedules import one_cycle


def _maps(count: int, cells: int = 16, seed: int = 0) -> Tensor:
    """Maps (count, cells, cells) of random logits."""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(count, cells, cells, generator=generator, dtype=torch.float64)


def _close(found: object, wanted: Tensor, tolerance: float = 1e-6) -> bool:
    """Whether an answer is this one, a plausible mistake say."""
    return isinstance(found, Tensor) and found.shape == wanted.shape and torch.allclose(
        found.double(), wanted.double(), atol=tolerance
    )  # fmt: skip


def _phi_and_ramps(h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A map's softmax, the ramps (2, cells, cells) and the expected location (2,)."""
    row = ramp(h.shape[-1], dtype=h.dtype).expand_as(h)
    ramps, phi = torch.stack([row, row.T]), spatial_softmax(h)
    return phi, ramps, (ramps * phi).sum((1, 2))


# Notebook 1


@exercise
def l1_gradient(answer: Callable[[Tensor, Tensor], Tensor]) -> str:
    """A function from a map (16, 16) and a target (2,) to the derivative of the L1 loss by the map."""
    target = torch.tensor([0.2, 0.9], dtype=torch.float64)
    for h in _maps(3):
        leaf = h.clone().requires_grad_()
        (soft_argmax(leaf) - target).abs().sum().backward()
        phi, ramps, location = _phi_and_ramps(h)
        sign = (location - target).sign()[:, None, None]
        given = answer(h, target)
        require(
            not isinstance(given, Tensor) or given.shape != (2, *h.shape),
            "one number per cell is wanted: both coordinates' errors belong to the same loss",
        )
        require(not _close(given, -leaf.grad), "this is the step that descends; the gradient points the other way")
        require(
            not _close(given, (sign * ramps * phi * (1 - phi)).sum(0)),
            "this is built on eq. (5): what a cell takes from all others is missing",
        )
        require(
            not _close(given, (phi * (ramps - location[:, None, None])).sum(0)),
            "each coordinate's error enters the loss through its absolute value: what is the derivative of that?",
        )
        compare(given, leaf.grad, "autograd finds other values: write down the chain rule, loss by location by map")
    return "autograd finds the same on three maps"


@exercise
def sharpening(answer: Callable[[Tensor], Tensor]) -> str:
    """A function from a map (16, 16) to the derivative (2,) of its location by the inverse temperature, at 1."""
    for h in _maps(3):
        phi, ramps, _ = _phi_and_ramps(h)
        small = 1e-5
        wanted = (soft_argmax((1 + small) * h) - soft_argmax((1 - small) * h)) / (2 * small)
        given = answer(h)
        require(
            not _close(given, -wanted), "the sign is that of a rising temperature: the derivative is by its inverse"
        )
        require(
            not _close(given, (ramps * h * phi).sum((1, 2))),
            "this changes when a constant is added to the map, and a softmax does not: a term is missing",
        )
        flat = (ramps * h).mean((1, 2)) - ramps.mean((1, 2)) * h.mean()
        require(not _close(given, flat), "cells do not count alike: under which distribution is the covariance?")
        compare(given, wanted, "a small step of the inverse temperature moves the location otherwise", 1e-6)
    return "small steps of the inverse temperature move three maps' locations just so"


@exercise
def repaired(answer: Callable[[Tensor], Tensor]) -> str:
    """A function from locations (n, 2) by the official ramp, of 12 cells per side, to those by the cells' centres."""
    maps = 2 * _maps(50, cells=12, seed=1)
    handed_over, wanted = soft_argmax(maps, ramps="official"), soft_argmax(maps)
    given = answer(handed_over)
    if isinstance(given, Tensor) and given.shape == wanted.shape:
        off = float((given - wanted).abs().max())
        require(
            not _close(given, handed_over - 0.5 / 12) and not _close(given, handed_over + 0.5 / 12),
            "the two ramps are not a constant apart: compare them at the first cell and at the last",
        )
        require(
            off < 1e-6,
            f"off by up to {12 * off:.3f} cells: write down what both ramps give for the first and for the last cell",
        )
    compare(given, wanted, "the locations differ")
    return f"all {len(maps)} locations, without their maps"


# Notebook 2


@exercise
def count(answer: Callable[[int, int, int], int]) -> str:
    """A function from input channels, output channels and the kernel's side to the parameters of a Res-SepConv."""
    for sizes in ((576, 576, 5), (384, 576, 5), (288, 576, 3), (7, 11, 9)):
        inputs, outputs, kernel = sizes
        right = sum(p.numel() for p in SeparableResidual(*sizes).parameters())
        given, skip = answer(*sizes), inputs * outputs + 2 * outputs
        mistakes = {
            right - 2 * outputs * (1 if inputs == outputs else 2): "batch norms have parameters, too",
            right
            + outputs * kernel**2
            - inputs * kernel**2: "the depthwise kernels belong to the channels that come in",
            inputs * outputs * kernel**2
            + right
            - inputs * kernel**2
            - inputs * outputs: "this convolution is not full",
        }
        if inputs == outputs:
            mistakes[right + skip] = "where the width stays, the input itself is added"
        else:
            mistakes[right - skip] = "where the width changes, the input needs layers of its own"
        require(given == right, f"Res-SepConv{sizes}: {mistakes.get(given, 'another number; go through Fig. 3b')}")
    return "PyTorch counts the same for four sizes"


@exercise
def seen_by_block_a(answer: Any) -> str:
    """Cells along one side on which an output cell of Block-A depends: (with 5x5 kernels, with 3x3 kernels)."""
    require(isinstance(answer, Sequence) and len(answer) == 2, "two numbers are wanted: with 5x5 and with 3x3 kernels")
    widths = tuple(_reach(kernel) for kernel in (5, 3))
    require(tuple(answer) != widths[::-1], "the larger kernel sees more: the order is 5x5, then 3x3")
    for kernel, given, right in zip((5, 3), answer, widths, strict=True):
        side = "more" if given < right else "fewer"
        require(
            given == right,
            f"with {kernel}x{kernel} kernels {side} than {given}: follow the first and the last cell step by step",
        )
    return (
        f"autograd finds {widths[0]} and {widths[1]} cells. In a map of 32 x 32 cells every cell sees all of it with "
        "5x5 kernels; with 3x3 kernels a corner does not see the corner across"
    )


def _reach(kernel: int) -> int:
    """How many cells along one side reach the cell in the middle, by autograd."""
    torch.manual_seed(0)
    block = BlockA(36, kernel).double().eval()
    x = torch.randn(4, 36, 96, 96, dtype=torch.float64, requires_grad=True)
    block(x)[:, :, 48, 48].square().sum().backward()
    reached = (x.grad != 0).any(0).any(0).any(0).nonzero()
    return int(reached.max() - reached.min()) + 1


@exercise
def two_gradients(answer: Callable[[Tensor, float], tuple[Tensor, Tensor]]) -> str:
    """A function from part-based logits and alpha to the derivatives of the joint's x and of its probability."""
    context = torch.rand(2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for alpha, h in zip((0.8, 1.0), _maps(2, cells=12), strict=True):
        leaf = h.clone().requires_grad_()
        three = torch.cat([soft_argmax(leaf)[None], context])[None]
        x = aggregate(three, torch.full((1, 3), 0.5, dtype=torch.float64), alpha)[0, 0]
        by_location, by_presence = (torch.autograd.grad(value, leaf)[0] for value in (x, leaf.max().sigmoid()))
        given = answer(h, alpha)
        require(
            isinstance(given, Sequence) and len(given) == 2, "two tensors are wanted: for x and for the probability"
        )
        require(
            alpha == 1 or not _close(given[0], by_location / alpha),
            "x: this is the gradient of the part-based location; eq. (6) takes only a share of it",
        )
        compare(
            given[0], by_location, f"x: autograd has another gradient at alpha {alpha}; notebook 1, section 3", 1e-8
        )
        require(
            not _close(given[1], (h == h.max()).double()),
            "probability: this is the gradient of the maximum; the sigmoid has a derivative, too",
        )
        p = h.sigmoid()
        require(not _close(given[1], p * (1 - p)), "probability: which cells does a maximum depend on?")
        compare(given[1], by_presence, f"probability: autograd has another gradient at alpha {alpha}", 1e-8)
    return "autograd finds both: every cell learns from the location, one from the probability"


# Notebook 3


@exercise
def elastic_net_gradient(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> str:
    """A function from locations and targets (b, j, 2) and presence (b, j) to the derivative of eq. (7)."""
    generator = torch.Generator().manual_seed(0)
    guess, target = torch.rand(2, 5, 16, 2, generator=generator)
    presence = torch.randint(0, 3, (5, 16), generator=generator)
    guess.requires_grad_()
    elastic_net(guess, target, presence).backward()
    given = answer(guess.detach(), target, presence)
    if isinstance(given, Tensor) and given.shape == guess.shape:
        require(
            bool((given[presence == 0] == 0).all()), "an absent joint has a gradient here; what does eq. (7) charge?"
        )
        require(bool((given[presence == 1] != 0).any()), "occluded joints are there, and are learnt from")
        error = torch.where((presence > 0)[..., None], guess.detach() - target, 0.0)
        for mistake, sentence in ((error.sign(), "the squared part is missing"), (error, "the L1 part is missing")):
            unit = given / given.norm()
            require(not _close(unit, mistake / mistake.norm(), 1e-6), sentence)
        factor = float((given * guess.grad).sum() / guess.grad.square().sum())
        require(
            abs(factor - 1) < 1e-3 or not _close(given / factor, guess.grad, 1e-6),
            f"the direction is right, and the length {factor:.3g} times too large: what is the mean taken over?",
        )
    compare(given, guess.grad, "autograd finds other values: derive |e| + e squared for one coordinate first", 1e-6)
    return f"autograd finds the same {guess.numel()} numbers"


@exercise
def half_rate(answer: Any) -> str:
    """The parts of the training at which the rate is half of the highest: (on its way up, on its way down)."""
    require(
        isinstance(answer, Sequence) and len(answer) == 2, "two numbers are wanted: on the way up, and on the way down"
    )
    up, down = answer
    require(all(0 <= part <= 1 for part in answer), "parts of the training lie between 0 and 1")
    require(up < 0.1, "up: the highest rate is reached at a tenth of the training")
    require(down > 0.1, "down: the way down starts at a tenth of the training")
    for name, part in (("up", up), ("down", down)):
        factor = one_cycle(0.1)(part)
        require(abs(factor - 0.5) < 1e-3, f"{name}: at {part:.4f} the factor is {factor:.3f}")
    return "the factor is 0.5 at both"


@exercise
def best(answer: Callable[[float, float, float], float]) -> str:
    """A function from the likelier location's probability, the distance and the image's side to the best prediction."""
    for likelier in (0.55, 0.7, 0.9):
        for apart in (0.1, 0.3, 0.5):
            for side in (1, 8, 256):
                grid = torch.linspace(0, apart, 20001, dtype=torch.float64)
                near, far = side * grid, side * (apart - grid)
                loss = likelier * (near + near**2) + (1 - likelier) * (far + far**2)
                wanted, given = float(grid[loss.argmin()]), float(answer(likelier, apart, side))
                case = f"best{likelier, apart, side} gives {given:.4f}"
                require(given >= 0, f"{case}: outside of the range; where does the loss have a kink?")
                close = abs(given - wanted) < 1e-4
                mean, median = (1 - likelier) * apart, 0.0
                require(close or abs(given - mean) > 1e-4, f"{case}: that is the mean, which squares alone would want")
                require(close or abs(given - median) > 1e-4, f"{case}: that is the median, which L1 alone would want")
                require(
                    close or abs(given - side * wanted) > 1e-3,
                    f"{case}: that is in the unit of the coordinates; a fraction of the image is wanted",
                )
                require(close, f"{case}, and the expected loss is lower elsewhere")
    return "no other prediction is cheaper, in 27 cases"


# Notebook 4


@exercise
def loose(answer: Callable[[Tensor, Tensor, int, int], Tensor]) -> str:
    """A function from predictions and labels (n, joints, 2) and two joints' numbers to which limbs are right (n,)."""
    limbs = torch.tensor([[[0.0, 0.0], [10.0, 0.0]]]).repeat(5, 1, 1)
    off = torch.tensor([[8.0, 1.0], [6.0, 6.0], [5.0, 5.0], [0.0, 11.0], [1.0, 8.0]])  # of each end, in pixels
    found = limbs.clone()
    found[:, :, 1] += off
    given = answer(found, limbs, 0, 1)
    right, strict = off.mean(1) <= 5, off.amax(1) <= 5
    require(
        isinstance(given, Tensor) and given.dtype == torch.bool and given.shape == right.shape,
        "a tensor of booleans is wanted, one per person",
    )
    require(not given.equal(strict), "this is the strict version: it is the worse end that decides here")
    for end in (0, 1):
        require(not given.equal(off[:, end] <= 5), "only one of the two ends is looked at")
    require(not given.equal(off.mean(1) <= 10), "within half of the limb's length, not within all of it")
    wrong = (given != right).nonzero().flatten().tolist()
    pairs = "; ".join(f"ends off by {off[k, 0]:g} and {off[k, 1]:g} px" for k in wrong)
    require(not wrong, f"of limbs of 10 px these are judged wrongly: {pairs}")
    return f"of five limbs {int(right.sum())} are right, and {int(strict.sum())} by the strict version"


@exercise
def read_both(answer: Callable[[Tensor, Tensor, Sequence[int]], Tensor], mirror: Sequence[int]) -> str:
    """A function from maps (n, joints, cells, cells), those of the mirror images and each joint's other side."""
    joints = len(mirror)
    maps = _maps(3 * joints, cells=24).unflatten(0, (3, joints))
    mirrored = maps.flip(-1)[:, mirror]
    given, wanted = answer(maps, mirrored, mirror), soft_argmax(maps)
    require(not _close(given, soft_argmax((maps + mirrored) / 2)), "the mirror image's maps are not turned back yet")
    require(
        not _close(given, soft_argmax((maps + mirrored.flip(-1)) / 2)),
        "columns are turned back; the joints still have the names of their other side",
    )
    require(
        not _close(given, soft_argmax((maps + mirrored[:, mirror]) / 2)),
        "the joints have their names back; the columns still run from right to left",
    )
    compare(given, wanted, "an image whose mirror image gives mirrored maps must be read as before")
    cell = torch.arange(24, dtype=torch.float64) + 0.5
    sharp = -((cell[None, :] - 10.0) ** 2 + (cell[:, None] - 12.0) ** 2) / 2  # width 1, at (10, 12)
    blunt = -((cell[None, :] - 13.0) ** 2 + (cell[:, None] - 11.0) ** 2) / 8  # width 2, at (13, 11)
    two = [m.expand(1, joints, 24, 24) for m in (sharp, blunt.flip(-1))]
    given, wanted = answer(*two, mirror), soft_argmax((sharp + blunt) / 2).expand(1, joints, 2)
    halfway = ((soft_argmax(sharp) + soft_argmax(blunt)) / 2).expand(1, joints, 2)
    require(
        not _close(given, halfway, 1e-4),
        "two maps of different widths give the location halfway, as averaging locations does; average earlier",
    )
    compare(given, wanted, "two maps of different widths are not averaged as logits are", 1e-4)
    return "the sharper of two maps has the greater say, which averaged locations do not give it"


@exercise
def seeds_needed(answer: Callable[[float, float], int]) -> str:
    """A function from a standard deviation and half of an interval's width to the number of seeds that takes."""
    cases = ((0.01, 0.01), (0.01, 0.03), (0.02, 0.005), (0.004, 0.1))
    found = []
    for deviation, half in cases:
        n = answer(deviation, half)
        require(isinstance(n, int) and n >= 2, f"a whole number of at least 2 is wanted, not {n!r}")
        case = f"for a deviation of {deviation} and {half} to either side"
        reach = _reach_of(n, deviation)
        require(reach <= half, f"{case}, {n} seeds reach {reach:.4f}: t grows where seeds are few")
        require(n == 2 or _reach_of(n - 1, deviation) > half, f"{case}, fewer than {n} seeds are enough")
        found.append(n)
    told = ", ".join(f"{n} for {half}" for n, (_, half) in zip(found, cases, strict=True))
    return f"the seeds that are needed, and not one more: {told}"


def _reach_of(n: int, deviation: float) -> float:
    """How far a 95 % interval of n values with this standard deviation reaches to either side."""
    values = torch.linspace(-1, 1, n, dtype=torch.float64)
    _, ends = interval((values * deviation / values.std()).tolist())
    return ends[1]
