"""Checks of the exercises of the notebooks on the multi-scale structure-aware network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from posebook.check.answers import WrongAnswer, compare, exercise, function, require
from posebook.coordinates import Perturbation
from posebook.losses import heatmap_loss, structure_aware_loss, structure_loss
from posebook.papers import create
from posebook.sample import Sample
from posebook.skeleton import MPII, Skeleton
from posebook.training.masking import KeypointMasking

_GROUPS = torch.tensor(MPII.structure)


@exercise
def added_parameters(answer: Any) -> str:
    """How many parameters supervision adds, of (stacks, features, joints, scales)."""
    function(answer)
    compare(answer(2, 16, 14, 1), 0, "with one scale the network is Newell's, to which nothing is added")
    one = answer(1, 8, 3, 2)
    require(one != 8 * 3, "with one stack and two scales some numbers are missing: a convolution has weights and what?")
    compare(one, _added(1, 8, 3, 2), f"with 1 stack, 8 features, 3 joints and 2 scales it is not {one}")
    compare(answer(2, 8, 3, 2), _added(2, 8, 3, 2), "right for one stack, but not for two")
    compare(answer(1, 8, 3, 3), _added(1, 8, 3, 3), "right for two scales, but not for three")
    compare(answer(2, 16, 16, 3), _added(2, 16, 16, 3), "not right for other numbers of features and joints")
    return f"as many as the library's network has more; at the paper's size {answer(8, 256, 16, 4):,}"


@exercise
def map_gradient(answer: Any) -> str:
    """The gradient of the mean norm of maps, of (maps, target)."""
    function(answer)
    random = torch.Generator().manual_seed(1)
    maps, target = (torch.randn(3, 5, 6, 6, generator=random) for _ in range(2))
    target[1, 2] = maps[1, 2]
    wanted = maps.clone().requires_grad_()
    (right,) = torch.autograd.grad(heatmap_loss(wanted, target, torch.full((3, 5), 2), "map"), wanted)
    mine = answer(maps, target)
    _check_tensor(mine)
    require(not bool(mine.isnan().any()), "not a number for the map without error: what does the division give there?")
    if mine.shape == right.shape:
        require(not torch.allclose(mine, -right, atol=1e-6), "it points the other way: the loss would grow along it")
        times = float((mine * right).sum() / right.square().sum())
        alike = torch.allclose(mine, times * right, atol=1e-5)
        require(
            not alike or abs(times - 1) < 1e-4,
            f"the direction is right, the size {times:.3g} times what it should be: over what does the loss average?",
        )
        steps = (maps - target).sign()
        times = float((mine * steps).sum() / steps.square().sum())
        require(
            not torch.allclose(mine, times * steps, atol=1e-5),
            "each cell has the same size: that is the gradient for the norm of single cells",
        )
        times = float((mine * (maps - target)).sum() / (maps - target).square().sum())
        require(
            not torch.allclose(mine, times * (maps - target), atol=1e-5),
            "all maps are divided by one number: each map has a norm of its own",
        )
    compare(mine, right, "autograd finds another gradient", 1e-6)
    return "autograd agrees, also for the map without error"


@exercise
def median_height(answer: Any) -> str:
    """The median height of a cell for a joint that scatters along a line, of its standard deviation in pixels."""
    function(answer)
    random = torch.Generator().manual_seed(2)
    for scatter in (1.0, 4.0, 10.0):
        drawn = torch.exp(-0.5 * (scatter * torch.randn(200_001, generator=random) / 4).square())
        mine = float(answer(scatter))
        planar = float(torch.exp(torch.tensor(-0.5 * (1.1774 * scatter / 4) ** 2)))
        where = f"at a scatter of {scatter:g} pixels"
        require(abs(mine - planar) > 1e-3, f"{where} that is the median for a joint that scatters in two dimensions")
        lower, upper = float(drawn.mean()), float(drawn.median())
        require(abs(mine - lower) > 0.005, f"{where} that is the mean height, which minimises the square")
        share = float((drawn < mine).float().mean())
        require(abs(mine - upper) < 0.01, f"{where} {share:.0%} of 200,001 drawn heights are below yours, and not half")
    return f"half of all drawn heights are below it; at a scatter of one cell, 4 pixels, it is {answer(4.0):.3f}"


@exercise
def metric(answer: Any) -> str:
    """The matrix A of eq. (2) as a quadratic form, of (groups, joints, alpha)."""
    function(answer)
    compare(answer(_GROUPS, 16, 0.0), torch.eye(16) / 16, "with alpha 0 the loss is not that of eq. (1)", 1e-6)
    random = torch.Generator().manual_seed(3)
    P, G = (torch.rand(4, 16, 5, 5, generator=random) for _ in range(2))
    e, there = (P - G).flatten(2), torch.full((4, 16), 2)
    for alpha in (1 / 16, 2.0):
        mine = answer(_GROUPS, 16, alpha)
        _check_tensor(mine, (16, 16))
        require(torch.allclose(mine, mine.T, atol=1e-6), "it is not symmetric: A_ij and A_ji weigh the same product")
        thorax, head = MPII.index("thorax"), MPII.index("head_top")
        require(
            abs(float(mine[head, head] - mine[thorax, thorax])) < 1e-6,
            "head top and thorax belong to one and the same pair, but differ: its last joint stands there twice",
        )
        value = torch.einsum("ij,bip,bjp->b", mine, e, e).mean()
        right = structure_aware_loss(P, G, there, _GROUPS, alpha)
        require(
            bool(torch.isclose(value, right, rtol=1e-4)),
            f"with alpha {alpha:g} it gives a loss of {float(value):.4f}, the library {float(right):.4f}",
        )
    return "it gives the library's loss at three values of alpha"


@exercise
def unseen_error(answer: Any) -> str:
    """An error that the second term does not see, of the matrix of section 1."""
    function(answer)
    membership = torch.zeros(len(_GROUPS), 16).scatter_(1, _GROUPS, 1.0)
    pattern = torch.as_tensor(answer(membership)).float()
    _check_tensor(pattern, (16,))
    require(float(pattern.abs().max()) >= 1 - 1e-6, "no joint has an error of size 1 or more")
    bell = torch.exp(-0.5 * torch.linspace(-2, 2, 5).square())
    e = pattern[None, :, None, None] * (bell[:, None] * bell)
    cost = float(structure_loss(e, torch.zeros_like(e), torch.full((1, 16), 2), _GROUPS))
    if cost > 1e-6:
        seen = (membership @ pattern).abs() > 1e-3
        worst = MPII.structure[int(seen.nonzero()[0])]
        names = ", ".join(dict.fromkeys(MPII.joints[joint] for joint in worst))
        raise WrongAnswer(f"the second term sees it: for one, the errors of {names} do not cancel")
    took = [name for name, value in zip(MPII.joints, pattern, strict=True) if abs(float(value)) > 0.1]
    require(
        bool(pattern[membership.sum(0) > 0].abs().max() > 0.1),
        f"the second term does not see it, but only joints without a group take part: {', '.join(took)}",
    )
    return f"the second term is 0 with errors at {', '.join(took)}"


@exercise
def balanced_weights(answer: Any) -> str:
    """What replaces 1/N so that all joints weigh the same, of the matrix of section 1 and alpha."""
    function(answer)
    membership = torch.zeros(len(_GROUPS), 16).scatter_(1, _GROUPS, 1.0)
    for alpha in (1 / 16, 1 / 4):
        first = torch.as_tensor(answer(membership, alpha))
        _check_tensor(first, (16,))
        added = alpha * (membership.T @ membership).diagonal()
        diagonal, mean = first + added, float((1 / 16 + added).mean())
        low, high = float(diagonal.min()), float(diagonal.max())
        require(
            not torch.allclose(first - added, (first - added).mean().expand(16), atol=1e-6),
            "joints in many groups get the larger weight, which makes the difference twice as large",
        )
        require(high - low < 1e-5, f"with alpha {alpha:g} the diagonal of A is not constant: {low:.3f} to {high:.3f}")
        require(
            abs(low - mean) < 1e-5,
            f"with alpha {alpha:g} the diagonal of A is constant, but {low:.3f}, where its mean was {mean:.3f}",
        )
    below = [name for name, value in zip(MPII.joints, first, strict=True) if value < 0]
    return f"all joints weigh the same; at alpha 1/4 the first term's weight is negative for {', '.join(below)}"


@exercise
def paste(answer: Any) -> str:
    """Patches copied in a batch of images, of (images, source, goal, side)."""
    function(answer)
    random = torch.Generator().manual_seed(1)
    images = torch.rand(5, 3, 20, 20, generator=random)
    source = torch.tensor([[0, 3], [5, 14], [9, 2], [14, 0], [7, 7]])
    goal = torch.tensor([[8, 1], [2, 4], [13, 11], [0, 9], [5, 9]])
    mine, side = answer(images.clone(), source, goal, 6), 6
    _check_tensor(mine, images.shape)
    for swap, sentence in (
        ((goal, source), "source and goal are exchanged"),
        ((source.flip(1), goal.flip(1)), "x and y are exchanged: corners are (x, y), tensors have the row first"),
    ):
        require(not torch.equal(mine, _pasted(images, *swap, side)), sentence)
    right = _pasted(images, source, goal, side)
    outside = _pasted(torch.zeros_like(images), source, goal, side, fill=1.0) == 0
    require(torch.equal(mine[outside], images[outside]), "pixels outside the patch differ from those of the image")
    for k in range(len(images)):
        require(torch.equal(mine[k], right[k]), f"in image {k} the patch does not show what is at its source")
    return "each of five images is what copying one by one gives"


@exercise
def hidden_by(answer: Any) -> str:
    """Presence after a patch was pasted, of (joints, presence, corner, side)."""
    function(answer)
    locations = torch.tensor([[[5.0, 5], [9.9, 5], [10.1, 5], [5, 10.1], [3.9, 5], [5, 6], [6, 6]]])
    mine = answer(locations, torch.tensor([[2, 2, 2, 2, 2, 1, 0]]), torch.tensor([[4, 4]]), 6)
    _check_tensor(mine, (1, 7))
    left, edge, right, below, before, occluded, absent = mine[0].tolist()
    require(absent == 0, "a joint that is absent became present")
    require(left != 0 and edge != 0, "a joint under the patch is still in the image: it is occluded, and not absent")
    require(occluded == 1, "a joint that is occluded already stays occluded")
    require(left == 1, "a visible joint in the middle of the patch is to become occluded")
    require(edge == 1, "the patch begins at its corner and is `side` wide: a joint 5.9 to the right of it is covered")
    require(right == 2 and before == 2, "a joint to the left or to the right of the patch is not covered by it")
    require(below == 2, "a joint below the patch is not covered by it")
    other = answer(locations + 8, torch.tensor([[2, 2, 2, 2, 2, 1, 0]]), torch.tensor([[4, 4]]), 6)
    require(other.tolist() == [[2, 2, 2, 2, 2, 1, 0]], "with all joints elsewhere nothing is covered")
    return "only what is visible and under the patch becomes occluded"


@exercise
def masked_share(answer: Any, sample: Sample, skeleton: Skeleton) -> str:
    """The expected share of visible joints that are covered, of (presence, cover), beside that of the library.

    Args:
        sample: people to compare with.
        skeleton: the order of their joints.
    """
    function(answer)
    state = torch.tensor([[2, 2, 0, 1], [2, 0, 0, 0], [0, 1, 0, 1]])
    mine = float(answer(state, 0.5))
    for wrong, sentence in (
        (0.5, "that would be so if each image had one visible joint: some have none, and some have several"),
        (1 / 6, "that is the share of the joints that are annotated; the visible ones are asked for"),
        (1 / 12, "that is the share of all joints, absent ones too; the visible ones are asked for"),
        (0.5 * (1 / 2 + 1) / 3, "that is a mean over images: all visible joints of the batch weigh the same"),
        (0.5 * (1 / 2 + 1) / 2, "that is a mean over images: all visible joints of the batch weigh the same"),
        (2 / 3, "right for `cover` 1: only that share of the images has a patch"),
    ):
        require(abs(mine - wrong) > 1e-6, sentence)
    compare(mine, 1 / 3, "two of three images have visible joints, three in all")
    compare(float(answer(state, 1.0)), 2 / 3, "right for `cover` 0.5, but not for 1")
    way = KeypointMasking(0.5, 0.0)
    after = way.apply(sample, way.draw(len(sample), torch.Generator().manual_seed(3)), skeleton)
    visible = sample.presence == 2
    found = float((visible & (after.presence == 1)).sum() / visible.sum())
    expected = float(answer(sample.presence.cpu(), 0.5))
    told = f"{expected:.1%} of the visible joints are expected to be covered"
    return f"{told}, and the library's patches, which are larger than a joint, hide {found:.1%}"


@exercise
def own_window(answer: Any) -> str:
    """Points of a perturbed box in pixels of the person's own window, of (points, shift, scale, size)."""
    function(answer)
    points = torch.tensor([[32.0, 32.0], [0.0, 0.0], [50.0, 20.0]])
    mine = answer(points, (0.0, 0.0), 1.0, 64)
    compare(mine, points, "a box that is the window itself changes no point")
    mine = answer(points, (0.0, 0.0), 2.0, 64)
    _check_tensor(mine, (3, 2))
    compare(mine[0], points[0], "the middle of a larger box is still the middle of the window")
    wide, narrow = (Perturbation(scale=scale).undo(points, 64) for scale in (2.0, 0.5))
    require(not torch.allclose(mine, narrow), "a larger box shows more: its pixels are larger than the window's")
    compare(mine, wide, "not right for a box twice as large")
    moved = Perturbation((0.25, -0.125))
    mine = answer(points, (0.25, -0.125), 1.0, 64)
    require(not torch.allclose(mine, moved.apply(points, 64)), "the box was moved to the right, you move points left")
    require(
        not torch.allclose(mine, points + torch.tensor([0.25, -0.125])),
        "a shift is a share of the window's side, and points are in pixels",
    )
    compare(mine, moved.undo(points, 64), "not right for a box that is moved")
    both = Perturbation((0.25, -0.125), 2.0)
    compare(
        answer(points, (0.25, -0.125), 2.0, 64),
        both.undo(points, 64),
        "right for a larger box and for one that is moved, but not for both: in whose sides is the shift?",
    )
    return "points are back in the person's own window"


@exercise
def fuse(answer: Any) -> str:
    """Locations fused over looks, of (joints, confidence, tau_s)."""
    function(answer)
    random = torch.Generator().manual_seed(1)
    joints, confidence = torch.rand(5, 3, 4, 2, generator=random), torch.rand(5, 3, 4, generator=random)
    confidence[:, 0, 0] *= 0.4  # no look is sure of it
    mine = answer(joints, confidence, 0.5)
    _check_tensor(mine, (3, 4, 2))
    require(not bool(mine.isnan().any()), "not a number for a joint that no look is sure of")
    best = joints.gather(0, confidence.argmax(0)[None, ..., None].expand(1, 3, 4, 2))[0]
    compare(mine[0, 0], best[0, 0], "where no look is sure enough, the most confident one is to stand")
    require(not torch.allclose(mine, best), "that is the most confident look for all joints")
    enough = confidence >= 0.5
    mean = torch.where(enough[..., None], joints, 0).sum(0) / enough.sum(0).clamp_min(1)[..., None]
    surely = enough.any(0)
    require(not torch.allclose(mine[surely], mean[surely]), "that is the mean of the sure looks, not their median")
    everything = joints.median(0).values
    require(not torch.allclose(mine[surely], everything[surely]), "looks below tau_s count as well")
    for n, j in surely.nonzero().tolist():
        some = joints[enough[:, n, j], n, j]
        # Of an even number of looks, both middle ones are medians, and so is their mean.
        medians = (some.median(0).values, -(-some).median(0).values, some.quantile(0.5, dim=0))
        close = any(torch.allclose(mine[n, j], median, atol=1e-5) for median in medians)
        require(close, f"person {n}, joint {j}, which {len(some)} looks are sure of: that is not their median")
    return f"of {int(surely.sum())} joints the median of the sure looks, of one the most confident look"


@exercise
def expected_passes(answer: Any, passes: Tensor) -> str:
    """The expected number of forward passes, of (first, later), beside the measured one.

    Args:
        passes: how often each person was looked at.
    """
    function(answer)
    compare(answer(0.0, 0.9), 1, "somebody who is sure after the first look is looked at once")
    compare(answer(1.0, 0.0), 2, "somebody who is unsure after the first look and sure after the second is seen twice")
    most = answer(1.0, 1.0)
    require(abs(most - 8) > 1e-4, "one look too many: there are six boxes besides the person's own")
    require(abs(most - 6) > 1e-4, "one look is missing: there are six boxes besides the person's own")
    compare(most, 7, f"somebody who is never sure is looked at through all boxes, which is not {most:g}")
    endless = 1 + 0.5 / (1 - 0.5)
    half = answer(0.5, 0.5)
    require(abs(half - endless) > 1e-4, "there is a last box: the sum does not go on for ever")
    compare(half, 1 + 0.5 * (1 - 0.5**6) / 0.5, "not right where it is open after each look whether there is another")
    unsure = passes > 1
    first = float(unsure.float().mean())
    # Of the further looks that were not the last box's, those that were followed by another.
    further, followed = (passes[unsure] - 1).clamp(max=5).sum(), (passes[unsure] - 2).clamp(max=5).sum()
    later = float(followed / further) if bool(unsure.any()) else 0.0
    measured = float(passes.float().mean())
    told = f"with {first:.0%} unsure at first and {later:.0%} later it gives {answer(first, later):.1f} passes"
    return f"{told}; measured are {measured:.1f}"


def _check_tensor(found: object, shape: tuple[int, ...] | None = None) -> None:
    require(isinstance(found, Tensor), f"your function is to return a tensor, not {type(found).__name__}")
    if shape is not None:
        require(
            tuple(found.shape) == tuple(shape), f"the shape is {tuple(found.shape)}, where {tuple(shape)} is wanted"
        )


def _added(stacks: int, features: int, joints: int, scales: int) -> int:
    """By how many parameters the library's network grows."""
    settings = {"size": 64, "depth": 3, "regression": False, "alpha": 0.0}
    settings |= {"stacks": stacks, "features": features, "joints": joints}
    more, one = (sum(p.numel() for p in create("multi_scale", scales=k, **settings).parameters()) for k in (scales, 1))
    return more - one


def _pasted(images: Tensor, source: Tensor, goal: Tensor, side: int, fill: float | None = None) -> Tensor:
    """Patches copied one image after the other, or filled with a number."""
    result = images.clone()
    for k, ((x, y), (u, v)) in enumerate(zip(source.tolist(), goal.tolist(), strict=True)):
        patch = images[k, :, y : y + side, x : x + side] if fill is None else fill
        result[k, :, v : v + side, u : u + side] = patch
    return result
