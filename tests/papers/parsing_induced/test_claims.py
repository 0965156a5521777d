"""The claims of parsing_induced: what they measure, and learners that come from other runs."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch

from posebook.datasets import open_dataset
from posebook.evaluation.inference import parse
from posebook.evaluation.metrics import confusion, parsing_score
from posebook.ledger.measure import measure
from posebook.ledger.readings import Reading
from posebook.ledger.runs import run_folder
from posebook.ledger.verdicts import row_of
from posebook.ledger.work import Work, works
from posebook.papers import create, load_weights, select
from posebook.papers.parsing_induced import claims as parsing_induced
from posebook.papers.parsing_induced.network import ParsingInduced
from posebook.training.augment import Augmentation
from posebook.training.profile import Profile
from posebook.training.recipe import Recipe

TINY = Profile(
    network=ParsingInduced,
    size=32,
    figures={"difficulty": "objects"},
    settings={"stacks": 1, "features": 8, "depth": 1, "parsing_units": 1, "poolings": 0},
    recipe=Recipe(steps=10, batch_size=2, learning_rate=1e-3, bf16=False, log_every=1),
    test_images=6,
    optimizer=torch.optim.Adam,
    schedule=lambda fraction: 1.0,
    augmentation=Augmentation(),
)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(parsing_induced.PROFILES, "tiny", TINY)


def test_claims_are_what_their_words_say():
    losses = {f"loss_{k}": 3.0 / k for k in range(1, 11)}
    table = {name: {"pckh": 0.5, "miou": 0.2, **losses} for name in parsing_induced.VARIANTS}
    table["pil"] = {"pckh": 0.6, "miou": 0.3, "others": 0.45, "mean": 0.55}
    table["pil"] |= {"same_way": 0.57, "other_way": 0.4, "any_way": 0.5, "two_predicted": 0.58, "two_true": 0.62}
    table["pil_4u"] = {"pckh": 0.64, "miou": 0.36}
    table["official"]["pckh"] = 0.61
    table["teacher"]["pckh"] = 0.55
    table["people_pil"], table["people_pose"] = {"map": 0.4}, {"map": 0.35}
    table["transfer"] = {"pckh": 0.53, **{name: value / 2 for name, value in losses.items()}}
    claims = {claim.id.removeprefix("parsing_induced_"): claim for claim in parsing_induced.CLAIMS}
    found = {name: claim.measure(table) for name, claim in claims.items()}
    expected = dict.fromkeys(found, 0.1) | {name: 0.0 for name in found if name.startswith("vgg_")}
    expected |= {
        "better_parsing": 0.04,
        "shuffle": 0.15,
        "order": -0.01,
        "transfer": 0.03,
        "people": 0.05,
        "plain": 0.05,
        "facing": 0.17,
        # The middle of the gain, from 0.5 to 0.6, is 0.55.
        "mostly_facing": 0.03,
        "two_kernels": -0.02,
    }
    # Half the loss at every tenth: where the other ends after ten tenths, this one is after five.
    expected["transfer_speed"] = 0.5
    assert found == pytest.approx(expected)
    # A curve that is at its end's loss early, and rises once more, gives the other nothing for that.
    table["pose"]["loss_6"] = table["pose"]["loss_10"]
    assert claims["transfer_speed"].measure(table) == pytest.approx(0.55 - 0.45)
    for claim in claims.values():
        assert claim.details(table)
    assert claims["vgg_add"].paper_value == pytest.approx((75.0 - 68.6) / 100)
    assert {name for name, claim in claims.items() if not claim.sets} == {"transfer", "transfer_speed"}


def test_the_place_where_a_loss_is_reached():
    slow = {f"loss_{k}": 11.0 - k for k in range(1, 11)}
    assert parsing_induced.reached_after(slow, slow, 10) == pytest.approx(0.95)
    assert parsing_induced.reached_after(slow, slow, 3) == pytest.approx(0.25)
    never = {name: 20.0 for name in slow}
    assert parsing_induced.reached_after(slow, never, 10) == 1
    at_once = {name: 0.5 for name in slow}
    assert parsing_induced.reached_after(slow, at_once, 10) == pytest.approx(0.05)
    steep = {f"loss_{k}": 9.0 if k < 4 else 0.0 for k in range(1, 11)}
    # A ninth of the way from 9 to 0, between the middles of the third and the fourth tenth, is 8.
    assert parsing_induced.reached_after(slow, steep, 3) == pytest.approx(0.25 + 0.1 / 9)


def test_a_history_is_read_in_tenths():
    history = [{"step": step, "pose": float(step), "loss": 0.0} for step in range(2, 42, 2)]
    found = parsing_induced.curve_readings(history)
    assert found == {f"loss_{k}": 4.0 * k - 1 for k in range(1, 11)}


@pytest.mark.parametrize("profile", ["quick", "study", "paper"])
def test_every_variant_can_be_made_and_differs_in_what_its_name_says(profile):
    base = Work("parsing_induced", "pil", "figures", profile, 0).settings
    for variant in parsing_induced.VARIANTS:
        work = Work("parsing_induced", variant, "figures", profile, 0)
        settings = work.settings
        with torch.device("meta"):
            work.network(**settings)
        changed = {key for key in settings if settings[key] != base[key]}
        if not variant.startswith("vgg"):
            assert len(changed - ({"size", "people"} if "people" in variant else {"stacks"})) <= 1, variant


def test_readings_are_what_they_say():
    dataset = open_dataset("figures", "test", size=32)
    torch.manual_seed(0)
    model = create("parsing_induced", **TINY.settings, size=32)
    # Kernels that are large, so that another image's make a difference.
    torch.nn.init.normal_(model.adapter.conv3.weight, std=3.0)
    count = 8
    found = parsing_induced.readings(model, dataset, count, open_dataset("figures", "train", size=32), count)
    sample = dataset.batch(torch.arange(count) * dataset.length // count)
    labels = model.eval().labels(model(sample.images))
    assert found["miou"] == pytest.approx(
        float(parsing_score(confusion(labels, sample.parsing).sum(0)).mean_iou), abs=0.02
    )
    assert found.keys() >= {"pckh", "visible", "occluded", "mean_pose", "others", "mean"}
    # Every image of a batch of one is its own neighbour.
    alone = parsing_induced.readings(model, dataset, count, batch_size=1)
    assert alone["others"] == alone["mean"] == alone["pckh"]
    pose = create("parsing_induced", **TINY.settings, size=32, variant="pose")
    assert not {"miou", "others"} & parsing_induced.readings(pose, dataset, count).keys()


def test_what_kernels_tell_is_read_where_people_face_both_ways():
    names = {
        "same_way",
        "other_way",
        "any_way",
        "two_true",
        "two_predicted",
        "one_number",
        "facing_accuracy",
        "front_views",
    }
    test, train = (open_dataset("figures", split, size=32) for split in ("test", "train"))
    model = create("parsing_induced", **TINY.settings, size=32)
    found = parsing_induced.readings(model, test, 24, train)
    assert names <= found.keys()
    assert "own" not in found
    assert not names & parsing_induced.readings(model, test, 24).keys()
    # Of one person there is no stranger who faces either way.
    assert not names & parsing_induced.readings(model, test, 1, train).keys()


def reading(work: Work, found: dict[str, float]) -> Reading:
    """What was read off a run, as the store has it."""
    return Reading(
        **asdict(work),
        options=work.options,
        digest=work.key,
        test_images=work.plan.test_images,
        readings=found,
        seconds=0.0,
        reading_seconds=0.0,
        device="cpu",
        threads=1,
        versions={},
        date="2026-11-21",
    )


def test_readings_from_before_facing_was_read_keep_their_other_verdicts():
    stored = Work("parsing_induced", "pil", "figures", "study", 0)
    readings = {}
    for seed in range(3):
        for variant, pckh in (("pil", 0.75), ("pose", 0.72 + 0.001 * seed)):
            work = replace(stored, variant=variant, seed=seed)
            found = {"pckh": pckh, "others": 0.7, "mean": 0.7}
            if variant == "pil" and seed == 2:
                found |= {"same_way": 0.7, "other_way": 0.5, "any_way": 0.7, "two_predicted": 0.73}
            readings[work.key, "figures", work.plan.test_images] = reading(work, found)
    rows = {
        name: row_of(select([f"parsing_induced_{name}"])[0], "figures", "study", readings)
        for name in ("baseline", "shuffle", "facing", "mostly_facing", "two_kernels")
    }
    assert rows["baseline"].verdict == rows["shuffle"].verdict == "holds"
    assert rows["baseline"].seeds == rows["shuffle"].seeds == (0, 1, 2)
    assert {rows[name].seeds for name in ("facing", "mostly_facing", "two_kernels")} == {(2,)}
    assert rows["facing"].values == pytest.approx((0.2,))


def test_parsing_counts_every_pixel_once():
    dataset = open_dataset("figures", "test", size=32)
    model = create("parsing_induced", **TINY.settings, size=32)
    matrix = parse(model, dataset, 5, batch_size=2)
    assert matrix.sum() == 5 * 32 * 32
    sample = dataset.batch(torch.arange(5) * dataset.length // 5)
    assert matrix.sum(1).tolist() == sample.parsing.flatten().long().bincount(minlength=20).tolist()


def test_a_learner_comes_from_the_run_of_another_variant(tmp_path, tiny):
    wanted = works("parsing_induced", "figures", "tiny", [0], ["transfer", "pose"])
    names = [str(work) for work in wanted]
    assert names.index("teacher, seed 0") < names.index("transfer, seed 0")
    transfer = Work("parsing_induced", "transfer", "figures", "tiny", 0)
    teacher = transfer.learner
    assert teacher.options == {"difficulty": "plain"}
    assert transfer.options == {"difficulty": "objects"}
    assert Work("parsing_induced", "transfer", "lspet", "tiny", 0).learner == teacher
    assert transfer.key != Work("parsing_induced", "pil", "figures", "tiny", 0).key

    said: list[str] = []
    claims = select(["parsing_induced_transfer", "parsing_induced_transfer_speed", "parsing_induced_shuffle"])
    folders = {"runs": tmp_path / "runs", "folder": tmp_path / "readings"}
    rows = measure(claims, "figures", "tiny", 1, device="cpu", say=said.append, **folders)
    assert all(row.values for row in rows)
    by_id = {row.id: row for row in rows}
    assert len(by_id["parsing_induced_transfer_speed"].details) == 20  # ten parts of two runs
    given, taken = (load_weights(run_folder(work, tmp_path / "runs") / "last")[0] for work in (teacher, transfer))
    for mine, theirs in ((taken.parsing, given.parsing), (taken.adapter, given.adapter)):
        for name, value in mine.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name


def test_claims_about_parts_are_not_measured_where_there_are_none(tmp_path, tiny):
    folders = {"runs": tmp_path / "runs", "folder": tmp_path / "readings"}
    claims = select(["parsing_induced_baseline"])
    rows = measure(claims, "lspet", "tiny", 1, data_root=tmp_path, device="cpu", say=lambda text: None, **folders)
    assert rows[0].verdict == "not measurable here"
    assert rows[0].reason == "it is about figures, lip"
