"""LSP and LSPET: both layouts, their splits, what is refused, and photographs that are broken."""

from __future__ import annotations

import io
import shutil
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy.io import savemat

from posebook.coordinates import transform_points
from posebook.datasets import lsp, open_dataset, photographs
from posebook.datasets.lsp import LSP, LSPET
from posebook.sample import Dataset, Sample
from posebook.skeleton import LSP as SKELETON
from posebook.training.checkpoint import differing
from posebook.training.loop import _described

WIDTH, HEIGHT = 120, 90


def jpeg(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    pixels = np.indices((height, width)).sum(0)[..., None].repeat(3, -1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def write_set(root, name: str, count: int, order: str, images: int = 8):
    """A set with random joints; only the first `images` photographs are written. Returns joints and third row."""
    generator = np.random.default_rng(0)
    joints = generator.uniform((10, 10), (WIDTH - 10, HEIGHT - 10), (count, 14, 2))
    third = generator.random((count, 14)) < (0.2 if name == "lsp" else 0.9)
    third[:, 12:] = name == "lspet"
    rows = np.concatenate([joints, third[..., None]], -1)
    savemat(root / "joints.mat", {"joints": rows.transpose((1, 2, 0) if order == "14x3" else (2, 1, 0))})
    (root / "images").mkdir()
    for number in range(1, images + 1):
        (root / "images" / f"im{number:0{4 if name == 'lsp' else 5}d}.jpg").write_bytes(jpeg())
    return torch.tensor(joints, dtype=torch.float32), torch.tensor(third)


def open_quietly(root, split: str, name: str = "lspet", **options):
    """Open a set of which only a few photographs are there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_dataset(name, split, root, **options)


@pytest.mark.parametrize("order", ["14x3", "3x14"])
@pytest.mark.parametrize(("name", "count"), [("lsp", 2000), ("lspet", 1010)])
def test_both_axis_orders_give_the_same_labels(tmp_path, name, count, order):
    joints, third = write_set(tmp_path, name, count, order)
    data = open_quietly(tmp_path, "train", name, size=64)
    sample = data.batch(torch.arange(8))
    presence = torch.where(third, 1, 2) if name == "lsp" else torch.where(third, 2, 0)
    assert torch.equal(sample.presence, presence[:8].to(torch.uint8))
    # The crop is a similarity: it keeps ratios of distances, and its scale is size / window.
    present = sample.presence > 0
    scale = 64 / data.people.window[:8]
    # The file's pixels count from 1.
    expected = (joints[:8] - 0.5 - data.people.centre[:8, None]) * scale[:, None, None] + 32
    torch.testing.assert_close(sample.joints[present], expected[present])
    head = (joints[:8, 12] - joints[:8, 13]).norm(dim=-1) * scale
    torch.testing.assert_close(sample.head_size, head)


def test_lsp_keeps_its_official_halves(tmp_path):
    write_set(tmp_path, "lsp", 2000, "3x14", images=0)
    for number in (1, 901, 1001):
        (tmp_path / "images" / f"im{number:04d}.jpg").write_bytes(jpeg())
    splits = {split: open_quietly(tmp_path, split, "lsp") for split in ("train", "validation", "test")}
    assert {split: data.length for split, data in splits.items()} == {"train": 900, "validation": 100, "test": 1000}
    assert splits["test"].people.paths[0].name == "im1001.jpg"
    assert splits["validation"].people.paths[0].name == "im0901.jpg"


def test_lspet_splits_are_by_number_and_leave_out_people_without_joints(tmp_path):
    _, third = write_set(tmp_path, "lspet", 1010, "14x3", images=10)
    shutil.copy(tmp_path / "images" / "im00001.jpg", tmp_path / "images" / "im00011.jpg")
    shutil.copy(tmp_path / "images" / "im00001.jpg", tmp_path / "images" / "im01010.jpg")
    joints, third = lsp.read_joints(tmp_path / "joints.mat")
    third[3] = 0
    rows = torch.cat([joints, third[..., None]], -1).permute(1, 2, 0).numpy()
    savemat(tmp_path / "joints.mat", {"joints": rows})
    names = [open_quietly(tmp_path, split).people.paths for split in ("train", "validation", "test")]
    assert [len(paths) for paths in names] == [9, 500, 500]
    assert "im00004.jpg" not in {path.name for path in names[0]}
    assert [paths[-1].name for paths in names] == ["im00010.jpg", "im00510.jpg", "im01010.jpg"]


def test_the_other_set_and_other_shapes_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_set(tmp_path / "a", "lspet", 1010, "14x3")
    with pytest.raises(ValueError, match="holds LSPET"):
        LSP(tmp_path / "a", "train")
    write_set(tmp_path / "b", "lsp", 2000, "3x14", images=0)
    with pytest.raises(ValueError, match=r"third row .* as in LSP,"):
        LSPET(tmp_path / "b", "train")
    with pytest.raises(FileNotFoundError, match="none of its 900 photographs"):
        LSP(tmp_path / "b", "train")
    for shape in ((14, 2, 9), (9, 14, 3), (14, 3)):
        savemat(tmp_path / "joints.mat", {"joints": np.zeros(shape)})
        with pytest.raises(ValueError, match="3x14xN"):
            lsp.read_joints(tmp_path / "joints.mat")
    (tmp_path / "joints.mat").write_bytes(b"not MATLAB's")
    with pytest.raises(ValueError, match="get the set again"):
        lsp.read_joints(tmp_path / "joints.mat")
    with pytest.raises(FileNotFoundError, match=r"joints\.mat"):
        open_dataset("lsp", "train", tmp_path / "nowhere")


def test_broken_photographs_are_grey_without_joints_and_warn_once(tmp_path):
    write_set(tmp_path, "lspet", 1010, "14x3", images=10)
    images = tmp_path / "images"
    (images / "im00002.jpg").write_bytes(jpeg()[:-400])
    (images / "im00003.jpg").write_bytes(b"")
    (images / "im00004.jpg").write_text("<html>not found</html>")
    data = LSPET(tmp_path, "train", size=32)
    with pytest.warns(UserWarning, match=r"im00002\.jpg cannot be read") as caught:
        sample = data.batch(torch.arange(10))
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = data.batch(torch.arange(10))
    assert torch.equal(sample.images, again.images)
    broken = torch.tensor([1, 2, 3])
    assert (sample.presence[broken] == 0).all()
    assert sample.head_size[broken].isnan().all()
    assert sample.images[broken].std() == 0
    assert (sample.presence.sum(1) > 0).sum() == 7
    assert len(data.broken) == 3
    (images / "im00005.jpg").unlink()
    with pytest.warns(UserWarning, match="1 photographs are missing"):
        LSPET(tmp_path, "train")
    fine, sentence = photographs.check("lspet", data.people, progress=False)
    assert not fine
    assert "1 photographs are missing" in sentence
    assert "3 cannot be read" in sentence


def test_joints_outside_the_photograph_are_absent(tmp_path):
    joints, third = write_set(tmp_path, "lspet", 1010, "14x3")
    joints[0, 0], joints[0, 1], joints[1, 2] = torch.tensor([-5.0, 20]), torch.tensor([30.0, HEIGHT + 1]), torch.nan
    third[:2] = True
    rows = torch.cat([joints, third[..., None]], -1).permute(1, 2, 0).numpy()
    savemat(tmp_path / "joints.mat", {"joints": rows})
    data = open_quietly(tmp_path, "train")
    sample = data.batch(torch.arange(2))
    assert sample.presence[0].tolist() == [0, 0] + [2] * 12
    assert sample.presence[1].tolist() == [2, 2, 0] + [2] * 11
    fine, sentence = photographs.check("lspet", data.people[torch.arange(8)], progress=False)
    assert fine
    assert "2 of them outside" in sentence


def test_a_crop_shows_what_lies_at_its_joints(tmp_path):
    """Dots painted on the photograph are found at the moved joints, also where JPEG is decoded at a fraction."""
    side = 1003
    spots = torch.tensor([[203.0, 320.0], [700.0, 410.0], [455.0, 777.0]])
    canvas = Image.new("RGB", (side, side - 200))
    for x, y in spots.tolist():
        ImageDraw.Draw(canvas).ellipse((x - 24, y - 24, x + 23, y + 23), fill="white")
    canvas.save(tmp_path / "dots.jpg", quality=95)
    for window, size in ((900.0, 64), (900.0, 150), (733.3, 256), (1500.0, 96)):
        centre = torch.tensor([[470.3, 500.8]])
        left, top = (centre[0] - window / 2).tolist()
        pixels, extent = photographs.read_crop(tmp_path / "dots.jpg", left, top, window, size)
        assert extent == (side, side - 200)
        affine = photographs.similarity(centre, torch.tensor([window]), size)
        for spot in transform_points(spots[None], affine)[0]:
            near = torch.from_numpy(pixels.astype(np.float32)).mean(-1)
            grid = torch.stack(torch.meshgrid(*[torch.arange(size) + 0.5] * 2, indexing="xy"), -1)
            weight = near * ((grid - spot).norm(dim=-1) < 40 * size / window)
            found = (grid * weight[..., None]).sum((0, 1)) / weight.sum()
            assert (found - spot).norm() < 0.1, (window, size)


def test_widen_shows_more_around_the_same_centre(tmp_path):
    write_set(tmp_path, "lspet", 1010, "14x3")
    near, far = (open_quietly(tmp_path, "train", size=64, widen=w).batch(torch.arange(8)) for w in (1.0, 2.0))
    torch.testing.assert_close(far.joints - 32, (near.joints - 32) / 2)
    torch.testing.assert_close(far.head_size, near.head_size / 2)


@pytest.mark.parametrize("room", [photographs.KEPT_BYTES, 3 * 64 * 64 * 3, 0])
def test_crops_are_kept_as_far_as_there_is_room(tmp_path, room):
    write_set(tmp_path, "lspet", 1010, "14x3")
    data = open_quietly(tmp_path, "train", size=64, kept_bytes=room)
    first = Sample.cat([data.batch(torch.tensor([i])) for i in range(8)])
    for file in (tmp_path / "images").iterdir():
        file.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        second = data.batch(torch.arange(8))
    kept = {photographs.KEPT_BYTES: 8, 0: 0}.get(room, 3)
    same = (first.images == second.images).flatten(1).all(1)
    assert int(same.sum()) == kept
    assert torch.equal(second.presence[same], first.presence[same])
    assert (second.presence[~same] == 0).all()


def test_wide_sets_are_other_sets_to_a_run(tmp_path):
    write_set(tmp_path, "lspet", 1010, "14x3")
    near, far = (open_quietly(tmp_path, "train", size=64, widen=w) for w in (1.0, 1.5))
    assert (near.widen, far.widen) == (1.0, 1.5)
    assert differing(_described(near), _described(far)) == ["widen was 1.0, is 1.5"]
    assert isinstance(near, Dataset)


def test_lspet_as_it_is(real_data):
    root = real_data("lspet")
    data = LSPET(root, "test", size=96)
    sample = data.batch(torch.arange(64))
    assert data.length == 500
    assert data.skeleton is SKELETON
    assert sample.images.shape == (64, 3, 96, 96)
    assert 0.2 < sample.images.mean() < 0.7
    present = sample.presence > 0
    assert present.float().mean() > 0.8
    # The window holds the whole box of joints, at 1.25 x its longer side.
    assert sample.joints[present].min() >= 96 * 0.1 - 1e-3
    assert sample.joints[present].max() <= 96 * 0.9 + 1e-3
    with pytest.raises(ValueError, match="open it by the name 'lspet'"):
        LSP(root, "test")
