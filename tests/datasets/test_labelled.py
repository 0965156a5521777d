"""Photographs with label maps: both are cropped alike; maps that are missing or broken are ignored and named."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from posebook.datasets import sets
from posebook.datasets.labelled import crop_labels
from posebook.datasets.lip import LIP
from posebook.skeleton import IGNORE_LABEL
from small_sets.lip import SIZES, blocks, write_part


@pytest.mark.parametrize(("size", "widen"), [(64, 1.0), (128, 1.0), (96, 1.5)])
def test_label_maps_are_cropped_as_their_photographs(tmp_path, size, widen):
    write_part(tmp_path, "val", 8)
    sample = LIP(tmp_path, "test", size, widen=widen).batch(torch.tensor([0, 1, 3]))
    found = (sample.images[:, 0] * 255 / 12).round()
    for i, (width, height) in enumerate(SIZES[j] for j in (0, 1, 3)):
        scale = size / (max(width, height) * widen)
        centres = torch.arange(size) + 0.5 - size / 2
        columns, rows = centres.abs() < width * scale / 2, centres.abs() < height * scale / 2
        inside = rows[:, None] & columns
        assert torch.equal(sample.parsing[i] == IGNORE_LABEL, ~inside)
        # Apart from the borders of blocks, which the photograph blurs, pixels show the label's own grey.
        parsing = sample.parsing[i].float()
        flat = -torch.nn.functional.max_pool2d(-parsing[None], 5, 1, 2)[0] == parsing
        flat &= torch.nn.functional.max_pool2d(parsing[None], 5, 1, 2)[0] == parsing
        assert (flat & inside).sum() > 0.1 * inside.sum()
        assert torch.equal(found[i][flat & inside], parsing[flat & inside])


def test_crop_labels_takes_the_label_at_each_pixels_centre():
    labels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    assert np.array_equal(crop_labels(labels, 1, 0, 4, 4), labels[:, 1:])
    assert np.array_equal(crop_labels(labels, 1, 0, 4, 8), labels[:, 1:].repeat(2, 0).repeat(2, 1))
    # Centres at 0.9 and 2.9 pixels from the corner (0.4, 1.4).
    assert crop_labels(labels, 0.4, 1.4, 3.6, 2).tolist() == [[11, 13], [IGNORE_LABEL] * 2]
    assert crop_labels(labels, -1, 3, 2, 2).tolist() == [[IGNORE_LABEL, 15], [IGNORE_LABEL, IGNORE_LABEL]]


def test_broken_label_maps_are_ignored_and_named(tmp_path):
    names, _, _ = write_part(tmp_path, "val", 12)
    folder = tmp_path / "TrainVal_parsing_annotations" / "val_segmentations"
    maps = [folder / f"{name[:-4]}.png" for name in names]
    good = LIP(tmp_path, "test", 64).batch(torch.arange(12)).parsing
    maps[0].write_bytes(maps[0].read_bytes()[:60])
    Image.fromarray(blocks(128, 64, 1) + 1).save(maps[1])  # a label 20
    Image.open(maps[2]).convert("RGB").save(maps[2])
    Image.fromarray(blocks(100, 333, 3)).save(maps[3])
    (tmp_path / "TrainVal_images" / "val_images" / names[4]).write_bytes(b"broken")
    data = LIP(tmp_path, "test", 64)
    with pytest.warns(UserWarning, match="cannot be read") as caught:
        sample = data.batch(torch.arange(12))
    assert len(caught) == 2
    assert f"posebook data check lip {tmp_path}`" in str(caught[0].message)
    assert f"posebook data check lip {tmp_path}`" in str(caught[1].message)
    assert (sample.parsing[:5] == IGNORE_LABEL).all()
    assert torch.equal(sample.parsing[5:], good[5:])
    assert sample.presence[:4].any(1).all()
    assert not sample.presence[4].any()
    reasons = [data.broken[path] for path in maps[1:4]]
    for reason, said in zip(
        reasons, ("label 20", "in RGB", "100 x 333 pixels and its photograph 200 x 333"), strict=True
    ):
        assert said in reason
    maps[5].unlink()
    with pytest.warns(UserWarning, match="1 label maps are missing"):
        again = LIP(tmp_path, "test", 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (again.batch(torch.tensor([5])).parsing == IGNORE_LABEL).all()
    fine, sentence = sets.check("lip", tmp_path, progress=False)
    assert not fine
    assert "1 cannot be read" in sentence
    assert "12 label maps; but 1 are missing" in sentence
    assert "and 4 cannot be read" in sentence
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match="none of its 12 label maps"):
        LIP(tmp_path, "test")


@pytest.mark.parametrize("room", [4 * 64 * 64 * 8, 4 * 64 * 64 * 3, 0])
def test_label_maps_are_kept_with_their_crops(tmp_path, room):
    write_part(tmp_path, "val", 8)
    data = LIP(tmp_path, "test", 64, kept_bytes=room)
    one_by_one = [data.batch(torch.tensor([i])) for i in range(8)]
    for folder in ("TrainVal_images/val_images", "TrainVal_parsing_annotations/val_segmentations"):
        for path in (tmp_path / folder).iterdir():
            path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = data.batch(torch.arange(8))
    kept = room // (4 * 64 * 64)
    for i, first in enumerate(one_by_one):
        assert torch.equal(first.images[0], again.images[i]) == (i < kept)
        assert torch.equal(first.parsing[0], again.parsing[i]) == (i < kept)
