"""The weights that ship are of networks that find joints, or parts, of people whom they were not trained on."""

from __future__ import annotations

import pytest
import torch

from posebook.datasets import open_dataset
from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.evaluation.inference import evaluate, mean_pose, parse
from posebook.evaluation.metrics import parsing_score
from posebook.ledger.work import Work
from posebook.papers import load_weights, network_class
from posebook.paths import WEIGHTS
from posebook.sample import Dataset
from posebook.training.checkpoint import read_record

SHIPPED = sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))
CLASSES = {name: network_class(read_record(WEIGHTS / name)["model"]) for name in SHIPPED}
PARSE_ALONE = [name for name, network in CLASSES.items() if not getattr(network, "finds_joints", True)]


def held_out(about: dict) -> Dataset:
    """Test people of the kind that a network was trained on."""
    people = {key: about["training"]["dataset"][key] for key in ("name", "size", "difficulty")}
    return open_dataset(people.pop("name"), "test", **people)


@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in PARSE_ALONE])
def test_they_are_far_better_than_the_mean_pose(name):
    assert len(SHIPPED) >= 12
    network, about = load_weights(WEIGHTS / name)
    test = held_out(about)
    joints, _, truth = evaluate(network, test, 60)
    score = BENCHMARKS[about["skeleton"]].score
    average = mean_pose(test, 200).cpu().expand_as(truth.joints)
    assert score(joints, truth).mean > score(average, truth).mean + 0.15


@pytest.mark.parametrize("name", PARSE_ALONE)
def test_those_that_parse_alone_are_far_better_than_calling_everything_background(name):
    assert len(PARSE_ALONE) >= 2
    network, about = load_weights(WEIGHTS / name)
    matrix = parse(network, held_out(about), 60)
    background = torch.zeros_like(matrix)
    background[:, 0] = matrix.sum(1)
    assert parsing_score(matrix).mean_iou > parsing_score(background).mean_iou + 0.1


@pytest.mark.parametrize(
    ("name", "paper", "variant"),
    [
        *((f"multi_scale_{variant}", "multi_scale", variant) for variant in ("hourglass", "structure", "masking")),
        ("look_into_person", "look_into_person", "refined_twice"),
        ("look_into_person_attention", "look_into_person", "attention"),
        ("look_into_person_structure", "look_into_person", "weight"),
        ("look_into_person_life", "look_into_person", "life"),
    ],
)
def test_some_are_the_ledgers(name, paper, variant):
    about = read_record(WEIGHTS / name)
    work = Work(paper, variant, "figures", "study", 0)
    assert {k: v for k, v in about["settings"].items() if k in work.settings} == work.settings
    told = about["training"]
    assert (told["steps"], told["recipe"]["seed"]) == (work.plan.recipe.steps, 0)
    assert bool(told.get("masking")) == (work.plan.masking is not None)


def test_weights_load_whatever_the_callers_default_type_is():
    torch.set_default_dtype(torch.float64)
    try:
        network, _ = load_weights(WEIGHTS / "hourglass")
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert {value.dtype for value in network.parameters()} == {torch.float32}
