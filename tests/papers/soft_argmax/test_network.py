from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from posebook.compute.precision import autocast, channels_last
from posebook.coordinates import pixel_centres
from posebook.evaluation.describe import describe
from posebook.layers.soft_argmax import soft_argmax
from posebook.losses import elastic_net, presence_cross_entropy
from posebook.network import settings_of
from posebook.papers import create, load_weights
from posebook.papers.soft_argmax.network import BlockA, BlockB, SoftArgmax, SoftArgmaxDetection, Stem, aggregate
from posebook.sample import Sample
from posebook.training.checkpoint import save_weights

SMALL = {"joints": 4, "size": 32, "blocks": 2, "features": 36}


def small(name: str = "soft_argmax", **changes) -> nn.Module:
    torch.manual_seed(0)
    return create(name, **{**SMALL, **changes})


def people(count: int = 4, size: int = 32, joints: int = 4) -> Sample:
    generator = torch.Generator().manual_seed(0)
    return Sample(
        images=torch.rand(count, 3, size, size, generator=generator),
        joints=4 + (size - 8) * torch.rand(count, joints, 2, generator=generator),
        presence=torch.full((count, joints), 2, dtype=torch.uint8),
        head_size=torch.full((count,), 5.0),
        torso_size=torch.full((count,), 10.0),
        index=torch.arange(count),
    )


def some_maps(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "changes",
    [{}, {"blocks": 1}, {"blocks": 3}, {"context": 0}, {"context": 5}, {"size": 64}, {"features": 72}, {"kernel": 3},
     {"joints": 16}],
)  # fmt: skip
def test_every_block_gives_a_joint_its_maps_at_an_eighth_of_the_size(changes):
    model = small(**changes).eval()
    settings = model.settings
    with torch.no_grad():
        outputs = model(torch.rand(2, 3, settings["size"], settings["size"]))
    maps, cells = 1 + settings["context"], settings["size"] // 8
    assert outputs.shape == (2, settings["blocks"], settings["joints"], maps, cells, cells)
    joints, confidence = model.decode(outputs)
    assert joints.shape == (2, settings["joints"], 2)
    assert ((joints > 0) & (joints < settings["size"])).all()
    assert ((confidence > 0) & (confidence < 1)).all()


@pytest.mark.parametrize("changes", [{}, {"blocks": 3, "size": 64}])
def test_detection_gives_one_map_a_joint(changes):
    model = small("soft_argmax_detection", **changes).eval()
    settings = model.settings
    with torch.no_grad():
        outputs = model(torch.rand(2, 3, settings["size"], settings["size"]))
    cells = settings["size"] // 8
    assert outputs.shape == (2, settings["blocks"], settings["joints"], cells, cells)
    assert torch.equal(model.maps(outputs), outputs[:, -1])


def test_the_papers_network_has_its_number_of_parameters_and_is_described():
    with torch.device("meta"):
        model = create("soft_argmax")
    description = describe(model)
    assert description["parameters"] == 15_435_936
    shapes = {part["name"]: part["output"] for part in description["parts"]}
    assert list(shapes) == ["stem", *(f"blocks.{number}" for number in range(8))]
    assert shapes["stem"] == [1, 576, 32, 32]
    assert shapes["blocks.6"] == [[1, 576, 32, 32], [1, 48, 32, 32]]
    assert shapes["blocks.7"] == [None, [1, 48, 32, 32]]


def test_blocks_and_context_add_the_same_each_time():
    def parameters(**changes) -> int:
        return sum(p.numel() for p in small(**changes).parameters())

    one, two, three = (parameters(blocks=blocks) for blocks in (1, 2, 3))
    assert three - two == two - one > 0
    none, first, second = (parameters(context=context, blocks=2) for context in (0, 1, 2))
    # A map more a joint: weights and bias to it from both blocks, and weights back from all but the last.
    assert second - first == first - none == 4 * (2 * (36 + 1) + 36)


def test_parts_keep_their_shapes():
    x = torch.rand(2, 36, 8, 12)
    assert Stem(36)(torch.rand(2, 3, 64, 64)).shape == (2, 36, 8, 8)
    assert BlockA(36)(x).shape == x.shape
    features, maps = BlockB(36, 7)(x)
    assert features.shape == x.shape
    assert maps.shape == (2, 7, 8, 12)
    features, maps = BlockB(36, 7, last=True)(x)
    assert features is None
    assert maps.shape == (2, 7, 8, 12)


def test_the_stem_has_the_authors_widths():
    shapes = {}
    with torch.device("meta"):
        stem, images = Stem(576), torch.zeros(1, 3, 256, 256)
    for name, part in stem.named_children():
        part.register_forward_hook(lambda _, inputs, output, name=name: shapes.update({name: tuple(output.shape[1:])}))
    stem(images)
    assert shapes == {
        "entry": (64, 128, 128), "pool1": (64, 64, 64), "conv1": (96, 64, 64), "short": (96, 64, 64),
        "long": (96, 64, 64), "pool2": (192, 32, 32), "conv2": (192, 32, 32), "residual": (576, 32, 32),
    }  # fmt: skip


def test_a_peak_at_a_cells_centre_is_that_pixel():
    model = small(context=0)
    outputs = torch.full((1, 2, 4, 1, 4, 4), -30.0)
    for joint, (row, column) in enumerate([(0, 0), (1, 2), (3, 0), (3, 3)]):
        outputs[:, -1, joint, 0, row, column] = 30.0
    joints, confidence = model.decode(outputs)
    torch.testing.assert_close(joints[0], torch.tensor([[4.0, 4.0], [20.0, 12.0], [4.0, 28.0], [28.0, 28.0]]))
    torch.testing.assert_close(confidence, torch.ones(1, 4))


def test_only_the_last_block_is_decoded():
    model, outputs = small(), some_maps(3, 2, 4, 3, 4, 4)
    places, logits = model.regress(outputs[:, 1])
    joints, confidence = model.decode(outputs)
    assert torch.equal(joints, 32 * places)
    assert torch.equal(confidence, logits.sigmoid())
    changed = outputs.clone()
    changed[:, 0] = some_maps(3, 4, 3, 4, 4, seed=1)
    assert torch.equal(model.decode(changed)[0], joints)


def test_regression_of_one_joint_by_hand():
    model, maps = small(alpha=0.7), some_maps(4, 3, 4, 4)
    places, logits = model.regress(maps)
    for joint in range(4):
        part, *context = soft_argmax(maps[joint])
        assert logits[joint] == maps[joint, 0].max()
        chances = [1 / (1 + math.exp(-maps[joint, number].max().item())) for number in (1, 2)]
        mean = (chances[0] * context[0] + chances[1] * context[1]) / sum(chances)
        torch.testing.assert_close(places[joint], 0.7 * part + 0.3 * mean)


def test_aggregation_by_hand():
    places = torch.tensor([[[0.2, 0.4], [0.6, 0.8], [0.0, 1.0]]])
    found = aggregate(places, torch.tensor([[0.9, 0.75, 0.25]]), 0.8)
    # Context: 0.75 (0.6, 0.8) + 0.25 (0, 1) = (0.45, 0.85).
    torch.testing.assert_close(found, torch.tensor([[0.8 * 0.2 + 0.2 * 0.45, 0.8 * 0.4 + 0.2 * 0.85]]))
    assert torch.equal(aggregate(places[:, :1], torch.tensor([[0.9]]), 0.8), places[:, 0])


def test_alpha_of_1_is_no_context():
    maps = some_maps(2, 2, 4, 3, 4, 4)
    with_context, without = small(alpha=1.0), small(context=0)
    for ours, theirs in zip(with_context.regress(maps), without.regress(maps[..., :1, :, :]), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_ramps_shift_by_half_a_cell():
    maps = some_maps(2, 4, 3, 4, 4)
    centres, paper = (small(ramps=ramps).regress(maps)[0] for ramps in ("centres", "paper"))
    torch.testing.assert_close(paper - centres, torch.full_like(centres, 0.125))


def test_loss_is_the_sum_over_blocks_of_its_two_terms():
    model, batch = small(presence_weight=0.3), people()
    batch = replace(batch, presence=torch.tensor([[0, 1, 2, 2]], dtype=torch.uint8).expand(4, 4))
    outputs = some_maps(4, 2, 4, 3, 4, 4)
    loss, terms = model.loss(outputs, batch)
    assert list(terms) == ["place_1", "presence_1", "place_2", "presence_2"]
    for number in (1, 2):
        places, logits = model.regress(outputs[:, number - 1])
        torch.testing.assert_close(terms[f"place_{number}"], elastic_net(places, batch.joints / 32, batch.presence))
        torch.testing.assert_close(terms[f"presence_{number}"], presence_cross_entropy(logits, batch.presence))
    torch.testing.assert_close(
        loss, terms["place_1"] + terms["place_2"] + 0.3 * (terms["presence_1"] + terms["presence_2"])
    )


@pytest.mark.parametrize("name", ["soft_argmax", "soft_argmax_detection"])
def test_mean_over_halves_is_the_loss_of_the_whole(name):
    model, batch = small(name).eval(), people()
    presence = batch.presence.clone()
    presence[:2] = 0  # one half has no joint at all
    batch = replace(batch, presence=presence)
    with torch.no_grad():
        outputs = model(batch.images)
        halves = [model.loss(outputs[part], batch[torch.arange(4)[part]])[0] for part in (slice(0, 2), slice(2, 4))]
        torch.testing.assert_close(torch.stack(halves).mean(), model.loss(outputs, batch)[0])


@pytest.mark.parametrize("name", ["soft_argmax", "soft_argmax_detection"])
def test_absent_joints_have_no_place_whatever_they_hold(name):
    model, batch = small(name), people()
    presence = batch.presence.clone()
    presence[:, 1] = 0
    losses, gradients = [], []
    for nonsense in (math.nan, 7.0):
        joints = batch.joints.clone()
        joints[:, 1] = nonsense
        outputs = model(batch.images).detach().requires_grad_()
        loss, _ = model.loss(outputs, replace(batch, joints=joints, presence=presence))
        loss.backward()
        losses.append(loss.detach())
        gradients.append(outputs.grad)
    torch.testing.assert_close(*losses, atol=0, rtol=0)
    torch.testing.assert_close(*gradients, atol=0, rtol=0)
    assert gradients[0].isfinite().all()
    if name == "soft_argmax":  # the presence alone reaches the part-based map, at its highest cell
        assert not gradients[0][:, :, 1, 1:].any()
        assert (gradients[0][:, :, 1, 0] != 0).flatten(-2).sum(-1).eq(1).all()
    else:
        assert not gradients[0][:, :, 1].any()


def test_loss_reaches_every_parameter_and_supervision_is_intermediate():
    model, batch = small(), people()
    loss, terms = model.loss(model(batch.images), batch)
    ends = [block.b.to_maps.weight for block in model.blocks]
    first, last = torch.autograd.grad(terms["place_1"], ends, retain_graph=True, allow_unused=True)
    assert first.any()
    assert last is None or not last.any()
    loss.backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


@pytest.mark.parametrize("name", ["soft_argmax", "soft_argmax_detection"])
def test_it_learns_a_few_images_by_heart(name):
    model, batch = small(name, blocks=1), people()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(30):
        loss, _ = model.loss(model(batch.images), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_bfloat16_and_channels_last_are_the_same_network():
    model, images = small().eval(), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        plain = model(images)
        with autocast("cpu", True):
            fast = channels_last(model)(channels_last(images))
            joints, _ = model.decode(fast)
    assert fast.dtype == joints.dtype == torch.float32
    assert (fast - plain).abs().max() < 0.05 * plain.abs().max()


def test_detection_is_read_and_supervised_by_its_codec():
    model, batch = small("soft_argmax_detection", size=64, sigma=1.5, offset="parabola"), people(size=64)
    assert (model.codec.size, model.codec.stride, model.codec.sigma) == (64, 8, 1.5)
    perfect = model.codec.encode(batch.joints, batch.presence)[:, None].expand(-1, 2, -1, -1, -1)
    assert model.loss(perfect, batch)[0] == 0
    blank = torch.stack([torch.zeros_like(perfect[:, 0]), perfect[:, 1]], 1)
    _, terms = model.loss(blank, batch)
    assert terms["stack_1"] > 1
    assert terms["stack_2"] == 0
    joints, _ = model.decode(blank)
    inner = ((batch.joints > 8) & (batch.joints < 56)).all(-1)
    assert inner.any()
    assert (joints - batch.joints)[inner].abs().max() < 0.01
    rough = small("soft_argmax_detection", size=64, sigma=1.5, offset="none")
    assert ((rough.decode(blank)[0] - 4) % 8 == 0).all()


def test_soft_argmax_of_a_gaussians_logarithm_is_finer_than_a_quarter_of_a_cell():
    # The same maps, read by the network and by the detection variant.
    joints = 40 + 48 * torch.rand(1, 4, 2, generator=torch.Generator().manual_seed(3))
    offset = pixel_centres(16) - joints[..., None] / 8  # (1, 4, 2, 16)
    maps = -0.5 * (offset[..., 1, :, None].square() + offset[..., 0, None, :].square())
    soft, hard = small(size=128, context=0), small("soft_argmax_detection", size=128)
    assert (soft.decode(maps[:, None, :, None])[0] - joints).abs().max() < 0.05
    assert (hard.decode(maps.exp()[:, None])[0] - joints).abs().max() > 0.5


@pytest.mark.parametrize("name", ["soft_argmax", "soft_argmax_detection"])
def test_weights_bring_the_network_back(name, tmp_path):
    model = small(name, joints=16).eval()
    path = save_weights(tmp_path / "w", model, name, "mpii", {"steps": 1})
    again, about = load_weights(path)
    assert again.settings == json.loads(json.dumps(model.settings)) == about["settings"]
    assert set(model.settings) == set(settings_of(type(model)))
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(images), model(images))


COMMON = [
    ({"joints": 0}, "joints is 0; give a whole number of at least 1"),
    ({"joints": True}, "joints is True"),
    ({"size": 48}, "size is 48; give a multiple of 32"),
    ({"size": 32.0}, r"size is 32\.0; give a whole number"),
    ({"blocks": 0}, "blocks is 0"),
    ({"features": 64}, "features is 64; give a multiple of 36"),
    ({"kernel": 4}, "kernel is 4; give an odd number"),
]
BAD = [(name, *case) for name in ("soft_argmax", "soft_argmax_detection") for case in COMMON] + [
    ("soft_argmax", {"context": -1}, "context is -1; give the context maps per joint, 0 or more"),
    ("soft_argmax", {"context": 1.0}, r"context is 1\.0"),
    ("soft_argmax", {"context": True}, "context is True"),
    ("soft_argmax", {"alpha": 0.0}, r"alpha is 0\.0; give the part of the part-based maps, above 0 up to 1"),
    ("soft_argmax", {"alpha": 1.5}, r"alpha is 1\.5"),
    ("soft_argmax", {"presence_weight": -0.1}, r"presence_weight is -0\.1; give a weight, 0 or more"),
    ("soft_argmax", {"presence_weight": math.nan}, "presence_weight is nan"),
    ("soft_argmax", {"ramps": "corners"}, "ramps is 'corners'; give centres, paper, official"),
    (
        "soft_argmax_detection",
        {"sigma": 0.0},
        r"sigma is 0\.0; give the Gaussians' standard deviation in cells, above 0",
    ),
    ("soft_argmax_detection", {"sigma": math.inf}, "sigma is inf"),
    ("soft_argmax_detection", {"offset": "half"}, "offset must be 'none', 'quarter' or 'parabola', not 'half'"),
    ("soft_argmax_detection", {"context": 2}, "no setting 'context'; it has joints, size, blocks"),
]


@pytest.mark.parametrize(("name", "changes", "message"), BAD)
def test_bad_settings_are_named(name, changes, message, unchecked):
    with pytest.raises(ValueError, match=message):
        create(name, **{**SMALL, **changes})


@pytest.fixture
def unchecked():
    """Outside the tests nothing checks annotations, so that wrong types reach the network's own check."""
    from jaxtyping import config

    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def test_the_two_share_stem_and_blocks():
    regression, detection = small(context=0), small("soft_argmax_detection")
    assert isinstance(regression, SoftArgmax)
    assert isinstance(detection, SoftArgmaxDetection)
    assert list(regression.state_dict()) == list(detection.state_dict())
    regression.load_state_dict(detection.state_dict())
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(regression.eval()(images)[..., 0, :, :], detection.eval()(images))
