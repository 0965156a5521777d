"""The claims are what their words say, and so is what is read off networks for them."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from posebook.datasets import open_dataset
from posebook.evaluation.inference import parse, predict
from posebook.evaluation.metrics import parsing_score
from posebook.ledger.readings import Reading, append, read
from posebook.ledger.runs import training_sets
from posebook.ledger.verdicts import read_rows
from posebook.ledger.work import Work
from posebook.papers import create, select
from posebook.papers.look_into_person import claims as person
from posebook.skeleton import LSP, MPII, PART_INDEX, PART_MIRROR, PARTS, TAGS
from toy import Squares

SMALL = {"size": 32, "depth": 14, "width": 4, "features": 8, "pooled": False, "scales": 1}

# Table 4 of the paper, validation set, in the order of its columns.
COLUMNS = (
    "hat", "hair", "glove", "sunglasses", "upper_clothes", "dress", "coat", "socks", "pants", "jumpsuits", "scarf",
    "skirt", "face", "l_arm", "r_arm", "l_leg", "r_leg", "l_shoe", "r_shoe", "background",
)  # fmt: skip
ATTENTION = (
    58.87, 66.78, 23.32, 19.48, 63.20, 29.63, 49.70, 35.23, 66.04, 24.73, 12.84, 20.41, 70.58, 50.17, 54.03, 38.35,
    37.70, 26.20, 27.09, 84.00,
)  # fmt: skip
SS_JPPNET = (
    59.75, 67.25, 28.95, 21.57, 65.30, 29.49, 51.92, 38.52, 68.02, 24.48, 14.92, 24.32, 71.01, 52.64, 55.79, 40.23,
    38.80, 28.08, 29.03, 84.56,
)  # fmt: skip


def test_claims_are_what_their_words_say():
    table = {
        "pose": {"pckh": 0.50}, "parsing": {"miou": 0.20, "sided": 0.1, "sideless": 0.25, "small": 0.01},
        "joint": {"pckh": 0.54, "miou": 0.21, "sided": 0.14, "sideless": 0.24, "small": 0.02},
        "scales": {"pckh": 0.55, "miou": 0.24}, "refined": {"pckh": 0.60, "miou": 0.215},
        "refined_twice": {"pckh": 0.61, "miou": 0.205},
        "life": {
            "miou": 0.15, "lost_back_view": 0.05, "lost_head_missing": 0.03, "lost_occlusion": 0.01,
            "lost_full_body": -0.01, "lost_upper_body": -0.02,
            "pckh": 0.45, "pckh_back_view": 0.36, "pckh_head_missing": 0.2, "pckh_occlusion": 0.40,
            "pckh_full_body": 0.44, "pckh_upper_body": 0.41,
        },
        "attention": {"miou": 0.22, "sided": 0.10, "sideless": 0.30, "small": 0.02},
        "weight": {"miou": 0.25, "sided": 0.15, "sideless": 0.31, "small": 0.05},
        "joint_abroad": {"pckh": 0.22}, "pose_abroad": {"pckh": 0.20},
        "soft": {"miou": 0.21, "sided": 0.10, "sideless": 0.29, "small": 0.02},
    }  # fmt: skip
    found = {claim.id.removeprefix("look_into_person_"): claim.measure(table) for claim in person.CLAIMS}
    assert found == pytest.approx({
        "joint_pose": 0.04, "joint_parsing": 0.01, "joint_sides": 0.05, "joint_small": 0.01, "transfer": 0.02,
        "scales_parsing": 0.03, "scales_pose": 0.01, "scales": 0.02,
        "refinement_pose": 0.06, "refinement_parsing": 0.005, "refinement": 0.055, "second_pose": 0.01,
        "second_parsing": 0.01, "structure": 0.03, "structure_soft": -0.01, "structure_sides": 0.04,
        "structure_small": 0.03, "back_parsing": 0.02, "head_parsing": 0.03, "back_pose": 0.04,
    })  # fmt: skip
    for claim in person.CLAIMS:
        assert claim.details(table)


def test_the_papers_numbers_are_those_of_its_tables():
    papers = {claim.id.removeprefix("look_into_person_"): claim.paper_value for claim in person.CLAIMS}
    gains = dict(
        zip(COLUMNS, (after - before for after, before in zip(SS_JPPNET, ATTENTION, strict=True)), strict=True)
    )

    def mean(names) -> float:
        return sum(gains[name] for name in names) / len(names) / 100

    sided = [name for name in PARTS if name[:2] in ("l_", "r_")]
    others = [name for name in PARTS if name not in sided]
    assert papers["structure"] == pytest.approx(mean(PARTS), abs=1e-4)
    assert papers["structure_sides"] == pytest.approx(mean(sided) - mean(others), abs=1e-4)
    assert papers["structure_small"] == pytest.approx(mean(["glove", "sunglasses", "socks", "scarf"]), abs=1e-4)
    # Tables 11 and 12: PCKh and mean IoU of Joint, with MSC, with S1, with both, and with S2.
    pose, parsing = (79.6, 80.9, 82.1, 82.5, 82.7), (49.48, 50.83, 49.58, 51.36, 50.64)
    expected = {
        "scales_pose": pose[1] - pose[0], "scales_parsing": parsing[1] - parsing[0],
        "refinement_pose": pose[2] - pose[0], "refinement_parsing": parsing[2] - parsing[0],
        "second_pose": pose[4] - pose[3], "second_parsing": parsing[3] - parsing[4],
    }  # fmt: skip
    expected["scales"] = expected["scales_parsing"] - expected["scales_pose"]
    expected["refinement"] = expected["refinement_pose"] - expected["refinement_parsing"]
    assert {name: 100 * papers[name] for name in expected} == pytest.approx(expected)


def test_variants_differ_in_one_thing():
    works = {name: Work("look_into_person", name, "figures", "study", 0) for name in person.VARIANTS}
    joint = works["joint"].settings
    changed = {
        name: {key for key, value in work.settings.items() if joint.get(key, value) != value}
        for name, work in works.items()
    }
    assert changed == {
        "pose": {"tasks"}, "parsing": {"tasks"}, "joint": set(), "life": set(), "scales": {"scales"},
        "refined": {"refinements"}, "refined_twice": {"refinements"}, "attention": {"scales"}, "weight": {"scales"},
        "soft": {"scales"}, "joint_abroad": set(), "pose_abroad": {"tasks"},
    }  # fmt: skip
    assert {name for name, work in works.items() if work.plan.phases} == {"weight", "soft"}
    assert {name for name, work in works.items() if work.options != works["joint"].options} == {"life"}
    assert len({(work.recipe.steps, work.recipe.batch_size) for work in works.values()}) == 1
    # On photographs with part labels alone, those that parse alone are trained.
    alone = {claim.variants for claim in person.CLAIMS if "ccp" in claim.sets}
    assert {name for variants in alone for name in variants} == {"attention", "weight", "soft"}


def test_readings_of_a_network_that_does_both_tasks():
    torch.manual_seed(0)
    network = create("look_into_person", **SMALL, refinements=0)
    test = open_dataset("figures", "test", size=32)
    found = person.readings(network, test, 40, open_dataset("figures", "train", size=32))
    assert {"pckh", "visible", "occluded", "mean_pose", "miou", "pixels", "sided", "small"} <= found.keys()
    score = parsing_score(parse(network, test, 40))
    assert found["miou"] == pytest.approx(float(score.mean_iou))
    numbers = torch.arange(40) * test.length // 40
    sample = test.batch(numbers)
    back = sample.tags[:, TAGS.index("back_view")]
    assert 0 < back.sum() < 40
    # Over the parts that occur among them; what is wrongly found beside them does not count as a part of its own.
    matrix = person.parse_each(network, test, 40)[back].sum(0)
    there = matrix.sum(1) > 0
    iou = parsing_score(matrix).iou[there]
    assert found["miou_back_view"] == pytest.approx(float(iou.mean()))
    assert found["lost_back_view"] == pytest.approx(float((score.iou[there] - iou).mean()), abs=1e-6)
    assert all(abs(value) <= 1 for value in found.values() if isinstance(value, float))


def test_what_a_confusion_matrix_tells_of_sides():
    """Four pixels of the left arm: two found, one called the right arm, one the background."""
    matrix = torch.zeros(20, 20, dtype=torch.long)
    left, right = PART_INDEX["l_arm"], PART_INDEX["r_arm"]
    matrix[0, 0] = 96
    matrix[left, left], matrix[left, right], matrix[left, 0] = 2, 1, 1
    found = person._of_parts(matrix)
    assert found["swapped"] == pytest.approx(1 / 3)
    assert found["sided"] == pytest.approx((2 / 4 + 0) / 2)  # left arm, and right arm which is never right
    assert found["sideless"] == pytest.approx(96 / 97)
    assert PART_MIRROR[left] == right


def test_readings_of_a_network_that_parses_alone_have_no_joints():
    torch.manual_seed(0)
    network = create("look_into_person_parsing", **SMALL)
    found = person.readings(network, open_dataset("figures", "test", size=32), 10)
    assert "miou" in found
    assert not {"pckh", "mean_pose", "by_joint"} & found.keys()


def test_what_was_trained_on_rendered_people_is_tested_on_another_set():
    abroad, home = (
        Work("look_into_person", name, at, "study", 0) for name, at in (("joint_abroad", "lspet"), ("joint", "figures"))
    )
    # One run, read twice.
    assert abroad.key == home.key
    assert (abroad.trained_on, abroad.options, abroad.settings["joints"]) == ("figures", {}, 16)
    torch.manual_seed(0)
    network = create("look_into_person", **SMALL, refinements=0)
    places = LSP.places_in(MPII)
    assert [MPII.joints[k] for k in places[-2:]] == ["upper_neck", "head_top"]
    ordered = person.InOrder(network, places).eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        theirs, mine = network.eval().decode(network(images))[0], predict(ordered, images, flip=False, bf16=False)[0]
    torch.testing.assert_close(mine, theirs[:, places])


@pytest.mark.parametrize("other", ["lsp", "mpii"])
def test_readings_of_people_of_another_set(other):
    """The network learnt both tasks on rendered people; the other set has no part labels."""

    class Others(Squares):
        name, skeleton = other, LSP if other == "lsp" else MPII

        def batch(self, indices):
            sample = super().batch(indices)
            if other == "lsp":
                places = LSP.places_in(MPII)
                sample.joints, sample.presence = sample.joints[:, places], sample.presence[:, places]
            return sample

    torch.manual_seed(0)
    network = create("look_into_person", **SMALL, refinements=0)
    found = person.readings(network, Others(length=6), 6, open_dataset("figures", "train", size=32))
    assert {"pckh", "mean_pose"} <= found.keys()
    assert "miou" not in found


def test_one_run_read_on_two_sets_is_two_readings(tmp_path):
    one = Reading(
        "look_into_person", "joint", "figures", "study", 0, False, {}, "abc", 10, {"pckh": 0.5}, 1.0, 1.0, "cpu", 1,
        {}, "",
    )  # fmt: skip
    other = dataclasses.replace(one, variant="joint_abroad", dataset="lspet", readings={"pckh": 0.2})
    append([one, other], tmp_path)
    found = read("look_into_person", tmp_path)
    assert [found[some.key].readings["pckh"] for some in (one, other)] == [0.5, 0.2]


def test_a_claim_about_other_sets_has_no_row_on_rendered_people(tmp_path):
    runs = [Work("look_into_person", name, "figures", "study", 0) for name in ("joint", "pose")]
    append(
        [
            Reading(
                "look_into_person", work.variant, "figures", "study", 0, False, work.options, work.key,
                work.plan.test_images, {"pckh": 0.5}, 1.0, 1.0, "cpu", 1, {}, "",
            )
            for work in runs
        ],
        tmp_path,
    )  # fmt: skip
    rows = read_rows(select(["look_into_person_joint_pose", "look_into_person_transfer"]), tmp_path)
    assert [row.id for row in rows] == ["look_into_person_joint_pose"]


def test_what_a_run_is_trained_on_and_tested_on():
    work = Work("look_into_person", "joint_abroad", "lspet", "quick", 0)
    trained, _ = training_sets(work, "nowhere", torch.device("cpu"))
    assert (trained.name, trained.difficulty) == ("figures", "objects")
