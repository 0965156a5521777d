"""Weights, states, priors and readings that somebody else wrote: taken where they are whole, else refused in words."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from damage import damaged, few, refusal
from posebook.cli import main
from posebook.figures.prior import PosePrior
from posebook.layers.imagenet import read_imagenet
from posebook.ledger import readings as store
from posebook.ledger.runs import is_trained, run_folder
from posebook.ledger.work import Work
from posebook.papers import create, load_weights
from posebook.training.checkpoint import STATE, save_weights
from posebook.training.loop import train
from posebook.training.recipe import Recipe
from toy import Squares, Toy

SMALL = {"size": 32, "stacks": 1, "features": 8, "depth": 1}


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return save_weights(tmp_path_factory.mktemp("w") / "w", create("hourglass", **SMALL), "hourglass", "mpii", {})


def rewritten(weights: Path, folder: Path, about: object = None, **tensors: torch.Tensor) -> Path:
    """The weights with another record, or with other tensors."""
    record = {"model": "hourglass", "skeleton": "mpii", "training": {}} | {"settings": {"joints": 16, **SMALL}}
    text = about if isinstance(about, str) else json.dumps(record | (about or {}))
    save_file(load_file(weights) | tensors, folder / "other.safetensors", {"posebook": text})
    return folder / "other.safetensors"


def imagenet(path: Path) -> None:
    read_imagenet(path, Toy(), "vgg16", "any settings")


def refused(path: Path) -> str:
    with pytest.raises(ValueError, match=path.name) as error:
        load_weights(path)
    return str(error.value)


RECORDS = {
    "no JSON": "{",
    "a list": "[]",
    "not a number": '{"model": NaN}',
    "deep": '{"a":' * 100_000,
    "a digit too many": '{"a": ' + "9" * 10_000 + "}",
    "no model": {"model": None},
    "another model": {"model": "spiders"},
    "a list of models": {"model": ["hourglass"]},
    "a list of settings": {"settings": []},
    "settings of another": {"settings": {"alpha": 1}},
    "text": {"settings": {"features": "many"}},
    "a fraction": {"settings": {"features": 8.5}},
    "truth": {"settings": {"stacks": True}},
    "a list in it": {"settings": {"stacks": [1]}},
    "below zero": {"settings": {"stacks": -1}},
    "no skeleton": {"skeleton": None},
    "a list of skeletons": {"skeleton": ["mpii"]},
    "another skeleton": {"skeleton": "lsp"},
    "training is text": {"training": "long"},
    "a phase": {"training": {"phase": 1}},
    "a phase in words": {"training": {"phase": "last"}},
    "other joints": {"settings": SMALL | {"joints": 3}},
}


@pytest.mark.parametrize("about", RECORDS.values(), ids=RECORDS)
def test_odd_records_are_refused(weights, tmp_path, about):
    refused(rewritten(weights, tmp_path, about))


HUGE = {
    "wide": SMALL | {"features": 40_000},
    "wide, and not beyond what any setting may be": SMALL | {"features": 4096},
    "many stacks": SMALL | {"stacks": 4096},
    "many units": SMALL | {"units": 10**9},
    "a large image": SMALL | {"size": 2**20},
    "deep": SMALL | {"size": 4096, "depth": 10},
}


@pytest.mark.parametrize("settings", HUGE.values(), ids=HUGE)
def test_a_huge_network_is_refused_before_it_takes_memory(weights, tmp_path, settings, monkeypatch):
    made = torch.nn.Parameter.__new__
    devices = set()

    def watched(cls, data=None, *rest):
        devices.add(data.device.type)
        return made(cls, data, *rest)

    monkeypatch.setattr(torch.nn.Parameter, "__new__", watched)
    refused(rewritten(weights, tmp_path, {"settings": {"joints": 16, **settings}}))
    assert devices <= {"meta"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda some: some * torch.nan, "values that are not numbers"),
        (lambda some: some > 0, "is of type torch.bool and must be of torch.float32"),
        (lambda some: some.long(), "is of type torch.int64"),
        (lambda some: some.half(), "is of type torch.float16"),
        (lambda some: some[:1], "and must be"),
    ],
)
def test_weights_of_other_values_types_and_shapes_are_refused(weights, tmp_path, change, sentence):
    name = "stem.conv.weight" if "stem.conv.weight" in load_file(weights) else next(iter(load_file(weights)))
    assert sentence in refused(rewritten(weights, tmp_path, **{name: change(load_file(weights)[name])}))


def test_a_folder_by_that_name_is_called_a_folder(tmp_path):
    (tmp_path / "a.safetensors").mkdir()
    assert "is a folder" in refused(tmp_path / "a.safetensors")
    for read in (PosePrior.load, imagenet):
        with pytest.raises(ValueError, match="is a folder: give a file"):
            read(tmp_path / "a.safetensors")


@few
@given(data=st.data())
def test_damaged_weights_are_refused_or_give_a_network_of_numbers(weights, tmp_path, data):
    path = tmp_path / "d.safetensors"
    if not refusal(path, data.draw(damaged(weights.read_bytes())), load_weights):
        assert all(value.isfinite().all() for value in load_weights(path)[0].state_dict().values())


# --- the pose prior -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("means", lambda some: some * torch.nan),
        ("factors", lambda some: some.double()),
        ("weights", lambda some: -some),
        ("weights", lambda some: some[:3]),
        ("head", lambda some: some[:1]),
        ("longest", lambda some: some > 0),
    ],
)
def test_a_prior_of_other_numbers_is_refused(tmp_path, name, change):
    tensors = {key: value.contiguous() for key, value in vars(PosePrior.load()).items()}
    save_file(tensors | {name: change(tensors[name])}, tmp_path / "p.safetensors")
    with pytest.raises(ValueError, match=r"hold.* pose prior"):
        PosePrior.load(tmp_path / "p.safetensors")


# --- a run's state --------------------------------------------------------------------------------------------------


def go_on(folder: Path, **options) -> None:
    train(Toy(), Squares(), Recipe(steps=4, batch_size=2, log_every=2), output=folder, progress=False, **options)


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    go_on(folder)
    return folder / STATE


class Evil:
    """What unpickling would run."""

    def __reduce__(self):
        return (Path.touch, (Path("evil-was-here"),))


@pytest.mark.parametrize("inside", [False, True], ids=["a pickle", "a pickle in torch's format"])
def test_pickles_are_never_loaded(tmp_path, monkeypatch, inside):
    monkeypatch.chdir(tmp_path)
    for name in (STATE, "a.pth"):
        if inside:
            torch.save({"configuration": {}, "run": {}, "parts": {"evil": Evil()}}, tmp_path / name)
        else:
            (tmp_path / name).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=r"state\.pt cannot be read"):
        go_on(tmp_path)
    with pytest.raises(ValueError, match=r"a\.pth is no file of torch weights"):
        imagenet(tmp_path / "a.pth")
    assert not (tmp_path / "evil-was-here").exists()


def test_states_that_hold_something_else_are_refused(state, tmp_path):
    whole = torch.load(state, weights_only=True)
    odd = [
        [],
        {},
        whole | {"configuration": []},
        whole | {"run": {}} | {"run": {"steps": 4}},
        whole | {"run": whole["run"] | {"step": "four"}},
        whole | {"run": whole["run"] | {"history": []}},
        whole | {"run": whole["run"] | {"history": {"training": 3}}},
        whole | {"parts": {}},
        whole | {"parts": whole["parts"] | {"model": {}}},
        whole | {"parts": whole["parts"] | {"model": {"a": 1}}},
        whole | {"parts": whole["parts"] | {"optimizer": []}},
    ]
    for some in odd:
        torch.save(some, tmp_path / STATE)
        with pytest.raises(ValueError, match=r"state\.pt.*(start afresh|is not the state)"):
            go_on(tmp_path)
    (tmp_path / STATE).unlink()
    (tmp_path / STATE).mkdir()
    with pytest.raises(ValueError, match=r"state\.pt is a folder"):
        go_on(tmp_path)


@few
@given(data=st.data())
def test_damaged_states_are_refused_or_gone_on_from(state, tmp_path, data):
    refusal(tmp_path / STATE, data.draw(damaged(state.read_bytes())), lambda path: go_on(path.parent))


def test_a_bit_that_turned_over_in_a_states_tensor_is_found(state, tmp_path):
    with zipfile.ZipFile(state) as stored:
        record = max((stored.read(name) for name in stored.namelist() if "/data/" in name), key=len)
    content = bytearray(state.read_bytes())
    content[content.index(record)] ^= 1
    (tmp_path / STATE).write_bytes(content)
    torch.load(tmp_path / STATE, weights_only=True)  # finds nothing
    with pytest.raises(ValueError, match=r"state\.pt cannot be read, for it is broken.*start afresh"):
        go_on(tmp_path)


def test_weights_that_stopped_being_numbers_are_never_kept_as_a_good_state(tmp_path):
    class Burst(torch.optim.SGD):
        def step(self, *arguments):
            super().step(*arguments)
            for group in self.param_groups:
                for weight in group["params"]:
                    weight.data.mul_(torch.inf)

    with pytest.raises(ValueError, match=r"at step 1 the weights .* not numbers\. Lower"):
        train(
            Toy(), Squares(), Recipe(steps=1, batch_size=2), optimizer=Burst, output=tmp_path / "a",
            progress=False, validation=None,
        )  # fmt: skip
    assert not (tmp_path / "a" / STATE).exists()


# --- the ledger -----------------------------------------------------------------------------------------------------


def kept(work: Work, folder: Path, about: dict, training: dict) -> None:
    """A run's folder with weights whose record says this; the weights themselves are not looked at here."""
    told = {"steps": 10**9, "seconds": 1.0, "device": "cpu", "threads": 1, "versions": {}, "recipe": {}}
    record = {"model": work.network.name, "settings": work.settings, "skeleton": "mpii", "training": told | training}
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"a": torch.zeros(1)}, folder / "last.safetensors", {"posebook": json.dumps(record | about)})


def test_the_ledger_takes_no_other_weights_from_a_runs_folder(tmp_path):
    work = Work("soft_argmax", "regression", "figures", "quick", 0)
    folder = run_folder(work, tmp_path)
    kept(work, folder, {}, {"recipe": {"seed": 0}})
    assert is_trained(work, folder)
    other = (
        ({"model": "hourglass"}, {}, "model was hourglass, is soft_argmax"),
        ({"settings": work.settings | {"features": 7}}, {}, "features was 7"),
        ({}, {"recipe": {"seed": 1}}, "seed was 1, is 0"),
        ({}, {"steps": "many"}, "does not tell the steps"),
        ({}, {"versions": []}, "does not tell the versions"),
    )
    for about, training, sentence in other:
        kept(work, folder, about, training)
        with pytest.raises(ValueError, match=f"last.safetensors.*{sentence}"):
            is_trained(work, folder)


LINE = (store.RESULTS / "readings" / "soft_argmax.jsonl").read_text().splitlines()[0]


@pytest.mark.parametrize(
    "change",
    [{"digest": []}, {"seed": "0"}, {"readings": 3}, {"readings": {"pckh": "high"}}, {"readings": {"pckh": True}},
     {"readings": {"pckh": float("nan")}}, {"readings": {"pckh": None}}, {"test_images": [3]}, {"unknown": 1}],
)  # fmt: skip
def test_readings_that_are_none_are_named_by_their_line(tmp_path, change):
    (tmp_path / "soft_argmax.jsonl").write_text(f"{LINE}\n{json.dumps(json.loads(LINE) | change)}\n")
    with pytest.raises(ValueError, match=r"soft_argmax\.jsonl: line 2 is no reading"):
        store.read("soft_argmax", tmp_path)


@few
@given(data=st.data())
def test_damaged_readings_are_read_or_refused(tmp_path, data):
    content = data.draw(damaged(f"{LINE}\n{LINE}\n".encode()))
    refusal(tmp_path / "soft_argmax.jsonl", content, lambda path: store.read("soft_argmax", path.parent))


# --- commands -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("train hourglass --steps 1 --output=", "output is given, and is empty"),
        ("train hourglass --steps 1 --data-root=", "data-root is given, and is empty"),
        ("ledger --list --results=", "results is given, and is empty"),
        ("ledger --list --claims=", "claims is given, and is empty"),
        ("ledger --list --claims ,", "--claims is ',', which names none"),
        ("prior check --prior=", "path is given, and is empty"),
        ("prior check --samples 5000", "5000 is not in the range x>=20000"),
        ("predict a.png --scales nan", "--scales is 'nan'"),
        ("predict a.png --scales inf", "--scales is 'inf'"),
        ("train hourglass --steps 1 --lr nan", "learning_rate is nan"),
        ("train hourglass --minutes nan", "minutes is nan"),
        ("train hourglass --steps 1 --set joints=3", "figures has 16 joints, and joints is 3"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path, monkeypatch, command, sentence):
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(main, command.split())
    assert run.exit_code in (1, 2), run.output
    assert sentence in run.output
    assert run.exception is None or isinstance(run.exception, SystemExit)
    assert not (tmp_path / "runs").exists()


def test_another_networks_learner_is_refused(weights, tmp_path):
    command = ["train", "parsing_induced", "--steps", "1", "--learner", str(weights), "--output", str(tmp_path / "o")]
    run = CliRunner().invoke(main, command)
    assert run.exit_code == 1
    assert "a network hourglass has no learner" in run.output


def test_a_state_of_many_gigabytes_in_a_small_file_is_not_unpacked(tmp_path, state):
    """torch's files are zips, and torch takes no compressed ones: what is claimed must be there."""
    with zipfile.ZipFile(state) as whole, zipfile.ZipFile(tmp_path / STATE, "w", zipfile.ZIP_DEFLATED) as small:
        for name in whole.namelist():
            small.writestr(name, bytes(2**22) if "/data/" in name else whole.read(name))
    assert (tmp_path / STATE).stat().st_size < 2**20
    with pytest.raises(ValueError, match="start afresh"):
        go_on(tmp_path)
