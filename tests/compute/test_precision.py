from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from posebook.compute.precision import autocast, channels_last, has_bf16, in_float32, use_bf16

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPUINFO.exists(), reason="needs Linux's list of the processor's features")
def test_cpu_is_asked_for_its_own_features():
    flags = CPUINFO.read_text().split()
    assert has_bf16("cpu") == bool({"avx512_bf16", "amx_bf16"} & set(flags))


@pytest.mark.parametrize("answers", [(True, False), (False, True), (False, False)])
def test_older_torch_is_asked_by_its_own_names(monkeypatch, answers):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    for name, answer in zip(("_is_avx512_bf16_supported", "_is_amx_tile_supported"), answers, strict=True):
        monkeypatch.setattr(torch.cpu, name, lambda answer=answer: answer)
    assert has_bf16("cpu") == any(answers)


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16"])
def test_either_instruction_set_will_do(monkeypatch, capability):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True}, raising=False)
    assert has_bf16("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: False}, raising=False)
    assert not has_bf16("cpu")


def test_argument_beats_switch_and_switch_beats_processor(monkeypatch):
    monkeypatch.setattr("posebook.compute.precision.has_bf16", lambda device: True)
    monkeypatch.delenv("POSEBOOK_BF16", raising=False)
    assert use_bf16("cpu")
    monkeypatch.setenv("POSEBOOK_BF16", "1")
    assert use_bf16("cpu")
    assert not use_bf16("cpu", False)
    monkeypatch.setenv("POSEBOOK_BF16", "0")
    assert not use_bf16("cpu")
    assert use_bf16("cpu", True)


def test_switch_does_not_force_what_the_processor_lacks(monkeypatch):
    monkeypatch.setattr("posebook.compute.precision.has_bf16", lambda device: False)
    monkeypatch.setenv("POSEBOOK_BF16", "1")
    assert not use_bf16("cpu")


def test_unknown_switch_is_an_error(monkeypatch):
    monkeypatch.setenv("POSEBOOK_BF16", "off")
    with pytest.raises(ValueError, match="POSEBOOK_BF16 is 'off'; set it to 0"):
        autocast("cpu")


@pytest.mark.parametrize(("bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_autocast_decides_what_a_convolution_runs_in(bf16, dtype):
    convolution = nn.Conv2d(3, 4, 1)
    with autocast(torch.device("cpu"), bf16):
        assert convolution(torch.zeros(1, 3, 2, 2)).dtype == dtype
    assert convolution.weight.dtype == torch.float32


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
@pytest.mark.parametrize("bf16", [True, False])
def test_a_few_operations_stay_in_float32_and_the_rest_goes_on_as_before(device, bf16):
    x = torch.rand(4, 4)
    with autocast("cpu", bf16):
        before = x @ x
        with in_float32(device):
            exact = x @ x
            with autocast("cpu", True):
                inner = x @ x
        after = x @ x
    outside = torch.bfloat16 if bf16 else torch.float32
    assert (before.dtype, exact.dtype, inner.dtype, after.dtype) == (outside, torch.float32, torch.bfloat16, outside)
    assert torch.equal(exact, x @ x)


def test_shapes_alone_have_no_precision():
    with in_float32("meta"), autocast("meta"):
        assert (torch.ones(2, 2, device="meta") @ torch.ones(2, 2, device="meta")).dtype == torch.float32


def test_channels_last_moves_nothing_but_memory():
    images, convolution = torch.rand(2, 3, 4, 5), nn.Conv2d(3, 8, 3)
    before = convolution(images)
    inner, module = channels_last(images), channels_last(convolution)
    assert inner.stride(1) == 1
    assert convolution.weight.stride(1) == 1
    assert module is convolution
    assert torch.equal(inner, images)
    torch.testing.assert_close(module(inner), before)
