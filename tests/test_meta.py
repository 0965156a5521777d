"""Networks, losses and augmentation where tensors have shapes alone: one that is made on the wrong device fails here.

Rendered people cannot be drawn there: how much there is to paint depends on the people.
"""

from __future__ import annotations

import inspect

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gpu.cases import LOSSES, NETWORKS, network, people
from posebook import losses
from posebook.association import PeopleCodec
from posebook.coordinates import HeatmapCodec
from posebook.network import finds_joints, parses
from posebook.papers import NAMES
from posebook.papers.parsing_induced.network import VARIANTS
from posebook.sample import Sample
from posebook.skeleton import MPII
from posebook.training.augment import Augmentation, augment
from posebook.training.masking import KeypointMasking


class OneDevice(TorchDispatchMode):
    """AssertionError where an operation is given the meta device's tensors together with a CPU's, or gives a CPU's.

    torch itself lets some such pairs pass on the meta device, an index and what it is an index of among them, and a
    GPU would wait for each. Numbers without a shape are let through, as they are on a GPU.
    """

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor) and leaf.dim()]
        devices = {leaf.device.type for leaf in given}
        # What copies from one device to the other is what it is for.
        copies = function.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
        assert copies or len(devices) <= 1, f"{function} is given tensors of {' and '.join(sorted(devices))}"
        return out


@pytest.fixture(scope="module")
def batch() -> Sample:
    return people(4)


def values(sample: Sample) -> dict[str, torch.Tensor]:
    return {name: value for name, value in vars(sample).items() if value is not None}


def test_every_network_variant_and_loss_is_among_the_cases():
    assert {name for name, _ in NETWORKS.values()} == set(NAMES)
    parsing = [settings for name, settings in NETWORKS.values() if name == "parsing_induced"]
    assert {settings.get("variant", "pil") for settings in parsing} == set(VARIANTS)
    public = {
        name
        for name, function in inspect.getmembers(losses, inspect.isfunction)
        if function.__module__ == losses.__name__ and not name.startswith("_")
    }
    assert public == set(LOSSES)


@pytest.mark.parametrize("case", NETWORKS)
def test_networks(case, batch):
    model, there = network(case).to("meta").train(), batch.to("meta")
    with OneDevice():
        outputs = model(there.images)
        loss, terms = model.loss(outputs, there)
        loss.backward()
        found = [loss, *terms.values()]
        if finds_joints(model):
            joints, confidence = model.decode(outputs)
            assert joints.shape == (4, 16, 2)
            found += [joints, confidence]
        if parses(model):
            found.append(model.labels(outputs))
            assert found[-1].shape == (4, 64, 64)
    assert {value.device.type for value in found} == {"meta"}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(p.grad is not None and p.grad.device.type == "meta" for p in trained)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    function, arguments = LOSSES[name]
    learnt, *rest = (value.to("meta") for value in arguments())
    with OneDevice():
        loss = function(learnt.requires_grad_(), *rest)
        (gradient,) = torch.autograd.grad(loss, learnt)
    assert loss.shape == ()
    assert gradient.shape == learnt.shape
    assert {loss.device.type, gradient.device.type} == {"meta"}


@pytest.mark.parametrize("size", [None, 32])
def test_augmentation(size, batch):
    ranges = Augmentation(0.25, 30, 0.05, 0.2, 0.5, 0.2, 0.2, 0.2)
    # Drawn on the CPU, as training does it.
    changes = ranges.draw(len(batch), torch.Generator().manual_seed(0))
    there = batch.to("meta")
    with OneDevice():
        changed = augment(there, changes, MPII, size)
    here = augment(batch, changes, MPII, size)
    assert {name: value.shape for name, value in values(changed).items()} == {
        name: value.shape for name, value in values(here).items()
    }
    assert {value.device.type for value in values(changed).values()} == {"meta"}


def test_masking(batch):
    masking = KeypointMasking(1.0, 1.0)
    numbers = masking.draw(len(batch), torch.Generator().manual_seed(0))
    there = batch.to("meta")
    with OneDevice():
        changed = masking.apply(there, numbers, MPII)
    assert {name: value.shape for name, value in values(changed).items()} == {
        name: value.shape for name, value in values(batch).items()
    }
    assert {value.device.type for value in values(changed).values()} == {"meta"}


def test_targets_of_several_people(batch):
    there = batch.to("meta")
    with OneDevice():
        targets = PeopleCodec(HeatmapCodec(batch.size)).encode(there.people_joints, there.people_presence)
        found = PeopleCodec(HeatmapCodec(batch.size)).candidates(targets.maps, targets.offsets)
    assert {value.device.type for value in (*vars(targets).values(), *vars(found).values())} == {"meta"}


def test_a_tensor_on_the_wrong_device_fails():
    there, here = torch.zeros(4, 3, device="meta"), torch.zeros(4, 3)
    with OneDevice(), pytest.raises((AssertionError, RuntimeError)):
        there + here
    with OneDevice(), pytest.raises((AssertionError, RuntimeError)):
        there[:, torch.tensor([2, 0, 1])]
