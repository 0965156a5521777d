"""The weights that ship are of networks that find joints of people whom they were not trained on."""

from __future__ import annotations

import pytest

from posebook.datasets import open_dataset
from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.evaluation.inference import evaluate, mean_pose
from posebook.ledger.work import Work
from posebook.papers import load_weights
from posebook.paths import WEIGHTS
from posebook.training.checkpoint import read_record

SHIPPED = sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


@pytest.mark.parametrize("name", SHIPPED)
def test_they_are_far_better_than_the_mean_pose(name):
    assert len(SHIPPED) >= 10
    network, about = load_weights(WEIGHTS / name)
    people = {key: about["training"]["dataset"][key] for key in ("name", "size", "difficulty")}
    test = open_dataset(people.pop("name"), "test", **people)
    joints, _, truth = evaluate(network, test, 60)
    score = BENCHMARKS[about["skeleton"]].score
    average = mean_pose(test, 200).cpu().expand_as(truth.joints)
    assert score(joints, truth).mean > score(average, truth).mean + 0.15


@pytest.mark.parametrize(
    ("name", "paper", "variant"),
    [
        *((f"multi_scale_{variant}", "multi_scale", variant) for variant in ("hourglass", "structure", "masking")),
        ("look_into_person", "look_into_person", "refined_twice"),
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
