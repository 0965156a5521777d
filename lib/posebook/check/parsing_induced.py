"""Checks of the exercises of `notebooks/4_parsing_induced/`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from posebook.check.answers import compare, exercise, require
from posebook.datasets import open_dataset
from posebook.evaluation.metrics import parsing_score
from posebook.layers.adaptive_conv import AdaptiveConv, dynamic_depthwise_conv2d
from posebook.losses import parsing_cross_entropy
from posebook.papers import create
from posebook.papers.parsing_induced.network import ParameterAdapter
from posebook.skeleton import IGNORE_LABEL, PARTS
from posebook.training.augment import Changes, augment

# 1_adaptive_convolution


@exercise
def kernel_gradient(answer: Callable[[Tensor, Tensor, int], Tensor]) -> str:
    """The gradient of the dynamic convolution by its kernels, as a function of features, gradient and the side."""
    draw = torch.Generator().manual_seed(1)
    for side, shape in ((3, (2, 3, 5, 7)), (7, (3, 4, 12, 11))):
        features, gradient = (torch.randn(shape, dtype=torch.float64, generator=draw) for _ in range(2))
        kernels = torch.zeros(*shape[:2], side, side, dtype=torch.float64, requires_grad=True)
        dynamic_depthwise_conv2d(features, kernels).backward(gradient)
        found = answer(features, gradient, side)
        right = kernels.grad
        if isinstance(found, Tensor) and found.shape == right.shape:
            turned = torch.allclose(found.flip(-1, -2).double(), right, atol=1e-8)
            require(not turned, "each kernel's gradient is turned by half a turn: which of F and G is shifted by a?")
            summed = torch.allclose(found.double(), right.sum(0, keepdim=True).expand_as(right), atol=1e-8)
            require(not summed, "it is summed over the images, but each image has kernels of its own")
        compare(found, right, "the values are off: is the map padded by half the kernel's side, and with zeros?", 1e-8)
    return "it is autograd's gradient, of 3 x 3 and of 7 x 7 kernels"


@exercise
def added_by_bias(answer: Callable[[Tensor, Tensor, Tensor, int, int], Tensor]) -> str:
    """What a bias of the first 1x1 convolution adds, as a function of U, kernels, bias, height and width."""
    draw = torch.Generator().manual_seed(2)
    layer, biased = (AdaptiveConv(6, 5).double() for _ in range(2))
    biased.load_state_dict(layer.state_dict())
    biased.V.bias = nn.Parameter(torch.randn(6, dtype=torch.float64, generator=draw))
    features = torch.randn(2, 6, 11, 10, dtype=torch.float64, generator=draw)
    kernels = torch.randn(2, 6, 5, 5, dtype=torch.float64, generator=draw)
    with torch.no_grad():
        right = biased(features, kernels) - layer(features, kernels)
        found = answer(layer.U.weight[:, :, 0, 0], kernels, biased.V.bias, 11, 10)
        if isinstance(found, Tensor) and found.shape == right.shape:
            inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))
            constant = torch.einsum("om,m->o", layer.U.weight[:, :, 0, 0], biased.V.bias)
            require(
                not torch.allclose(found, constant[None, :, None, None].expand_as(right), atol=1e-8),
                "that is what a bias would add if there were no kernels between V and U",
            )
            at_border = torch.allclose(found[inside], right[inside], atol=1e-8)
            require(
                not at_border or torch.allclose(found, right, atol=1e-8),
                "it is right inside the map, and off at the border, where a part of a kernel lies on padding",
            )
        compare(found, right, "the values are off inside the map too: what do kernels make of a constant map?", 1e-8)
    return "inside a map it is one number per channel, another in each image; towards the border it changes"


@exercise
def components(answer: Callable[[Tensor, float], int], kernels: Tensor) -> str:
    """The number of principal components that hold a share of the kernels' variance.

    Args:
        kernels: (n, 1, 7, 7), those the notebook's adapter predicts.
    """
    draw = torch.Generator().manual_seed(3)
    scales = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)
    directions = torch.linalg.qr(torch.randn(49, 3, dtype=torch.float64, generator=draw)).Q.T
    spread = torch.randn(200, 3, dtype=torch.float64, generator=draw) * scales
    made = 10 * torch.randn(49, dtype=torch.float64, generator=draw) + spread @ directions
    own = kernels.detach().cpu().double().flatten(1)
    for some, share in ((made, 0.6), (made, 0.99999), (own, 0.5), (own, 0.95)):
        found = answer(some.view(-1, 1, 7, 7), share)
        right, with_mean, by_length = (
            int((values.cumsum(0) / values.sum() < share).sum()) + 1
            for values in (
                torch.linalg.svdvals(some - some.mean(0)).square(),
                torch.linalg.svdvals(some).square(),
                torch.linalg.svdvals(some - some.mean(0)),
            )
        )
        require(float(found) == int(found), f"a whole number is wanted, not {found}")
        require(found == right or found != with_mean, "the mean kernel is still in it: it is no direction of variance")
        require(found == right or found != by_length, "variances are squares of singular values, and these are added")
        require(found <= right, f"{int(found)} components are more than it takes for a share of {share:g}")
        require(found >= right, f"{int(found)} components hold less than a share of {share:g}")
    told = ", ".join(f"{share:.0%}: {answer(kernels, share)}" for share in (0.5, 0.9, 0.95, 0.99))
    return f"components of the predicted kernels for shares of the variance of {told} (of 49)"


# 2_learner


@exercise
def image_sizes(answer: Callable[[int, int, int, int], Sequence[int]]) -> str:
    """All sizes of image from whose features the adapter makes kernels of a side."""
    for h, stride, poolings, largest in ((7, 4, 2, 512), (3, 8, 2, 512), (5, 4, 1, 90), (1, 8, 2, 512), (7, 8, 0, 120)):
        adapter = ParameterAdapter(1, poolings)
        cells = range(2 ** (poolings + 1) + 1, largest // stride + 1)
        sides = {c * stride: adapter(torch.zeros(1, 1, c, c)).shape[-1] for c in cells}
        right = {size for size, side in sides.items() if side == h}
        found = list(answer(h, stride, poolings, largest))
        where = f"for kernels of side {h} at stride {stride} with {poolings} poolings, up to {largest} pixels"
        require(len(set(found)) == len(found), f"{where}: a size is named twice")
        require(all(size % stride == 0 for size in found), f"{where}: not all are multiples of the stride")
        require(all(size <= largest for size in found), f"{where}: one is larger than the largest")
        wrong = [size for size in found if size not in right]
        require(
            not wrong, f"{where}: {wrong and wrong[0]} pixels give {wrong and sides.get(wrong[0], 'no')}: round down"
        )
        require(len(found) == len(right), f"{where}: {len(found)} sizes are not all: each step rounds down")
    return f"7 x 7 kernels at stride 4 come of {len(answer(7, 4, 2, 512))} sizes of image"


@exercise
def fair_features(answer: Callable[[], int] | int) -> str:
    """The most features at which HG-1s-1u with the learner has no more parameters than HG-2s-1u of 256 features."""

    def count(**settings) -> int:
        with torch.device("meta"):
            network = create("parsing_induced", **settings)
        return sum(weight.numel() for weight in network.parameters())

    features = answer() if callable(answer) else answer
    require(features % 4 == 0, f"{features} is no multiple of 4")
    one, budget = {"stacks": 1, "parsing_units": 1}, count(variant="pose", stacks=2)
    fits, more = (count(**one, features=some) for some in (features, features + 4))
    require(
        fits <= budget,
        f"with {features} features the learner has {fits:,} parameters, and HG-2s-1u has {budget:,}: too many",
    )
    require(more > budget, f"with {features} features there is room for 4 more: {more:,} of {budget:,} parameters")
    return f"{features} features: {fits:,} parameters beside {budget:,}"


@exercise
def learning_encoders(answer: Sequence[set[str]]) -> str:
    """Which encoders have a gradient in four cases, a to d; sets of "pose" and "parsing"."""
    require(len(answer) == 4, f"four sets are wanted, for a, b, c and d, not {len(answer)}")
    names = {"pose", "parsing"}
    require(all(set(some) <= names for some in answer), 'the sets may hold "pose" and "parsing" alone')
    hints = {
        "a": "follow the kernels back to what they are made of",
        "b": "on which stack's features does the adaptive convolution work?",
        "c": "what does a convolution with weights of zero send back to its input?",
        "d": "what does a layer with weights of zero send back to its input?",
    }
    settings = {"size": 64, "stacks": 1, "features": 16, "depth": 2, "parsing_units": 1, "poolings": 1, "beta": 0.0}
    people = open_dataset("figures", "test", size=64).batch(torch.arange(8))
    for letter, found in zip("abcd", answer, strict=True):
        torch.manual_seed(0)
        network = create(
            "parsing_induced", **settings | {"b": {"stacks": 2}, "d": {"variant": "multi"}}.get(letter, {})
        )
        zeroed = {"c": "adapter", "d": "to_maps"}.get(letter)
        for weight in getattr(network, zeroed).parameters() if zeroed else ():
            nn.init.zeros_(weight)
        outputs = network(people.images)
        outputs = outputs._replace(maps=outputs.maps[:, :1]) if letter == "b" else outputs
        network.loss(outputs, people)[0].backward()
        learn = {
            name
            for name in names
            if any(w.grad is not None and w.grad.any() for w in getattr(network, name).parameters())
        }
        require(set(found) == learn, f"{letter}: autograd finds other encoders than these; {hints[letter]}")
    return "autograd finds the same encoders in all four cases"


# 3_training


@exercise
def parsing_gradient(answer: Callable[[Tensor, Tensor], Tensor]) -> str:
    """The gradient of `parsing_cross_entropy` by logits of the labels' own size."""
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 5, 6, 6, generator=draw).requires_grad_()
    labels = torch.randint(0, 5, (3, 6, 6), generator=draw, dtype=torch.uint8)
    labels[0, :2], labels[2] = IGNORE_LABEL, IGNORE_LABEL
    (right,) = torch.autograd.grad(parsing_cross_entropy(logits, labels), logits)
    found = answer(logits.detach(), labels.clone())
    if isinstance(found, Tensor) and found.shape == right.shape:
        require(not found[2].any(), "the third person has no label at all, and must have no gradient")
        known = int((labels != IGNORE_LABEL).sum())
        for factor, why in (
            (labels.numel() / known, "it is divided by the labelled pixels: the library divides by all of them"),
            (labels.numel(), "it is the gradient of a sum over pixels, and the library's loss is divided"),
            (-1.0, "the sign is wrong: which logit does a step against the gradient raise?"),
        ):
            require(not torch.allclose(found, factor * right, atol=1e-6), why)
    compare(found, right, "it is not probability minus truth: look at one labelled pixel", 1e-6)
    return "it is autograd's gradient, and 0 where there is no label"


@exercise
def largest_beta(answer: Callable[[Tensor, Tensor], float]) -> str:
    """The largest beta at which the pose loss does not rise, of the two gradients p and s."""
    pairs = [[[3.0, 0.0], [-1.0, 1.0]], [[1.0, 2.0], [2.0, -3.0]], [[1.0, 0.0], [1.0, 5.0]], [[2.0, 0.0], [0.0, 1.0]]]
    for p, s in torch.tensor(pairs):
        found, along = float(answer(p, s)), float(p @ s)
        shown = f"p = {p.tolist()} and s = {s.tolist()}"
        if along >= 0:
            require(math.isinf(found) and found > 0, f"{shown} do not pull apart: the pose loss never rises")
            continue
        require(not math.isinf(found), f"{shown} pull apart: from some beta on the pose loss rises")
        require(found >= 0, f"{found:g} for {shown} is below 0: mind the sign of their product")
        change = float(p @ (p + found * s))
        require(change > -1e-3, f"with {found:g} for {shown} the pose loss rises already")
        require(change < 1e-3, f"with {found:g} for {shown} the pose loss still falls: there is room for more")
    return "the pose loss falls up to that beta and rises beyond, or never rises"


@exercise
def mirrored_labels(answer: Callable[[Tensor, tuple[str, ...]], Tensor]) -> str:
    """The part labels of the mirror image, as a function of labels and the parts' names."""
    figures = open_dataset("figures", "train", size=64)
    people = figures.batch(torch.arange(16))
    people.parsing[0, :5] = IGNORE_LABEL
    one, none = torch.ones(16), torch.zeros(16)
    changes = Changes(one, none, torch.zeros(16, 2), none, one.bool(), one, one, one)
    given = people.parsing.clone()
    right = augment(people, changes, figures.skeleton).parsing
    found = answer(given.clone(), PARTS)
    if isinstance(found, Tensor) and found.shape == right.shape:
        found = found.long()
        require(not found.equal(given.flip(-1).long()), "the columns are turned round, but left parts are still left")
        require(not found.equal(right.flip(-1).long()), "left and right are swapped, but each pixel is where it was")
        require(not found.equal(right.flip(-2, -1).long()), "it is the rows that are turned round")
        unknown = found[right == IGNORE_LABEL]
        require(bool((unknown == IGNORE_LABEL).all()), "pixels of 255 have no label in the mirror image either")
    compare(found, right, "some labels are not those of the mirror image: which parts have a side?")
    return f"all {right.numel():,} labels are those of the mirror image"


# 4_evaluation


@exercise
def iou_by_image(answer: Callable[[Tensor], float], matrices: Tensor) -> str:
    """The mean IoU image by image.

    Args:
        matrices: the confusion matrices of the notebook's people, (people, parts, parts).
    """
    two = torch.tensor([[[6, 0, 0], [0, 2, 0], [0, 0, 0]], [[4, 2, 0], [0, 0, 2], [0, 0, 0]]])
    found = float(answer(two))
    require(not math.isnan(found), "a part that neither occurs nor is named is 0 / 0: leave it out")
    for wrong, why in (
        (float(parsing_score(two.sum(0)).mean_iou), "the pixels of both images are added up first, as in section 3"),
        ((2 / 3 + 2 / 9) / 2, "a part that neither occurs in an image nor is named there counts as 0: leave it out"),
        ((2.0 + 2 / 3) / 5, "all parts of all images weigh the same: take the mean in each image first"),
        ((1 + 1 / 3) / 2, "a part that is named where it does not occur counts too, with 0"),
    ):
        require(abs(found - wrong) > 1e-6, why)
    compare(found, (1 + 2 / 9) / 2, "compute the IoU of each part of each of the two images by hand")
    added, by_image = float(parsing_score(matrices.sum(0)).mean_iou), float(answer(matrices))
    return f"mean IoU {added:.3f} with all pixels added up, {by_image:.3f} image by image"


@exercise
def most_and_least_like(answer: Callable[[Tensor], tuple[Tensor, Tensor]]) -> str:
    """For each pose the numbers of the one most like it and of the one most unlike it."""
    # Person 5 is person 2 elsewhere and larger, 6 is turned by half a turn.
    trial = torch.randn(5, 4, 2, generator=torch.Generator().manual_seed(0))
    trial = torch.cat([trial, 3 * trial[[2]] + 7, -trial[[2]]])
    found = answer(trial)
    require(isinstance(found, tuple | list) and len(found) == 2, "two tensors are wanted: most like, most unlike")
    near, far = (torch.as_tensor(some).tolist() for some in found)
    require(len(near) == len(far) == len(trial), f"each of the {len(trial)} people needs a number in both")
    own = [k for k, other in enumerate(near) if k == other]
    require(not own, "somebody is the most like themselves: take the diagonal of the distances out")
    swapped = near[2] == 6 and far[2] == 5
    require(not swapped, "most like and most unlike are the wrong way round")
    require(
        near[2] == 5 and near[5] == 2, "location and size must not count: the same pose, moved and larger, is alike"
    )
    require(far[2] == 6 and far[5] == 6, "nothing is more unlike a pose than the same one turned by half a turn")
    return "the same pose elsewhere is most alike, and the one turned by half a turn most unlike"


# 5_several_people


@exercise
def average_precisions(answer: Sequence[float]) -> str:
    """Average precision of five proposals for four true joints, as they are and with the wrong ones last."""
    first, last = 0.25 * (1 + 0.6 + 0.6), 0.75
    require(len(answer) == 2, f"two numbers are wanted, not {len(answer)}")
    require(all(0 <= float(value) <= 1 for value in answer), "an average precision lies between 0 and 1")
    for wrong, why in (
        (0.25 * (1 + 0.5 + 0.6), "precision at a recall is the best at that recall or at any higher one"),
        ((1 + 0.6 + 0.6) / 3, "there are four true joints: recall ends below 1"),
        ((1 + 0.5 + 0.6) / 3, "there are four true joints, and precision is the best at that recall or a higher one"),
        (0.6, "that is the precision after all proposals"),
    ):
        require(abs(float(answer[0]) - wrong) > 1e-4, f"the first number: {why}")
    compare(
        answer[0], first, "the first number: write precision and recall down after each of the five proposals", 1e-3
    )
    require(abs(float(answer[1]) - 1.0) > 1e-4, "the second number: one true joint is not found, which costs recall")
    compare(answer[1], last, "the second number: what is the precision before the first wrong proposal?", 1e-3)
    return "the two wrong proposals cost 0.2 where they are sure, and nothing where they come last"


@exercise
def chains(answer: Callable[[Tensor, float], Sequence[int]]) -> str:
    """Votes that hang together by steps within a distance."""
    row = torch.tensor([[0.0, 18.0], [0.0, 0.0], [0.0, 40.0], [0.0, 9.0], [0.0, 49.5]])
    heaps = [int(k) for k in answer(row, 10)]
    require(len(heaps) == len(row), f"there are {len(row)} votes, and {len(heaps)} numbers came back")
    require(len(set(heaps)) > 1, "all votes are in one heap, but 18 and 40 are 22 apart, with a distance of 10")
    require(heaps[1] == heaps[3], "0 and 9 are within 10 of each other, and belong together")
    require(heaps[0] == heaps[1], "0 and 18 are more than 10 apart, but 9 lies between: friends of friends belong too")
    require(heaps[2] == heaps[4] != heaps[0], "40 and 49.5 belong together, and to nobody else")
    require(len({int(k) for k in answer(row, 5)}) == 5, "with a distance of 5 nobody is near anybody")
    plane = torch.tensor([[0.0, 0.0], [8.0, 8.0]])
    require(len({int(k) for k in answer(plane, 10)}) == 2, "(0, 0) and (8, 8) are more than 10 apart: use both axes")
    return "votes hang together by steps within the distance"
