"""Each notebook's parameters are checked before its first section: wrong ones end it there, in the commands' words."""

from __future__ import annotations

import json
from functools import cache
from itertools import takewhile

import h5py
import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from tests.small_sets import lip, mpii, pascal

from posebook.papers import create
from posebook.parameters import check_network, check_parameters
from posebook.paths import NOTEBOOKS
from posebook.training.checkpoint import save_weights


@cache
def opening(notebook: str) -> tuple[str, str]:
    """The cell tagged `parameters`, and the code between it and the first text after it: imports and checks."""
    cells = json.loads((NOTEBOOKS / notebook).read_text())["cells"]
    place = next(k for k, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", []))
    after = takewhile(lambda cell: cell["cell_type"] == "code", cells[place + 1 :])
    return "".join(cells[place]["source"]), "\n".join("".join(cell["source"]) for cell in after)


def start(notebook: str, **given) -> dict:
    """Open a notebook with these parameters; the names it leaves."""
    parameters, checks = opening(notebook)
    found: dict = {}
    exec(parameters, found)
    assert given.keys() <= found.keys()
    found |= given
    exec(checks, found)
    return found


def tagged(notebook) -> bool:
    return any("parameters" in cell["metadata"].get("tags", []) for cell in json.loads(notebook.read_text())["cells"])


WITH_PARAMETERS = [
    path.relative_to(NOTEBOOKS).as_posix() for path in sorted(NOTEBOOKS.rglob("[0-9]*.ipynb")) if tagged(path)
]
DERIVES, TRUNK, SCORES = (f"1_soft_argmax/{name}" for name in ("1_derivation", "2_network", "4_evaluation"))
INFORMATION, BRANCHES, GROUPS, OCCLUDED = (
    f"2_part_groups/{name}" for name in ("1_mutual_information", "2_branching_network", "3_training", "4_evaluation")
)
KERNELS, LEARNER, LOSSES, EXCHANGED, SEVERAL = (
    f"4_parsing_induced/{name}"
    for name in ("1_adaptive_convolution", "2_learner", "3_training", "4_evaluation", "5_several_people")
)
SUPERVISED, STRUCTURE, MASKED, ROBUST = (
    f"3_multi_scale/{name}" for name in ("1_supervision", "2_structure_loss", "3_masking_and_training", "4_evaluation")
)
BENCHMARK, JOINT, PERSON = (f"5_look_into_person/{name}" for name in ("1_benchmark", "2_joint_network", "4_evaluation"))
CENTRES = "5_look_into_person/3_structure"
# They draw no people of a set, or read its annotations alone.
OWN_SETS = {f"{DERIVES}.ipynb", f"{INFORMATION}.ipynb", f"{SEVERAL}.ipynb"}
# They read a run's folder, or keep nothing.
UNWRITTEN = {
    f"{name}.ipynb"
    for name in (
        DERIVES, TRUNK, INFORMATION, BRANCHES, KERNELS, LEARNER, SUPERVISED, STRUCTURE, ROBUST, BENCHMARK, JOINT,
        PERSON, CENTRES,
    )
}  # fmt: skip


@pytest.fixture(autouse=True)
def as_it_was(tmp_path, monkeypatch):
    """First cells set looks of pictures and numbers' types, and run in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    with matplotlib.rc_context():
        yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("notebook", WITH_PARAMETERS)
def test_a_notebook_starts_as_it_is(notebook):
    assert len(WITH_PARAMETERS) >= 13
    assert isinstance(start(notebook)["device"], torch.device)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"profile": "huge"}, "^no profile is called 'huge'; there are quick, study, paper$"),
        ({"profile": 3}, "^no profile is called '3'"),
        ({"seed": "many"}, "^seed is 'many'; give a whole number of 0 or more$"),
        ({"seed": -1}, "^seed is -1; give a whole number"),
        ({"seed": True}, "^seed is True; give a whole number"),
        ({"device": "abacus"}, "^device 'abacus' cannot be used here"),
        ({"device": None}, "^device is None; give auto, cpu or cuda$"),
        ({"dataset": "coco"}, "(no dataset is called|dataset is) 'coco'; (there are|give) figures, "),
        ({"dataset": 3}, "(no dataset is called|dataset is) '?3"),
        ({"data_root": 5}, '^data_root is 5; give a path, or "" for none$'),
        ({"dataset": "mpii", "data_root": "nowhere"}, "^data_root is 'nowhere', and there is nothing"),
        ({"output_dir": 5}, '^output_dir is 5; give a path, or "" for none$'),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("notebook", WITH_PARAMETERS)
def test_wrong_parameters_that_all_have_are_refused(notebook, given, sentence):
    with pytest.raises((ValueError, OSError), match=sentence):
        start(notebook, **given)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("notebook", WITH_PARAMETERS)
def test_a_gpu_that_is_not_there_is_told_at_once(notebook):
    with pytest.raises(ValueError, match=r"^device 'cuda' cannot be used here .*; try cpu$"):
        start(notebook, device="cuda")


@pytest.mark.parametrize("notebook", sorted(set(WITH_PARAMETERS) - OWN_SETS))
def test_a_set_that_cannot_be_opened_is_told(notebook, tmp_path):
    with pytest.raises(ValueError, match=r"^dataset 'lip' needs the folder it lies in: give its root"):
        start(notebook, dataset="lip")
    with pytest.raises(FileNotFoundError, match="holds no annotations of MPII"):
        start(notebook, dataset="mpii", data_root=str(tmp_path))


@pytest.mark.parametrize("notebook", sorted(set(WITH_PARAMETERS) - UNWRITTEN))
def test_a_folder_that_cannot_be_written_to_is_told(notebook, tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/inside"):
        with pytest.raises(OSError, match="give another folder"):
            start(notebook, output_dir=str(tmp_path / place))


@pytest.mark.parametrize(
    ("notebook", "given", "sentence"),
    [
        (TRUNK, {"output_dir": "no_run"}, "^there are no weights at no_run/last.safetensors"),
        (SCORES, {"weights": "no.safetensors"}, "^there are no weights at no.safetensors"),
        (SCORES, {"weights": 5}, "^weights is 5; give a path"),
        (INFORMATION, {"window": 0}, "^window is 0; give a number above 0$"),
        (INFORMATION, {"window": "wide"}, "^window is 'wide'; give a number above 0$"),
        (INFORMATION, {"normalise": "limb"}, "^normalise is 'limb'; give box, torso, head$"),
        (INFORMATION, {"normalise": "annotated"}, "^normalise is 'annotated'; give box, torso, head$"),
        (INFORMATION, {"groups_k": 1}, "^groups_k is 1; give a whole number from 2 to 8$"),
        (INFORMATION, {"groups_k": 17}, "^groups_k is 17; give a whole number from 2 to 8$"),
        (INFORMATION, {"others": "no.mat"}, "^no.mat does not exist"),
        (INFORMATION, {"others": 5}, "^others is 5; give text"),
        (INFORMATION, {"dataset": "ccp"}, "^dataset is 'ccp'; give figures, mpii, lspet, lsp, lip$"),
        (INFORMATION, {"dataset": "lsp"}, "^there is no joints.mat in '.'"),
        (BRANCHES, {"output_dir": "no_run"}, "^there are no weights at no_run/last.safetensors"),
        (GROUPS, {"variant": "trees"}, "^part_groups: variant is 'trees'; give branches, "),
        (GROUPS, {"variant": 5}, "^variant is 5; give text"),
        (GROUPS, {"against": ""}, "^against is ''; give branches, "),
        (GROUPS, {"groups": "ten"}, "^part_groups: groups is 'ten'; give "),
        (GROUPS, {"groups": 5}, "^groups is 5; give text"),
        (GROUPS, {"width": -8}, "^width is -8; give a whole number of 0 or more$"),
        (GROUPS, {"width": 7}, "width 7; give a multiple of 4 and an even one"),
        (GROUPS, {"blocks": 1.5}, "^blocks is 1.5; give a whole number of 0 or more$"),
        (GROUPS, {"stacks": "two"}, "^stacks is 'two'; give a whole number"),
        (GROUPS, {"steps": -1}, "^steps is -1; give a whole number"),
        (GROUPS, {"propagate": "all"}, "^part_groups: propagate is 'all'; give "),
        (GROUPS, {"leave_out": "l_toe"}, "^mpii has no joint 'l_toe'"),
        (OCCLUDED, {"weights": "no_run"}, "^there are no weights at no_run/branches/last.safetensors"),
        (OCCLUDED, {"weights": 5}, "^weights is 5; give a path"),
        (OCCLUDED, {"predictions": "no.h5"}, "valid.h5"),
        (OCCLUDED, {"predictions": 5}, "^predictions is 5; give a path"),
        (LEARNER, {"order": "other"}, "^parsing_induced: order is 'other'; give paper, official$"),
        (LEARNER, {"order": 5}, "^order is 5; give text"),
        (LEARNER, {"output_dir": "no_run"}, "^there are no weights at no_run/last.safetensors"),
        (LOSSES, {"variants": "pose tree"}, "^parsing_induced: variant is 'tree'; give "),
        (LOSSES, {"variants": 5}, "^variants is 5; give text"),
        (LOSSES, {"backbone": "resnet"}, "^parsing_induced: backbone is 'resnet'; give hourglass, vgg16$"),
        (
            LOSSES,
            {"backbone": "vgg16", "stacks": 2},
            "VGG16 takes a size and features that 8 divides and has one stack",
        ),
        (LOSSES, {"stacks": -1}, "^stacks is -1; give a whole number"),
        (LOSSES, {"parsing_units": 0.5}, "^parsing_units is 0.5; give a whole number"),
        (LOSSES, {"order": "other"}, "^parsing_induced: order is 'other'"),
        (LOSSES, {"beta": -1.0}, "^parsing_induced: beta is -1.0; give the parsing loss's weight, 0 or above$"),
        (LOSSES, {"beta": "much"}, "^beta is 'much'; give a number$"),
        (LOSSES, {"steps": "long"}, "^steps is 'long'; give a whole number"),
        (LOSSES, {"difficulty": "hard"}, "no difficulty is called 'hard'|difficulty"),
        (EXCHANGED, {"steps": 5}, "^steps is 5, and section 7 cuts runs into ten parts"),
        (EXCHANGED, {"steps": -20}, "^steps is -20; give a whole number"),
        (SEVERAL, {"steps": -20}, "^steps is -20; give a whole number"),
        (MASKED, {"cover": 1.5}, "^masking: cover is 1.5; give a part of the images, 0 to 1$"),
        (MASKED, {"duplicate": -0.1}, "^masking: duplicate is -0.1; give a part of the images, 0 to 1$"),
        (MASKED, {"patch": 0}, "^masking: size is 0; give a fraction of the image's side above 0, up to 0.5$"),
        (MASKED, {"patch": True}, "^masking: size is True; give a fraction"),
        (EXCHANGED, {"control": "yes"}, "^control is 'yes'; give True or False$"),
        (JOINT, {"output_dir": "no_run"}, "^there are no weights at no_run/last.safetensors"),
    ],
)
def test_a_notebooks_own_parameters_are_checked(notebook, given, sentence):
    with pytest.raises((ValueError, OSError), match=sentence):
        start(f"{notebook}.ipynb", **given)


def test_the_benchmark_needs_lips_own_labels(tmp_path):
    pascal.write_set(tmp_path / "pascal")
    with pytest.raises(ValueError, match=r"^dataset is 'pascal'; give figures, lip$"):
        start(f"{BENCHMARK}.ipynb", dataset="pascal", data_root=str(tmp_path / "pascal"))
    lip.write_part(tmp_path, "val", 40)
    for notebook in (BENCHMARK, CENTRES):
        assert len(start(f"{notebook}.ipynb", dataset="lip", data_root=str(tmp_path))["sample"]) == 40
    assert len(start(f"{JOINT}.ipynb", dataset="lip", data_root=str(tmp_path))["few"]) == 40


def test_weights_of_another_network_are_told(tmp_path):
    for name, settings in {
        "hourglass": {"size": 64, "stacks": 1, "features": 8, "depth": 1},
        "part_groups": {"size": 64, "stacks": 1, "features": 8, "depth": 1, "width": 2, "variant": "baseline"},
        "look_into_person": {"size": 64, "depth": 14, "width": 2, "features": 4, "pooled": False, "refinements": 0},
    }.items():
        save_weights(tmp_path / name / "last", create(name, **settings), name, "mpii", {})
    run = str(tmp_path / "hourglass")
    for notebook, network in (
        (TRUNK, "soft_argmax"), (BRANCHES, "part_groups"), (LEARNER, "parsing_induced"), (JOINT, "look_into_person")
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"holds the weights of a network hourglass; give some of {network}$"):
            start(f"{notebook}.ipynb", output_dir=run)
    with pytest.raises(ValueError, match="where no network with branches lies"):
        start(f"{BRANCHES}.ipynb", output_dir=str(tmp_path / "part_groups"))
    with pytest.raises(ValueError, match="where no network with refinements and LIP's 20 labels lies"):
        start(f"{JOINT}.ipynb", output_dir=str(tmp_path / "look_into_person"))
    save_weights(tmp_path / "two/branches/last", create("part_groups", size=64, stacks=1, features=8, depth=1, width=2,
                 joints=14), "part_groups", "lsp", {})  # fmt: skip
    with pytest.raises(ValueError, match=r"finds the joints of LSP, and figures has the 16 of MPII: train on figures"):
        start(f"{OCCLUDED}.ipynb", weights=str(tmp_path / "two"))


def test_predictions_are_read_or_refused_and_never_passed_over(tmp_path):
    people = mpii.people(5)
    mpii.write_h5(tmp_path / "valid.h5", people)
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["preds"] = people["part"]
    root = {"data_root": str(tmp_path)}
    assert start(f"{OCCLUDED}.ipynb", **root)["known"] is None  # none is asked for, and no usual one is there
    assert start(f"{OCCLUDED}.ipynb", **root, predictions="mine.h5")["guessed"].shape == (5, 16, 2)
    with pytest.raises(FileNotFoundError, match=r"min\.h5"):
        start(f"{OCCLUDED}.ipynb", **root, predictions="min.h5")
    (tmp_path / "preds-example.h5").write_bytes((tmp_path / "mine.h5").read_bytes())
    assert start(f"{OCCLUDED}.ipynb", **root)["guessed"].shape == (5, 16, 2)


def few_people(root, count: int):
    """A set in MPII's layout with as many people in each split."""
    (root / "images").mkdir(parents=True)
    for number, part in enumerate(("train", "valid")):
        fields = mpii.people(count, seed=number)
        fields["imgname"] = np.array([f"{number}{k:08d}.jpg" for k in range(count)], "S13")
        mpii.write_h5(root / f"{part}.h5", fields)
        for name in fields["imgname"]:
            Image.new("RGB", (640, 480), (90, 90, 90)).save(root / "images" / name.decode())
    return str(root)


def test_few_people_are_enough_or_told_how_many_it_takes(tmp_path):
    root, fewer = few_people(tmp_path / "some", 27), few_people(tmp_path / "fewer", 2)
    needs_more = {OCCLUDED: 32, EXCHANGED: 32, JOINT: 40}
    needs_labels = {LEARNER: "train", PERSON: "train", BENCHMARK: "test", CENTRES: "test"}
    for notebook in WITH_PARAMETERS:
        name = notebook.removesuffix(".ipynb")
        given = {"dataset": "mpii", "data_root": root}
        if name in needs_more:
            with pytest.raises(ValueError, match=f"^this notebook needs {needs_more[name]} people in the test split"):
                start(notebook, **given)
        elif name in needs_labels:
            with pytest.raises(
                ValueError, match=f"has no part labels for the first 27 people of its {needs_labels[name]} "
            ):
                start(notebook, **given)
        elif name == INFORMATION:
            with pytest.raises(ValueError, match=r"^this notebook needs 500 people with both wrists"):
                start(notebook, **given)
        else:
            start(notebook, **given)
    with pytest.raises(
        ValueError, match=r"needs 20 people in the test split, and mpii in .*fewer has 2: give a larger"
    ):
        start(f"{SCORES}.ipynb", dataset="mpii", data_root=fewer)


def test_a_split_of_too_few_and_people_without_joints_are_told(tmp_path):
    for part in ("train", "val"):
        lip.write_part(tmp_path, part, 6)
    about = {"profile": "quick", "seed": 0, "device": "cpu", "output_dir": "", "dataset": "lip"}
    about["data_root"] = str(tmp_path)
    assert check_parameters(**about, people={"train": 1, "test": 6}, needs=("joints", "part labels")).type == "cpu"
    with pytest.raises(ValueError, match=r"needs 1,000 people in the validation split, and lip in .* has \d: give"):
        check_parameters(**about, people={"train": 1, "validation": 1000})
    csv = next(tmp_path.rglob("lip_val_set.csv"))
    csv.write_text("\n".join(",".join([line.split(",")[0], *["nan"] * 48]) for line in csv.read_text().split()) + "\n")
    with pytest.raises(ValueError, match="has no joints for the first 6 people of its test split"):
        check_parameters(**about, people={"train": 1, "test": 1})


def test_a_network_is_asked_what_it_says_against_settings():
    check_network("part_groups", "figures", leave_out="l_wrist", width=0, groups="")
    with pytest.raises(ValueError, match="has no setting 'wdth'"):
        check_network("part_groups", "figures", wdth=4)
