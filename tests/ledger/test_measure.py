"""Runs are trained once, whole seeds while the time lasts, and nothing that was trained is lost."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from filelock import FileLock

from posebook.cli import main
from posebook.datasets import open_dataset
from posebook.ledger import runs as runs_module
from posebook.ledger import verdicts
from posebook.ledger.claim import claims_of
from posebook.ledger.forecast import Paces
from posebook.ledger.measure import measure
from posebook.ledger.readings import read
from posebook.ledger.runs import HISTORY, THREADS, OutOfTime, clock, run_folder, train_all, train_run, weights_of
from posebook.ledger.work import SKELETON_OF, Work, base_of, works
from posebook.papers import PAPERS, load_weights, select
from posebook.papers.parsing_induced import claims as parsing_induced
from posebook.papers.parsing_induced.network import ParsingInduced
from posebook.papers.soft_argmax.claims import PROFILES
from posebook.papers.soft_argmax.network import SoftArgmax
from posebook.training.augment import Augmentation
from posebook.training.checkpoint import STATE
from posebook.training.profile import Profile
from posebook.training.recipe import Recipe
from toy import Squares

TINY = Profile(
    network=SoftArgmax,
    size=32,
    settings={"features": 36, "blocks": 2, "context": 1},
    recipe=Recipe(steps=2, batch_size=2, learning_rate=1e-3, bf16=False),
    test_images=8,
    optimizer=torch.optim.Adam,
    schedule=lambda fraction: 1.0,
    augmentation=Augmentation(),
)
OURS = select(["soft_argmax"])

BASE = Work("soft_argmax", "regression", "figures", "tiny", 0)


@pytest.fixture
def trained(monkeypatch) -> list[str]:
    """A profile that trains in no time, squares in place of figures, and a list of the networks trained to be kept."""
    monkeypatch.setitem(PROFILES, "tiny", TINY)

    def opened(name, split, root, size, device="cpu", seed=0, **options):
        if name != "figures":
            return open_dataset(name, split, root, size, device, seed, **options)
        return Squares(split, size, None if split == "train" else 20, seed + (split == "test"))

    for module in ("measure", "runs"):
        monkeypatch.setattr(f"posebook.ledger.{module}.open_dataset", opened)
    kept = []

    def train(model, *arguments, **options):
        if options["output"] is not None:
            kept.append(model.name)
        return real(model, *arguments, **options)

    real = runs_module.train
    monkeypatch.setattr(runs_module, "train", train)
    return kept


@pytest.fixture
def tiny(tmp_path, trained):
    """Measure claims with the tiny profile in a folder of the test's own; what was said goes to a list."""

    def run(names=("soft_argmax",), seeds: int = 2, said: list[str] | None = None, **options):
        given = {"runs": tmp_path / "runs", "folder": tmp_path / "readings"} | options
        told = [] if said is None else said
        return measure(select(names), "figures", "tiny", seeds, device="cpu", say=told.append, **given)

    return run


def test_a_run_is_named_by_what_decides_it(monkeypatch, trained):
    everything = works("soft_argmax", "figures", "tiny", range(3))
    assert len({work.key for work in everything}) == len(everything) == 4 * 3 + 1
    assert len({replace(BASE, dataset=name).key for name in ("figures", "lsp", "lspet", "mpii")}) == 4
    assert replace(BASE, dataset="lspet").settings["joints"] == 14
    before = BASE.key
    later = TINY.but(test_images=9, recipe={"log_every": 3, "save_seconds": 5})
    monkeypatch.setitem(PROFILES, "tiny", later)
    assert BASE.key == before
    monkeypatch.setitem(PROFILES, "tiny", TINY.but(recipe={"batch_size": 3}))
    assert BASE.key != before


def test_runs_are_those_that_a_set_has_labels_for():
    for paper in PAPERS:
        assert base_of(paper, "figures") == claims_of(paper).length.variant
    # LIP has part labels and one person a photograph, MPII no part labels.
    assert base_of("parsing_induced", "lip") == "pil"
    on_lip = {work.variant for work in works("parsing_induced", "lip", "quick", [0])}
    assert "vgg_mtl" in on_lip
    assert not on_lip & {"people_pil", "people_pose"}
    on_mpii = works("parsing_induced", "mpii", "quick", [0, 1])
    assert {(work.variant, work.dataset) for work in on_mpii} == {
        ("teacher", "figures"), ("transfer", "mpii"), ("pose", "mpii")
    }  # fmt: skip
    assert [work.variant for work in on_mpii if work.half] == ["pose"]


def test_claims_share_runs_and_nothing_is_trained_twice(tmp_path, trained, tiny):
    said: list[str] = []
    rows = tiny(said=said)
    # Four networks from two seeds, and the half run; not nine runs for each claim.
    assert len(trained) == 4 * 2 + 1
    assert any("0 readings stored, 9 runs to be trained: about" in text for text in said)
    assert said[-1].startswith("9 runs are over, 0 to go: ")
    assert [row.id for row in rows] == [claim.id for claim in OURS]
    for row in rows:
        assert row.seeds == (0, 1)
        assert row.mean == pytest.approx(sum(row.values) / 2)
        assert all(len(values) == 2 for values in row.details.values())
        assert not row.final
        json.dumps(row.as_json(), allow_nan=False)
    # Weights stay, the state that a resume needs goes.
    folders = list((tmp_path / "runs").glob("*"))
    assert len(folders) == 9
    assert all((folder / "last.safetensors").is_file() and not (folder / STATE).exists() for folder in folders)
    stored = (tmp_path / "readings/soft_argmax.jsonl").read_text()
    assert len(stored.splitlines()) == 9
    assert len(read("soft_argmax", tmp_path / "readings")) == 9
    some = json.loads(stored.splitlines()[0])["readings"]
    assert (len(some["curve"]), len(some["by_joint"]), len(some["by_joint_occluded"])) == (51, 16, 16)

    # Readings alone are enough; a third seed adds the runs of the claim alone, and a claim more adds none.
    assert tiny(runs=tmp_path / "elsewhere") == rows
    assert len(trained) == 9
    (third,) = tiny(["soft_argmax_context"], seeds=3)
    assert len(third.values) == 3
    assert len(trained) == 9 + 2
    assert (tmp_path / "readings/soft_argmax.jsonl").read_text().startswith(stored)


def test_a_claim_that_a_set_has_no_labels_for_leaves_the_others_alone(tmp_path, trained):
    fine = OURS[0]
    lacking = replace(fine, id="soft_argmax_lacking", measure=lambda r: r["regression"]["glow"])
    folders = {"runs": tmp_path / "runs", "folder": tmp_path / "readings"}
    rows = measure([lacking, fine], "figures", "tiny", 1, device="cpu", say=lambda text: None, **folders)
    assert [row.verdict for row in rows] == ["not measurable here", "undecided"]
    assert rows[0].reason == "figures has nothing to read off the networks that it asks for"
    assert "soft_argmax_lacking is not measurable here: figures has nothing to read" in verdicts.render(rows)
    assert len(trained) == 2 + 1  # once, and not again


def test_a_claim_is_measured_where_the_usual_base_cannot_learn(tmp_path, monkeypatch):
    """Squares have no part labels, as MPII has none; the learner comes from figures, which have."""

    def opened(name, split, root, size, device="cpu", seed=0, **options):
        if name == "figures":
            return open_dataset(name, split, root, size, device, seed, **options)
        return Squares(split, size, 12, seed)

    for module in ("measure", "runs"):
        monkeypatch.setattr(f"posebook.ledger.{module}.open_dataset", opened)
    settings = {"stacks": 1, "features": 8, "depth": 1, "parsing_units": 1, "poolings": 0}
    tiny = replace(TINY, network=ParsingInduced, settings=settings)
    monkeypatch.setitem(parsing_induced.PROFILES, "tiny", tiny)
    folders = {"runs": tmp_path / "runs", "folder": tmp_path / "readings"}
    claims = select(["parsing_induced_transfer"])
    given = {"device": "cpu", "say": lambda text: None, "data_root": tmp_path}
    (row,) = measure(claims, "mpii", "tiny", 1, **given, **folders)
    assert row.verdict == "undecided"
    assert row.details.keys() == {"transfer pckh", "transfer visible", "pose pckh", "pose visible"}
    assert (row.dataset, row.on) == ("mpii", "mpii, tiny")
    # The teacher, two networks, and the half run of the base that there is.
    assert len(read("parsing_induced", tmp_path / "readings")) == 4
    taken = Work("parsing_induced", "transfer", "mpii", "tiny", 0)
    first, second = (load_weights(run_folder(work, tmp_path / "runs") / "last")[0] for work in (taken.learner, taken))
    assert torch.equal(first.adapter.conv1.weight, second.adapter.conv1.weight)


def test_a_stopped_run_goes_on_and_ends_the_same(tmp_path, monkeypatch, trained):
    numbers = {"steps": 4, "log_every": 1, "save_seconds": 1e-9}
    monkeypatch.setitem(PROFILES, "tiny", TINY.but(recipe=numbers))
    straight = train_run(BASE, tmp_path / "straight", device="cpu", progress=False)
    steps: list[int] = []

    def stop(run) -> None:
        steps.append(run.step)
        # The second row is told of before its state is saved: one step is lost.
        if len(steps) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(BASE, tmp_path / "stopped", device="cpu", progress=False, callback=stop)
    assert weights_of(BASE, tmp_path / "stopped") is None
    begun = Paces(None, "cpu", 1, tmp_path / "stopped").seconds(BASE, {})
    assert begun < Paces(None, "cpu", 1, tmp_path / "none").seconds(replace(BASE), {}) * 10
    resumed = train_run(BASE, tmp_path / "stopped", device="cpu", progress=False, callback=stop)
    assert steps == [1, 2, 2, 3, 4]
    assert resumed.readings == straight.readings
    # What is over is not trained again, whoever asks.
    before = len(trained)
    assert train_run(BASE, tmp_path / "stopped", device="cpu", callback=stop).readings == resumed.readings
    assert (len(trained), len(steps)) == (before, 5)


def test_whole_seeds_are_trained_while_the_time_lasts(tmp_path, monkeypatch, trained, tiny):
    """Runs that are said to take ten seconds each, in forty-five: four of them at most."""
    monkeypatch.setattr(Paces, "seconds", lambda self, work, readings: 10.0)
    now = [1000.0]
    monkeypatch.setattr("posebook.ledger.measure.time.time", lambda: now[0])
    real = runs_module.train_run

    def slow(*arguments, **options):
        now[0] += 10
        return real(*arguments, **options)

    monkeypatch.setattr(runs_module, "train_run", slow)
    said: list[str] = []
    rows = tiny(["soft_argmax_context"], seeds=8, said=said, budget=45.0)
    assert len(trained) == 4
    assert rows[0].seeds == (0, 1)
    assert "of which 45 s are given" in said[1]
    assert said[-1] == "The time is over; 2 min more would bring in the rest"
    # The same again goes on, and ends with all seeds and the half run.
    rows = tiny(["soft_argmax_context"], seeds=8, budget=1000.0)
    assert rows[0].seeds == tuple(range(8))
    assert rows[0].final
    assert len(trained) == 2 * 8 + 1


def test_what_the_next_seed_is_likeliest_to_settle_comes_first(tmp_path, monkeypatch, tiny):
    order: list[str] = []
    monkeypatch.setattr(Paces, "seconds", lambda self, work, readings: 1.0)
    tiny(["soft_argmax_context", "soft_argmax_blocks"], seeds=3)
    rows = {row.id: row for row in tiny(["soft_argmax_context", "soft_argmax_blocks"], seeds=3)}
    from posebook.ledger.measure import _missing

    close = replace(rows["soft_argmax_context"], values=(0.01, 0.011, -0.005))
    far = replace(rows["soft_argmax_blocks"], values=(0.01, -0.03, 0.021))
    settled = replace(close, values=(0.01, 0.0101, 0.0099))
    for first, second in ((close, far), (far, settled)):
        given = {first.id: first, second.claim.id: second}
        made = {rows["soft_argmax_context"].id: first, rows["soft_argmax_blocks"].id: second}
        monkeypatch.setattr("posebook.ledger.measure.row_of", lambda claim, *more, made=made: made[claim.id])
        stored = {"soft_argmax": read("soft_argmax", tmp_path / "readings")}
        claims = select(["soft_argmax_blocks", "soft_argmax_context"])
        found = _missing(claims, "figures", "tiny", 5, stored, set())
        order = [some.claim.id for some in found if some.claim]
        assert order == ["soft_argmax_context"] * 2 + ["soft_argmax_blocks"] * 2, (given, order)


def test_the_clock_stops_a_run_that_takes_longer_than_was_thought(tmp_path, trained):
    with pytest.raises(OutOfTime):
        list(train_all([BASE], tmp_path / "runs", device="cpu", deadline=time.time() - 1))
    assert weights_of(BASE, tmp_path / "runs") is None
    assert [some.seed for some in train_all([BASE], tmp_path / "runs", device="cpu")] == [0]


def test_one_process_waits_for_another_at_the_same_run(tmp_path, capsys, trained):
    folder = run_folder(BASE, tmp_path)
    folder.mkdir()
    with ThreadPoolExecutor(1) as pool:
        with FileLock(folder / "lock"):
            waiting = pool.submit(train_run, BASE, tmp_path, device="cpu", progress=False)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
            assert not trained
        assert waiting.result(timeout=60).readings
    assert "Another process is at regression, seed 0" in capsys.readouterr().err


def test_a_run_is_the_same_however_many_threads_there_are(tmp_path, monkeypatch, trained):
    one = train_run(BASE, tmp_path / "one", device="cpu", progress=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        other = train_run(BASE, tmp_path / "two", device="cpu", progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert (one.threads, other.threads) == (THREADS, THREADS)
    assert one.readings == other.readings
    assert weights_of(BASE, tmp_path / "two")
    # Weights that several threads trained are another run's, and so is what was read off them.
    monkeypatch.setattr(runs_module, "THREADS", 2)
    assert weights_of(BASE, tmp_path / "two") is None
    assert replace(one, threads=2).key != one.key


@pytest.mark.parametrize("state", [True, False])
def test_a_kill_between_weights_and_history_loses_nothing(tmp_path, monkeypatch, trained, state):
    """The state gives the history again; where that is gone too, the run is trained anew."""
    monkeypatch.setitem(PROFILES, "tiny", TINY.but(recipe={"steps": 4, "log_every": 1}))
    ledger = claims_of("soft_argmax")
    with_curve = replace(ledger, curve_readings=lambda rows: {"rows": float(len(rows))})
    monkeypatch.setattr(runs_module, "claims_of", lambda paper: with_curve)

    def kill(path):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(runs_module, "replacing", kill)
        with pytest.raises(SystemExit):
            train_run(BASE, tmp_path, device="cpu", progress=False)
    folder = run_folder(BASE, tmp_path)
    assert weights_of(BASE, tmp_path)
    assert not (folder / HISTORY).exists()
    if not state:
        (folder / STATE).unlink()
    steps = []
    reading = train_run(BASE, tmp_path, device="cpu", progress=False, callback=lambda run: steps.append(run.step))
    assert reading.readings["rows"] == 4
    assert steps == ([] if state else [1, 2, 3, 4])


def test_several_at_a_time_do_not_disturb_each_other(tmp_path, capfd):
    """Two runs at once, each told of; and the caller's choice of where they go counts."""
    from joblib import parallel_config
    from joblib.externals.loky import get_reusable_executor

    # Processes that another test left print where that test looked.
    get_reusable_executor().shutdown(wait=True)
    wanted = [replace(BASE, profile="quick", variant="one_block", seed=seed) for seed in (0, 1)]
    done = list(train_all(wanted, tmp_path / "a", device="cpu", jobs=2))
    assert {(some.variant, some.seed) for some in done} == {("one_block", 0), ("one_block", 1)}
    assert capfd.readouterr().err.count("step 20 of 20") == 2
    assert {some.threads for some in done} == {THREADS}
    with parallel_config("threading"):
        (alone,) = train_all(wanted[:1], tmp_path / "b", device="cpu", jobs=2)
    first = next(some for some in done if some.seed == 0)
    assert alone.readings == first.readings


KILLED = """
import sys
from posebook.ledger.measure import measure
from posebook.papers import select
measure(select(["soft_argmax_context"]), "figures", "quick", 2, device="cpu", runs=sys.argv[1], folder=sys.argv[2])
"""


def measure_at_once(folders: list[Path], readings: Path) -> list[dict]:
    """What processes that measure the same claim, each with its folder of runs, write into one folder of readings."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED]
    every = [
        subprocess.Popen([*command, str(runs), str(readings)], env=environment, stderr=subprocess.PIPE, text=True)
        for runs in folders
    ]
    told = [process.communicate(timeout=300)[1] for process in every]
    assert [process.returncode for process in every] == [0] * len(folders), told
    return [json.loads(line) for line in (readings / "soft_argmax.jsonl").read_text().splitlines()]


def test_two_processes_at_once_train_each_run_once(tmp_path):
    lines = measure_at_once([tmp_path / "runs"] * 2, tmp_path / "readings")
    assert len(lines) == 5
    trained = [json.loads(path.read_text())["training"]["steps"] for path in tmp_path.glob("runs/*/last.json")]
    assert sorted(trained) == [10, 20, 20, 20, 20]


def test_two_folders_of_runs_with_one_of_results_lose_nothing(tmp_path):
    """Each process trains in a folder of its own, and both write to one file."""
    lines = measure_at_once([tmp_path / "a", tmp_path / "b"], tmp_path / "readings")
    assert sorted((line["variant"], line["seed"], line["half"]) for line in lines) == [
        ("no_context", 0, False), ("no_context", 1, False), ("regression", 0, False), ("regression", 0, True),
        ("regression", 1, False),
    ]  # fmt: skip


def test_a_process_takes_what_no_other_one_is_at(tmp_path, trained, tiny):
    """The most urgent run is another's: all others are trained before it is waited for."""
    (claim,) = select(["soft_argmax_context"])
    another = Work("soft_argmax", claim.variants[0], "figures", "tiny", 0)
    folder = run_folder(another, tmp_path / "runs")
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    said: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        with FileLock(folder / "lock"):
            measuring = pool.submit(tiny, ["soft_argmax_context"], said=said)
            while not (said and said[-1].startswith("4 runs are over, 1 to go: ")):
                with pytest.raises(TimeoutError):
                    measuring.result(timeout=0.1)
            assert len(trained) == 2 * 2 + 1 - 1
        (row,) = measuring.result(timeout=60)
    assert row.seeds == (0, 1)
    assert said[-1].startswith("5 runs are over, 0 to go: ")


def test_steps_are_timed_as_many_at_a_time_as_there_will_be_runs():
    work = Work("soft_argmax", "one_block", "figures", "quick", 0)
    alone, both = (Paces(None, "cpu", jobs, "runs") for jobs in (1, 2))
    assert both.trained_on == alone.trained_on == platform.machine()
    step, reading = both._timed(work)
    assert 0 < step < 60
    assert reading == pytest.approx(step * work.plan.test_images / work.recipe.batch_size)
    with pytest.raises(ValueError, match="device 'abacus' cannot be used here"):
        Paces(None, "abacus", 1, "runs")


def test_the_command_prints_an_object_a_claim_and_draws(tmp_path, trained):
    command = ["ledger", "--claims", "soft_argmax_maps_emerge, soft_argmax_context", "--claims", "soft_argmax_blocks"]
    place = ["--results", str(tmp_path / "results")]
    done = CliRunner().invoke(
        main,
        [*command, *place, "--profile", "tiny", "--seeds", "1", "--device", "cpu", "--runs", str(tmp_path), "--json"],
    )
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    names = ["soft_argmax_maps_emerge", "soft_argmax_context", "soft_argmax_blocks"]
    assert [row["claim"] for row in rows] == names
    assert all(row.keys() >= {"verdict", "final", "paper_is_inside", "excluded_above", "p_value"} for row in rows)
    assert "to be trained: about" in done.stderr
    # In a fresh clone there are readings and no runs.
    table = CliRunner().invoke(main, [*command, *place, "--list"])
    assert table.exit_code == 0, table.output
    assert all(name in table.output for name in names)
    assert "A run is long enough when" in table.output
    drawn = CliRunner().invoke(main, ["ledger", *place, "--draw", "--markdown"])
    assert drawn.exit_code == 0, drawn.output
    assert (tmp_path / "results/ledger_soft_argmax.png").is_file()
    page = (tmp_path / "results/README.md").read_text()
    assert "| `soft_argmax` | 3 |" in page
    assert "undecided so far" in page


def test_a_set_that_is_not_here_is_not_measured(tmp_path, trained):
    command = ["ledger", "--claims", "soft_argmax", "--dataset", "lspet", "--profile", "tiny", "--json"]
    folders = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results"), "--device", "cpu"]
    for root, reason in (([], "needs the folder it lies in"), (["--data-root", str(tmp_path)], "joints.mat")):
        done = CliRunner().invoke(main, [*command, *folders, *root])
        assert done.exit_code == 0, done.output
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(rows) == 5
        assert {row["verdict"] for row in rows} == {"not measurable here"}
        assert all(reason in row["reason"] and row["mean"] is None for row in rows)
    assert not trained
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--claims", "nothing"],
            "no claim or paper is called 'nothing'; the papers are soft_argmax, part_groups",
        ),
        (["--profile", "huge"], "have no profile 'huge'; they have quick, study, paper"),
        (
            ["--dataset", "coco"],
            "claims are measured on figures, mpii, lsp, lspet, lip, pascal, flic, ccp; there is no 'coco'",
        ),
        (["--device", "abacus", "--profile", "quick"], "device 'abacus' cannot be used here"),
        (["--budget", "soon"], "--budget is 'soon'; give a time as 90m, 2h or 45s"),
        (["--budget", "-3m"], "--budget is '-3m'; give a time as 90m, 2h or 45s"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, arguments, sentence):
    folders = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    done = CliRunner().invoke(main, ["ledger", *arguments, *folders])
    assert done.exit_code == 1
    assert sentence in done.output
    assert "Traceback" not in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["ledger", "train"])
def test_the_commands_name_the_sets_they_take(command):
    told = CliRunner().invoke(main, [command, "--help"]).output
    assert all(f" {name}" in told for name in SKELETON_OF)


def test_durations_read_well():
    assert [clock(seconds) for seconds in (7, 99, 125, 5400, 7500)] == ["7 s", "99 s", "2 min", "90 min", "2 h 5 min"]
