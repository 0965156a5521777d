"""The claims are what their words say, and so is what is read off networks for them."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from posebook.coordinates import Perturbation
from posebook.datasets import open_dataset
from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.evaluation.conditional import conditional_testing, scores_through_boxes
from posebook.evaluation.inference import evaluate
from posebook.evaluation.metrics import Truth, impossible_limbs
from posebook.ledger.work import Work
from posebook.papers.multi_scale import claims as multi_scale
from posebook.papers.multi_scale.network import MultiScale, Outputs
from posebook.skeleton import LSP
from posebook.training.loop import train
from posebook.training.recipe import Recipe


def test_claims_are_what_their_words_say():
    names = ("pckh", "visible", "occluded", "company", "limbs", "box", "box_scale", "box_shift")
    numbers = {
        "hourglass": (0.60, 0.7, 0.40, 0.50, 0.10, 0.61, 0.31, 0.41),
        "supervision": (0.62, 0.7, 0.41, 0.52, 0.09, 0.62, 0.35, 0.45),
        "longer": (0.63, 0.7, 0.41, 0.52, 0.09, 0.63, 0.35, 0.45),
        "regression": (0.65, 0.7, 0.42, 0.53, 0.08, 0.65, 0.35, 0.45),
        "structure": (0.66, 0.7, 0.43, 0.55, 0.06, 0.66, 0.40, 0.50),
        "masking": (0.68, 0.7, 0.48, 0.56, 0.05, 0.69, 0.40, 0.50),
        "maximum": (0.655, *[0] * 7), "cells": (0.5, *[0] * 7), "map": (0.63, *[0] * 7),
    }  # fmt: skip
    table = {variant: dict(zip(names, row, strict=True)) for variant, row in numbers.items()}
    table["hourglass"]["pyramid"] = 0.61
    table["masking"] |= {"again": 0.70, "passes": 1.5}
    found = {claim.id.removeprefix("multi_scale_"): claim.measure(table) for claim in multi_scale.CLAIMS}
    expected = {
        "supervision": 0.02, "pyramid": 0.01, "regression": 0.03, "regression_alike": 0.02, "structure": 0.01,
        "masking": 0.02, "whole": 0.08, "masking_occluded": 0.05, "masking_company": 0.01, "limbs": 0.02, "scale": 0.04,
        "shift": 0.04, "conditional": 0.01, "sum": 0.005, "cells": 0.12, "map": -0.01,
    }  # fmt: skip
    assert found == pytest.approx(expected)
    for claim in multi_scale.CLAIMS:
        assert claim.details(table)
    # The steps of Sec. 4.3 are those of its figures, not of its text.
    papers = {claim.id.removeprefix("multi_scale_"): claim.paper_value for claim in multi_scale.CLAIMS}
    figures = (87.1, 87.6, 88.1, 88.3, 88.4)
    steps = [(after - before) / 100 for before, after in pairwise(figures)]
    assert [papers[name] for name in ("supervision", "regression", "structure", "masking")] == pytest.approx(steps)
    assert papers["whole"] == pytest.approx((figures[-1] - figures[0]) / 100)


def test_variants_differ_in_one_thing():
    """Each step of Sec. 4.3 adds one part; the choices of our own change one."""
    for profile in ("quick", "study", "paper"):
        works = {name: Work("multi_scale", name, "figures", profile, 0) for name in multi_scale.VARIANTS}
        settings = {name: work.settings for name, work in works.items()}

        def changed(one: str, other: str, settings=settings) -> set[str]:
            return {key for key in settings[one] if settings[one][key] != settings[other][key]}

        assert changed("hourglass", "supervision") == {"scales"}
        assert changed("supervision", "regression") == {"regression"}
        assert changed("regression", "structure") == {"alpha"}
        assert changed("structure", "masking") == set()
        assert changed("structure", "maximum") == {"combination"}
        assert changed("supervision", "cells") == changed("supervision", "map") == {"norm"}
        assert [name for name, work in works.items() if work.plan.masking] == ["masking"]
        assert changed("supervision", "longer") == set()
        # What has an MSR-net goes through all phases of Sec. 4.1, the first as long as the run of the MSS-net alone.
        once = works["supervision"].plan.recipe.steps
        for name, work in works.items():
            assert work.plan.phases == ((0.5, 0.75) if settings[name]["regression"] else ())
            assert work.plan.recipe.steps == once * (2 if work.plan.phases or name == "longer" else 1)
        assert len({work.key for work in works.values()}) == len(works)
        for work in works.values():
            with torch.device("meta"):
                work.network(**work.settings)


def test_readings_are_what_they_say():
    dataset = open_dataset("figures", "test", size=64)
    count = 16
    sample = dataset.batch(torch.arange(count) * dataset.length // count)
    model = MultiScale(size=64, stacks=1, features=8, depth=2, scales=1, regression=False, alpha=0.0)
    maps = model.codec.encode(sample.joints, sample.presence.clamp_min(1))
    # Left and right ankles are one: limbs are as long as they should be but for shins.
    predictions = maps.clone()
    ankle, knee, other = (dataset.skeleton.index(name) for name in ("r_ankle", "r_knee", "l_ankle"))
    predictions[:, [ankle, other]] = model.codec.encode(torch.full((count, 2, 2), 2.0), torch.full((count, 2), 2))
    model.forward = lambda images: Outputs((predictions[:, None],), ())
    found = multi_scale.readings(model, dataset, count, batch_size=count)
    assert found["pckh"] == pytest.approx(14 / 16, abs=0.03)
    there = sample.presence > 0
    both = sum(
        int((there[:, a] & there[:, b]).sum()) for a, b in ((ankle, knee), (other, dataset.skeleton.index("l_knee")))
    )
    limbs = sum(int((there[:, a] & there[:, b]).sum()) for a, b in dataset.skeleton.pairs(dataset.skeleton.limbs))
    # Shins to the corner are too long; of the others a cell's rounding puts few outside.
    assert both / limbs * 0.8 <= found["limbs"] <= both / limbs + 0.35
    assert "again" not in found
    # Magnified, the same maps are brought back to other places.
    assert found["pyramid"] <= found["pckh"]
    # What a perturbed box shows is not looked at by a network that always predicts the same.
    assert found["box"] == found["pckh"]
    assert found["box_scale"] < found["box"]
    company = dataset.company(torch.arange(count) * dataset.length // count)
    assert 0 < int((company > 0).sum()) < count
    assert 0 <= found["company"] <= 1


def test_readings_through_boxes_are_those_of_the_functions_they_name(monkeypatch):
    dataset, count = open_dataset("figures", "test", size=32), 40
    torch.manual_seed(1)
    model = MultiScale(size=32, stacks=1, features=16, depth=2, scales=1)
    # Long enough for some joints to be found.
    recipe = Recipe(steps=150, batch_size=16, learning_rate=4e-3, clip=5.0, bf16=False)
    train(model, open_dataset("figures", "train", size=32, difficulty="plain"), recipe, progress=False)
    model.eval()
    asked = []

    def choose(network, people, *arguments, **options):
        asked.append(people.split)
        return real(network, people, *arguments, **options)

    real = multi_scale.choose_thresholds
    monkeypatch.setattr(multi_scale, "choose_thresholds", choose)
    found = multi_scale.readings(model, dataset, count, open_dataset("figures", "train", size=32))
    assert asked == ["validation"]
    assert 0 < found["mean_pose"] < 0.6

    score = BENCHMARKS["mpii"].score
    joints, _, truth = evaluate(model, dataset, count)
    others = dataset.company(torch.arange(count) * dataset.length // count) > 0
    some = Truth(*(value[others] for value in vars(truth).values()))
    assert found["company"] == pytest.approx(float(score(joints[others], some).mean))
    six, _, _ = evaluate(model, dataset, count, scales=multi_scale.PYRAMID)
    assert found["pyramid"] == pytest.approx(float(score(six, truth).mean))
    for name, boxes in (
        ("box_scale", [Perturbation(scale=scale) for scale in multi_scale.SCALES]),
        ("box_shift", [Perturbation(shift) for shift in multi_scale.SHIFTS]),
    ):
        through = scores_through_boxes(model, dataset, boxes, count)
        assert found[name] == pytest.approx(sum(through) / len(boxes))
    thresholds = real(model, open_dataset("figures", "validation", size=32), count)
    again = conditional_testing(model, dataset, thresholds, count)
    assert found["passes"] == pytest.approx(float(again.passes.float().mean()))
    assert found["again"] == pytest.approx(float(score(again.joints, truth).mean))
    # What these numbers are of differs, or the test would not tell them apart.
    names = ("pckh", "company", "pyramid", "box_scale", "box_shift", "again")
    assert len({round(found[name], 6) for name in names}) >= 5


def test_validation_people_are_of_the_same_set():
    dataset = open_dataset("figures", "test", size=32, difficulty="objects")
    other = multi_scale._validation(dataset)
    assert (other.split, other.size, other.difficulty) == ("validation", 32, "objects")
    assert not torch.equal(other.batch(torch.arange(2)).joints, dataset.batch(torch.arange(2)).joints)


def test_company_is_who_walks_by():
    life = open_dataset("figures", "test", size=64)
    numbers = torch.arange(300)
    company = life.company(numbers)
    assert set(company.tolist()) == {0, 1, 2}
    assert 0.25 < float((company > 0).float().mean()) < 0.5
    assert not open_dataset("figures", "test", size=64, difficulty="objects").company(numbers).any()
    # As many as with labels for all.
    group = open_dataset("figures", "test", size=64, people=3).batch(numbers[:20])
    there = (group.people_presence > 0).any(2).sum(1) - 1
    assert (there <= open_dataset("figures", "test", size=64, people=3).company(numbers[:20])).all()


def test_impossible_limbs_by_hand():
    joints = torch.rand(500, 14, 2, generator=torch.Generator().manual_seed(0)) * 100
    unknown = torch.full((500,), torch.nan)
    truth = Truth(joints, torch.full((500, 14), 2), unknown, torch.ones(500))
    # Of true limbs 2 % are outside, by definition; of those of no length, all.
    assert impossible_limbs(joints, truth, LSP) == pytest.approx(0.02, abs=0.003)
    assert impossible_limbs(torch.zeros_like(joints), truth, LSP) == pytest.approx(1.0, abs=0.02)
    assert impossible_limbs(joints, truth, LSP, (0.25, 0.75)) == pytest.approx(0.5, abs=0.01)
    # One limb of fourteen is ten times too long; absent joints have none.
    wrist, elbow = LSP.index("r_wrist"), LSP.index("r_elbow")
    stretched = joints.clone()
    stretched[:, wrist] = joints[:, elbow] + 10 * 142
    assert impossible_limbs(stretched, truth, LSP) == pytest.approx(0.02 + 1 / len(LSP.limbs), abs=0.005)
    # Heads are the unit where the set has them, and people without one are left out.
    heads = Truth(joints, truth.presence, torch.where(torch.arange(500) < 400, 1.0, torch.nan), torch.full((500,), 1e3))
    assert impossible_limbs(joints, heads, LSP) == pytest.approx(0.02, abs=0.003)
    truth.presence[:, wrist] = 0
    assert impossible_limbs(stretched, truth, LSP) == pytest.approx(0.02, abs=0.003)
