from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from posebook.layers.aspp import ASPP, rates_of
from posebook.layers.resnet import ResNet, _second_time


@pytest.mark.parametrize(("depth", "parameters"), [(50, 23_508_032), (101, 42_500_160)])
def test_resnets_have_torchvisions_names_and_parameters_without_the_classifier(depth, parameters):
    with torch.device("meta"):
        network = ResNet(depth)
    assert sum(p.numel() for p in network.parameters()) == parameters
    state = network.state_dict()
    assert state["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert state["layer4.2.conv2.weight"].shape == (512, 512, 3, 3)
    assert "layer3.0.downsample.1.running_mean" in state
    # A convolution with its norm is a layer; the ways around stages are not counted, the classifier is.
    convolutions = [name for name in state if name.endswith("weight") and "conv" in name]
    assert len(convolutions) + 1 == depth


@pytest.mark.parametrize(("pooled", "stride"), [(True, 8), (False, 4)])
def test_the_last_two_stages_are_dilated_in_the_place_of_strides(pooled, stride):
    network = ResNet(14, 8, pooled).eval()
    res4, res5 = network(torch.rand(2, 3, 64, 64))
    assert res4.shape == (2, 128, 64 // stride, 64 // stride)
    assert res5.shape == (2, 256, 64 // stride, 64 // stride)
    dilations = [getattr(network, f"layer{k}")[0].conv2.dilation[0] for k in (1, 2, 3, 4)]
    assert dilations == [1, 1, 2, 4]


def test_weights_of_imagenet_take_images_between_0_and_1(tmp_path):
    """Away from the border, where padding is the mean colour for one and black for the other."""
    torch.manual_seed(0)
    network = ResNet(50).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
    given = {name: value.clone() for name, value in network.state_dict().items()}
    torch.save(given | {"fc.weight": torch.zeros(1000, 2048)}, tmp_path / "resnet50.pth")
    images = torch.rand(1, 3, 32, 32)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    standardised = (images - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    wanted = network.bn1(network.conv1(standardised))[..., 3:-3, 3:-3]
    network.load_imagenet(tmp_path / "resnet50.pth")
    torch.testing.assert_close(network.bn1(network.conv1(images))[..., 3:-3, 3:-3], wanted, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match=r"has no 'conv1.weight' of shape \(8, 3, 7, 7\); give torchvision's resnet50"):
        ResNet(50, 8).load_imagenet(tmp_path / "resnet50.pth")


def test_weights_of_another_depth_and_of_old_files(tmp_path):
    deep = ResNet(101)
    torch.save(deep.state_dict(), tmp_path / "resnet101.pth")
    with pytest.raises(ValueError, match=r"is of a deeper network: it has 'layer3.6.conv1.weight'"):
        ResNet(50).load_imagenet(tmp_path / "resnet101.pth")
    with pytest.raises(ValueError, match="of depth 50 or 101 and width 64, and this network's depth is 14"):
        ResNet(14).load_imagenet(tmp_path / "resnet101.pth")
    old = {name: value for name, value in deep.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    other = ResNet(101)
    other.load_imagenet(tmp_path / "old.pth")
    assert other.state_dict()["layer4.2.conv3.weight"].equal(deep.state_dict()["layer4.2.conv3.weight"])
    # A network that finds joints alone has no Res-5.
    ResNet(101, last=False).load_imagenet(tmp_path / "old.pth")


def test_norms_that_processes_share_count_no_batch_twice_either():
    norm = nn.SyncBatchNorm(3)
    with _second_time(nn.Sequential(norm)):
        assert norm.momentum == 0.0
    assert norm.momentum == 0.1


def test_checkpointing_changes_no_number_and_counts_no_batch_twice():
    torch.manual_seed(0)
    plain = ResNet(26, 4)
    other = ResNet(26, 4, checkpointing=True)
    other.load_state_dict(plain.state_dict())
    images = torch.rand(3, 3, 32, 32)
    for network in (plain, other):
        network.train()
        sum(some.square().mean() for some in network(images)).backward()
    for (name, a), b in zip(plain.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=name)
    for (name, a), b in zip(plain.named_buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_an_aspp_is_the_sum_of_its_convolutions():
    layer, x = ASPP(4, 3, (1, 2)), torch.rand(2, 4, 9, 9)
    by_hand = sum(
        F.conv2d(x, branch.weight, branch.bias, padding=rate, dilation=rate)
        for branch, rate in zip(layer.branches, (1, 2), strict=True)
    )
    torch.testing.assert_close(layer(x), by_hand)
    assert rates_of(48) == (6, 12, 18, 24)
    assert rates_of(16) == (2, 4, 6, 8)
    assert rates_of(4) == (1, 1, 2, 2)
