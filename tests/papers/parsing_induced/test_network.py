from __future__ import annotations

import pytest
import torch
from torch import nn

from posebook.association import PeopleCodec
from posebook.datasets import open_dataset
from posebook.evaluation.describe import describe
from posebook.evaluation.inference import evaluate, evaluate_people, predict
from posebook.layers.vgg import VGG16
from posebook.losses import heatmap_mse, offset_loss, parsing_cross_entropy
from posebook.papers import create
from posebook.papers.parsing_induced.network import VARIANTS, ParameterAdapter, kernel_side
from posebook.skeleton import PARTS

SMALL = {"size": 64, "stacks": 1, "features": 16, "depth": 2, "parsing_units": 1, "poolings": 1}


@pytest.fixture(scope="module")
def batch():
    return open_dataset("figures", "train", size=64).batch(torch.arange(4))


def small(variant: str = "pil", **settings) -> nn.Module:
    torch.manual_seed(0)
    return create("parsing_induced", **SMALL | {"variant": variant} | settings)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("backbone", ["hourglass", "vgg16"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_learns_with_all_of_its_weights(batch, variant, backbone):
    # 64 pixels at stride 8 are 8 cells, of which the adapter makes 3x3 kernels without its poolings.
    network = small(variant, backbone=backbone, poolings=1 if backbone == "hourglass" else 0)
    outputs = network(batch.images)
    cells = 16 if backbone == "hourglass" else 8
    assert outputs.maps.shape == (4, 1, 16, cells, cells)
    loss, terms = network.loss(outputs, batch)
    assert set(terms) == ({"pose", "parsing"} if variant in ("pil", "add", "multi", "concat", "mtl") else {"pose"})
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    joints, confidence = network.decode(outputs)
    assert joints.shape == (4, 16, 2)
    assert confidence.shape == (4, 16)


def test_the_loss_is_that_of_equation_2(batch):
    network = small(stacks=2, beta=0.3)
    outputs = network(batch.images)
    target = network.codec.encode(batch.joints, batch.presence)
    pose = sum(heatmap_mse(outputs.maps[:, stack], target, batch.presence) for stack in range(2))
    parsing = parsing_cross_entropy(outputs.parsing, batch.parsing)
    loss, terms = network.loss(outputs, batch)
    torch.testing.assert_close(loss, pose + 0.3 * parsing)
    torch.testing.assert_close(terms["parsing"], parsing)


def test_pixels_without_a_label_cost_nothing_and_a_batch_is_the_mean_of_its_halves():
    torch.manual_seed(0)
    logits = torch.randn(4, 20, 4, 4)
    labels = torch.randint(0, 20, (4, 16, 16), dtype=torch.uint8)
    labels[0] = 255
    labels[2, :8] = 255
    whole = parsing_cross_entropy(logits, labels)
    halves = (parsing_cross_entropy(logits[:2], labels[:2]) + parsing_cross_entropy(logits[2:], labels[2:])) / 2
    torch.testing.assert_close(whole, halves)
    assert parsing_cross_entropy(logits[:1], labels[:1]) == 0
    # One pixel by hand.
    alone = torch.full((1, 1, 1), 3, dtype=torch.uint8)
    torch.testing.assert_close(
        parsing_cross_entropy(logits[:1, :, :1, :1], alone), -logits[0, :, 0, 0].log_softmax(0)[3]
    )


def test_kernels_are_the_images_own(batch):
    network = small().eval()
    with torch.no_grad():
        outputs = network(batch.images)
        assert outputs.kernels.shape == (4, 16, 3, 3)
        assert (outputs.kernels[0] - outputs.kernels[1]).abs().max() > 1e-4
        same = network(batch.images, outputs.kernels)
        torch.testing.assert_close(same.maps, outputs.maps)
        others = network(batch.images, outputs.kernels.roll(1, 0))
        assert (others.maps - outputs.maps).abs().max() > 1e-5
        # Parsing does not look at the kernels.
        torch.testing.assert_close(others.parsing, outputs.parsing)
        # Without kernels the learner adds nothing: what is left is the pose network alone.
        none = network(batch.images, torch.zeros_like(outputs.kernels))
        features, _ = network.pose.encode(batch.images)
        torch.testing.assert_close(none.maps[:, -1], network.to_maps(features))


def test_a_fixed_kernel_is_that_of_self_factored(batch):
    network = small("self_factored").eval()
    with torch.no_grad():
        outputs = network(batch.images)
    assert (outputs.kernels == network.kernels).all()


@pytest.mark.parametrize(
    ("cells", "poolings", "side"), [(64, 2, 7), (32, 2, 3), (24, 1, 5), (16, 1, 3), (16, 0, 7), (46, 2, 5)]
)
def test_the_side_of_kernels_is_what_the_adapter_makes(cells, poolings, side):
    adapter = ParameterAdapter(4, poolings)
    assert kernel_side(cells, poolings) == side
    assert adapter(torch.zeros(2, 4, cells, cells)).shape == (2, 4, side, side)


@pytest.mark.parametrize(("cells", "poolings"), [(24, 2), (20, 2), (4, 2), (2, 0)])
def test_kernels_without_a_middle_are_refused(cells, poolings):
    with pytest.raises(ValueError, match=f"from {cells} cells a side.*needs an odd one"):
        kernel_side(cells, poolings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 96, "poolings": 2}, "from 24 cells a side, 2 poolings make kernels of side 2"),
        ({"variant": "both"}, "variant is 'both'; give pil, pose"),
        ({"backbone": "resnet"}, "backbone is 'resnet'; give hourglass, vgg16"),
        ({"order": "none"}, "order is 'none'"),
        ({"poolings": 3}, "poolings is 3"),
        ({"beta": -1.0}, "beta is -1"),
        ({"sigma": 0.0}, "sigma is 0"),
        ({"variant": "self", "frozen": True}, "a self has no learner"),
        ({"backbone": "vgg16", "stacks": 2, "poolings": 0}, "VGG16 takes a size and features that 8 divides"),
        ({"features": 0}, "features is 0"),
    ],
)
def test_settings_out_of_their_range(settings, message):
    with pytest.raises(ValueError, match=message):
        create("parsing_induced", **SMALL | settings)


def test_a_learner_is_carried_over_and_stays(batch):
    first, second = small(), small(frozen=True, joints=14)
    with torch.no_grad():
        for p in first.parameters():
            p.add_(0.01 * torch.randn_like(p))
    second.take_learner(first)
    before = {k: v.clone() for k, v in second.state_dict().items()}
    optimizer = torch.optim.Adam(second.parameters(), lr=0.1)
    unlabelled = batch[torch.arange(4)]
    unlabelled.parsing = None
    unlabelled.joints, unlabelled.presence = batch.joints[:, :14], batch.presence[:, :14]
    second.train()
    outputs = second(unlabelled.images)
    assert outputs.parsing is None
    second.loss(outputs, unlabelled)[0].backward()
    optimizer.step()
    after = second.state_dict()
    moved = {k for k in after if not torch.equal(after[k], before[k])}
    assert not any(name.startswith(("parsing.", "adapter.")) for name in moved)
    assert {"adaptive.U.weight", "adaptive.V.weight", "to_maps.weight"} & moved
    # In evaluation mode, in which nothing moves, it gives the kernels that the first network gives.
    torch.testing.assert_close(second.eval()(batch.images).kernels, first.eval()(batch.images).kernels)


@pytest.mark.parametrize("backbone", [{}, {"backbone": "vgg16", "poolings": 0}])
def test_a_learner_may_have_learnt_other_part_labels(batch, backbone):
    """The layer that gives labels is no part of it: all its weights have the same shapes for 20 labels and for 7."""
    first, second = small(**backbone).eval(), small(parts=7, frozen=True, **backbone).eval()
    assert first.to_parts.out_channels == len(PARTS)
    assert not torch.equal(second(batch.images).kernels, first(batch.images).kernels)
    second.take_learner(first)
    assert torch.equal(second(batch.images).kernels, first(batch.images).kernels)
    # One that learns goes on from there with labels of its own.
    third = small(parts=7, **backbone).eval()
    third.take_learner(first)
    assert third(batch.images).parsing.shape[1] == 7


def test_a_learner_that_does_not_fit_is_refused(batch):
    with pytest.raises(ValueError, match="made with features=16, and this network has features=32"):
        small(frozen=True, features=32).take_learner(small())
    with pytest.raises(ValueError, match="a pose has no learner"):
        small(frozen=True).take_learner(small("pose"))
    plain, normed = (small(backbone="vgg16", poolings=0, norm=norm) for norm in (False, True))
    with pytest.raises(ValueError, match="made with norm=False, and this network has norm=True"):
        normed.take_learner(plain)
    unlabelled = batch[torch.arange(4)]
    unlabelled.parsing = None
    network = small()
    with pytest.raises(ValueError, match="this set has none: take a learner from another set"):
        network.loss(network(batch.images), unlabelled)


def test_labels_are_as_large_as_the_image(batch):
    network = small().eval()
    with torch.no_grad():
        labels = network.labels(network(batch.images))
    assert labels.shape == (4, 64, 64)
    assert labels.min() >= 0
    assert labels.max() < len(PARTS)
    network = small("pose")
    with pytest.raises(ValueError, match="pose parses nothing"):
        network.labels(network(batch.images))


def test_inference_takes_the_network_as_any_other(batch):
    network = small()
    joints, _ = predict(network, batch.images, list(range(16)), flip=True, scales=(1.0, 1.2))
    assert joints.shape == (4, 16, 2)
    found, _, truth = evaluate(network, open_dataset("figures", "test", size=64), 6, batch_size=4)
    assert found.shape == truth.joints.shape == (6, 16, 2)


def test_the_paper_s_sizes():
    """Table 2: HG-1s-1u with a learner has about as many parameters as two stacks have."""
    with torch.device("meta"):
        learner = create("parsing_induced", stacks=1, parsing_units=1)
        two, one = (create("parsing_induced", stacks=n, variant="pose") for n in (2, 1))
        hourglass = create("hourglass", stacks=2)
    assert count(two) == count(hourglass)
    assert count(one) < count(two) < count(learner)
    assert (count(learner), count(two)) == (8_755_236, 6_570_400)
    adapter = 3 * (9 * 256 * 256 + 256)
    assert count(learner.adapter) == adapter
    assert count(learner.adaptive) == 2 * 256 * 256


def test_vgg16_has_torchvision_s_names_and_stride_8(tmp_path):
    torch.manual_seed(0)
    for norm in (False, True):
        network = VGG16(512, norm)
        names = [name for name in network.state_dict() if name.endswith("weight")]
        assert names[0] == "features.0.weight"
        assert names[-1] == ("features.41.weight" if norm else "features.28.weight")
    network = VGG16(512).eval()
    assert sum(p.numel() for p in network.parameters()) == 14_714_688
    state = {**network.state_dict(), "classifier.0.weight": torch.zeros(2, 2)}
    torch.save(state, tmp_path / "vgg16.pth")
    other = VGG16(512).eval()
    other.load_imagenet(tmp_path / "vgg16.pth")
    images = torch.rand(1, 3, 96, 96)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    with torch.no_grad():
        first = [network.features[:1]((images - mean) / deviation), other.features[:1](images)]
        assert other(images).shape == (1, 512, 12, 12)
    torch.testing.assert_close(first[0][..., 1:-1, 1:-1], first[1][..., 1:-1, 1:-1], atol=1e-5, rtol=1e-4)


def test_other_weights_than_vgg16_s_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="give the file of torchvision's vgg16 weights"):
        VGG16(512).load_imagenet(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(ValueError, match="no file of torch weights"):
        VGG16(64).load_imagenet(tmp_path / "text.pth")
    torch.save(VGG16(64).state_dict(), tmp_path / "small.pth")
    with pytest.raises(ValueError, match="to a network of 512 features"):
        VGG16(512).load_imagenet(tmp_path / "small.pth")
    with pytest.raises(ValueError, match="give backbone=vgg16"):
        small().load_imagenet(tmp_path / "small.pth")


def test_several_people_are_found_where_the_maps_and_offsets_say():
    scenes = open_dataset("figures", "test", size=128, people=4)
    sample = scenes.batch(torch.arange(6))
    torch.manual_seed(0)
    network = create("parsing_induced", **SMALL | {"size": 128, "people": True})
    outputs = network(sample.images)
    assert outputs.offsets.shape == (6, 32, 32, 32)
    loss, terms = network.loss(outputs, sample)
    assert set(terms) == {"pose", "offsets", "parsing"}
    torch.testing.assert_close(loss, terms["pose"] + terms["offsets"] + terms["parsing"])
    loss.backward()
    assert all(p.grad is not None for p in network.parameters())
    # The truth in the place of what the network gives: everyone is found, and there is nothing to learn.
    truth = PeopleCodec(network.codec).encode(sample.people_joints, sample.people_presence)
    perfect = outputs._replace(maps=truth.maps[:, None], offsets=truth.offsets)
    _, terms = network.loss(perfect, sample)
    assert terms["pose"] == 0
    assert terms["offsets"] == 0
    found = network.find(perfect)
    assert [len(people) for people in found] == (sample.people_presence > 0).any(-1).sum(1).tolist()
    network.forward = lambda images: perfect
    scenes.batch = lambda indices: sample
    assert evaluate_people(network, scenes, 6, batch_size=6).mean > 0.8
    assert network.training
    evaluate_people(network.eval(), scenes, 6, batch_size=6)
    assert not network.training


def test_one_person_s_network_finds_no_others(batch):
    network = small()
    with pytest.raises(ValueError, match="make it with people=True"):
        network.find(network(batch.images))
    several = small(people=True)
    with pytest.raises(ValueError, match="open figures with people=4"):
        several.loss(several(batch.images), batch)


def test_offsets_count_where_a_joint_is_near():
    target, offsets = torch.zeros(2, 4, 3, 3), torch.full((2, 4, 3, 3), 0.2)
    mask = torch.zeros(2, 2, 3, 3, dtype=torch.bool)
    assert offset_loss(offsets, target, mask) == 0
    mask[0, 0, 1, 1] = True
    # Smooth L1 of 0.2 beyond its bend at 0.1, twice, over two images and two joints.
    torch.testing.assert_close(offset_loss(offsets, target, mask), torch.tensor(2 * 0.15 / 4))


@pytest.mark.parametrize("variant", ["self_factored", "pil"])
def test_networks_can_be_described(variant):
    about = describe(small(variant))
    assert about["parameters"] == count(small(variant)) == sum(part["parameters"] for part in about["parts"])
    assert about["macs"] > 0
    own = [part for part in about["parts"] if part["kind"] == "Parameter"]
    # 3x3 kernels of 16 channels, which are in no layer.
    kernels = {"name": "kernels", "kind": "Parameter", "output": None, "parameters": 16 * 3 * 3, "macs": 0}
    assert own == ([kernels] if variant == "self_factored" else [])
