from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

from posebook.cli import main
from posebook.datasets.packed import Packed, pack
from posebook.papers import NAMES, create, load_weights, profile_of
from posebook.training.checkpoint import save_weights
from small_sets import ccp, lip
from small_sets.mpii import people, write_h5, write_images

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
    write_images(tmp_path, fields)
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
    assert f"{option} is not for hourglass, which starts from nothing else" in done.output


def trained(*arguments):
    return CliRunner().invoke(main, ["train", "hourglass", *TINY, "--device", "cpu", *map(str, arguments)])


def packed(root, out):
    return CliRunner().invoke(main, ["data", "pack", "lip", str(root), str(out), "--size", "32"])


def test_a_class_of_a_handful_trains_and_is_told_its_splits(tmp_path):
    lip.write_part(tmp_path, "train", 5)
    lip.write_part(tmp_path, "val", 2)
    data = ["--dataset", "lip", "--data-root", tmp_path]
    done = trained(*data, "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("lip: 4 people in train, 1 people in validation, 2 people in test\n")
    assert (tmp_path / "out/last.safetensors").is_file()


def test_nothing_to_learn_is_said_and_not_trained_on(tmp_path):
    ccp.write_set(tmp_path / "ccp", 5)
    done = trained("--dataset", "ccp", "--data-root", tmp_path / "ccp", "--output", tmp_path / "a")
    assert done.exit_code == 1
    assert "ccp has no joint annotated in its validation split, and hourglass learns joints" in done.output
    assert not (tmp_path / "a").exists()
    # Photographs that are there and cannot be read: known once they are opened.
    lip.write_part(tmp_path / "lip", "train", 5)
    lip.write_part(tmp_path / "lip", "val", 2)
    for photograph in (tmp_path / "lip").rglob("*.jpg"):
        photograph.write_bytes(b"not a photograph")
    with pytest.warns(UserWarning, match="cannot be read"):
        done = trained("--dataset", "lip", "--data-root", tmp_path / "lip", "--output", tmp_path / "b")
    assert done.exit_code == 1
    assert "lip/train gave no joint to learn from" in done.output
    assert not list((tmp_path / "b").glob("*.safetensors"))
    with pytest.warns(UserWarning, match="cannot be read"):
        done = CliRunner().invoke(
            main, ["data", "pack", "lip", str(tmp_path / "lip"), str(tmp_path / "p"), "--size", "32"]
        )
    assert done.exit_code == 1
    assert "photographs of lip's train split can be read" in done.output
    assert not (tmp_path / "p").exists()


def test_a_packed_file_tells_what_could_not_be_read(tmp_path):
    lip.write_part(tmp_path / "lip", "train", 6)
    lip.write_part(tmp_path / "lip", "val", 3)
    next((tmp_path / "lip").rglob("val_images/*.jpg")).write_bytes(b"not a photograph")
    with pytest.warns(UserWarning, match="cannot be read"):
        done = CliRunner().invoke(
            main, ["data", "pack", "lip", str(tmp_path / "lip"), str(tmp_path / "p"), "--size", "32"]
        )
    assert done.exit_code == 0, done.output
    assert "; 1 are grey images without joints, for their photographs could not be read; the file is" in done.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--size", "0"], "figures need a size of 32 or more that 8 divides, not 0"),
        (["--data-root", "here"], "'figures' are rendered and lie in no folder, and root is here: name the set"),
        (["--lr", "nan"], "recipe: learning_rate is nan; give a number above 0"),
        (["--minutes", "inf"], "recipe: minutes is inf; give a number above 0"),
        (["--device", "meta"], "device 'meta' cannot be used here"),
        (["--seed", "-1"], "-1 is not in the range 0<=x<="),
    ],
)
def test_numbers_that_are_none_and_options_that_mean_nothing_are_refused(tmp_path, arguments, sentence):
    done = CliRunner().invoke(main, ["train", "hourglass", *arguments, "--output", str(tmp_path / "out")])
    assert done.exit_code in (1, 2)  # click's own refusals end with 2
    assert sentence in done.output
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_to_is_known_before_training(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    for place, sentence in (("file", "file is a file: give another folder"), ("file/out", "out cannot be written to")):
        done = trained("--output", tmp_path / place)
        assert done.exit_code == 1
        assert sentence in done.output
    usage = type("usage", (), {"free": 10_000})
    monkeypatch.setattr("posebook.training.runs.shutil.disk_usage", lambda path: usage)
    done = trained("--output", tmp_path / "full")
    assert done.exit_code == 1
    assert "and its disk has 0 MB free: make room" in done.output


def test_what_is_no_run_and_no_weights_of_ours_is_named(tmp_path):
    (tmp_path / "out").mkdir()
    torch.save({"epoch": 3}, tmp_path / "out/state.pt")
    done = trained("--output", tmp_path / "out")
    assert done.exit_code == 1
    assert "state.pt is not the state of a run of posebook's" in done.output
    torch.save({}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth is not a file of posebook's weights, which end in \.safetensors"):
        load_weights(tmp_path / "w.pth")
    with pytest.raises(FileNotFoundError, match="there are no weights at"):
        load_weights(tmp_path / "x.pth")
    model = create("hourglass", size=32, stacks=1, features=8, depth=1)
    save_weights(tmp_path / "strange", model, "hourglass", "spiders", {})
    with pytest.raises(ValueError, match="joints are in the order of 'spiders'; known are mpii"):
        load_weights(tmp_path / "strange")
    with torch.no_grad():
        model.to_maps[0].bias[2] = torch.nan
    save_weights(tmp_path / "lost", model, "hourglass", "mpii", {})
    with pytest.raises(ValueError, match=r"to_maps\.0\.bias holds values that are not numbers"):
        load_weights(tmp_path / "lost")


def test_a_profile_in_words():
    told = profile_of("soft_argmax", "paper").in_words()
    assert told["optimiser"] == "RMSprop"
    assert (told["highest rate"], told["rate at half time"]) == ("0.001", "4.0e-04")
    assert (told["length"], told["scaled by"], told["mirrored"]) == ("166,845 steps", "0.7 to 1.3", "50%")
    quick, study = (profile_of("soft_argmax", name).in_words() for name in ("quick", "study"))
    assert (quick["length"], quick["the first part at"], study["the first part at"]) == ("0.35 minutes", "-", "64 px")
    assert profile_of("part_groups", "paper").in_words()["tested on"] == "6 scales"
