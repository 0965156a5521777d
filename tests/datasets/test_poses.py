"""Annotation files of every set read as poses, and `posebook groups` over them."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from click.testing import CliRunner

from posebook.cli import main
from posebook.datasets.poses import Poses, group_report, read_poses, render
from posebook.grouping.spectral import PAPER_GROUPS, adjusted_rand
from posebook.skeleton import FLIC, LSP, MPII


def groups(*arguments):
    return CliRunner().invoke(main, ["groups", *map(str, arguments)])


def csv(path, joints):
    rows = [",".join(["one.jpg", *map(str, pose.flatten())]) for pose in joints]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def poses():
    return np.random.default_rng(0).uniform(20, 300, (60, 16, 2)).round(2)


def test_mpii_csv(tmp_path, poses):
    poses[0, 3] = -1
    found = read_poses(csv(tmp_path / "train.csv", poses))
    assert found.skeleton is MPII
    assert found.presence[0].tolist() == [2, 2, 2, 0, *[2] * 12]
    np.testing.assert_allclose(found.joints.numpy(), poses, rtol=1e-6)
    with pytest.raises(ValueError, match="no centre and scale"):
        found.frame("annotated")


def test_lip_csv(tmp_path, poses):
    rows = np.concatenate([poses, np.zeros((60, 16, 1))], -1)
    rows[0, 2] = np.nan
    rows[1, 4, 2] = 1
    found = read_poses(csv(tmp_path / "lip.csv", rows))
    assert found.skeleton is MPII
    assert found.presence[:2, [2, 4]].tolist() == [[0, 2], [2, 1]]
    assert (found.presence == 2).sum() == 60 * 16 - 2
    np.testing.assert_allclose(found.joints[1:].numpy(), poses[1:], rtol=1e-6)
    (tmp_path / "lip.csv").write_text((tmp_path / "lip.csv").read_text() + "two.jpg,1,2,0\n")
    with pytest.raises(ValueError, match=r"lip\.csv: line 61 has 4 fields; a line is a name and 16 times x"):
        read_poses(tmp_path / "lip.csv")


@pytest.mark.parametrize("applied", [True, False])
def test_h5_has_the_usual_window_whether_or_not_it_was_applied(tmp_path, poses, applied):
    centre, scale = np.random.default_rng(1).integers(100, 200, (60, 2)).astype(float), np.full(60, 1.1)
    down = centre + np.array([0, 15]) * scale[:, None]
    with h5py.File(tmp_path / "valid.h5", "w") as file:
        file.update(part=poses, visible=np.ones((60, 16)), normalize=np.full(60, 30.0), imgname=[b"one.jpg"] * 60)
        file.update(center=down if applied else centre, scale=scale * (1.25 if applied else 1))
    found = read_poses(tmp_path / "valid.h5")
    middle, window = found.frame("annotated")
    np.testing.assert_allclose(middle.numpy(), down, atol=1e-3)
    np.testing.assert_allclose(window.numpy(), 1.25 * 200 * scale, rtol=1e-5)


@pytest.mark.parametrize("name", ["lsp", "lspet"])
def test_joints_mat_of_both_sets(tmp_path, name):
    random = np.random.default_rng(0)
    joints = random.uniform(20, 300, (2000, 14, 2))
    marked = random.random((2000, 14, 1)) < (0.2 if name == "lsp" else 0.8)
    both = np.concatenate([joints, marked], -1)
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": both.transpose((2, 1, 0) if name == "lsp" else (1, 2, 0))})
    found = read_poses(tmp_path / "joints.mat")
    assert found.skeleton is LSP
    values = (2, 1) if name == "lsp" else (0, 2)
    assert np.array_equal(found.presence.numpy(), np.where(marked[..., 0], values[1], values[0]))
    np.testing.assert_allclose(found.joints.numpy(), joints, rtol=1e-6)


def test_frames():
    joints, presence = torch.zeros(2, 16, 2), torch.zeros(2, 16, dtype=torch.uint8)
    for name, place in {"l_shoulder": (3, 0), "r_hip": (0, 4), "upper_neck": (1, 0), "head_top": (1, -2)}.items():
        joints[0, MPII.index(name)] = torch.tensor(place).float()
        presence[:, MPII.index(name)] = 2
    presence[1, MPII.index("head_top")] = 0
    people = Poses(MPII, joints, presence)
    for normalise, length in (("box", 6), ("torso", 5), ("head", 2)):
        centre, unit = people.frame(normalise)
        assert centre[0].tolist() == [1.5, 1]
        assert unit[0] == length
    assert people.frame("head")[1].isnan().tolist() == [False, True]
    # All of the second person's joints are at one place: no torso length, and a box that must not divide by 0.
    assert people.frame("torso")[1].isnan().tolist() == [False, True]
    assert people.frame("box")[1][1] > 0
    with pytest.raises(ValueError, match="no two head joints"):
        Poses(FLIC, joints[:, :11], presence[:, :11]).frame("head")
    with pytest.raises(ValueError, match="not normalised by 'limb'; choose one of box, annotated, torso, head"):
        people.frame("limb")


def test_json_and_table(tmp_path, poses):
    first, second = csv(tmp_path / "a.csv", poses[:40]), csv(tmp_path / "b.csv", poses[40:])
    run = groups("--poses", first, "--poses", second, "--groups", 3, "--window", 2, "--lattice", 4, "--json")
    assert run.exit_code == 0, run.output
    report = json.loads(run.output)
    assert len(report["groups"]) == 3
    assert sorted(name for group in report["groups"] for name in group) == sorted(MPII.joints)
    assert [report[key] for key in ("poses", "window", "normalise", "skeleton")] == [60, 2, "box", "mpii"]
    whole = group_report([csv(tmp_path / "all.csv", poses)], 2, groups=3, lattice=4)
    assert report == whole
    text = groups("--poses", tmp_path / "all.csv", "--groups", 3, "--window", 2, "--lattice", 4).output
    assert text == render(whole) + "\n"
    lines = text.splitlines()
    assert lines[0] == "60 poses of mpii, 4x4 cells over 2 longer sides of the pose"
    assert [line.split(": ")[1].split(", ") for line in lines[2:5]] == whole["groups"]
    trust = whole["trust"]
    assert trust["draws"] == 20
    assert trust["same"] < 0.5
    assert lines[5].startswith(f"few poses: {trust['same']:.0%} of 20 draws of as many people")
    assert f"mean agreement {trust['agreement']:.2f}" in lines[5]
    shown = [float(line.split()[2]) for line in lines[8:]]
    assert shown == sorted(shown, reverse=True)
    above = torch.tensor(whole["matrix"])[*torch.triu_indices(16, 16, 1)]
    assert shown[0] == pytest.approx(float(above.max()), abs=5e-4)


def test_errors_are_one_sentence(tmp_path, poses):
    mpii = csv(tmp_path / "mpii.csv", poses)
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": np.random.default_rng(0).uniform(1, 9, (14, 3, 1500))})
    csv(tmp_path / "nobody.csv", -poses)
    one, two = csv(tmp_path / "one.csv", poses[:1]), csv(tmp_path / "two.csv", poses[:2])
    alike = csv(tmp_path / "alike.csv", poses[:1].repeat(40, 0))
    without = poses.copy()
    without[:, [3, 6]] = -1
    lacking = csv(tmp_path / "lacking.csv", without)
    (tmp_path / "broken.mat").write_text("no matrix")
    (tmp_path / "poses.txt").write_text("")
    for arguments, sentence in (
        (["--poses", mpii, "--normalise", "annotated"], "has no centre and scale of each person"),
        (["--poses", mpii, "--groups", 17], "16 joints make 1 to 16 groups, not 17"),
        (["--poses", mpii, "--groups", 0], "16 joints make 1 to 16 groups, not 0"),
        (["--poses", mpii, "--window", 0], "must be positive"),
        (["--poses", mpii, "--window", "nan"], "must be positive"),
        (["--poses", mpii, "--window", "inf"], "must be positive"),
        (["--poses", mpii, "--lattice", -4], "must be positive"),
        (["--poses", mpii, "--lattice", 400], "choose fewer cells"),
        (["--poses", mpii, "--lattice", 1], "5 groups cannot be told from the 60 poses"),
        (["--poses", one], "5 groups cannot be told from the one pose"),
        (["--poses", two], "5 groups cannot be told from the 2 poses"),
        (["--poses", alike], "5 groups cannot be told from the 40 poses"),
        (["--poses", lacking], "has l_hip, pelvis, so that no group can be told for them"),
        (["--poses", mpii, "--poses", tmp_path / "joints.mat"], "give files of one skeleton"),
        (["--poses", tmp_path / "nobody.csv"], "has a pose that can be counted"),
        (["--poses", tmp_path / "none.csv"], "does not exist"),
        (["--poses", tmp_path / "poses.txt"], "poses are read from .mat, .h5 and .csv files"),
        (["--poses", tmp_path / "broken.mat"], "is not a MATLAB file that can be read"),
    ):
        run = groups(*arguments)
        assert run.exit_code == 1
        assert sentence in run.output
        assert run.output.startswith("Error: ")
        assert run.output.count("\n") == 1


def test_groups_of_few_poses_say_how_far_they_hold_and_warn_of_nothing(tmp_path, poses, recwarn):
    """Two joints that move together stay together, however few the poses; the rest is told to be chance."""
    poses[:, 1] = poses[:, 0] + 1
    poses[20:, 5] = -1  # most have no left ankle
    report = group_report([csv(tmp_path / "few.csv", poses[:30])], groups=4, lattice=4)
    assert sum(map(len, report["groups"])) == 16
    assert next(group for group in report["groups"] if "r_ankle" in group).count("r_knee") == 1
    assert 0 <= report["trust"]["same"] < 0.5
    assert report["trust"]["agreement"] < 0.9
    assert group_report([tmp_path / "few.csv"], groups=4, lattice=4) == report
    assert group_report([tmp_path / "few.csv"], groups=16)["trust"] is None  # nothing that could be otherwise
    assert not recwarn.list


def test_groups_of_many_poses_are_reported_as_they_are(tmp_path, poses):
    many = np.random.default_rng(0).uniform(20, 300, (2000, 16, 2)).round(2)
    report = group_report([csv(tmp_path / "many.csv", many)], lattice=4)
    assert report["trust"] is None
    assert "few poses" not in render(report)


def found(*arguments):
    run = groups(*arguments, "--json")
    assert run.exit_code == 0, run.output
    return [set(group) for group in json.loads(run.output)["groups"]]


def papers(count):
    return [set(group) for group in PAPER_GROUPS[count]]


def test_the_five_groups_from_all_people_of_mpii(real_data):
    folder = real_data("mpii")
    files = [folder / "train_joints.csv", folder / "test_joints.csv"]
    assert found("--poses", files[0], "--poses", files[1], "--window", 2) == papers(5)
    assert found("--poses", files[0], "--window", 2) == papers(5)
    # A tenth of the people is too few.
    assert found("--poses", files[1], "--window", 2) != papers(5)


def test_the_five_groups_from_the_validation_people(real_data):
    valid = real_data("mpii") / "valid.h5"
    assert found("--poses", valid, "--normalise", "annotated", "--window", 1.5) == papers(5)


def test_the_six_groups_from_the_validation_people(real_data):
    valid = real_data("mpii") / "valid.h5"
    assert found("--poses", valid, "--normalise", "annotated", "--window", 1, "--groups", 6) == papers(6)


def test_lip_and_lspet_as_they_are(real_data):
    lip = group_report([real_data("lip") / "lip_val_set.csv"])
    assert lip["poses"] == 10_000
    assert adjusted_rand(lip["groups"], PAPER_GROUPS[5]) > 0.5
    lspet = group_report([real_data("lspet") / "joints.mat"])
    assert (lspet["poses"], lspet["skeleton"]) == (9500, "lsp")
    assert adjusted_rand(lspet["groups"], PAPER_GROUPS[5]) == 1
