"""Claims are measured once, on runs that they share, and judged by rule alone."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from filelock import FileLock

from posebook.cli import main
from posebook.datasets import open_dataset
from posebook.ledger import runs as runs_module
from posebook.ledger.claim import claims_of
from posebook.ledger.forecast import forecast
from posebook.ledger.measure import measure
from posebook.ledger.runs import Work, base_of, clock, read_run, run_folder, threads_of, train_all, train_run, works
from posebook.ledger.verdicts import read_rows, render, verdict
from posebook.papers import PAPERS, select
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

FIELDS = {
    "claim", "paper", "place", "statement", "paper_value", "dataset", "seeds", "mean", "ci95", "verdict", "device"
}  # fmt: skip


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

    def run(names=("soft_argmax",), seeds: int = 2, said: list[str] | None = None, **options) -> list[dict]:
        given = {"runs": tmp_path / "runs", "results": tmp_path / "results"} | options
        told = [] if said is None else said
        return measure(select(names), "figures", "tiny", seeds, device="cpu", say=told.append, **given)

    return run


def test_a_run_is_named_by_what_decides_it(monkeypatch, trained):
    everything = works("soft_argmax", "figures", "tiny", 3)
    assert len({work.key for work in everything}) == len(everything) == 4 * 3 + 1
    assert len({replace(BASE, dataset=name).key for name in ("figures", "lsp", "lspet", "mpii")}) == 4
    assert replace(BASE, dataset="lspet").settings["joints"] == 14
    before = BASE.key
    later = TINY.but(test_images=9, recipe={"log_every": 3, "save_seconds": 5})
    monkeypatch.setitem(PROFILES, "tiny", later)
    assert BASE.key == before
    monkeypatch.setitem(PROFILES, "tiny", TINY.but(recipe={"batch_size": 3}))
    assert BASE.key != before


def test_claims_share_runs_and_nothing_is_measured_twice(tmp_path, trained, tiny):
    said: list[str] = []
    rows = tiny(said=said)
    # Four networks from two seeds, and the half run; not nine runs a claim.
    assert len(trained) == 4 * 2 + 1
    assert any("9 runs (tiny, figures): 0 stored, 9 to be trained; about" in text for text in said)
    assert any(text.startswith("All claims of soft_argmax from nothing: 9 runs, about") for text in said)
    assert [row["claim"] for row in rows] == [claim.id for claim in OURS]
    for row in rows:
        assert row.keys() >= FIELDS
        assert row["seeds"] == [0, 1]
        assert row["mean"] == pytest.approx(sum(row["values"]) / 2)
        assert row["verdict"] == verdict(row["ci95"], row["bound"])
        assert all(len(values) == 2 for values in row["details"].values())
    # Weights stay, the state that a resume needs goes.
    folders = [path.parent for path in (tmp_path / "runs").glob("*/readings.json")]
    assert len(folders) == 9
    assert all((folder / "last.safetensors").is_file() and not (folder / STATE).exists() for folder in folders)

    assert tiny() == rows
    # A third seed adds four runs, one claim more than was measured none.
    assert len(tiny(["soft_argmax_context"], seeds=3)[0]["values"]) == 3
    assert len(trained) == 9 + 2
    # The measurements alone are enough, and so are the runs alone.
    shutil.move(tmp_path / "runs", tmp_path / "moved")
    assert tiny() == rows
    assert not (tmp_path / "runs").exists()
    again = tiny(results=tmp_path / "other", runs=tmp_path / "moved")
    assert [row["values"] for row in again] == [row["values"] for row in rows]
    assert len(trained) == 9 + 2
    counts = {path.stem: len(json.loads(path.read_text())["measurements"]) for path in (tmp_path / "results").iterdir()}
    assert counts == {claim.id: 1 + (claim.id == "soft_argmax_context") for claim in OURS}
    # Of what was measured several times, the newest counts.
    kept = read_rows(OURS, tmp_path / "results")
    assert {row["claim"]: len(row["seeds"]) for row in kept} == {c.id: 3 if "context" in c.id else 2 for c in OURS}


def test_a_claim_that_a_set_has_no_labels_for_leaves_the_others_alone(tmp_path, trained):
    fine = OURS[0]
    lacking = replace(fine, id="soft_argmax_lacking", measure=lambda r: r["regression"]["glow"])
    folders = {"runs": tmp_path / "runs", "results": tmp_path / "results"}
    rows = measure([lacking, fine], "figures", "tiny", 1, device="cpu", say=lambda text: None, **folders)
    assert [row["verdict"] for row in rows] == ["not measurable here", "undecided"]
    assert rows[0]["reason"] == "figures has nothing to read 'glow' off the networks by"
    assert not (tmp_path / "results/soft_argmax_lacking.json").exists()
    assert "soft_argmax_lacking is not measurable here: figures has nothing to read" in render(rows)


def test_runs_are_those_that_a_set_has_labels_for():
    for paper in PAPERS:
        assert base_of(paper, "figures") == claims_of(paper).length.variant
    # LIP has part labels and one person a photograph, MPII no part labels.
    assert base_of("parsing_induced", "lip") == "pil"
    on_lip = {work.variant for work in works("parsing_induced", "lip", "quick", 1)}
    assert "vgg_mtl" in on_lip
    assert not on_lip & {"people_pil", "people_pose"}
    on_mpii = works("parsing_induced", "mpii", "quick", 2)
    assert {(work.variant, work.dataset) for work in on_mpii} == {
        ("teacher", "figures"), ("transfer", "mpii"), ("pose", "mpii")
    }  # fmt: skip
    assert [work.variant for work in on_mpii if work.half] == ["pose"]


def test_a_claim_is_measured_where_the_usual_base_cannot_learn(tmp_path, monkeypatch):
    """Squares have no part labels, as MPII has none; the learner comes from figures, which have."""

    def opened(name, split, root, size, device="cpu", seed=0, **options):
        if name == "figures":
            return open_dataset(name, split, root, size, device, seed, **options)
        return Squares(split, size, 12, seed)

    for module in ("measure", "runs"):
        monkeypatch.setattr(f"posebook.ledger.{module}.open_dataset", opened)
    settings = {"stacks": 1, "features": 8, "depth": 1, "parsing_units": 1, "poolings": 0}
    monkeypatch.setitem(parsing_induced.PROFILES, "tiny", replace(TINY, network=ParsingInduced, settings=settings))
    said: list[str] = []
    folders = {"runs": tmp_path / "runs", "results": tmp_path / "results"}
    claims = select(["parsing_induced_transfer"])
    (row,) = measure(claims, "mpii", "tiny", 1, device="cpu", say=said.append, **folders)
    assert row["verdict"] == "undecided"
    assert row["details"].keys() == {"transfer pckh", "transfer visible", "pose pckh", "pose visible"}
    assert (row["dataset"], row["on"]) == ("mpii", "mpii, tiny")
    assert row["configuration"]["settings"]["frozen"]
    assert any(text.startswith("All claims of parsing_induced from nothing: 4 runs") for text in said)


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
    assert read_run(BASE, tmp_path / "stopped") is None
    about = forecast([BASE], tmp_path / "stopped", device="cpu")
    assert (about.stored, about.begun) == (0, 1)
    assert about.left < about.whole
    resumed = train_run(BASE, tmp_path / "stopped", device="cpu", progress=False, callback=stop)
    assert steps == [1, 2, 2, 3, 4]
    assert resumed["readings"] == straight["readings"]
    # What is over is not trained again, whoever asks.
    before = len(trained)
    assert train_run(BASE, tmp_path / "stopped", device="cpu", progress=False, callback=stop) == resumed
    assert (len(trained), len(steps)) == (before, 5)


def test_readings_come_from_the_weights_where_they_are_missing(tmp_path, monkeypatch, trained, tiny):
    rows = tiny(["soft_argmax_context"], 1)
    count = len(trained)
    path = run_folder(BASE, tmp_path / "runs") / "readings.json"
    stored = json.loads(path.read_text())
    del stored["readings"]["pckh"]
    path.write_text(json.dumps(stored))
    again = tiny(["soft_argmax_context"], 1, results=tmp_path / "other")
    assert again[0]["values"] == rows[0]["values"]
    # Other people to test on are other readings of the same run, and another measurement.
    monkeypatch.setitem(PROFILES, "tiny", TINY.but(test_images=5))
    other = tiny(["soft_argmax_context"], 1)
    assert other[0]["test_images"] == 5
    assert other[0]["runs"] == rows[0]["runs"]
    assert len(trained) == count


def test_one_process_waits_for_another_at_the_same_run(tmp_path, capsys, trained):
    folder = run_folder(BASE, tmp_path)
    folder.mkdir()
    with ThreadPoolExecutor(1) as pool:
        with FileLock(folder / "lock"):
            waiting = pool.submit(train_run, BASE, tmp_path, device="cpu", progress=False)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
            assert not trained
        assert waiting.result(timeout=60)["readings"]
    assert "Another process is at regression, seed 0" in capsys.readouterr().err


def test_a_run_ends_with_the_command_that_started_it(tmp_path, monkeypatch, trained):
    parents, threads = iter([7, 1]), torch.get_num_threads()

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(runs_module.os, "getppid", lambda: next(parents))
    monkeypatch.setattr(runs_module.os, "_exit", leave)
    with pytest.raises(SystemExit):
        runs_module._train_elsewhere(BASE, tmp_path, None, "cpu", threads)
    assert trained
    assert read_run(BASE, tmp_path) is None


def test_several_at_a_time_do_not_disturb_each_other(tmp_path, capfd):
    """Two processes want one run at once: it is trained by one, and the other gets what came of it."""
    work = replace(BASE, profile="quick", variant="one_block")
    said: list[str] = []
    train_all([work, work], tmp_path, device="cpu", jobs=2, say=said.append)
    assert said == [f"{number} of 2 runs are over: one_block, seed 0" for number in (1, 2)]
    assert capfd.readouterr().err.count("one_block, seed 0: step 20 of 20") == 1
    assert read_run(work, tmp_path)["threads"] == threads_of(2)


def test_the_command_prints_an_object_a_row(tmp_path, trained):
    command = ["ledger", "--claims", "soft_argmax_maps_emerge, soft_argmax_context", "--claims", "soft_argmax_blocks"]
    command += ["--profile", "tiny", "--seeds", "1", "--device", "cpu", "--results", str(tmp_path / "results")]
    done = CliRunner().invoke(main, [*command, "--runs", str(tmp_path / "runs"), "--json"])
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    names = ["soft_argmax_maps_emerge", "soft_argmax_context", "soft_argmax_blocks"]
    assert [row["claim"] for row in rows] == names
    assert all(row.keys() >= FIELDS for row in rows)
    assert "to be trained; about" in done.stderr
    # In a fresh clone there are measurements and no runs.
    table = CliRunner().invoke(main, [*command, "--runs", str(tmp_path / "nowhere")])
    assert table.exit_code == 0, table.output
    assert "3 of 3 claims are measured already" in table.output
    assert all(name in table.output for name in names)
    assert "A run is long enough when" in table.output
    assert [path.name for path in (tmp_path / "results").glob("*.png")] == ["ledger_soft_argmax.png"]
    assert not (tmp_path / "nowhere").exists()


def test_a_set_that_is_not_here_is_not_measured(tmp_path, trained):
    command = [
        "ledger",
        "--claims",
        "soft_argmax",
        "--dataset",
        "lspet",
        "--profile",
        "tiny",
        "--json",
        "--device",
        "cpu",
    ]
    folders = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results"), "--json"]
    for root, reason in (([], "needs the folder it lies in"), (["--data-root", str(tmp_path)], "joints.mat")):
        done = CliRunner().invoke(main, [*command, *folders, *root])
        assert done.exit_code == 0, done.output
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(rows) == 5
        assert {row["verdict"] for row in rows} == {"not measurable here"}
        assert all(row.keys() >= FIELDS and reason in row["reason"] and row["mean"] is None for row in rows)
        assert reason in render(rows)
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
        (["--dataset", "coco"], "claims are measured on figures, mpii, lsp, lspet, lip, pascal; there is no 'coco'"),
        (["--device", "abacus", "--profile", "quick"], "device 'abacus' cannot be used here"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, arguments, sentence):
    folders = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    done = CliRunner().invoke(main, ["ledger", *arguments, *folders])
    assert done.exit_code == 1
    assert sentence in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("command", ["ledger", "train"])
def test_the_commands_name_the_sets_they_take(command):
    told = CliRunner().invoke(main, [command, "--help"]).output
    assert all(f" {name}" in told for name in runs_module.SKELETONS)


def test_a_broken_file_of_measurements_is_told_of(tmp_path, tiny):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "soft_argmax_context.json").write_text("{")
    with pytest.raises(ValueError, match=r"soft_argmax_context\.json is not a file of measurements"):
        tiny(["soft_argmax_context"])


def test_durations_read_well():
    assert [clock(seconds) for seconds in (7, 99, 125, 5400, 7500)] == ["7 s", "99 s", "2 min", "90 min", "2 h 5 min"]
