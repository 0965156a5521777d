from __future__ import annotations

import json

import pytest
import torch

from posebook.compute.precision import autocast, channels_last
from posebook.network import settings_of
from posebook.papers import NAMES, create, parse_settings
from posebook.papers.hourglass.network import Hourglass
from toy import people

SMALL = {"joints": 5, "size": 32, "stacks": 2, "features": 16, "depth": 2}


def small(**changes) -> Hourglass:
    torch.manual_seed(0)
    return create("hourglass", **{**SMALL, **changes})


def parameters(**settings) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in create("hourglass", **settings).parameters())


def test_eight_stacks_have_newells_number_of_parameters():
    assert 25e6 < parameters(stacks=8, features=256) < 27e6


def test_stacks_and_units_add_the_same_each_time():
    one, two, three = (parameters(stacks=stacks) for stacks in (1, 2, 3))
    assert three - two == two - one > 0
    one, two, three = (parameters(units=units) for units in (1, 2, 3))
    assert three - two == two - one > 0


@pytest.mark.parametrize(
    "changes", [{}, {"stacks": 1}, {"units": 2}, {"depth": 1}, {"size": 64, "depth": 3}, {"joints": 16}]
)
def test_every_stack_gives_a_map_a_joint_at_a_quarter_of_the_size(changes):
    model = small(**changes)
    settings = model.settings
    outputs = model(torch.rand(2, 3, settings["size"], settings["size"]))
    cells = settings["size"] // 4
    assert outputs.shape == (2, settings["stacks"], settings["joints"], cells, cells)
    joints, confidence = model.decode(outputs)
    assert joints.shape == (2, settings["joints"], 2)
    assert confidence.shape == (2, settings["joints"])


def test_settings_make_the_same_network_again():
    model = small(sigma=1.5)
    again = create("hourglass", **json.loads(json.dumps(model.settings)))
    again.load_state_dict(model.state_dict())
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(again.eval()(images), model.eval()(images))
    assert again.settings == model.settings
    assert set(model.settings) == set(settings_of(Hourglass))


def test_loss_is_the_sum_of_its_stacks_and_zero_for_perfect_maps():
    model, batch = small(), people(3, 32, 5)
    loss, terms = model.loss(model(batch.images), batch)
    assert list(terms) == ["stack_1", "stack_2"]
    torch.testing.assert_close(loss, sum(terms.values()))
    perfect = model.codec.encode(batch.joints, batch.presence)[:, None].expand(-1, 2, -1, -1, -1)
    assert model.loss(perfect, batch)[0] == 0
    only_last = torch.stack([torch.zeros_like(perfect[:, 0]), perfect[:, 1]], 1)
    _, terms = model.loss(only_last, batch)
    assert terms["stack_1"] > 1
    assert terms["stack_2"] == 0


def test_decode_reads_the_last_stack():
    model, batch = small(), people(3, 32, 5)
    perfect = model.codec.encode(batch.joints, batch.presence)
    joints, confidence = model.decode(torch.stack([torch.rand_like(perfect), perfect], 1))
    assert (joints - batch.joints).abs().max() <= 4 / 4 + 1e-4
    assert (confidence > 0.7).all()


def test_loss_reaches_every_parameter_and_supervision_is_intermediate():
    model, batch = small(), people(2, 32, 5)
    loss, terms = model.loss(model(batch.images), batch)
    ends = [model.to_maps[0].weight, model.to_maps[1].weight]
    first, last = torch.autograd.grad(terms["stack_1"], ends, retain_graph=True)
    assert first.any()
    assert not last.any()
    loss.backward()
    # A bias that a batch norm follows is taken out again, so only the weights must move.
    still = [name for name, p in model.named_parameters() if p.dim() > 1 and not p.grad.abs().max() > 0]
    assert still == []


def test_later_stacks_build_on_earlier_maps():
    model = small().eval()
    images = torch.rand(1, 3, 32, 32)
    before = model(images)
    with torch.no_grad():
        model.to_maps[0].weight.mul_(2)
    after = model(images)
    assert not torch.allclose(before[:, 1], after[:, 1])


def test_it_learns_a_few_images_by_heart():
    batch = people(4, 32, 5)
    model = small(stacks=1)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        loss, _ = model.loss(model(batch.images), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    joints, _ = model.decode(model(batch.images).detach())
    assert (joints - batch.joints).norm(dim=-1).median() < 2


def test_bfloat16_and_channels_last_are_the_same_network():
    model, images = small().eval(), torch.rand(2, 3, 32, 32)
    plain = model(images)
    with autocast("cpu", True):
        fast = channels_last(model)(channels_last(images))
    assert fast.dtype == torch.float32
    assert (fast - plain).abs().max() < 0.05 * plain.abs().max()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 200}, "size is 200.*multiple of 64"),
        ({"size": 0}, "size is 0; give a whole number of at least 1"),
        ({"stacks": 0}, "stacks is 0"),
        ({"units": -1}, "units is -1"),
        ({"depth": 0}, "depth is 0"),
        ({"joints": 1.5}, r"joints is 1\.5"),
        ({"features": 30}, "features is 30; give a multiple of 4"),
        ({"sigma": 0.0}, r"sigma is 0\.0"),
        ({"sigma": float("nan")}, "sigma is nan"),
        ({"stack": 2}, "no setting 'stack'; it has joints, size, stacks"),
    ],
)
def test_bad_settings_are_named(changes, message, unchecked):
    with pytest.raises(ValueError, match=message):
        create("hourglass", **changes)


@pytest.fixture
def unchecked():
    """Outside the tests nothing checks annotations, so that wrong types reach the network's own check."""
    from jaxtyping import config

    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def test_unknown_model_is_named():
    assert "hourglass" in NAMES
    with pytest.raises(ValueError, match=f"no model is called 'hourglas'; there are {', '.join(NAMES)}"):
        create("hourglas")


def test_settings_are_read_from_text():
    assert parse_settings("hourglass", ["stacks=3", "sigma=1.5"]) == {"stacks": 3, "sigma": 1.5}
    for text, message in [
        ("stacks", "'stacks' sets nothing; write it as name=value"),
        ("stacks=two", "'stacks' is 'two'; give a whole number"),
        ("sigma=wide", "'sigma' is 'wide'; give a number"),
        ("stack=2", "no setting 'stack'"),
    ]:
        with pytest.raises(ValueError, match=message):
            parse_settings("hourglass", [text])
