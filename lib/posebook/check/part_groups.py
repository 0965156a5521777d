"""Checks of the exercises of `2_part_groups`, a notebook after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from posebook.check.answers import compare, exercise, function, number, require
from posebook.papers.part_groups.network import Branches, Shared
from posebook.skeleton import MPII, Skeleton


def _close(found: float, expected: float, tolerance: float = 1e-4) -> bool:
    return abs(found - expected) <= tolerance


# Notebook 1: mutual information.


@exercise
def by_entropies(answer: Any, counts: Tensor | None = None) -> str:
    """Mutual information of a table of counts, in nats; then of the notebook's own table."""
    function(answer)
    table = torch.tensor([[4.0, 1.0, 0.0], [0.0, 3.0, 2.0]])
    p = table.double() / table.sum()
    both, first, second = (float(-torch.special.xlogy(q, q).sum()) for q in (p, p.sum(1), p.sum(0)))
    expected, found = first + second - both, number(answer(table))
    require(
        not math.isnan(found), "the result is not a number: a cell with nobody in it adds 0, and 0 times log 0 is NaN"
    )
    require(not _close(found, expected / math.log(2)), "this is right in bits: nats want the natural logarithm")
    require(not _close(found, -expected), "the sign is the other way round: information is never negative")
    require(not _close(found, both), "this is the entropy of both together: how uncertain is each of them alone?")
    require(
        _close(found, expected), "this is not the information of the table: are the counts divided by their sum first?"
    )
    told = f"{found:.3f} nats in a table of ten people"
    return told if counts is None else f"{told}, {number(answer(counts)):.2f} between the wrists"


@exercise
def by_chance(answer: Any, counts: Tensor | None = None, taken: float | None = None) -> str:
    """Information that independent joints show: (R - 1)(C - 1) / 2N, over rows and columns with somebody in them."""
    function(answer)
    table = torch.zeros(10, 9)
    table[:8, :7] = torch.arange(1, 57).reshape(8, 7)  # nobody is in the last two rows and columns
    people, found = float(table.sum()), number(answer(table))
    require(not _close(found, 42 / 2, 1e-6), "what chance adds gets less with more people")
    require(
        not _close(found, 9 * 8 / (2 * people), 1e-6), "rows and columns that nobody is in count here, and should not"
    )
    require(
        not _close(found, 8 * 7 / (2 * people), 1e-6), "all rows and columns count here: read the formula once more"
    )
    require(not _close(found, 42 / people, 1e-6), "this is twice too much")
    require(_close(found, 42 / (2 * people), 1e-6), "this is not what the formula gives for 8 rows, 7 columns")
    if counts is None or taken is None:
        return f"{found:.4f} nats in a table of {people:,.0f} people"
    return (
        f"for the wrists the formula says {number(answer(counts)):.2f} nats, and the correction takes off {taken:.2f}"
    )


@exercise
def cut(
    answer: Any,
    W: Tensor | None = None,
    groupings: dict[str, list[list[int]]] | None = None,
) -> str:
    """The normalised cut of groups in a graph of affinities; then of the notebook's groupings."""
    function(answer)
    graph = torch.tensor([[9.0, 3.0, 1.0, 0.5], [3.0, 9.0, 0.0, 1.0], [1.0, 0.0, 9.0, 2.0], [0.5, 1.0, 2.0, 9.0]])
    groups = [[0, 1, 2], [3]]

    def parts(W: Tensor) -> list[tuple[float, float]]:
        return [(float(W[g][:, g].sum()), float(W[g].sum())) for g in groups]

    inside = parts(graph - graph.diag().diag())
    expected = sum(1 - within / degrees for within, degrees in inside)
    found = number(answer(graph.clone(), groups))
    with_diagonal = sum(1 - within / degrees for within, degrees in parts(graph))
    sizes = sum((degrees - within) / len(g) for (within, degrees), g in zip(inside, groups, strict=True))
    require(not _close(found, with_diagonal), "the diagonal counts here: a joint has no edge to itself")
    require(not _close(found, len(groups) - expected), "these are the edges within groups: those that leave are wanted")
    require(not _close(found, sum(d - w for w, d in inside)), "the edges that leave each group are not divided yet")
    require(not _close(found, sizes), "a group's edges are to be divided by its joints' degrees, not by their number")
    require(
        not _close(found, expected / 2), "this is half of it: an edge counts for each of the two groups that it joins"
    )
    require(_close(found, expected), "this is not the cut of four joints in groups of three and one")
    if W is None or groupings is None:
        return f"{found:.3f} in a graph of four joints"
    return ", ".join(f"{name} {number(answer(W, groups)):.4f}" for name, groups in groupings.items())


# Notebook 2: the branching network.


def _parameters(layer: nn.Module) -> int:
    return sum(p.numel() for p in layer.parameters())


@exercise
def fair_width(answer: Any) -> str:
    """The largest even width at which branches have no more parameters than the deep baseline's block and maps."""
    function(answer)
    told = {}
    with torch.device("meta"):  # shapes without numbers
        budget = _parameters(Shared(256, 16, deep=True))
        for name in ("one", "two", "five", "eight", "each", "overlapping"):
            groups = MPII.groups(name)
            width = number(answer(groups))
            require(width == int(width) and width > 0, f"{name}: a width is a whole number, not {width:g}")
            require(width % 2 == 0, f"{name}: {width:g} is odd, and half of it is the width of the bottleneck")
            now, more = (_parameters(Branches(256, groups, 16, int(w), 1)) for w in (width, width + 2))
            require(
                now <= budget, f"{name}: at W {width:g} branches have {now:,} parameters, and the budget is {budget:,}"
            )
            require(
                more > budget, f"{name}: at W {width:g} branches have {now:,} of {budget:,}: a wider one still fits"
            )
            told[name] = int(width)
    return ", ".join(f"{name} {width}" for name, width in told.items())


@exercise
def in_order(answer: Any) -> str:
    """Maps of branches in the joints' order, those of the same joint averaged."""
    function(answer)
    generator = torch.Generator().manual_seed(0)
    cases = ((MPII.groups("each"), 16), (MPII.groups("overlapping"), 16), ([[2, 0], [1], [0, 1, 2]], 3))
    for groups, joints in cases:
        order = torch.tensor([joint for group in groups for joint in group])
        given = [torch.randn(2, len(group), 5, 5, generator=generator) for group in groups]
        maps = torch.cat(given, 1)
        summed = torch.zeros(2, joints, 5, 5).index_add(1, order, maps)
        last = torch.zeros(2, joints, 5, 5)
        for row, joint in enumerate(order.tolist()):
            last[:, joint] = maps[:, row]
        expected, found = summed / order.bincount(minlength=joints)[:, None, None], answer(given, groups, joints)
        require(isinstance(found, Tensor), f"the function is to return a tensor, not {type(found).__name__}")
        where = f"{joints} joints in {len(groups)} groups:"
        require(
            found.shape == expected.shape,
            f"{where} the shape is {tuple(found.shape)}, where {tuple(expected.shape)} is wanted",
        )
        twice = not torch.allclose(summed, expected)
        for wrong, sentence in (
            (maps[:, :joints], "maps are still in the order of the branches"),
            (summed if twice else None, "maps of the same joint are added up, and not averaged"),
            (last if twice else None, "of several maps of a joint only one is left"),
        ):
            taken_for = wrong is not None and not torch.allclose(wrong, expected) and torch.allclose(found, wrong)
            require(not taken_for, f"{where} {sentence}")
        compare(found, expected, f"{where} other maps are wanted")
    return "maps of 16, 18 and 6 come back in the joints' order"


@exercise
def follow_the_gradient(answer: Any) -> str:
    """Which branches of the first stack learn in three networks of two stacks."""
    hints = (
        (
            "the shoulder's map is made of several when groups overlap",
            "in the loss of the first stack nothing comes back",
        ),
        ("", "what of the first stack's branches does the second stack see when A is all zeros?"),
        ("specific features of which branches go on?", ""),
    )
    require(
        isinstance(answer, Sequence) and len(answer) == 3 and all(isinstance(some, set) for some in answer),
        "three sets are wanted, for a, b and c: a set is written {1, 2}, and set() where there is none",
    )
    for letter, found, expected, (missing, further) in zip(
        "abc", answer, ({3, 4}, set(), {1, 2, 3, 4, 5}), hints, strict=True
    ):
        require(found <= {1, 2, 3, 4, 5}, f"{letter}: branches have the numbers 1 to 5")
        require(expected <= found, f"{letter}: a branch that learns is missing: {missing}")
        require(found <= expected, f"{letter}: a branch is named that does not learn: {further}")
    return "autograd finds the same branches"


# Notebook 3: training.


@exercise
def best_height(answer: Any) -> str:
    """The height of a Gaussian that is d cells off at which it costs least, and that cost in blank maps."""
    function(answer)
    for d, sigma in ((0.0, 1.0), (0.5, 1.0), (2.0, 1.0), (2.0, 2.0), (4.0, 1.5)):
        pair = answer(d, sigma)
        require(isinstance(pair, tuple | list) and len(pair) == 2, "two numbers are wanted: the height and its cost")
        height, cost = map(number, pair)
        expected = math.exp(-(d**2) / (4 * sigma**2))
        where = f"at d = {d:g}, sigma = {sigma:g}"
        require(not (sigma != 1 and _close(height, math.exp(-(d**2) / 4), 1e-3)), f"{where}: mind the Gaussian's width")
        require(
            not (d and _close(height, math.exp(-(d**2) / (2 * sigma**2)), 1e-3)),
            f"{where}: this is the height of the target where the map has its peak; the whole of both counts",
        )
        require(_close(height, expected, 1e-3), f"{where}: another height costs less")
        in_sums = math.pi * sigma**2 * (1 - expected**2)
        require(
            not (d and _close(cost, in_sums, 1e-3)), f"{where}: this is the squared error: in blank maps it is less"
        )
        require(_close(cost, 1 - expected**2, 1e-3), f"{where}: the height is right, and costs something else")
    return f"four cells off at sigma 1 the best height is {number(answer(4.0, 1.0)[0]):.2f}"


@exercise
def shear_and_mirror(answer: Any, skeleton: Skeleton = MPII) -> str:
    """Joints in an image that is mirrored or not and then sheared about its middle."""
    function(answer)
    size, mirror_of = 64, list(skeleton.mirror)
    joints = size * torch.rand(3, len(skeleton), 2, generator=torch.Generator().manual_seed(0))

    def sheared(points: Tensor, shear: float | int, middle: float | int) -> Tensor:
        return torch.stack([points[..., 0] + shear * (points[..., 1] - middle), points[..., 1]], -1)

    def mirrored(points: Tensor) -> Tensor:
        return torch.stack([size - points[..., 0], points[..., 1]], -1)

    for shear, mirror in ((0.3, False), (0.0, True), (-0.5, True)):
        before = mirrored(joints)[:, mirror_of] if mirror else joints
        expected = sheared(before, shear, size / 2)
        found = answer(joints.clone(), shear, mirror, size)
        require(isinstance(found, Tensor), f"the function is to return a tensor, not {type(found).__name__}")
        if found.shape == expected.shape:
            wrong = {"the shear is about the top row, not about the middle of the image": sheared(before, shear, 0)}
            if mirror:
                wrong["left and right joints have kept their names"] = sheared(mirrored(joints), shear, size / 2)
                wrong["in a mirror image the left border becomes the right one, at x = size"] = sheared(
                    (mirrored(joints) - torch.tensor([1.0, 0.0]))[:, mirror_of], shear, size / 2
                )
                wrong["it was sheared first and mirrored after, which shears to the other side"] = mirrored(
                    sheared(joints, shear, size / 2)
                )[:, mirror_of]
            for sentence, points in wrong.items():
                taken_for = torch.allclose(found, points, atol=1e-3)
                require(not taken_for or torch.allclose(points, expected, atol=1e-3), sentence)
        compare(found, expected, f"joints lie elsewhere at a shear of {shear:g}, mirror {mirror}", 1e-3)
    return "joints lie where the library has them"


@exercise
def rmsprop(answer: Any) -> str:
    """One step of RMSProp at a time, beside PyTorch's."""
    function(answer)
    rate, alpha, epsilon = 2.5e-4, 0.99, 1e-2
    generator = torch.Generator().manual_seed(0)
    theirs = nn.Parameter(torch.randn(7, generator=generator))
    mine, mean = theirs.detach().clone(), torch.zeros(7)
    optimizer = torch.optim.RMSprop([theirs], lr=rate, alpha=alpha, eps=epsilon)
    for step in range(1, 6):
        gradient = torch.randn(7, generator=generator)
        theirs.grad = gradient.clone()
        optimizer.step()
        before, old = mine, mean
        pair = answer(before.clone(), gradient.clone(), old.clone(), rate, alpha, epsilon)
        require(isinstance(pair, tuple | list) and len(pair) == 2, "two tensors are wanted: the weight and the mean")
        mine, mean = pair
        new = alpha * old + (1 - alpha) * gradient.square()
        where = f"after step {step}"
        compare(
            mean,
            new,
            f"{where} the running mean is another: of squared gradients, by far the most of it the old one",
            1e-7,
        )
        for sentence, step_size in (
            ("the old mean is used: the new one has this gradient in it", gradient / (old.sqrt() + epsilon)),
            ("the root of the mean is missing", gradient / (new + epsilon)),
            ("epsilon is added under the root, and belongs after it", gradient / (new + epsilon).sqrt()),
            ("the step goes uphill", -gradient / (new.sqrt() + epsilon)),
        ):
            require(not torch.allclose(mine, before - rate * step_size, atol=1e-7), f"{where} {sentence}")
        compare(mine, theirs.detach(), f"{where} weights are not PyTorch's", 1e-6)
    return "five steps as PyTorch makes them"


# Notebook 4: evaluation.


@exercise
def share_occluded(answer: Any, table: dict[str, dict[str, float]] | None = None) -> str:
    """How often a joint is occluded, from its three scores; then by the rows of a table of scores."""
    function(answer)
    visible, occluded = torch.tensor([0.9, 0.8, 0.95]), torch.tensor([0.6, 0.1, 0.9])
    share = torch.tensor([0.25, 0.1, 0.6])
    everything = (1 - share) * visible + share * occluded
    found = torch.as_tensor(answer(everything, visible, occluded))
    for wrong, sentence in (
        (1 - share, "this is how often it is visible"),
        (-share, "the sign is the other way round: a share lies between 0 and 1"),
        (100 * share, "a share lies between 0 and 1"),
    ):
        require(found.shape != wrong.shape or not torch.allclose(found.double(), wrong.double(), atol=1e-4), sentence)
    compare(found, share, "all joints are a mixture of both kinds: solve section 3's equation for the share", 1e-3)
    shares = {name: number(answer(row["all"], row["visible"], row["occluded"])) for name, row in (table or {}).items()}
    return ", ".join(f"{name}: {value:.1%} are occluded" for name, value in shares.items()) or "three joints' shares"


@exercise
def paired_error(answer: Any, one: Tensor | None = None, other: Tensor | None = None) -> str:
    """Standard error of the difference of two scores over the same joints; then of the notebook's two networks."""
    function(answer)
    rng = torch.Generator().manual_seed(0)
    difficulty = torch.rand(500, generator=rng)  # both fail more often at the same joints
    pair = [torch.rand(500, generator=rng) > 0.9 * difficulty for _ in range(2)]
    difference = pair[0].double() - pair[1].double()
    deviation = float(difference.std(correction=0))
    expected, found = deviation / math.sqrt(500), number(answer(*pair))

    def near(value: float) -> bool:
        return abs(found / value - 1) < 0.01

    unpaired = math.sqrt(sum(float(p.double().var(correction=0)) for p in pair) / 500)
    require(found > 0, "a standard error is above 0")
    require(not near(unpaired), "this is the error on different joints: here both are tested on the same ones")
    require(not near(deviation), "this is how much a joint varies: the mean of many varies less")
    require(not near(deviation**2 / 500), "this is the variance of the mean: its root is wanted")
    require(near(expected), "this is not by how much the difference varies when 500 joints are drawn anew")
    if one is None or other is None:
        return f"{100 * found:.1f} percentage points over 500 joints"
    scores = [float(right.double().mean()) for right in (one, other)]
    apart = math.sqrt(sum(score * (1 - score) for score in scores) / len(one))
    return (
        f"{len(one):,} joints, a difference of {100 * (scores[0] - scores[1]):+.1f} percentage points, standard error "
        f"{100 * number(answer(one, other)):.1f} on the same people, {100 * apart:.1f} on different ones"
    )


@exercise
def without_conflict(answer: Any, step: Tensor | None = None, others: dict[str, Tensor] | None = None) -> str:
    """A gradient without the part that points against another; then a step's without what harms other joints."""
    function(answer)
    g, h = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([1.0, -1.0, 3.0])
    along = (g @ h / (h @ h)) * h
    agree, left = answer(g.clone(), -h), answer(g.clone(), h.clone())
    for found in (agree, left):
        require(isinstance(found, Tensor), f"the function is to return a vector, not {type(found).__name__}")
    compare(agree, g, "these two do not disagree: nothing is to be taken off")
    require(not torch.allclose(left, g), "these two disagree, and nothing was taken off")
    require(not torch.allclose(left, along), "this is the part along h: what is left without it is wanted")
    require(not torch.allclose(left, g + along), "what points against h was added, and is to be taken off")
    require(_close(float(left @ h), 0.0), "what is left must be at right angles to h: how long is h?")
    compare(left, g - along, "something else is lost as well: only the part along h is to be taken off")
    if step is None or not others:
        return "nothing of it points against h"
    lost = {name: 1 - float(answer(step, other).norm() / step.norm()) for name, other in others.items()}
    worst = sorted(lost, key=lambda name: lost[name], reverse=True)[:3]
    return "at most " + ", ".join(f"{lost[name]:.1%} is taken off for the {name}" for name in worst)
