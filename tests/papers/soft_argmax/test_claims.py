"""The claims are what their words say, and so is what is read off networks for them."""

from __future__ import annotations

import pytest
import torch

from posebook.coordinates import HeatmapCodec
from posebook.datasets import open_dataset
from posebook.evaluation.metrics import pckh
from posebook.papers import create
from posebook.papers.soft_argmax import claims as soft_argmax


def test_claims_are_what_their_words_say():
    table = {
        "regression": {"pckh": 0.7, "tight": 0.4, "mass": 0.65, "part_only": 0.0, "peak": 0.0, "mean_pose": 0.0,
                       "plain_tight": 0.1, "block_1": 0.6, "block_2": 0.7},
        "no_context": {"pckh": 0.69, "tight": 0.3},
        "one_block": {"pckh": 0.72, "tight": 0.3},
        "detection": {"pckh": 0.71, "tight": 0.35, "plain_tight": 0.15},
    }  # fmt: skip
    found = {claim.id.removeprefix("soft_argmax_"): claim.measure(table) for claim in soft_argmax.CLAIMS}
    expected = {
        "subpixel": 0.25, "maps_emerge": 0.15, "context": 0.01, "blocks": -0.02, "close_to_detection": -0.01
    }  # fmt: skip
    assert found == pytest.approx(expected)
    close = next(claim for claim in soft_argmax.CLAIMS if claim.id == "soft_argmax_close_to_detection")
    assert close.paper_value == pytest.approx((91.2 - 91.9) / 100)
    blocks = next(claim for claim in soft_argmax.CLAIMS if claim.id == "soft_argmax_blocks")
    assert {"regression block_1", "one_block pckh"} <= blocks.details(table).keys()


def test_readings_are_what_they_say():
    """Maps made by hand: nothing known after the first block, everything after the second."""
    dataset = open_dataset("figures", "test", size=64)
    count = 12
    sample = dataset.batch(torch.arange(count) * dataset.length // count)
    codec = HeatmapCodec(64, 8, sigma=0.3)
    peaked = 300 * codec.encode(sample.joints, sample.presence)
    flat = torch.zeros_like(peaked)
    model = create("soft_argmax", size=64, features=36, blocks=2, context=1)
    blocks = torch.stack([flat, peaked], 1)[:, :, :, None]  # (b, 2, joints, 1, cells, cells)
    context = torch.zeros_like(blocks)
    model.forward = lambda images: torch.cat([blocks, context], 3)
    found = soft_argmax.readings(model, dataset, count, batch_size=count)

    middle = torch.full_like(sample.joints, 32.0)
    assert found["block_1"] == pytest.approx(float(pckh(middle, sample).mean))
    assert found["block_2"] == found["pckh"]
    exact = (codec.decode(peaked, "none")[0], 0.2)
    assert found["plain_tight"] == pytest.approx(float(pckh(exact[0], sample, exact[1]).mean))
    # Without context the part-based place is the peak's; with it, it is pulled to the middle.
    part = model.regress(torch.cat([peaked[:, :, None], peaked[:, :, None]], 2))[0] * 64
    assert found["part_only"] == pytest.approx(float(pckh(part, sample).mean), abs=1e-6)
    assert found["part_only"] > found["pckh"]
    assert 0.9 < found["mass"] <= 1

    model.forward = lambda images: torch.cat([context, context], 3)
    share = soft_argmax.readings(model, dataset, count, batch_size=count)["mass"]
    # The share of the cells whose centres are within a head size of the joint, cell by cell.
    by_joint = []
    for j in range(16):
        shares = [
            sum(
                (x * 8 + 4 - sample.joints[b, j, 0]) ** 2 + (y * 8 + 4 - sample.joints[b, j, 1]) ** 2
                <= sample.head_size[b] ** 2
                for x in range(8)
                for y in range(8)
            )
            / 64
            for b in range(count)
            if sample.presence[b, j] > 0
        ]
        by_joint.append(sum(shares) / len(shares))
    assert share == pytest.approx(float(sum(by_joint) / 16), rel=1e-4)
