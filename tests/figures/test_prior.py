from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from posebook import paths
from posebook.cli import main
from posebook.datasets.prior import complete_poses, fidelity, fit
from posebook.figures import random
from posebook.figures.prior import PRIOR, PosePrior, normalise
from posebook.grouping.spectral import mutual_information, spectral_groups
from posebook.skeleton import MPII

FILES = ("train_joints.csv", "test_joints.csv", "valid.h5")

# Tang and Wu (CVPR 2019), Fig. 2(b).
GROUPS = [
    {"r_ankle", "r_knee", "l_knee", "l_ankle"},
    {"r_hip", "l_hip", "pelvis"},
    {"thorax", "upper_neck", "head_top", "r_shoulder", "l_shoulder"},
    {"r_wrist", "r_elbow"},
    {"l_elbow", "l_wrist"},
]


@pytest.fixture(scope="module")
def prior():
    return PosePrior.load()


@pytest.fixture(scope="module")
def poses(prior):
    return prior.sample(random.keys("train", torch.arange(2000), seed=1))


def test_the_file_is_small():
    assert PRIOR.stat().st_size < 1_000_000


def test_fidelity_to_real_poses(prior):
    found = fidelity(prior, samples=20_000)
    assert found.correlation >= 0.95
    assert [{MPII.joints[j] for j in group} for group in found.real_groups] == GROUPS
    assert found.sampled_groups == found.real_groups
    assert found.plausible_draws > 0.85
    assert found.plausible > 0.999


def test_shipped_information_is_that_of_the_real_poses(prior, real_data):
    real = complete_poses([real_data("mpii") / name for name in FILES])
    information = mutual_information(real)
    torch.testing.assert_close(information, prior.reference_information, atol=1e-3, rtol=0)
    assert [{MPII.joints[j] for j in group} for group in spectral_groups(information)] == GROUPS
    assert float(prior.plausible(real).float().mean()) > 0.98


def test_people_in_several_files_count_once(real_data):
    folder = real_data("mpii")
    once = complete_poses([folder / name for name in FILES[:2]])
    assert len(once) == 19_745
    assert torch.equal(complete_poses([folder / name for name in FILES]), once)
    assert len(complete_poses([folder / "valid.h5"])) == 1992


def test_limbs_are_as_long_as_real_ones(prior, real_data):
    real = complete_poses([real_data("mpii") / "train_joints.csv"])
    sampled = prior.sample(random.keys("test", torch.arange(10_000), seed=0))
    start, end = zip(*MPII.pairs(MPII.limbs), strict=True)
    for share, tolerance in ((0.1, 0.03), (0.5, 0.02), (0.9, 0.03), (0.99, 0.05)):
        ours, theirs = ((p[:, start] - p[:, end]).norm(dim=-1).quantile(share, 0) for p in (sampled, real))
        assert (ours - theirs).abs().max() < tolerance


def test_samples_are_normalised(poses):
    assert poses.shape == (2000, 16, 2)
    low, high = poses.amin(1), poses.amax(1)
    torch.testing.assert_close(low + high, torch.zeros(2000, 2), atol=1e-6, rtol=0)
    torch.testing.assert_close((high - low).amax(1), torch.ones(2000), atol=1e-6, rtol=0)


def test_a_sample_does_not_depend_on_its_batch(prior, poses):
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(0))[:300]
    keys = random.keys("train", order, seed=1)
    assert torch.equal(prior.sample(keys), poses[order])
    assert torch.equal(torch.cat([prior.sample(key) for key in keys[:30].split(1)]), poses[order[:30]])


def test_splits_seeds_and_streams_draw_different_poses(prior, poses):
    indices = torch.arange(2000)
    others = [
        prior.sample(random.keys("test", indices, seed=1)),
        prior.sample(random.keys("train", indices, seed=2)),
        prior.sample(random.keys("train", indices, seed=1), stream=7),
    ]
    assert len(torch.cat([poses, *others]).flatten(1).unique(dim=0)) == 8000


def test_more_candidates_only_replace_implausible_poses(prior):
    keys = random.keys("validation", torch.arange(2000), seed=0)
    one, four = prior.sample(keys, candidates=1), prior.sample(keys, candidates=4)
    same = (one == four).all(-1).all(-1)
    plausible = prior.plausible(one)
    assert same[plausible].all()
    assert not plausible.all()
    assert not same[~plausible].any()


def test_left_and_right_are_alike(poses):
    flipped = poses[:, MPII.mirror] * torch.tensor([-1.0, 1.0])
    # Standard errors of a mean over 2,000 poses are about 0.005.
    assert (flipped.mean(0) - poses.mean(0)).abs().max() < 0.03


def test_implausible_poses_are_told(prior, poses):
    assert prior.plausible(poses).float().mean() > 0.998
    stretched = poses.clone()
    wrist, elbow = MPII.index("l_wrist"), MPII.index("l_elbow")
    stretched[:, wrist] = stretched[:, elbow] + torch.tensor([0.0, 2.0])
    assert not prior.plausible(stretched).any()
    headless = poses.clone()
    headless[:, MPII.index("head_top")] = headless[:, MPII.index("upper_neck")]
    assert not prior.plausible(headless).any()


def test_fit_recovers_a_mixture(poses):
    found = fit(poses[:1000], components=4)
    assert found.weights.sum() == pytest.approx(1, abs=1e-5)
    both = torch.cat([poses[:1000], poses[:1000, MPII.mirror] * torch.tensor([-1.0, 1.0])]).flatten(1)
    # Expectation-maximisation keeps the mean and the covariance of the data.
    mean = found.weights @ found.means
    torch.testing.assert_close(mean, both.mean(0), atol=1e-4, rtol=0)
    spread = found.factors @ found.factors.transpose(1, 2) + found.means[:, :, None] * found.means[:, None]
    covariance = (found.weights[:, None, None] * spread).sum(0) - torch.outer(mean, mean)
    torch.testing.assert_close(covariance, both.T.cov(correction=0), atol=1e-4, rtol=0)
    assert torch.equal(found.factors, found.factors.tril())


def test_fit_refuses_too_few_poses(poses):
    with pytest.raises(ValueError, match="10 poses are too few for 96 components"):
        fit(poses[:10])


def test_normalise_forgets_place_and_size(poses):
    torch.testing.assert_close(normalise(poses * 317 + 12), poses, atol=1e-5, rtol=0)


def test_a_saved_prior_is_whole_and_for_everybody_to_read(prior, tmp_path, monkeypatch):
    path = tmp_path / "new" / "prior.safetensors"
    prior.save(path)
    assert torch.equal(PosePrior.load(path).means, prior.means)
    other = tmp_path / "other"
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk gone")

    monkeypatch.setattr(paths.os, "fsync", fail)
    with pytest.raises(OSError, match="disk gone"):
        replace(prior, means=prior.means + 1).save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_files_that_hold_no_prior(tmp_path):
    with pytest.raises(FileNotFoundError, match="posebook prior fit"):
        PosePrior.load(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="holds no pose prior"):
        PosePrior.load(tmp_path / "broken.safetensors")


def test_commands(tmp_path, poses):
    rows = [[f"{value:.2f}" for value in pose] for pose in (poses[:400] * 300 + 400).flatten(1).tolist()]
    rows[0][4] = "-1"  # a joint not annotated: this person is left out
    annotations, output = tmp_path / "people.csv", tmp_path / "new" / "prior.safetensors"
    annotations.write_text("\n".join(",".join(["someone.jpg", *row]) for row in rows))
    run = CliRunner().invoke(main, ["prior", "fit", str(annotations), "--output", str(output), "--components", "2"])
    assert run.exit_code == 0, run.output
    assert "399 poses" in run.output
    assert PosePrior.load(output).means.shape == (2, 32)
    # Two Gaussians are not how people move, and the command says so.
    run = CliRunner().invoke(main, ["prior", "check", "--prior", str(output)])
    assert run.exit_code == 1
    assert "not like real poses" in run.output
    run = CliRunner().invoke(main, ["prior", "check", "--samples", "20000"])
    assert run.exit_code == 0, run.output
    assert "r_wrist r_elbow | l_elbow l_wrist" in run.output
    run = CliRunner().invoke(main, ["prior", "fit", str(tmp_path / "absent.csv")])
    assert run.exit_code == 1
    assert "does not exist" in run.output


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same(prior, poses):
    keys = random.keys("train", torch.arange(2000, device="cuda"), seed=1)
    torch.testing.assert_close(prior.to("cuda").sample(keys).cpu(), poses, atol=1e-4, rtol=0)
