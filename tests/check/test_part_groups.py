"""Exercises of `2_part_groups`: right answers, and what is said of the mistakes one would make."""

from __future__ import annotations

import math
import re

import pytest
import torch

from posebook.check import part_groups as check
from posebook.check.answers import WrongAnswer
from posebook.datasets import open_dataset
from posebook.papers import create
from posebook.skeleton import MPII, SKELETONS


def by_entropies(counts):
    p = counts.double() / counts.sum()
    both, first, second = (-torch.special.xlogy(q, q).sum() for q in (p, p.sum(1), p.sum(0)))
    return first + second - both


def without_zeros(counts):
    p = counts / counts.sum()
    return (p * (p / (p.sum(1, keepdim=True) * p.sum(0))).log()).sum()


def by_chance(counts):
    rows, columns = (int((counts.sum(axis) > 0).sum()) for axis in (1, 0))
    return (rows - 1) * (columns - 1) / (2 * float(counts.sum()))


def cut(W, groups):
    W = W.double() - W.double().diag().diag()
    return sum(1 - W[group][:, group].sum() / W[group].sum() for group in groups)


def fair_width(groups, off=0):
    maps, budget = sum(map(len, groups)), 13 * 256**2 // 4 + 6 * 256 + 16 * 257
    width = 2
    while len(groups) * (265 * (width + 2) + 13 * (width + 2) ** 2 // 4) + (width + 3) * maps <= budget:
        width += 2
    return width + off


def summed(maps, groups, joints):
    order = torch.tensor([joint for group in groups for joint in group])
    maps = torch.cat(maps, 1)
    return torch.zeros(len(maps), joints, *maps.shape[2:]).index_add(1, order, maps)


def in_order(maps, groups, joints):
    order = torch.tensor([joint for group in groups for joint in group])
    return summed(maps, groups, joints) / order.bincount(minlength=joints)[:, None, None]


def overwritten(maps, groups, joints):
    found = torch.zeros(2, joints, 5, 5)
    for some, group in zip(maps, groups, strict=True):
        found[:, group] = some
    return found


def best_height(d, sigma):
    height = math.exp(-(d**2) / (4 * sigma**2))
    return height, 1 - height**2


def shear_and_mirror(joints, shear, mirror, size, names=MPII.mirror, middle=0.5):
    if mirror:
        joints = torch.stack([size - joints[..., 0], joints[..., 1]], -1)[:, names]
    return torch.stack([joints[..., 0] + shear * (joints[..., 1] - middle * size), joints[..., 1]], -1)


def sheared_first(joints, shear, mirror, size):
    joints = shear_and_mirror(joints, shear, False, size)
    return shear_and_mirror(joints, 0, mirror, size)


def rmsprop(weight, gradient, mean, rate, alpha, epsilon):
    mean = alpha * mean + (1 - alpha) * gradient.square()
    return weight - rate * gradient / (mean.sqrt() + epsilon), mean


def paired_error(one, other):
    difference = one.double() - other.double()
    return float(difference.std() / math.sqrt(len(difference)))


def unpaired_error(one, other):
    return math.sqrt(sum(float(right.double().var(correction=0)) for right in (one, other)) / len(one))


def without_conflict(g, h):
    return g - (g @ h / (h @ h)).clamp(max=0) * h


FOLLOWED = ({3, 4}, set(), {1, 2, 3, 4, 5})
TABLE = torch.tensor([[10.0, 0.0], [5.0, 5.0]])


@pytest.mark.parametrize(
    ("name", "answer", "others", "told"),
    [
        ("by_entropies", by_entropies, (), "0.468 nats"),
        ("by_entropies", by_entropies, (TABLE,), "0.22 between the wrists"),
        ("by_chance", by_chance, (), "1,596 people"),
        ("by_chance", by_chance, (TABLE, 0.5), "says 0.03 nats, and the correction takes off 0.50"),
        ("cut", cut, (), "four joints"),
        ("cut", cut, (torch.ones(4, 4), {"found": [[0, 1], [2, 3]]}), "found 1.3333"),
        ("fair_width", fair_width, (), "one 218, two 146, five 80, eight 58, each 34, overlapping 80"),
        ("in_order", in_order, (), "joints' order"),
        ("follow_the_gradient", FOLLOWED, (), "autograd"),
        ("best_height", best_height, (), "0.02"),
        ("shear_and_mirror", shear_and_mirror, (), "where the library has them"),
        ("rmsprop", rmsprop, (), "PyTorch"),
        ("share_occluded", lambda a, v, o: (v - a) / (v - o), (), "three"),
        (
            "share_occluded",
            lambda a, v, o: (v - a) / (v - o),
            ({"PBN": {"visible": 93.31, "occluded": 71.59, "all": 88.14}},),
            "PBN: 23.8% are",
        ),
        ("paired_error", paired_error, (), "500 joints"),
        ("paired_error", paired_error, (torch.arange(8) < 4, torch.arange(8) < 2), r"8 joints, a difference of \+25.0"),
        ("without_conflict", without_conflict, (), "nothing"),
        (
            "without_conflict",
            without_conflict,
            (torch.tensor([1.0, 0.0]), {"wrist": torch.tensor([-1.0, 1.0]), "hip": torch.tensor([0.0, 1.0])}),
            "29.3% is taken off for the wrist, 0.0% is",
        ),
    ],
)
def test_right_answers(name, answer, others, told, capsys):
    getattr(check, name)(answer, *others)
    said = capsys.readouterr().out
    assert said.startswith("Right: ")
    assert re.search(told, said), said


@pytest.mark.parametrize(
    ("name", "answer", "sentence"),
    [
        ("by_entropies", 0.4, "a function is wanted"),
        ("by_entropies", lambda counts: "much", "one number"),
        ("by_entropies", without_zeros, "not a number"),
        ("by_entropies", lambda counts: by_entropies(counts) / math.log(2), "in bits"),
        ("by_entropies", lambda counts: -by_entropies(counts), "sign"),
        ("by_entropies", lambda counts: -torch.special.xlogy(counts / 10, counts / 10).sum(), "both together"),
        ("by_entropies", lambda counts: counts.sum(), "divided by their sum"),
        ("by_chance", lambda counts: (9 * 8) / (2 * counts.sum()), "nobody is in"),
        ("by_chance", lambda counts: by_chance(counts) * counts.sum(), "more people"),
        ("by_chance", lambda counts: 2 * by_chance(counts), "twice"),
        ("by_chance", lambda counts: 56 / (2 * counts.sum()), "all rows and columns"),
        ("by_chance", lambda counts: 0.0, "8 rows, 7 columns"),
        ("cut", lambda W, groups: sum(1 - W[g][:, g].sum() / W[g].sum() for g in groups), "diagonal"),
        ("cut", lambda W, groups: len(groups) - cut(W, groups), "within groups"),
        ("cut", lambda W, groups: cut(W, groups) / 2, "half"),
        (
            "cut",
            lambda W, groups: sum(W[g][:, [j for j in range(4) if j not in g]].sum() for g in groups),
            "not divided",
        ),
        (
            "cut",
            lambda W, groups: sum(W[g][:, [j for j in range(4) if j not in g]].sum() / len(g) for g in groups),
            "not by their number",
        ),
        ("cut", lambda W, groups: 0.0, "not the cut"),
        ("fair_width", lambda groups: 64, "one: .* a wider one still fits"),
        ("fair_width", lambda groups: fair_width(groups, 2), "one: .* the budget is"),
        ("fair_width", lambda groups: fair_width(groups, 1), "odd"),
        ("fair_width", lambda groups: 80.5, "whole number"),
        ("in_order", lambda maps, groups, joints: torch.cat(maps, 1)[:, :, 0], "the shape is"),
        ("in_order", lambda maps, groups, joints: torch.cat(maps, 1)[:, :joints], "order of the branches"),
        ("in_order", summed, "added up"),
        ("in_order", overwritten, "only one is left"),
        ("in_order", lambda maps, groups, joints: None, "a tensor"),
        ("in_order", lambda maps, groups, joints: torch.zeros(2, joints, 5, 5), "other maps"),
        ("follow_the_gradient", ({3}, set(), {1, 2, 3, 4, 5}), "a: a branch that learns is missing"),
        ("follow_the_gradient", ({1, 2, 3, 4, 5}, set(), {1, 2, 3, 4, 5}), "a: a branch is named"),
        ("follow_the_gradient", ({3, 4}, {5}, {1, 2, 3, 4, 5}), "b: a branch is named"),
        ("follow_the_gradient", ({3, 4}, set(), {5}), "c: a branch that learns is missing"),
        ("follow_the_gradient", ({3, 4}, set(), {0, 1, 2, 3, 4, 5}), "1 to 5"),
        ("follow_the_gradient", ([3, 4], [], [5]), "three sets"),
        ("best_height", lambda d, sigma: best_height(d, 1), "width"),
        (
            "best_height",
            lambda d, sigma: (math.exp(-(d**2) / (2 * sigma**2)), best_height(d, sigma)[1]),
            "where the map has its peak",
        ),
        ("best_height", lambda d, sigma: (best_height(d, sigma)[0], 0.0), "costs something else"),
        (
            "best_height",
            lambda d, sigma: (best_height(d, sigma)[0], math.pi * sigma**2 * best_height(d, sigma)[1]),
            "blank maps",
        ),
        ("best_height", lambda d, sigma: (1.0, 1.0), "another height|costs something else"),
        ("best_height", lambda d, sigma: 1.0, "two numbers"),
        ("shear_and_mirror", lambda *given: shear_and_mirror(*given, names=list(range(16))), "kept their names"),
        ("shear_and_mirror", lambda *given: shear_and_mirror(*given, middle=0), "top row"),
        ("shear_and_mirror", sheared_first, "sheared first"),
        (
            "shear_and_mirror",
            lambda joints, shear, mirror, size: (
                shear_and_mirror(joints, shear, mirror, size) - torch.tensor([float(mirror), 0.0])
            ),
            "at x = size",
        ),
        ("shear_and_mirror", lambda joints, shear, mirror, size: joints, "shear of 0.3"),
        ("rmsprop", lambda w, g, m, rate, a, e: (w - rate * g, m), "running mean"),
        ("rmsprop", lambda w, g, m, rate, a, e: rmsprop(w, g, m, rate, 1 - a, e), "running mean"),
        (
            "rmsprop",
            lambda w, g, m, rate, a, e: (w - rate * g / (m.sqrt() + e), a * m + (1 - a) * g**2),
            "old mean is used",
        ),
        (
            "rmsprop",
            lambda w, g, m, rate, a, e: (
                w - rate * g / (rmsprop(w, g, m, rate, a, e)[1] + e).sqrt(),
                a * m + (1 - a) * g**2,
            ),
            "under the root",
        ),
        (
            "rmsprop",
            lambda w, g, m, rate, a, e: (w - rate * g / (rmsprop(w, g, m, rate, a, e)[1] + e), a * m + (1 - a) * g**2),
            "root of the mean is missing",
        ),
        (
            "rmsprop",
            lambda w, g, m, rate, a, e: (2 * w - rmsprop(w, g, m, rate, a, e)[0], rmsprop(w, g, m, rate, a, e)[1]),
            "uphill",
        ),
        ("share_occluded", lambda a, v, o: (a - o) / (v - o), "how often it is visible"),
        ("share_occluded", lambda a, v, o: (a - v) / (v - o), "sign"),
        ("share_occluded", lambda a, v, o: 100 * (v - a) / (v - o), "between 0 and 1"),
        ("share_occluded", lambda a, v, o: (v - a) / o, "mixture"),
        ("paired_error", unpaired_error, "different joints"),
        ("paired_error", lambda one, other: (one.double() - other.double()).std(), "a joint varies"),
        ("paired_error", lambda one, other: paired_error(one, other) ** 2, "variance"),
        ("paired_error", lambda one, other: 0.0, "above 0"),
        ("without_conflict", lambda g, h: g - (g @ h / (h @ h)) * h, "do not disagree"),
        ("without_conflict", lambda g, h: g, "nothing was taken off"),
        ("without_conflict", lambda g, h: g - (g @ h / h.norm()).clamp(max=0) * h, "how long is h"),
        ("without_conflict", lambda g, h: g + (g @ h / (h @ h)).clamp(max=0) * h, "was added"),
        ("without_conflict", lambda g, h: g if g @ h >= 0 else (g @ h / (h @ h)) * h, "the part along h"),
        ("without_conflict", lambda g, h: g if g @ h >= 0 else torch.zeros(3), "something else is lost"),
    ],
)
def test_wrong_answers_are_told_what_is_wrong(name, answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        getattr(check, name)(answer)


def test_shear_and_mirror_of_another_skeleton(capsys):
    lsp = SKELETONS["lsp"]
    check.shear_and_mirror(lambda *given: shear_and_mirror(*given, names=lsp.mirror), lsp)
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("letter", "joint", "stack", "setting", "silent"),
    [
        (0, "r_shoulder", 0, {"groups": "overlapping"}, False),
        (1, "l_wrist", 1, {}, True),
        (2, "l_wrist", 1, {"propagate": "specific"}, True),
    ],
)
def test_the_gradient_goes_where_the_check_says(letter, joint, stack, setting, silent):
    torch.manual_seed(0)
    network = create("part_groups", size=64, stacks=2, features=16, depth=2, width=8, **setting)
    if silent:
        torch.nn.init.zeros_(network.merge_maps[0].weight)
    people = open_dataset("figures", "test", size=64).batch(torch.arange(4))
    found = network(people.images)[:, stack, MPII.index(joint)]
    target = network.codec.encode(people.joints, people.presence)[:, MPII.index(joint)]
    branches = [list(branch.parameters()) for branch in network.to_maps[0].branches]
    every = [weight for own in branches for weight in own]
    slopes = iter(torch.autograd.grad((found - target).square().sum(), every, materialize_grads=True))
    taught = {k for k, own in enumerate(branches, 1) if any([bool(next(slopes).any()) for _ in own])}
    assert taught == FOLLOWED[letter]
