from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from posebook.cli import main
from posebook.datasets.packed import Packed, pack
from posebook.papers import NAMES, load_weights, profile_of
from posebook.training.checkpoint import save_weights
from small_sets.mpii import people, write_h5

TINY = ["--steps", "2", "--batch-size", "4", "--size", "32", "--set", "features=8", "--set", "depth=1"]


@pytest.mark.parametrize("model", NAMES)
def test_every_profile_makes_a_network_and_a_recipe(model):
    for name in ("quick", "study", "paper"):
        plan = profile_of(model, name)
        with torch.device("meta"):
            assert plan.network(size=plan.size, **plan.settings).name == model
        assert plan.recipe.steps or plan.recipe.minutes
        assert 0 < plan.schedule(0.2) <= 1
        if name == "study":
            assert plan.recipe.minutes < 10


def test_steps_and_minutes_replace_each_other():
    recipe = profile_of("hourglass", "study").recipe
    assert recipe.but(steps=7).minutes is None
    assert recipe.but(minutes=2).minutes == 2
    assert recipe.but(seed=3, learning_rate=None).learning_rate == recipe.learning_rate
    assert recipe.but(seed=3, learning_rate=0.5).learning_rate == 0.5


def test_the_command_trains_scores_and_goes_on(tmp_path):
    command = ["train", "hourglass", *TINY, "--device", "cpu", "--output", str(tmp_path)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert "mean of all 16" in done.output
    scores = json.loads((tmp_path / "test.json").read_text())
    assert scores["people"] == 100
    model, about = load_weights(tmp_path / "last")
    assert model.settings["features"] == 8
    assert about["training"]["steps"] == 2
    # Once more: nothing is left to do, and the same comes out.
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 0, again.output
    assert json.loads((tmp_path / "test.json").read_text()) == scores
    other = CliRunner().invoke(main, [*command, "--seed", "1"])
    assert other.exit_code == 1
    assert "recipe.seed was 0, is 1" in other.output


def test_a_packed_set_is_trained_on_with_its_margin(tmp_path):
    fields = people(12)
    fields["part"][9, 5] = fields["center"][9] + 126 * fields["scale"][9]  # beyond the crop, within the pack
    for name, some in (("train.h5", slice(8)), ("valid.h5", slice(8, 12))):
        write_h5(tmp_path / name, {key: value[some] for key, value in fields.items()})
    (tmp_path / "images").mkdir()
    for number in range(12):
        Image.new("RGB", (600, 600), (9 * number, 0, 0)).save(tmp_path / f"images/{number:09d}.jpg")
    pack("mpii", tmp_path, tmp_path / "mpii.pack", 32, progress=False)
    data = ["--dataset", "packed", "--data-root", str(tmp_path / "mpii.pack")]
    done = CliRunner().invoke(
        main, ["train", "hourglass", *TINY, *data, "--device", "cpu", "--output", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    about = json.loads((tmp_path / "out/last.json").read_text())["training"]
    assert (about["dataset"]["size"], about["dataset"]["widen"]) == (48, 1.5)
    assert (about["validation"]["size"], about["validation"]["widen"]) == (32, 1.0)
    lost = json.loads((tmp_path / "out/test.json").read_text())["outside_crops"]
    assert lost == Packed(tmp_path / "mpii.pack", "test", 32).outside >= 1
    assert f"Annotated joints of the split outside their crops, which do not count: {lost}\n" in done.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "no model is called 'nothing'"),
        (["hourglass", "--profile", "huge"], "no profile 'huge'; it has quick, study, paper"),
        (["hourglass", "--dataset", "coco"], "no dataset is called 'coco'"),
        (["hourglass", "--dataset", "lspet"], "needs the folder it lies in"),
        (["hourglass", "--set", "legs=3"], "has no setting 'legs'"),
        (["hourglass", "--lr", "-1"], "learning_rate is -1.0"),
        (["hourglass", "--device", "abacus"], "device 'abacus' cannot be used here"),
        (["hourglass", "--size", "100"], "size"),
        (["hourglass", "--size", "64", "--set", "size=32"], "--size is 64 and --set size=32; give one of them"),
        (["parsing_induced", "--set", "frozen=true"], "none is given: add --learner FILE"),
        (["parsing_induced", "--set", "people=true"], "scenes of several people, which posebook train does not open"),
        (["parsing_induced", "--set", "parts=7"], "figures has 20 part labels, and parts is 7: leave it out"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, arguments, sentence):
    done = CliRunner().invoke(main, ["train", *arguments, "--output", str(tmp_path)])
    assert done.exit_code == 1
    assert sentence in done.output
    assert "Traceback" not in done.output


def test_a_learner_is_trained_and_then_taken_from_its_file(tmp_path):
    command = ["train", "parsing_induced", *TINY, "--device", "cpu", "--set", "poolings=0"]
    done = CliRunner().invoke(main, [*command, "--output", str(tmp_path / "first")])
    assert done.exit_code == 0, done.output
    assert "Parts: mean IoU" in done.output
    scores = json.loads((tmp_path / "first/test.json").read_text())
    assert 0 <= scores["mean_iou"] <= scores["pixel_accuracy"] <= 1
    taken = [*command, "--learner", str(tmp_path / "first/last"), "--output", str(tmp_path / "second")]
    done = CliRunner().invoke(main, taken)
    assert done.exit_code == 0, done.output
    assert "Parts:" not in done.output
    first, second = (load_weights(tmp_path / name / "last")[0] for name in ("first", "second"))
    assert second.settings["frozen"]
    assert torch.equal(first.adapter.conv1.weight, second.adapter.conv1.weight)
    assert not torch.equal(first.adaptive.U.weight, second.adaptive.U.weight)
    # A run with one learner is not gone on with, nor taken for over, with another.
    taken[taken.index("--learner") + 1] = str(tmp_path / "other")
    with torch.no_grad():
        first.adapter.conv1.weight.add_(0.1)
    save_weights(tmp_path / "other", first, "parsing_induced", "mpii", {})
    done = CliRunner().invoke(main, taken)
    assert done.exit_code == 1
    assert "has other settings: kept" in done.output


@pytest.mark.parametrize("option", ["--learner", "--imagenet"])
def test_other_networks_take_no_learner(tmp_path, option):
    done = CliRunner().invoke(main, ["train", "hourglass", *TINY, option, "x", "--output", str(tmp_path)])
    assert done.exit_code == 1
    assert f"{option} is for parsing_induced, and hourglass starts from nothing else" in done.output
