from __future__ import annotations

import pytest
import torch

from posebook.figures import random


@pytest.fixture(scope="module")
def many():
    return random.keys("train", torch.arange(50_000), seed=0)


def test_mixing_is_splitmix64():
    # The published first outputs of SplitMix64 from state 1234567.
    state = torch.tensor([1234567]) + torch.arange(1, 4) * random._signed(random._GOLDEN)
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423 - 2**64]
    assert random._mix(state).tolist() == expected
    assert random._hash(1234567) == expected[0]


def test_known_values():
    keys = random.keys("train", torch.arange(3), seed=0)
    assert keys.tolist() == [5040402593580591643, 8154728820245444389, 4527957925906643802]
    expected = torch.tensor([[0.0012, 0.7591, 0.8380], [0.2593, 0.6368, 0.2242]])
    torch.testing.assert_close(random.uniforms(keys[:2], 3), expected, atol=5e-5, rtol=0)
    expected = torch.tensor([[-0.5757, -1.4642, -0.2173], [-0.1760, 0.0167, -0.9761]])
    torch.testing.assert_close(random.normals(keys[:2], 3), expected, atol=1e-4, rtol=0)


def test_keys_never_collide():
    indices = torch.arange(20_000)
    splits = ("train", "validation", "test")
    keys = torch.cat([random.keys(s, indices, seed) for s in splits for seed in (-1, 0, 1, 2, 2**40)])
    assert len(keys.unique()) == len(keys)


def test_forks_are_keys_of_their_own():
    keys = random.keys("train", torch.arange(2_000), seed=0)
    forks = random.fork(keys, 8)
    assert len(torch.cat([keys, forks.flatten()]).unique()) == 9 * len(keys)
    assert torch.equal(random.fork(keys[5:7], 3), forks[5:7, :3])
    u = torch.cat([random.uniforms(keys, 1), random.uniforms(forks.flatten(), 1).reshape(-1, 8)], 1)
    assert (torch.corrcoef(u.T) - torch.eye(9)).abs().max() < 5 / len(keys) ** 0.5


def test_keys_refuse_an_unknown_split():
    with pytest.raises(ValueError, match="no split is called 'dev'"):
        random.keys("dev", torch.arange(3), seed=0)


@pytest.mark.parametrize("draw", [random.uniforms, random.normals])
def test_a_sample_does_not_depend_on_its_batch(draw):
    order = torch.randperm(300)
    whole = draw(random.keys("test", torch.arange(300), seed=5), 7)
    shuffled = draw(random.keys("test", order, seed=5), 7)
    assert torch.equal(shuffled, whole[order])
    single = torch.cat([draw(random.keys("test", torch.tensor([i]), seed=5), 7) for i in range(20)])
    assert torch.equal(single, whole[:20])
    assert torch.equal(draw(random.keys("test", torch.arange(300), seed=5), 3), whole[:, :3])


def test_uniforms_are_uniform(many):
    u = random.uniforms(many, 20)
    assert u.min() >= 0
    assert u.max() < 1
    # The standard error of a bin of 1/64 over a million draws is 124.
    counts = torch.histc(u, 64, 0, 1)
    assert (counts - 1e6 / 64).abs().max() < 5 * 124
    assert (u.mean(0) - 0.5).abs().max() < 0.007
    assert (u.var(0) - 1 / 12).abs().max() < 0.003


def test_normals_are_normal(many):
    z = random.normals(many, 20)
    assert z.mean(0).abs().max() < 0.025
    assert (z.var(0) - 1).abs().max() < 0.035
    assert abs(float((z**4).mean()) - 3) < 0.05
    for edge, share in ((1, 0.31731), (2, 0.0455), (3, 0.0027)):
        assert float((z.abs() > edge).float().mean()) == pytest.approx(share, rel=0.07)


def test_nothing_is_correlated(many):
    u, v = random.uniforms(many, 8), random.uniforms(many, 8, stream=1)
    neighbour = random.uniforms(many.roll(1), 8)
    other_seed = random.uniforms(random.keys("train", torch.arange(len(many)), seed=1), 8)
    other_split = random.uniforms(random.keys("test", torch.arange(len(many)), seed=0), 8)
    normal = random.normals(many, 8)
    between = torch.corrcoef(torch.cat([u, v, neighbour, other_seed, other_split, normal], 1).T)
    assert (between - torch.eye(48)).abs().max() < 6 / len(many) ** 0.5
    assert len(u.unique(dim=0)) == len(u)


def test_extremes_stay_in_range():
    # The largest 24-bit uniform is still below 1, and Box-Muller is finite at both ends.
    edge = torch.tensor([0, -1, 2**63 - 1, -(2**63)])
    assert random.uniforms(edge, 1000).max() < 1
    assert random.normals(edge, 1000).isfinite().all()
    assert float(torch.tensor(2**24 - 1).float() * 2.0**-24) < 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same():
    indices = torch.arange(1000)
    here, there = (random.keys("train", indices.to(device), seed=3) for device in ("cpu", "cuda"))
    assert torch.equal(there.cpu(), here)
    assert torch.equal(random.uniforms(there, 9).cpu(), random.uniforms(here, 9))
    torch.testing.assert_close(random.normals(there, 9).cpu(), random.normals(here, 9), atol=1e-5, rtol=1e-5)
