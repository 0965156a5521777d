"""Right answers to the exercises on the parsing induced learner, and what is said of wrong ones."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.sparse.csgraph import connected_components

from posebook.check import parsing_induced as check
from posebook.check.answers import WrongAnswer
from posebook.layers.adaptive_conv import dynamic_depthwise_conv2d
from posebook.papers.parsing_induced.network import kernel_side
from posebook.skeleton import IGNORE_LABEL


def kernel_gradient(features, gradient, side):
    b, c, h, w = features.shape
    one_image, weights = features.reshape(1, b * c, h, w), gradient.reshape(b * c, 1, h, w)
    return F.conv2d(one_image, weights, padding=side // 2, groups=b * c).view(b, c, side, side)


def added_by_bias(U, kernels, bias, height, width):
    flat = bias[None, :, None, None].expand(len(kernels), -1, height, width)
    return torch.einsum("om,bmhw->bohw", U, dynamic_depthwise_conv2d(flat, kernels))


def inside_only(U, kernels, bias, height, width):
    constant = torch.einsum("om,bm->bo", U, kernels.sum((2, 3)) * bias)
    return constant[:, :, None, None].expand(-1, -1, height, width)


def components(kernels, share, mean=True, power=2):
    kernels = kernels.flatten(1)
    values = torch.linalg.svdvals(kernels - mean * kernels.mean(0)) ** power
    return int((values.cumsum(0) / values.sum() < share).sum()) + 1


def image_sizes(h, stride, poolings, largest):
    def side(cells):
        return ((cells - 3) // 2 + 1) // 2**poolings

    return [size for size in range(3 * stride, largest + 1, stride) if side(size // stride) == h]


def parsing_gradient(logits, labels):
    known = labels != IGNORE_LABEL
    truth = F.one_hot(labels.where(known, 0).long(), logits.shape[1]).permute(0, 3, 1, 2)
    return (logits.softmax(1) - truth) * known[:, None] / labels.numel()


def largest_beta(p, s):
    along = float(p @ s)
    return math.inf if along >= 0 else float(p @ p) / -along


def mirrored_labels(labels, parts):
    swap = {"l_": "r_", "r_": "l_"}
    partner = torch.arange(256)
    for number, part in enumerate(parts):
        if part[:2] in swap:
            partner[number] = parts.index(swap[part[:2]] + part[2:])
    return partner[labels.flip(-1).long()]


def iou_by_image(matrices):
    right, true, named = matrices.diagonal(dim1=1, dim2=2), matrices.sum(2), matrices.sum(1)
    return (right / (true + named - right)).nanmean(1).mean()


def shapes_of(joints, size=True):
    shapes = joints - joints.mean(1, keepdim=True)
    return (shapes / shapes.square().mean((1, 2), keepdim=True).sqrt() if size else shapes).flatten(1)


def most_and_least_like(joints, diagonal=torch.inf, size=True):
    far = torch.cdist(shapes_of(joints, size), shapes_of(joints, size))
    return (far + torch.diag(far.new_full((len(far),), diagonal))).argmin(1), far.argmax(1)


def chains(votes, distance):
    return connected_components((torch.cdist(votes, votes) <= distance).numpy(), directed=False)[1].tolist()


KERNELS = torch.randn(60, 1, 7, 7, generator=torch.Generator().manual_seed(0)) + 1
MATRICES = torch.tensor([[[90, 0], [10, 0]], *[[[100, 0], [0, 0]]] * 9])
RIGHT = {
    "kernel_gradient": (kernel_gradient,),
    "added_by_bias": (added_by_bias,),
    "components": (components, KERNELS),
    "image_sizes": (image_sizes,),
    "fair_features": (lambda: 220,),
    "learning_encoders": (({"pose", "parsing"}, {"pose"}, {"pose"}, set()),),
    "parsing_gradient": (parsing_gradient,),
    "largest_beta": (largest_beta,),
    "mirrored_labels": (mirrored_labels,),
    "iou_by_image": (iou_by_image, MATRICES),
    "most_and_least_like": (most_and_least_like,),
    "average_precisions": ((0.55, 0.75),),
    "chains": (chains,),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_are_said_to_be_right(name, capsys):
    getattr(check, name)(*RIGHT[name])
    assert capsys.readouterr().out.startswith("Right: ")


@pytest.mark.parametrize("name", RIGHT)
def test_no_answer_is_no_mistake(name, capsys):
    getattr(check, name)(None, *RIGHT[name][1:])
    assert capsys.readouterr().out == "Not answered yet.\n"


BOTH = {"pose", "parsing"}
WRONG = [
    ("kernel_gradient", lambda f, g, k: kernel_gradient(g, f, k), "turned by half a turn"),
    ("kernel_gradient", lambda f, g, k: kernel_gradient(f, g, k).sum(0, keepdim=True).expand(len(f), -1, -1, -1),
     "summed over the images"),
    ("kernel_gradient", lambda f, g, k: kernel_gradient(f, g, k + 2), "the shape is"),
    ("kernel_gradient", lambda f, g, k: kernel_gradient(f, g, k) / f.shape[-1], "the values are off"),
    ("added_by_bias", inside_only, "right inside the map, and off at the border"),
    ("added_by_bias", lambda U, k, b, h, w: (U @ b)[:, None, None].expand(len(k), -1, h, w), "no kernels"),
    ("added_by_bias", lambda U, k, b, h, w: 2 * added_by_bias(U, k, b, h, w), "off inside the map too"),
    ("components", lambda k, share: components(k, share, mean=False), "the mean kernel is still in it"),
    ("components", lambda k, share: components(k, share, power=1), "squares of singular values"),
    ("components", lambda k, share: 49, "more than it takes"),
    ("components", lambda k, share: 0, "hold less than"),
    ("image_sizes", lambda h, s, p, n: [x for x in range(s, n, s) if round(x / s / 2 ** (p + 1)) == h], "round"),
    ("image_sizes", lambda h, s, p, n: image_sizes(h, s, p, n)[:1], "are not all"),
    ("image_sizes", lambda h, s, p, n: [size // s for size in image_sizes(h, s, p, n)], "multiples of the stride"),
    ("fair_features", lambda: 221, "no multiple of 4"),
    ("fair_features", lambda: 224, "too many"),
    ("fair_features", 216, "room for 4 more"),
    ("learning_encoders", (BOTH, BOTH, {"pose"}, set()), "b: .*which stack's features"),
    ("learning_encoders", ({"pose"}, {"pose"}, {"pose"}, set()), "a: .*follow the kernels"),
    ("learning_encoders", (BOTH, {"pose"}, BOTH, set()), "c: .*weights of zero"),
    ("learning_encoders", (BOTH, {"pose"}, {"pose"}, BOTH), "d: .*weights of zero"),
    ("learning_encoders", (BOTH, {"pose"}), "four sets are wanted"),
    ("parsing_gradient", lambda z, y: parsing_gradient(z, y) * y.numel() / (y != 255).sum(), "divided by the labelled"),
    ("parsing_gradient", lambda z, y: parsing_gradient(z, y) * y.numel(), "gradient of a sum"),
    ("parsing_gradient", lambda z, y: z.softmax(1) / y.numel(), "third person has no label"),
    ("parsing_gradient", lambda z, y: -parsing_gradient(z, y), "the sign is wrong"),
    ("largest_beta", lambda p, s: float(p @ p) / -float(p @ s or 1), "never rises"),
    ("largest_beta", lambda p, s: math.inf, "from some beta on"),
    ("largest_beta", lambda p, s: largest_beta(p, s) * 2, "rises already"),
    ("largest_beta", lambda p, s: largest_beta(p, s) / 2, "room for more"),
    ("mirrored_labels", lambda y, parts: y.flip(-1), "left parts are still left"),
    ("mirrored_labels", lambda y, parts: mirrored_labels(y, parts).flip(-1), "each pixel is where it was"),
    ("mirrored_labels", lambda y, parts: mirrored_labels(y, parts).flip(-1).flip(-2), "rows that are turned"),
    ("mirrored_labels", lambda y, parts: mirrored_labels(y, parts).clamp(max=19), "have no label"),
    ("iou_by_image", lambda m: iou_by_image(m.sum(0, keepdim=True)), "added up first"),
    ("iou_by_image", lambda m: (m.diagonal(dim1=1, dim2=2) / (m.sum(2) + m.sum(1) - m.diagonal(dim1=1, dim2=2)))
     .nan_to_num(0).mean(), "leave it out"),
    ("iou_by_image", lambda m: iou_by_image(m) + 0.1, "by hand"),
    ("iou_by_image", lambda m: math.nan, "0 / 0"),
    ("most_and_least_like", lambda j: most_and_least_like(j, diagonal=0.0), "most like themselves"),
    ("most_and_least_like", lambda j: most_and_least_like(j)[::-1], "wrong way round"),
    ("most_and_least_like", lambda j: most_and_least_like(j, size=False), "location and size"),
    ("average_precisions", (0.525, 0.75), "best at that recall"),
    ("average_precisions", (2.2 / 3, 0.75), "four true joints"),
    ("average_precisions", (0.55, 1.0), "costs recall"),
    ("average_precisions", (0.5, 0.75), "after each of the five"),
    ("chains", lambda v, d: [0] * len(v), "all votes are in one heap"),
    ("chains", lambda v, d: (v[:, 1] / d).long(), "friends of friends"),
    ("chains", lambda v, d: chains(v[:, 1:], d), "use both axes"),
    ("chains", lambda v, d: range(len(v)), "0 and 9"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "sentence"), WRONG)
def test_wrong_answers_are_told_what_is_wrong(name, answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        getattr(check, name)(answer, *RIGHT[name][1:])


def test_sizes_are_those_whose_kernels_the_network_has():
    assert all(kernel_side(size // 4) == 7 for size in image_sizes(7, 4, 2, 512))
