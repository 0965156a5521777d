"""A GPU gives the numbers that a CPU gives: networks, losses, augmentation, rendered people, histograms, training.

    python -m pytest tests/gpu -m gpu                                on "cuda"
    POSEBOOK_TEST_DEVICE=cpu python -m pytest tests/gpu -m gpu       the tests themselves, where there is no GPU

TF32 is off throughout: it rounds what a convolution multiplies to eleven bits.
"""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from gpu.cases import LOSSES, NETWORKS, SIZE, network, people
from posebook.association import PeopleCodec
from posebook.compute.processes import pick_device
from posebook.coordinates import HeatmapCodec
from posebook.evaluation.inference import evaluate, predict
from posebook.evaluation.metrics import pckh
from posebook.figures import random
from posebook.figures.dataset import Figures
from posebook.figures.prior import PosePrior
from posebook.grouping.spectral import mutual_information, spectral_groups
from posebook.layers import DepthwiseConv
from posebook.layers.adaptive_conv import AdaptiveConv, dynamic_depthwise_conv2d
from posebook.layers.soft_argmax import soft_argmax
from posebook.network import finds_joints, parses
from posebook.sample import Sample
from posebook.skeleton import MPII
from posebook.training.augment import Augmentation, augment
from posebook.training.loop import train
from posebook.training.masking import KeypointMasking
from posebook.training.recipe import Recipe

pytestmark = pytest.mark.gpu

# What a norm may be off by, as a fraction of it. Sums come in another order on every device: on one CPU, float32
# outputs of these networks are off by up to 7e-5 from one layout in memory to another.
OUTPUTS = 1e-3
# A layer alone, of sums of some hundred products, is off by 1e-6.
LAYER = 1e-4
# In float64 no rounding moves a value over a ReLU's or a pooling's edge, and what is left is that losses are float32.
GRADIENT = 1e-5
# These have float32 inside. Without pooled ties the first are off by 1e-5; the last, with them, by 1e-2.
GRADIENT_FLOAT32 = {
    "soft_argmax": 1e-3,
    "soft_argmax no context": 1e-3,
    "soft_argmax_detection": 1e-3,
    "part_groups overlapping": 5e-2,
}


@pytest.fixture(scope="module")
def device() -> torch.device:
    name = os.environ.get("POSEBOOK_TEST_DEVICE", "cuda")
    try:
        return pick_device(name)
    except ValueError as error:
        pytest.skip(f"needs a GPU: {error}")


@pytest.fixture(autouse=True)
def whole_float32():
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    yield
    for backend, allowed in zip(backends, before, strict=True):
        backend.allow_tf32 = allowed


@pytest.fixture(scope="module")
def batch() -> Sample:
    return people(4)


def near(there: Tensor, here: Tensor, tolerance: float) -> None:
    """AssertionError where two tensors differ in shape, in dtype, or by more than a fraction of their norm."""
    assert (there.shape, there.dtype) == (here.shape, here.dtype)
    there, here = there.detach().cpu().double(), here.detach().double()
    assert torch.equal(there.isfinite(), here.isfinite())
    error = (there - here).nan_to_num().norm() / here.nan_to_num().norm().clamp_min(1e-12)
    assert error <= tolerance, f"off by {error:.1e} of the norm"


def same(there: Tensor, here: Tensor, share: float = 1.0) -> None:
    """AssertionError where fewer than this share of the numbers are the same."""
    assert (there.shape, there.dtype) == (here.shape, here.dtype)
    equal = float((there.cpu() == here).float().mean())
    assert equal >= share, f"{equal:.4%} of the numbers are the same"


def tensors(outputs: object) -> list[Tensor]:
    """The tensors of a network's outputs, which may be a tuple with nothing in some places."""
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]


@pytest.mark.parametrize("case", NETWORKS)
def test_a_network_s_outputs_and_loss(case, batch, device):
    here = network(case).train()
    there, sample = copy.deepcopy(here).to(device), batch.to(device)
    outputs, theirs = here(batch.images), there(sample.images)
    for mine, other in zip(tensors(outputs), tensors(theirs), strict=True):
        assert other.device == device
        near(other, mine, OUTPUTS)
    (loss, terms), (other_loss, other_terms) = here.loss(outputs, batch), there.loss(theirs, sample)
    torch.testing.assert_close(other_loss.cpu(), loss, rtol=1e-4, atol=0)
    for name, term in terms.items():
        torch.testing.assert_close(other_terms[name].cpu(), term, rtol=1e-3, atol=1e-6)
    # Batch norm has tracked the same statistics.
    for name, value in here.state_dict().items():
        if "running" in name:
            near(there.state_dict()[name], value, OUTPUTS)


@pytest.mark.parametrize("case", NETWORKS)
def test_a_network_s_gradient(case, batch, device):
    tolerance = GRADIENT_FLOAT32.get(case, GRADIENT)
    dtype = torch.float32 if case in GRADIENT_FLOAT32 else torch.float64
    gradients = []
    for where in (torch.device("cpu"), device):
        model, sample = network(case).train().to(where, dtype), batch.to(where)
        model.loss(model(sample.images.to(dtype)), sample)[0].backward()
        trained = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
        gradients.append(torch.cat([gradient.flatten().cpu() for gradient in trained]))
    near(gradients[1], gradients[0], tolerance)


@pytest.mark.parametrize("case", NETWORKS)
def test_decoding(case, batch, device):
    """Of the same outputs: the highest cell is the same, and so are the joints but for rounding."""
    here = network(case).eval()
    with torch.no_grad():
        outputs = here(batch.images)
    theirs = tree_map_only(torch.Tensor, lambda part: part.to(device), outputs)
    if finds_joints(here):
        joints, confidence = here.decode(outputs)
        others = copy.deepcopy(here).to(device).decode(theirs)
        torch.testing.assert_close(others[0].cpu(), joints, atol=1e-3, rtol=0)
        torch.testing.assert_close(others[1].cpu(), confidence, atol=1e-5, rtol=0)
    if parses(here):
        # Where two logits are equal but for rounding, either part may win.
        same(here.labels(theirs), here.labels(outputs), 0.999)


@pytest.mark.parametrize("case", ["hourglass", "soft_argmax", "parsing_induced pil"])
def test_inference_over_flips_and_scales(case, batch, device):
    look = partial(predict, mirror=MPII.mirror, flip=True, scales=(0.8, 1.0, 1.25), batch_size=3, bf16=False)
    here = network(case)
    joints, confidence = look(here, batch.images)
    others = look(copy.deepcopy(here).to(device), batch.images.to(device))
    # An untrained network's maps are nearly flat: in a few, another cell is the highest after rounding.
    moved = (others[0].cpu() - joints).abs().amax(-1) > 0.05
    assert moved.float().mean() <= 0.05
    torch.testing.assert_close(others[1].cpu(), confidence, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, device):
    function, arguments = LOSSES[name]
    results = []
    for where in (torch.device("cpu"), device):
        learnt, *rest = (value.to(where) for value in arguments())
        loss = function(learnt.requires_grad_(), *rest)
        results.append((loss, *torch.autograd.grad(loss, learnt)))
    for mine, other in zip(*results, strict=True):
        near(other, mine, LAYER)


@pytest.mark.parametrize("size", [None, 32])
def test_augmentation(size, batch, device):
    ranges = Augmentation(0.25, 30, 0.05, 0.2, 0.5, 0.2, 0.2, 0.2)
    changes = ranges.draw(len(batch), torch.Generator().manual_seed(0))
    here = augment(batch, changes, MPII, size)
    there = augment(batch.to(device), changes, MPII, size)
    # A position on a pixel's edge rounds to either side: an image's colours move by less than a level of 255.
    torch.testing.assert_close(there.images.cpu(), here.images, atol=2e-3, rtol=0)
    for name in ("joints", "people_joints"):
        torch.testing.assert_close(getattr(there, name).cpu(), getattr(here, name), atol=1e-3, rtol=0)
    for name in ("head_size", "torso_size", "people_head_size"):
        near(getattr(there, name), getattr(here, name), LAYER)
    for name in ("presence", "people_presence", "index"):
        same(getattr(there, name), getattr(here, name))
    # The nearest label of a position halfway between two is either.
    for name in ("parsing", "instances"):
        same(getattr(there, name), getattr(here, name), 0.995)


def test_masking(batch, device):
    masking = KeypointMasking(1.0, 1.0)
    numbers = masking.draw(len(batch), torch.Generator().manual_seed(0))
    here = masking.apply(batch, numbers, MPII)
    there = masking.apply(batch.to(device), numbers, MPII)
    for name in ("images", "presence", "people_presence"):
        torch.testing.assert_close(getattr(there, name).cpu(), getattr(here, name), rtol=0, atol=0)


@pytest.mark.parametrize("options", [{"people": 1}, {"people": 3}, {"people": 1, "occluded": 0.3}], ids=str)
@pytest.mark.parametrize("difficulty", ["life", "plain"])
def test_rendered_people(options, difficulty, device):
    """The same people but for rounding, which decides who wins a pixel on an edge and which pose is plausible.

    So a person in a hundred may be another, and a pixel in two hundred may show something else.
    """
    if difficulty == "plain" and "occluded" in options:
        pytest.skip("a plain scene has nothing that hides a joint")
    here, there = (
        Figures("train", SIZE, where, difficulty=difficulty, **options).batch(torch.arange(128))
        for where in ("cpu", device)
    )
    assert there.images.device == device
    agree = (there.joints.cpu() - here.joints).abs().flatten(1).amax(1) < 0.01
    assert agree.float().mean() >= 0.99
    here, there = here[agree], there.to("cpu")[agree]
    differ = (there.images - here.images).abs().amax(1) > 1 / 255
    assert differ.float().mean() <= 0.005
    for name in ("parsing", "instances"):
        same(getattr(there, name), getattr(here, name), 0.995)
    same(there.presence, here.presence, 0.995)
    same(there.index, here.index)
    same(there.tags, here.tags, 0.99)
    near(there.head_size, here.head_size, LAYER)
    near(there.torso_size, here.torso_size, LAYER)
    if here.people_joints is not None:
        near(there.people_joints, here.people_joints, LAYER)
        same(there.people_presence, here.people_presence, 0.995)


@pytest.mark.parametrize("corrected", [False, True])
def test_mutual_information(corrected, device):
    prior = PosePrior.load()
    poses = prior.sample(random.keys("test", torch.arange(3000), seed=0), candidates=1)
    # Sixty-fourths are exact on both, and so is the box's middle: no joint is on a cell's edge on one of them alone.
    poses = (64 * poses).round() / 64
    here = mutual_information(poses, window=2.0, corrected=corrected)
    there = mutual_information(poses.to(device), window=2.0, corrected=corrected)
    assert there.device == device
    # A place that is divided by the pose's side may still cross a cell's edge, for a pose in some thousands.
    torch.testing.assert_close(there.cpu(), here, atol=2e-3, rtol=0)
    assert spectral_groups(there) == spectral_groups(here)


@pytest.mark.parametrize("last", [False, True], ids=["channels_first", "channels_last"])
@pytest.mark.parametrize("shape", [(4, 8, 16, 3), (4, 8, 16, 7), (1, 8, 16, 5), (2, 16, 64, 15)], ids=str)
def test_adaptive_convolution(shape, last, device):
    b, c, cells, side = shape
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(b, c, n, n, generator=generator) for n in (cells, side, cells)]
    results = []
    for where in (torch.device("cpu"), device):
        features, kernels, gradient = (value.to(where) for value in drawn)
        features = features.to(memory_format=torch.channels_last) if last else features
        leaves = features.requires_grad_(), kernels.requires_grad_()
        maps = dynamic_depthwise_conv2d(*leaves)
        results.append((maps, *torch.autograd.grad(maps, leaves, gradient)))
    for mine, other in zip(*results, strict=True):
        near(other, mine, LAYER)


@pytest.mark.parametrize("order", ["paper", "official"])
def test_adaptive_layer_in_bfloat16(order, device):
    """Under autocast, as networks run it: bfloat16 keeps eight bits, which is 0.4 % a product."""
    generator = torch.Generator().manual_seed(0)
    features, kernels = (torch.randn(2, 16, n, n, generator=generator) for n in (32, 7))
    layer = AdaptiveConv(16, order=order).eval()
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        there = copy.deepcopy(layer).to(device)(features.to(device), kernels.to(device))
    with torch.no_grad():
        near(there.float(), layer(features, kernels), 0.03)


def test_depthwise_convolution(device):
    generator = torch.Generator().manual_seed(0)
    x, gradient = (torch.randn(4, 24, 12, 12, generator=generator) for _ in range(2))
    layer, results = DepthwiseConv(24, 5), []
    for where in (torch.device("cpu"), device):
        moved, features = copy.deepcopy(layer).to(where), x.to(where).requires_grad_()
        maps = moved(features)
        results.append((maps, *torch.autograd.grad(maps, (features, moved.weight), gradient.to(where))))
    for mine, other in zip(*results, strict=True):
        near(other, mine, LAYER)


@pytest.mark.parametrize("ramps", ["centres", "paper", "official"])
def test_soft_argmax(ramps, device):
    generator = torch.Generator().manual_seed(0)
    drawn, temperature = 5 * torch.randn(4, 16, 24, 16, generator=generator), torch.full((16,), 0.7)
    results = []
    for where in (torch.device("cpu"), device):
        leaves = drawn.to(where).requires_grad_(), temperature.to(where).requires_grad_()
        places = soft_argmax(*leaves, ramps)
        results.append((places, *torch.autograd.grad(places[..., 0].sum(), leaves)))
    for mine, other in zip(*results, strict=True):
        near(other, mine, LAYER)


def test_several_people(batch, device):
    """Targets, their peaks, and the people put together from them."""
    codec, there = PeopleCodec(HeatmapCodec(SIZE, offset="parabola")), batch.to(device)
    targets = codec.encode(batch.people_joints, batch.people_presence)
    others = codec.encode(there.people_joints, there.people_presence)
    near(others.maps, targets.maps, LAYER)
    # At the edge of what is learnt, a cell may be in or out.
    same(others.mask, targets.mask, 0.999)
    near(others.offsets, targets.offsets, 1e-2)
    here = codec.decode(targets.maps, targets.offsets)
    found = codec.decode(targets.maps.to(device), targets.offsets.to(device))
    assert [len(some) for some in found] == [len(some) for some in here]
    for mine, other in zip(here, found, strict=True):
        torch.testing.assert_close(other.joints, mine.joints, atol=1e-3, rtol=0, equal_nan=True)


@pytest.mark.parametrize("bf16", [False, True])
def test_training_and_what_it_is_scored_by(bf16, device, tmp_path):
    """A run in two parts, all options on; losses go the CPU's way, by 1 % in float32 and by 10 % in bfloat16."""
    recipe = Recipe(
        steps=6, batch_size=8, learning_rate=2e-4, clip=5.0, ema=0.9, bf16=bf16, log_every=1, validation_images=32
    )
    options = {"augmentation": Augmentation(0.1, 10, flip=0.5, brightness=0.1), "progress": False}
    kept, losses = [], []
    for where in (torch.device("cpu"), device):
        held_out = Figures("validation", SIZE, where)
        model, folder = network("hourglass"), tmp_path / f"{where.type}_{len(kept)}"
        options |= {"optimizer": partial(torch.optim.Adam, fused=True), "validation": held_out, "output": folder}
        stopped = Stop(3)
        with pytest.raises(Stopped):
            train(model, Figures("train", SIZE, where), replace(recipe, save_every=1), callback=stopped, **options)
        run = train(network("hourglass"), Figures("train", SIZE, where), replace(recipe, save_every=1), **options)
        assert run.step == 6
        losses.append(torch.tensor([row["loss"] for row in run.history["training"]]))
        kept.append(run.history["validation"][-1]["score"])
        found, _, truth = evaluate(model.to(where), held_out, 16, batch_size=8)
        assert 0 <= float(pckh(found, truth).mean) <= 1
    torch.testing.assert_close(losses[1], losses[0], rtol=0.1 if bf16 else 0.01, atol=0)
    assert abs(kept[1] - kept[0]) < 0.1


class Stopped(Exception):
    pass


class Stop:
    """A callback that stops a run at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, run) -> None:
        if run.step >= self.step:
            raise Stopped
