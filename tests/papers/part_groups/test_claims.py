"""The claims are what their words say, and so is what is read off networks for them."""

from __future__ import annotations

import pytest
import torch

from posebook.datasets import open_dataset
from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.ledger.work import Work
from posebook.papers import create
from posebook.papers.part_groups import claims as part_groups
from posebook.skeleton import HARD_JOINTS


def test_claims_are_what_their_words_say():
    names = ("hard", "hard_visible", "hard_occluded", "pckh", "upper", "lower", "share_0", "share_0.5")
    numbers = {
        "branches": (0.60, 0.70, 0.40, 0.7, 0.8, 0.5, 0.8, 0.5), "baseline": (0.55, 0.66, 0.30, 0.6, 0.81, 0.49),
        "deep_baseline": (0.58, 0.69, 0.35, 0.65, 0.8, 0.5, 0.79, 0.45), "blocks_2": (0.59, 0, 0, 0, 0, 0),
        "blocks_3": (0.57, 0, 0, 0, 0, 0), "width_double": (0.605, 0, 0, 0, 0, 0),
        "width_half": (0.5, 0, 0, 0, 0, 0), "width_quarter": (0.4, 0, 0, 0, 0, 0), "body": (0.61, 0, 0, 0, 0, 0),
        "two": (0.58, 0, 0, 0, 0, 0), "eight": (0.61, 0, 0, 0, 0, 0), "each": (0.63, 0, 0, 0, 0, 0),
        "overlapping": (0.62, 0, 0, 0, 0, 0), "shared": (0.65, 0, 0, 0, 0, 0), "specific": (0.64, 0, 0, 0, 0, 0),
        "no_ankles": (0.4, 0, 0, 0, 0.83, 0.48),
    }  # fmt: skip
    table = {variant: dict(zip(names, row, strict=False)) for variant, row in numbers.items()}
    found = {claim.id.removeprefix("part_groups_"): claim.measure(table) for claim in part_groups.CLAIMS}
    expected = {
        "baseline": 0.05, "deep_baseline": 0.02, "occluded": 0.04, "sweep": 0.04, "depth": 0.02, "width": -0.005,
        "grouping": -0.01, "more_groups": 0.02, "enough_groups": -0.02, "overlapping": -0.02, "propagation": 0.01,
        "ankles_upper": 0.02, "ankles_lower": 0.01,
    }  # fmt: skip
    assert found == pytest.approx(expected)
    for claim in part_groups.CLAIMS:
        assert claim.details(table)
    papers = {claim.id: claim.paper_value for claim in part_groups.CLAIMS if claim.paper_value is not None}
    assert papers["part_groups_occluded"] == pytest.approx((71.59 - 70.29 - 93.31 + 93.22) / 100)
    assert papers["part_groups_deep_baseline"] == pytest.approx((88.14 - 87.74) / 100)


def test_variants_differ_in_one_thing():
    """At every profile each network is the PBN's but for what its name says; widths follow the profile's."""
    widths = {}
    for profile in ("quick", "study", "paper"):
        base = Work("part_groups", "branches", "figures", profile, 0).settings
        for variant in part_groups.VARIANTS:
            work = Work("part_groups", variant, "figures", profile, 0)
            settings = work.settings
            with torch.device("meta"):
                work.network(**settings)
            changed = {key for key in settings if settings[key] != base[key]}
            assert changed <= {"variant", "leave_out"} if variant == "no_ankles" else len(changed - {"stacks"}) <= 1
            widths[profile, variant] = settings["width"]
    assert [widths["paper", f"width_{name}"] for name in ("quarter", "half", "double")] == [16, 32, 128]


def test_readings_are_what_they_say():
    dataset = open_dataset("figures", "test", size=64)
    count = 12
    sample = dataset.batch(torch.arange(count) * dataset.length // count)
    model = create("part_groups", size=64, stacks=1, features=8, depth=1, width=2)
    # Every joint is found but the ankles, which are looked for in a corner.
    joints = sample.joints.clone()
    ankles = [dataset.skeleton.index(name) for name in ("r_ankle", "l_ankle")]
    joints[:, ankles] = 2.0
    maps = model.codec.encode(joints, sample.presence.clamp_min(1))
    model.forward = lambda images: maps[:, None]
    found = part_groups.readings(model, dataset, count, batch_size=count)
    assert found["hard"] == pytest.approx(0.8, abs=0.03)
    assert found["pckh"] == pytest.approx(14 / 16, abs=0.03)
    assert found["upper"] == found["lower"] == 1
    missed = BENCHMARKS["mpii"].score(joints, sample, among="occluded")
    assert found["hard_occluded"] == pytest.approx(float(missed.average(HARD_JOINTS)), abs=0.03)
    assert "mean_pose" not in found
    # Those maps are of other people than the sweep's.
    assert found["share_0"] < 0.5
    assert 0 <= found["share_0.5_occluded"] < 0.5
    assert 0 < part_groups.readings(model, dataset, count, open_dataset("figures", "train"), count)["mean_pose"] < 0.6
