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
from toy import Squares

from posebook import ledger, ledger_runs
from posebook.augment import Augmentation
from posebook.checkpoint import STATE
from posebook.claims import PAPERS, UNMEASURED, claims_of, parsing_induced, part_groups, soft_argmax
from posebook.cli import main
from posebook.coordinates import HeatmapCodec
from posebook.datasets import open_dataset
from posebook.forecast import forecast
from posebook.ledger import GAIN_LIMIT, interval, measure, read_rows, render, select, verdict
from posebook.ledger_runs import Work, base_of, clock, read_run, run_folder, threads_of, train_all, train_run, works
from posebook.metrics import pckh
from posebook.models import create, model_settings
from posebook.score import BENCHMARKS
from posebook.skeleton import HARD_JOINTS

TINY = {
    "size": 32,
    "settings": {"features": 36, "blocks": 2, "context": 1},
    "recipe": {"steps": 2, "batch_size": 2, "learning_rate": 1e-3, "bf16": False},
    "test_images": 8,
    "optimizer": torch.optim.Adam,
    "schedule": lambda fraction: 1.0,
    "augmentation": Augmentation(),
}
OURS = select(["soft_argmax"])
BASE = Work("soft_argmax", "regression", "figures", "tiny", 0)
FIELDS = {
    "claim", "paper", "place", "statement", "paper_value", "dataset", "seeds", "mean", "ci95", "verdict", "device"
}  # fmt: skip


@pytest.fixture
def trained(monkeypatch) -> list[str]:
    """A profile that trains in no time, squares in place of figures, and a list of the networks trained to be kept."""
    monkeypatch.setitem(soft_argmax.PROFILES, "tiny", TINY)

    def opened(name, split, root, size, device="cpu", seed=0, **options):
        if name != "figures":
            return open_dataset(name, split, root, size, device, seed, **options)
        return Squares(split, size, None if split == "train" else 20, seed + (split == "test"))

    for module in ("ledger", "ledger_runs"):
        monkeypatch.setattr(f"posebook.{module}.open_dataset", opened)
    kept = []

    def train(model, *arguments, **options):
        if options["output"] is not None:
            kept.append(options["name"])
        return real(model, *arguments, **options)

    real = ledger_runs.train
    monkeypatch.setattr(ledger_runs, "train", train)
    return kept


@pytest.fixture
def tiny(tmp_path, trained):
    """Measure claims with the tiny profile in a folder of the test's own; what was said goes to a list."""

    def run(names=("soft_argmax",), seeds: int = 2, said: list[str] | None = None, **options) -> list[dict]:
        given = {"runs": tmp_path / "runs", "results": tmp_path / "results"} | options
        told = [] if said is None else said
        return measure(select(names), "figures", "tiny", seeds, device="cpu", say=told.append, **given)

    return run


def test_the_interval_is_students():
    mean, (low, high) = interval([1.0, 2.0, 3.0])
    # Two degrees of freedom: 4.3027 standard errors of 1 / sqrt(3).
    assert (mean, low, high) == pytest.approx((2, 2 - 2.48414, 2 + 2.48414), abs=1e-5)
    assert interval([0.5]) == (0.5, None)
    assert interval([0.25, 0.25, 0.25]) == (0.25, [0.25, 0.25])


@pytest.mark.parametrize(
    ("ci95", "bound", "expected"),
    [
        ([0.01, 0.03], 0.0, "holds"),
        ([-0.03, -0.01], 0.0, "does not hold"),
        ([-0.01, 0.03], 0.0, "undecided"),
        ([0.0, 0.03], 0.0, "undecided"),
        ([-0.015, -0.001], -0.02, "holds"),
        ([-0.05, -0.021], -0.02, "does not hold"),
        ([float("nan"), float("nan")], 0.0, "undecided"),
        (None, 0.0, "undecided"),
    ],
)
def test_the_verdict_follows_from_the_interval(ci95, bound, expected):
    assert verdict(ci95, bound) == expected


def test_claims_are_sound():
    """Whatever a paper's module names is there, and its claims are what their words say."""
    for paper in PAPERS:
        module = claims_of(paper)
        assert module.LENGTH[0] in module.VARIANTS
        assert {"quick", "study", "paper"} <= set(module.PROFILES)
        for network, over, *_ in module.VARIANTS.values():
            settings = over(module.PROFILES["paper"]["settings"]) if callable(over) else over
            assert settings.keys() <= model_settings(network).keys()
        for claim in module.CLAIMS:
            assert claim.id.startswith(f"{paper}_")
            assert claim.paper == paper
            assert set(claim.variants) <= set(module.VARIANTS)
    table = {
        "regression": {"pckh": 0.7, "tight": 0.4, "mass": 0.65, "part_only": 0.0, "peak": 0.0, "mean_pose": 0.0,
                       "plain_tight": 0.1, "block_1": 0.6, "block_2": 0.7},
        "no_context": {"pckh": 0.69, "tight": 0.3},
        "one_block": {"pckh": 0.72, "tight": 0.3},
        "detection": {"pckh": 0.71, "tight": 0.35, "plain_tight": 0.15},
    }  # fmt: skip
    found = {claim.id.removeprefix("soft_argmax_"): claim.measure(table) for claim in soft_argmax.CLAIMS}
    expected = {
        "subpixel": 0.25, "maps_emerge": 0.15, "context": 0.01, "blocks": -0.02, "close_to_detection": -0.01
    }  # fmt: skip
    assert found == pytest.approx(expected)
    close = next(claim for claim in soft_argmax.CLAIMS if claim.id == "soft_argmax_close_to_detection")
    assert close.paper_value == pytest.approx((91.2 - 91.9) / 100)
    blocks = next(claim for claim in soft_argmax.CLAIMS if claim.id == "soft_argmax_blocks")
    assert {"regression block_1", "one_block pckh"} <= blocks.details(table).keys()


def test_claims_that_take_hours_are_measured_when_they_are_named():
    assert {claim.paper for claim in select()} == set(PAPERS) - set(UNMEASURED)
    assert {claim.paper for claim in select(PAPERS)} == set(PAPERS)
    assert [claim.id for claim in select(["part_groups_depth"])] == ["part_groups_depth"]


def test_part_groups_claims_are_what_their_words_say():
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


def test_part_groups_variants_differ_in_one_thing():
    """At every profile each network is the PBN's but for what its name says; widths follow the profile's."""
    widths = {}
    for profile in ("quick", "study", "paper"):
        base = Work("part_groups", "branches", "figures", profile, 0).network[1]
        for variant in part_groups.VARIANTS:
            name, settings = Work("part_groups", variant, "figures", profile, 0).network
            with torch.device("meta"):
                create(name, **settings)
            changed = {key for key in settings if settings[key] != base[key]}
            assert changed <= {"variant", "leave_out"} if variant == "no_ankles" else len(changed - {"stacks"}) <= 1
            widths[profile, variant] = settings["width"]
    assert [widths["paper", f"width_{name}"] for name in ("quarter", "half", "double")] == [16, 32, 128]


def test_part_groups_readings_are_what_they_say():
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


def test_readings_are_what_they_say():
    """Maps made by hand: nothing known after the first block, everything after the second."""
    dataset = open_dataset("figures", "test", size=64)
    count = 12
    sample = dataset.batch(torch.arange(count) * dataset.length // count)
    codec = HeatmapCodec(64, 8, sigma=0.3)
    peaked = 300 * codec.encode(sample.joints, sample.presence)
    flat = torch.zeros_like(peaked)
    model = create("soft_argmax", size=64, features=36, blocks=2, context=1)
    blocks = torch.stack([flat, peaked], 1)[:, :, :, None]  # (b, 2, joints, 1, cells, cells)
    context = torch.zeros_like(blocks)
    model.forward = lambda images: torch.cat([blocks, context], 3)
    found = soft_argmax.readings(model, dataset, count, batch_size=count)

    middle = torch.full_like(sample.joints, 32.0)
    assert found["block_1"] == pytest.approx(float(pckh(middle, sample).mean))
    assert found["block_2"] == found["pckh"]
    exact = (codec.decode(peaked, "none")[0], 0.2)
    assert found["plain_tight"] == pytest.approx(float(pckh(exact[0], sample, exact[1]).mean))
    # Without context the part-based place is the peak's; with it, it is pulled to the middle.
    part = model.regress(torch.cat([peaked[:, :, None], peaked[:, :, None]], 2))[0] * 64
    assert found["part_only"] == pytest.approx(float(pckh(part, sample).mean), abs=1e-6)
    assert found["part_only"] > found["pckh"]
    assert 0.9 < found["mass"] <= 1

    model.forward = lambda images: torch.cat([context, context], 3)
    share = soft_argmax.readings(model, dataset, count, batch_size=count)["mass"]
    # The share of the cells whose centres are within a head size of the joint, cell by cell.
    by_joint = []
    for j in range(16):
        shares = [
            sum(
                (x * 8 + 4 - sample.joints[b, j, 0]) ** 2 + (y * 8 + 4 - sample.joints[b, j, 1]) ** 2
                <= sample.head_size[b] ** 2
                for x in range(8)
                for y in range(8)
            )
            / 64
            for b in range(count)
            if sample.presence[b, j] > 0
        ]
        by_joint.append(sum(shares) / len(shares))
    assert share == pytest.approx(float(sum(by_joint) / 16), rel=1e-4)


def test_a_run_is_named_by_what_decides_it(monkeypatch, trained):
    everything = works("soft_argmax", "figures", "tiny", 3)
    assert len({work.key for work in everything}) == len(everything) == 4 * 3 + 1
    assert len({replace(BASE, dataset=name).key for name in ("figures", "lsp", "lspet", "mpii")}) == 4
    assert replace(BASE, dataset="lspet").network[1]["joints"] == 14
    before = BASE.key
    later = {**TINY, "test_images": 9, "recipe": TINY["recipe"] | {"log_every": 3, "save_seconds": 5}}
    monkeypatch.setitem(soft_argmax.PROFILES, "tiny", later)
    assert BASE.key == before
    monkeypatch.setitem(soft_argmax.PROFILES, "tiny", {**TINY, "recipe": TINY["recipe"] | {"batch_size": 3}})
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
    kept = read_rows(results=tmp_path / "results")
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
        assert base_of(paper, "figures") == claims_of(paper).LENGTH[0]
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

    for module in ("ledger", "ledger_runs"):
        monkeypatch.setattr(f"posebook.{module}.open_dataset", opened)
    settings = {"stacks": 1, "features": 8, "depth": 1, "parsing_units": 1, "poolings": 0}
    monkeypatch.setitem(parsing_induced.PROFILES, "tiny", {**TINY, "settings": settings})
    said: list[str] = []
    folders = {"runs": tmp_path / "runs", "results": tmp_path / "results"}
    claims = select(["parsing_induced_transfer"])
    (row,) = measure(claims, "mpii", "tiny", 1, device="cpu", say=said.append, **folders)
    assert row["verdict"] == "undecided"
    assert row["details"].keys() == {"transfer pckh", "transfer visible", "pose pckh", "pose visible"}
    assert (row["dataset"], row["on"]) == ("mpii", "mpii, tiny")
    assert row["configuration"]["settings"]["frozen"]
    assert any(text.startswith("All claims of parsing_induced from nothing: 4 runs") for text in said)


def test_a_row_says_what_it_was_measured_on():
    measured = {"dataset": "figures", "profile": "study", "seeds": [0], "mean": 0.02, "ci95": None}
    options = {"difficulty": "objects", "people": 4}
    rows = [ledger.row(OURS[0], measured | more, "figures", "study") for more in ({}, {"options": options})]
    assert [row["on"] for row in rows] == ["figures, study", "figures, objects, 4 people, study"]


def test_a_stopped_run_goes_on_and_ends_the_same(tmp_path, monkeypatch, trained):
    numbers = TINY["recipe"] | {"steps": 4, "log_every": 1, "save_seconds": 1e-9}
    monkeypatch.setitem(soft_argmax.PROFILES, "tiny", {**TINY, "recipe": numbers})
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
    monkeypatch.setitem(soft_argmax.PROFILES, "tiny", {**TINY, "test_images": 5})
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

    monkeypatch.setattr(ledger_runs.os, "getppid", lambda: next(parents))
    monkeypatch.setattr(ledger_runs.os, "_exit", leave)
    with pytest.raises(SystemExit):
        ledger_runs._train_elsewhere(BASE, tmp_path, None, "cpu", threads)
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


@pytest.mark.parametrize(
    ("gain", "reached", "judged"),
    [
        (0.04, 0.6, "long enough"),
        (0.06, 0.6, "WARNING, too short"),
        # A network that has not learned anything is not one that has stopped learning.
        (0.01, 0.3, "WARNING, too short"),
    ],
)
def test_a_run_is_long_enough_that_hardly_gains_and_beats_the_mean_pose(gain, reached, judged):
    length = {"gain": gain, "limit": GAIN_LIMIT, "reached": reached, "floor": 0.3}
    measured = {"dataset": "figures", "profile": "study", "seeds": [0, 1], "mean": 0.02, "ci95": [0.01, 0.03]}
    *_, last = render([ledger.row(select()[0], measured | {"length": length}, "figures", "study")]).splitlines()
    assert f"; {judged}" in last
    assert f"{100 * gain:+.1f} points, to {100 * reached:.1f}; mean pose 30.0" in last


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
    assert all(f" {name}" in told for name in ledger_runs.SKELETONS)


def test_a_broken_file_of_measurements_is_told_of(tmp_path, tiny):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "soft_argmax_context.json").write_text("{")
    with pytest.raises(ValueError, match=r"soft_argmax_context\.json is not a file of measurements"):
        tiny(["soft_argmax_context"])


def test_durations_read_well():
    assert [clock(seconds) for seconds in (7, 99, 125, 5400, 7500)] == ["7 s", "99 s", "2 min", "90 min", "2 h 5 min"]
