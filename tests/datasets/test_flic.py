"""FLIC: its splits by film, its windows, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posebook.datasets import flic, open_dataset
from posebook.datasets.mpii import read_annotations
from posebook.datasets.sets import check
from posebook.skeleton import FLIC
from small_sets import mpii


def frames(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random people of six films, whole within their windows, as in the fields of an `.h5`."""
    fields = mpii.people(count, seed)
    scale = np.full(count, 2.2)
    around = np.random.default_rng(seed).uniform(-0.45, 0.45, (count, 11, 2)) * 200 * 2.2
    names = np.array([f"film-{number % 6}-{number:08d}.jpg" for number in range(count)], "S20")
    part, centre = fields["center"][:, None] + around, fields["center"]
    return {"imgname": names, "part": part, "visible": np.ones((count, 11)), "center": centre, "scale": scale,
            "normalize": np.full(count, 160.0)}  # fmt: skip


@pytest.fixture
def root(tmp_path):
    for name, count, seed in (("train", 30, 0), ("valid", 7, 1)):
        fields = frames(count, seed)
        if name == "valid":
            fields["imgname"] = np.char.add(b"test-", fields["imgname"])
        mpii.write_h5(tmp_path / f"{name}.h5", fields)
        mpii.write_images(tmp_path, fields)
    return tmp_path


def test_splits_share_no_film(root):
    splits = {name: flic.read_split(root, name).images for name in ("train", "validation", "test")}
    films = {name: {image.rsplit("-", 1)[0] for image in images} for name, images in splits.items()}
    assert len(splits["test"]) == 7
    assert len(splits["train"]) + len(splits["validation"]) == 30
    assert films["train"]
    assert films["validation"]
    assert not films["train"] & films["validation"]


def test_crops_are_the_windows_and_joints_half_a_pixel_less(root):
    dataset = open_dataset("flic", "test", root, size=88)
    assert dataset.skeleton is FLIC
    sample = dataset.batch(torch.arange(7))
    assert sample.images.shape == (7, 3, 88, 88)
    assert (sample.presence == 2).all()
    assert sample.head_size.isnan().all()
    annotations = read_annotations(root / "valid.h5")
    # 440 pixels around the centre become 88; centre and joints both count from 1.
    expected = (annotations.joints - annotations.centre[:, None]) / 5 + 44
    torch.testing.assert_close(sample.joints, expected, atol=1e-3, rtol=0)
    torso = (expected[:, FLIC.index("l_shoulder")] - expected[:, FLIC.index("r_hip")]).norm(dim=-1)
    torch.testing.assert_close(sample.torso_size, torso, atol=1e-3, rtol=0)


def test_a_set_is_checked(root):
    fine, sentence = check("flic", root, progress=False)
    assert fine
    assert "37 people in 37 photographs" in sentence
    assert "7 test" in sentence
    (root / "images/film-0-00000000.jpg").unlink()
    fine, sentence = check("flic", root, progress=False)
    assert not fine
    assert "1 photographs are missing" in sentence


def test_what_is_missing_or_another_set_is_told(root, tmp_path):
    (root / "valid.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"no annotations of FLIC for test: it needs valid.h5"):
        flic.read_split(root, "test")
    mpii.write_h5(root / "valid.h5", mpii.people(4))
    with pytest.raises(ValueError, match="has the joints of mpii, and FLIC has 11"):
        open_dataset("flic", "test", root)
    with pytest.raises(FileNotFoundError, match=r"it needs train.h5 and valid.h5"):
        flic.read_people(root / "images")


def test_the_real_files(real_data):
    root = real_data("flic")
    counts = {name: len(flic.read_split(root, name)) for name in ("train", "validation", "test")}
    assert counts["train"] + counts["validation"] == 3987
    assert counts["test"] == 1016
    assert 0.05 < counts["validation"] / 3987 < 0.2
    everyone = flic.read_people(root)
    assert len(everyone) == 5003
    assert (everyone.window - 440).abs().max() < 1e-3
    left, right = (everyone.joints[:, FLIC.index(f"{side}_shoulder"), 0] for side in "lr")
    assert (left > right).all()
    found = read_annotations(root / "valid.h5")
    assert found.skeleton is FLIC
    assert (len(found), found.joints.shape[1]) == (1016, 11)
    assert found.head_size.isnan().all()
