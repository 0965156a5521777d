from __future__ import annotations

import json
import math
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import toy
from posebook.coordinates import Perturbation
from posebook.evaluation.inference import evaluate
from posebook.evaluation.metrics import pckh
from posebook.figures.dataset import Figures
from posebook.papers import create, load_weights
from posebook.training.checkpoint import differing, save_weights
from posebook.training.loop import _described, _Supply, step_indices, train
from posebook.training.masking import KeypointMasking
from posebook.training.recipe import Recipe
from posebook.training.runs import Run, RunFolder
from posebook.training.schedules import constant, milestones, one_cycle, polynomial, restarted
from toy import AUGMENTATION, Squares, Toy, shared_runs, toy_run, toy_run_elsewhere


def same_weights(a: Path, b: Path) -> bool:
    one, other = load_file(a), load_file(b)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def losses(run: Run) -> list[float]:
    return [row["loss"] for row in run.history["training"]]


# --- Batches and schedules. ---


def test_every_epoch_has_everyone_once():
    length, batch = 10, 4
    drawn = torch.cat([step_indices(length, batch, step, seed=3) for step in range(15)])
    epochs = drawn.view(-1, length)
    assert torch.equal(epochs.sort(1).values, torch.arange(length).expand(6, length))
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 6
    assert torch.equal(step_indices(length, batch, 7, seed=3), drawn[28:32])
    assert not torch.equal(step_indices(length, length, 0, seed=4), step_indices(length, length, 0, seed=3))


def test_batches_larger_than_the_set_and_endless_sets():
    assert step_indices(3, 8, 1, 0).bincount(minlength=3).sum() == 8
    assert torch.equal(step_indices(None, 4, 5, 0), torch.arange(20, 24))


def test_schedules():
    assert constant(0.3) == 1
    cycle = one_cycle(0.25)
    assert cycle(0) == pytest.approx(0.05)
    assert cycle(0.25) == pytest.approx(1)
    assert cycle(0.625) == pytest.approx(0.5)
    assert cycle(1) == pytest.approx(0)
    steps = milestones((0.5, 0.75), by=0.1)
    assert [steps(f) for f in (0.49, 0.5, 0.8)] == pytest.approx([1, 0.1, 0.01])
    assert polynomial(2)(0.5) == 0.25
    anew = restarted(polynomial(1), (0.5, 0.75))
    assert [anew(f) for f in (0, 0.25, 0.5, 0.625, 0.75, 1)] == pytest.approx([1, 0.5, 1, 0.5, 1, 0])


# --- The loop. ---


def test_it_learns_and_tells(tmp_path):
    told = []
    model, run = toy_run(tmp_path / "a", steps=60, callback=lambda run: told.append(run.step))
    assert told == list(range(5, 61, 5))
    assert losses(run)[-1] < 0.8 * losses(run)[0]
    scores = [row["score"] for row in run.history["validation"]]
    assert [row["step"] for row in run.history["validation"]] == [10, 20, 30, 40, 50, 60]
    assert run.best == max(scores) > 0.5
    assert {row["measure"] for row in run.history["validation"]} == {"PCKh@0.5"}
    # The model ends with the averaged weights, which are those in the file.
    saved = load_file(tmp_path / "a/last.safetensors")
    assert all(torch.equal(value, saved[key]) for key, value in model.state_dict().items())
    record = json.loads((tmp_path / "a/best.json").read_text())
    assert record["model"] == "toy"
    assert record["settings"] == model.settings
    assert record["skeleton"] == "mpii"
    training = record["training"]
    assert training["steps"] == run.best_step
    assert training["images"] == 8 * run.best_step
    assert training["score"] == run.best
    assert training["recipe"]["learning_rate"] == 1e-2
    assert training["dataset"]["seed"] == 0
    assert training["versions"]["torch"] == torch.__version__
    assert not list(tmp_path.rglob("*.part"))


def test_the_caller_keeps_his_random_numbers(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(Toy(), Squares(), Recipe(steps=2, batch_size=4), progress=False)
    model_drawn = torch.rand(3)
    torch.manual_seed(5)
    Toy()
    assert torch.equal(model_drawn, torch.rand(3))
    assert not torch.equal(model_drawn, expected)


def test_minutes_end_a_run_and_drive_its_schedule():
    seen = []
    recipe = Recipe(minutes=0.6 / 60, batch_size=4, log_every=1)
    start = time.monotonic()
    run = train(Toy(), Squares(), recipe, schedule=lambda f: seen.append(f) or 1.0, progress=False)
    assert 0.55 < time.monotonic() - start < 3
    fractions = [f for f in seen if f not in [k / 20 for k in range(21)]]
    assert fractions == sorted(fractions)
    assert 0.5 < fractions[-1] < 1
    assert run.step > 3


def test_torch_schedulers_and_plateaus(tmp_path):
    recipe = Recipe(steps=6, batch_size=4, learning_rate=1.0, log_every=1, validate_every=2, validation_images=4)
    sgd = partial(torch.optim.SGD, momentum=0.9)
    frozen = Toy()
    run = train(
        frozen, Squares(), recipe, optimizer=lambda _, lr: sgd([torch.zeros(1, requires_grad=True)], lr=lr),
        scheduler=lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4]), output=tmp_path,
        progress=False,
    )  # fmt: skip
    assert [row["rate"] for row in run.history["training"]] == pytest.approx([1, 0.1, 0.1, 0.01, 0.01, 0.01])
    plateau = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, mode="max", factor=0.2, patience=0)
    constant_score = lambda _, lr: sgd([torch.zeros(1, requires_grad=True)], lr=lr)  # noqa: E731
    run = train(
        Toy(dropout=0.0).requires_grad_(True), Squares(), recipe, optimizer=constant_score, scheduler=plateau,
        validation=_Hopeless(), progress=False,
    )  # fmt: skip
    assert run.history["validation"][-1]["score"] == 0
    assert [row["rate"] for row in run.history["training"]] == pytest.approx([1, 1, 1, 1, 0.2, 0.2])


class _Hopeless(Squares):
    """Nobody finds these: they are a thousand pixels away."""

    def batch(self, indices):
        sample = super().batch(indices)
        sample.joints = sample.joints + 1000
        return sample


def test_states_are_saved_at_the_next_row(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(RunFolder, "save", lambda self, run, weights: saved.append(run.step))
    recipe = Recipe(steps=50, batch_size=2, log_every=10, save_every=7, save_seconds=1000)
    train(Toy(), Squares(), recipe, progress=False)
    assert saved == [10, 20, 30, 40, 50]
    saved.clear()
    train(Toy(), Squares(), replace(recipe, save_every=11), progress=False)
    assert saved == [20, 40, 50]


def test_a_score_that_is_no_number_is_never_the_best(tmp_path):
    class Nobody(Squares):
        def batch(self, indices):
            sample = super().batch(indices)
            sample.presence[:] = 0
            return sample

    recipe = Recipe(steps=4, batch_size=4, log_every=2, validate_every=2, validation_images=4)
    run = train(Toy(), Squares(), recipe, validation=Nobody(), output=tmp_path, progress=False)
    assert all(math.isnan(row["score"]) for row in run.history["validation"])
    assert (run.best, run.best_step) == (0, 0)
    assert not (tmp_path / "best.safetensors").exists()


def test_another_scheduler_does_not_resume(tmp_path):
    def begin(scheduler):
        recipe = Recipe(steps=4, batch_size=4, log_every=2)
        return train(Toy(), Squares(), recipe, scheduler=scheduler, output=tmp_path, progress=False)

    steps = partial(torch.optim.lr_scheduler.StepLR, step_size=2)
    begin(steps)
    assert begin(steps).step == 4
    assert json.loads((tmp_path / "last.json").read_text())["training"]["scheduler"]["type"] == "StepLR"
    with pytest.raises(ValueError, match=r"scheduler\.gamma was 0\.1, is 0\.5"):
        begin(partial(steps, gamma=0.5))
    with pytest.raises(ValueError, match=r"scheduler\.type was StepLR, is ExponentialLR"):
        begin(partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.1))


def test_training_crops_a_wide_set_to_its_window():
    seen = []

    class Watching(Toy):
        def loss(self, outputs, batch):
            seen.append((batch.size, batch.head_size[0].item()))
            return super().loss(outputs, batch)

    wide = Squares(size=48)
    wide.widen = 1.5
    train(Watching(), wide, Recipe(steps=1, batch_size=4), progress=False)
    assert seen == [(32, 12.0)]
    held_out = Squares()
    held_out.widen = 1.5
    with pytest.raises(ValueError, match=r"validation images are 1\.5 windows wide"):
        train(Toy(), wide, Recipe(steps=1, batch_size=4), validation=held_out, progress=False)


def small_run(small: Squares, **options) -> list[int]:
    """The sides of the images that each of ten steps' network is given."""
    torch.manual_seed(0)
    model = create("hourglass", size=64, stacks=1, features=8, depth=1)
    seen = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    recipe = Recipe(steps=10, batch_size=4, bf16=False)
    train(model, Squares(size=64), recipe, augmentation=AUGMENTATION, small=small, progress=False, **options)
    return seen


def test_a_first_part_of_a_run_goes_through_small_images(tmp_path):
    assert small_run(Squares(size=32)) == [32] * 5 + [64] * 5
    assert small_run(Squares(size=32), small_part=0.3, output=tmp_path) == [32] * 3 + [64] * 7
    with pytest.raises(ValueError, match=r"small\.part was 0\.3, is 0\.4"):
        small_run(Squares(size=32), small_part=0.4, output=tmp_path)


def test_small_images_are_of_the_same_people():
    with pytest.raises(ValueError, match="squares/test and the others of squares/train; open the same people"):
        small_run(Squares("test", size=32))
    with pytest.raises(ValueError, match="small images are to be 2 of the run"):
        small_run(Squares(size=32), small_part=2)


@pytest.mark.parametrize("share", [slice(0, 6), slice(3, 6)])
def test_people_made_ahead_are_those_of_their_steps(share):
    figures, recipe = Figures("train", size=32, seed=5), Recipe(steps=1, batch_size=6, seed=2)
    supply = _Supply(recipe, share)
    for step in (0, 1, 2, 3, 4, 9, 8):
        wanted = figures.batch(step_indices(None, 6, step, 2)[share])
        given = supply(figures, step)
        assert torch.equal(given.images, wanted.images)
        assert torch.equal(given.joints, wanted.joints)
    larger = Figures("train", size=64, seed=5)
    assert supply(larger, 8).size == 64


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(tmp_path):
    class Poisoned(Squares):
        def batch(self, indices):
            sample = super().batch(indices)
            self.calls = getattr(self, "calls", 0) + 1
            return sample if self.calls < 13 else sample._map(lambda v: v * torch.nan if v.is_floating_point() else v)

    recipe = Recipe(steps=30, batch_size=4, log_every=5, save_every=5)
    with pytest.raises(ValueError, match=r"at step 13 the loss became nan; the last good state is kept in .*a\. Lower"):
        train(Toy(), Poisoned(), recipe, output=tmp_path / "a", progress=False)
    # Where nothing is kept yet, nothing is promised.
    late = replace(recipe, save_every=20)
    with pytest.raises(ValueError, match=r"at step 13 the loss became nan\. Lower"):
        train(Toy(), Poisoned(), late, output=tmp_path / "b", progress=False)
    state = torch.load(tmp_path / "a/state.pt", weights_only=True)
    assert state["run"]["step"] == 10
    assert all(value.isfinite().all() for value in state["parts"]["model"].values())


def test_bad_recipes_and_batches():
    with pytest.raises(ValueError, match="give steps, or minutes"):
        Recipe()
    with pytest.raises(ValueError, match="batch_size is 0"):
        Recipe(steps=1, batch_size=0)
    with pytest.raises(ValueError, match="below 1"):
        Recipe(steps=1, ema=1.0)
    with pytest.raises(ValueError, match="steps is 1000000000000000000000; give at most 1,000,000,000,000"):
        Recipe(steps=10**21)
    with pytest.raises(ValueError, match="batch_size is 1000000000; give at most 65,536"):
        Recipe(steps=1, batch_size=10**9)
    with pytest.raises(ValueError, match="validation images are 64 pixels and the network takes 32"):
        train(Toy(), Squares(), Recipe(steps=1), validation=Squares(size=64), progress=False)


def test_tensorboard(tmp_path):
    toy_run(tmp_path, steps=10, tensorboard=True)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in log.Scalars("training/loss")] == [5, 10]
    assert [event.step for event in log.Scalars("validation/PCKh@0.5")] == [10]


def test_training_goes_on_without_tensorboard_and_says_so_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    sentence = r"^training goes on without it: a TensorBoard log needs tensorboard, .*'posebook\[study\]'$"
    with pytest.warns(UserWarning, match=sentence) as told:
        _, run = toy_run(tmp_path, steps=10, tensorboard=True)
    assert (run.step, len(told)) == (10, 1)
    assert not (tmp_path / "tensorboard").exists()


# --- Weights and resuming. ---


def test_weights_come_back(tmp_path):
    torch.manual_seed(0)
    model = create("hourglass", size=32, stacks=1, features=8, depth=1).to(memory_format=torch.channels_last).eval()
    path = save_weights(tmp_path / "sub/w", model, "hourglass", "mpii", {"steps": 3})
    loaded, about = load_weights(path)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(loaded(images), model(images))
    assert about == json.loads((tmp_path / "sub/w.json").read_text())
    assert about["training"] == {"steps": 3}
    assert not loaded.training

    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_weights(tmp_path / "none")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_weights(path)
    other = create("hourglass", size=32, stacks=1, features=12, depth=1)
    other.settings = model.settings
    save_weights(path, other, "hourglass", "mpii", {})
    with pytest.raises(ValueError, match=r"stem.* is \(.* and must be"):
        load_weights(path)


def test_another_configuration_does_not_resume(tmp_path):
    toy_run(tmp_path, steps=10)
    with pytest.raises(ValueError, match=r"augmentation.rotation was 10, is 0.*start afresh"):
        toy_run(tmp_path, steps=10, augmentation=None)
    with pytest.raises(ValueError, match=r"recipe\.steps was 10, is 20"):
        toy_run(tmp_path, steps=20)
    with pytest.raises(ValueError, match=r"optimizer was Adam\(.*, is RMSprop"):
        toy_run(tmp_path, steps=10, optimizer=torch.optim.RMSprop)
    _, run = toy_run(tmp_path, steps=20, fresh=True)
    assert run.step == 20
    assert differing({"a": {"b": 1}, "c": 2}, {"a": {"b": 1}, "c": 2}) == []
    assert differing({"a": {"b": 1}}, {"a": {"b": 2}, "d": 3}) == ["a.b was 1, is 2", "d was None, is 3"]
    (tmp_path / "state.pt").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"state.pt cannot be read"):
        toy_run(tmp_path, steps=20)


def test_weights_that_a_kill_forestalled_are_written_at_the_next_start(tmp_path):
    _, run = toy_run(tmp_path, steps=10)
    assert run.best_step == 10
    for which in ("best", "last"):
        (tmp_path / f"{which}.safetensors").unlink()
    toy_run(tmp_path, steps=10)
    assert same_weights(tmp_path / "best.safetensors", tmp_path / "last.safetensors")


def elsewhere(target, *arguments) -> multiprocessing.process.BaseProcess:
    """A process of its own, started; what it imports is imported once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["posebook.training.loop", "posebook.evaluation.benchmarks", "safetensors.torch", "tqdm.auto", "torch._dynamo"]
    )
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def test_killed_and_resumed_is_as_never_killed(tmp_path):
    """SIGKILL at random moments: within steps, validations and the writing of files."""
    whole = elsewhere(toy_run_elsewhere, str(tmp_path / "whole"))
    moments, kills = random.Random(0), 0
    state = tmp_path / "killed/state.pt"
    while True:
        saved = state.stat().st_mtime_ns if state.exists() else 0
        process = elsewhere(toy_run_elsewhere, str(tmp_path / "killed"))
        # It may go on for one saved state, and a random moment longer.
        while kills < 6 and process.is_alive() and (not state.exists() or state.stat().st_mtime_ns == saved):
            time.sleep(0.001)
        process.join(moments.uniform(0, 0.04) if kills < 6 else None)
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        kills += 1
    assert process.exitcode == 0
    assert kills >= 3
    whole.join()
    assert whole.exitcode == 0
    for which in ("last", "best"):
        assert same_weights(tmp_path / f"whole/{which}.safetensors", tmp_path / f"killed/{which}.safetensors")
    histories = [
        torch.load(tmp_path / name / "state.pt", weights_only=True)["run"]["history"] for name in ("whole", "killed")
    ]
    for part in ("training", "validation"):
        once, resumed = ([{**row, "seconds": 0} for row in history[part]] for history in histories)
        assert once == resumed


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C as a terminal's command meets it; what runs in a script's background starts with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_saves_the_run_at_its_next_row(ctrl_c, tmp_path):
    _, straight = toy_run(tmp_path / "straight", steps=30)

    def interrupt(run: Run) -> None:
        if run.step == 15:  # between two validations, where nothing is due to be saved
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        toy_run(tmp_path / "stopped", steps=30, callback=interrupt, save_every=1000)
    assert torch.load(tmp_path / "stopped/state.pt", weights_only=True)["run"]["step"] == 15
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    _, run = toy_run(tmp_path / "stopped", steps=30, save_every=1000)
    assert losses(run) == losses(straight)
    assert same_weights(tmp_path / "straight/last.safetensors", tmp_path / "stopped/last.safetensors")


def test_a_new_run_has_no_scores_of_the_old_one(tmp_path):
    toy_run(tmp_path, steps=10)
    (tmp_path / "test.json").write_text("{}")
    toy_run(tmp_path, steps=10, fresh=True)
    assert not (tmp_path / "test.json").exists()


def phased(output=None, callback=None, **options):
    """A run of twelve steps in three phases, with patches in the last."""
    torch.manual_seed(0)
    model = create("multi_scale", size=32, stacks=1, features=8, depth=1, scales=1)
    recipe = Recipe(steps=12, batch_size=4, learning_rate=1e-3, bf16=False, log_every=2, save_every=2)
    given = {"phases": (0.5, 0.75), "masking": KeypointMasking(1.0, 1.0), "progress": False} | options
    return model, train(model, Squares(), recipe, output=output, callback=callback, **given)


def test_phases_train_one_part_after_the_other():
    model, run = phased()
    rows = run.history["training"]
    assert [row["regression"] > 0 for row in rows] == [False] * 3 + [True] * 3
    # The fifth row has the end of the second phase and the beginning of the third.
    assert [row["scale_1"] > 0 for row in rows] == [True] * 3 + [False] + [True] * 2
    assert all(parameter.requires_grad for parameter in model.parameters())
    # Patches belong to the last phase: the first two are the same without them.
    bare = phased(masking=None)[1].history["training"]
    assert losses(Run(history={"training": bare}))[:4] == losses(run)[:4]
    assert losses(Run(history={"training": bare}))[-1] != losses(run)[-1]
    # And without phases they are there throughout.
    assert losses(phased(phases=(), masking=None)[1])[0] != losses(phased(phases=())[1])[0]


@pytest.mark.parametrize("at", [2, 6, 8, 10])
def test_a_run_that_stopped_in_a_phase_goes_on_in_it(tmp_path, at):
    whole, straight = phased(tmp_path / "whole")

    def stop(run: Run) -> None:
        if run.step == at + 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        phased(tmp_path / "stopped", stop)
    model, run = phased(tmp_path / "stopped")
    assert losses(run) == losses(straight)
    for name, value in whole.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


@pytest.mark.parametrize("ema", [None, 0.5])
def test_weights_of_an_early_phase_predict_as_they_did_in_it(tmp_path, ema):
    """What is not trained yet has no part in what they predict, in validation and once they are loaded."""
    validation = Squares("validation", seed=1)
    model = create("multi_scale", size=32, stacks=1, features=8, depth=1, scales=1)
    recipe = Recipe(steps=12, batch_size=4, learning_rate=1e-3, bf16=False, ema=ema, log_every=2, validate_every=4)

    def stop(run: Run) -> None:
        if run.step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            model, Squares(), recipe, phases=(0.5, 0.75), validation=validation, output=tmp_path, callback=stop,
            progress=False,
        )  # fmt: skip
    loaded, about = load_weights(tmp_path / "best")
    assert (about["training"]["phase"], about["training"]["steps"]) == (0, 4)
    joints, _, truth = evaluate(loaded, validation, recipe.validation_images, bf16=False)
    assert float(pckh(joints, truth).mean) == pytest.approx(about["training"]["score"], abs=1e-6)
    assert loaded(torch.rand(1, 3, 32, 32)).regressed == ()


def test_perturbed_people_are_another_set(tmp_path):
    """A run on them is not taken for one on the people in their own windows."""
    figures = Figures("train", 32)
    own, other = _described(figures), _described(figures.perturbed(Perturbation(scale=0.8)))
    assert other == own | {"perturbation": {"shift": (0.0, 0.0), "scale": 0.8}}


def test_phases_that_cannot_be():
    with pytest.raises(ValueError, match=r"phases begin at \(0.5, 0.5\); give parts of the run between 0 and 1"):
        phased(phases=(0.5, 0.5))
    with pytest.raises(ValueError, match="multi_scale is trained in 3 phases; give 2 parts of the run"):
        phased(phases=(0.5,))
    for model in (create("hourglass", size=32, stacks=1, features=8, depth=1), Toy()):
        with pytest.raises(ValueError, match="is not trained in phases: leave them out"):
            train(model, Squares(), Recipe(steps=1), phases=(0.5,))


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory):
    """Folders of the same runs by one process and by two."""
    folder = tmp_path_factory.mktemp("processes")
    alone = elsewhere(shared_runs, folder / "one")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, toy.__file__, str(folder / "two")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    alone.join()
    assert alone.exitcode == 0
    return folder / "one", folder / "two"


@pytest.mark.parametrize(("network", "tolerance"), [("hourglass", 1e-5), ("multi_scale", 1e-6), ("toy", 1e-6)])
def test_two_processes_train_what_one_does(one_and_two, network, tolerance):
    alone, together = (
        Run(**torch.load(folder / network / "state.pt", weights_only=True)["run"]) for folder in one_and_two
    )
    assert losses(together) == pytest.approx(losses(alone), rel=tolerance)
    # A phase's loss is of what it trains.
    assert losses(alone)[-1] < losses(alone)[4 if network == "multi_scale" else 0]
    # The first process alone calls back.
    assert [file.name for folder in one_and_two for file in folder.glob("told-*")] == ["told-by-0"] * 2
    scores = [run.history["validation"][0]["score"] for run in (alone, together)]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)
    if network != "hourglass":
        # In float64 nothing hides in rounding: the weights are the same.
        ours, theirs = (load_file(folder / network / "last.safetensors") for folder in one_and_two)
        for key, value in ours.items():
            torch.testing.assert_close(theirs[key], value, atol=1e-7, rtol=1e-6)
