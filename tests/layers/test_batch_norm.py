from __future__ import annotations

import multiprocessing

import pytest
import torch
import torch.distributed as dist
from torch import nn

from posebook.layers.batch_norm import SharedBatchNorm2d, share_batch_norm


def network(momentum: float | None = 0.1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=momentum), nn.ReLU(), nn.Conv2d(4, 2, 1)
    ).double()


def step(model: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, dict]:
    """Gradients of a mean over the images, one after the other, and the state after two forward passes."""
    model(images * 2)
    model(images).square().mean().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()]), model.state_dict()


def share(rank: int, path: str, results: str) -> None:
    """One of two processes: half of the images, gradients averaged over both."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for momentum in (0.1, None):
        model = share_batch_norm(network(momentum))
        assert type(model[1]) is SharedBatchNorm2d
        gradient, state = step(model, images[3 * rank :][:3])
        dist.all_reduce(gradient)
        model.eval()
        found.append((gradient / 2, state, model(images)))
    if rank == 0:
        torch.save([(g, dict(s), o.detach()) for g, s, o in found], results)
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["posebook.training.loop", "posebook.evaluation.benchmarks", "safetensors.torch", "tqdm.auto", "torch._dynamo"]
    )
    both = [
        context.Process(target=share, args=(rank, str(folder / "meet"), str(folder / "results.pt"))) for rank in (0, 1)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    return torch.load(folder / "results.pt", weights_only=True)


@pytest.mark.parametrize(("case", "momentum"), [(0, 0.1), (1, None)])
def test_two_halves_are_one_batch(shared, case, momentum):
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = network(momentum)
    gradient, state = step(model, images)
    found_gradient, found_state, found_outputs = shared[case]
    torch.testing.assert_close(found_gradient, gradient, atol=1e-12, rtol=1e-9)
    assert found_state.keys() == state.keys()
    for key, value in state.items():
        torch.testing.assert_close(found_state[key], value, atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(found_outputs, model.eval()(images), atol=1e-12, rtol=1e-9)
