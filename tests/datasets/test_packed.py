"""Packed sets: the same samples as the reader's, whole files or none."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from scipy.io import savemat

from posebook.datasets import open_dataset, packed
from posebook.datasets.packed import Packed, pack
from posebook.sample import Dataset
from small_sets.ccp import write_set as write_ccp
from small_sets.lip import write_part
from small_sets.mpii import people, write_h5
from small_sets.pascal import write_set as write_pascal


@pytest.fixture(scope="module")
def lspet(tmp_path_factory):
    """A small LSPET with smooth photographs in its validation and test splits, one of them broken, and its pack."""
    root = tmp_path_factory.mktemp("lspet")
    generator = np.random.default_rng(0)
    rows = np.ones((14, 3, 1010))
    rows[:, :2] = generator.uniform(20, 100, (14, 2, 1010))
    rows[:, 2] = generator.random((14, 1010)) < 0.9
    savemat(root / "joints.mat", {"joints": rows})
    (root / "images").mkdir()
    for number in (*range(1, 9), *range(511, 521)):
        coarse = generator.integers(0, 255, (6, 6, 3), np.uint8)
        Image.fromarray(coarse).resize((130, 120), Image.Resampling.BICUBIC).save(root / f"images/im{number:05d}.jpg")
    (root / "images/im00513.jpg").write_bytes(b"broken")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pack("lspet", root, root / "lspet.pack", 64, ("train", "test"), progress=False)
    return root


def both(root, split: str, size: int, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = open_dataset("lspet", split, root, size, **options)
        indices = torch.arange(min(10, read.length))
        return read.batch(indices), open_dataset("packed", split, root / "lspet.pack", size, **options).batch(indices)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("size", "widen"), [(64, 1.0), (64, 1.5), (96, 1.5), (48, 1.0), (96, 1.25), (32, 0.75)])
def test_gives_the_readers_samples(lspet, split, size, widen):
    read, stored = both(lspet, split, size, widen=widen)
    assert torch.equal(stored.presence, read.presence)
    assert torch.equal(stored.index, read.index)
    torch.testing.assert_close(stored.joints, read.joints, atol=1e-3, rtol=0)
    torch.testing.assert_close(stored.head_size, read.head_size, equal_nan=True)
    torch.testing.assert_close(stored.torso_size, read.torso_size, equal_nan=True)
    # Resampled twice instead of once; the frame of black around a photograph is the sharpest edge there is.
    assert (stored.images - read.images).abs().mean() < (1e-3 if size == 64 * widen else 0.02)


def test_resident_images_are_the_same(lspet):
    mapped, resident = (Packed(lspet / "lspet.pack", "test", 64, resident=choice) for choice in (False, True))
    indices = torch.tensor([3, 3, 0])
    assert torch.equal(mapped.batch(indices).images, resident.batch(indices).images)
    assert (mapped.resident, resident.resident) == (False, True)
    assert Packed(lspet / "lspet.pack", "test", 64).resident is False
    assert mapped.batch(indices).index.tolist() == [3, 3, 0]
    with pytest.raises(IndexError):
        mapped.batch(torch.tensor([mapped.length]))


def test_packing_keeps_no_crops_and_the_set_tells_its_width(lspet, tmp_path, monkeypatch):
    asked = []

    def watched(*arguments, **options):
        asked.append(open_dataset(*arguments, **options))
        return asked[-1]

    monkeypatch.setattr(packed, "open_dataset", watched)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = pack("lspet", lspet, tmp_path / "again.pack", 32, ("train",), progress=False)
    assert [len(data._kept) for data in asked] == [0]
    near, far = Packed(out, "train", 32), Packed(out, "train", 48, widen=1.5)
    assert (near.widen, far.widen) == (1.0, 1.5)
    assert isinstance(far, Dataset)


def test_joints_outside_the_images_are_counted(lspet):
    near, narrow = (Packed(lspet / "lspet.pack", "train", 64, widen=w) for w in (1.0, 0.5))
    assert near.outside == 0
    everyone = torch.arange(near.length)
    lost = (near.batch(everyone).presence > 0) & (narrow.batch(everyone).presence == 0)
    assert narrow.outside == lost.sum() > 0


def test_images_are_mapped_not_loaded(tmp_path):
    """Opening 300 MB of images takes next to no memory."""
    status = Path("/proc/self/statm")
    if not status.exists():
        pytest.skip("needs /proc to tell memory in use")
    fields = {"images": ("U8", (800, 3, 360, 360)), "joints": ("F32", (800, 16, 2)), "presence": ("U8", (800, 16)),
              "head_size": ("F32", (800,)), "index": ("I64", (800,))}  # fmt: skip
    about = {"format": packed.FORMAT, "name": "mpii", "skeleton": "mpii", "size": "240", "stored": '{"test": "test"}'}
    header, end = {"__metadata__": about}, 0
    for key, (dtype, shape) in fields.items():
        start, end = end, end + {"U8": 1, "F32": 4, "I64": 8}[dtype] * torch.Size(shape).numel()
        header[f"test.{key}"] = {"dtype": dtype, "shape": shape, "data_offsets": (start, end)}
    text = json.dumps(header).encode()
    with (tmp_path / "big.pack").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    before = int(status.read_text().split()[1])
    data = Packed(tmp_path / "big.pack", "test", 240)
    assert data.batch(torch.tensor([700])).images.shape == (1, 3, 240, 240)
    assert (int(status.read_text().split()[1]) - before) * 4096 < 60e6


def test_the_file_says_what_it_holds(lspet):
    data = Packed(lspet / "lspet.pack", "train", 64)
    assert (data.name, data.skeleton.name, data.length) == ("lspet", "lsp", 10)
    assert packed.check(lspet / "lspet.pack").startswith("lspet.pack: lspet packed at 64 pixels, 10 train, 500 test")
    with safe_open(lspet / "lspet.pack", framework="np") as file:
        assert file.get_slice("train.images").get_shape() == [10, 3, 96, 96]


def test_one_split_under_two_names_is_stored_once(tmp_path):
    write_h5(tmp_path / "valid.h5", people(5))
    (tmp_path / "images").mkdir()
    for number in range(5):
        Image.new("RGB", (500, 500), (9 * number, 0, 0)).save(tmp_path / f"images/{number:09d}.jpg")
    out = pack("mpii", tmp_path, tmp_path / "new" / "mpii.pack", 32, ("validation", "test"), progress=False)
    with safe_open(out, framework="np") as file:
        assert {key.split(".")[0] for key in file.keys()} == {"validation"}  # noqa: SIM118
    a, b = (Packed(out, split, 32).batch(torch.arange(5)) for split in ("validation", "test"))
    assert torch.equal(a.images, b.images)


def write_lip(root):
    write_part(root, "train", 40)
    write_part(root, "val", 8)


@pytest.mark.parametrize(("name", "write"), [("lip", write_lip), ("ccp", write_ccp), ("pascal", write_pascal)])
def test_part_labels_are_the_readers(tmp_path, name, write):
    write(tmp_path)
    out = pack(name, tmp_path, tmp_path / "a.pack", 64, progress=False)
    for split in ("train", "validation", "test"):
        read = open_dataset(name, split, tmp_path, 64)
        everyone = torch.arange(read.length)
        expected = read.batch(everyone)
        data = Packed(out, split, 64)
        stored = data.batch(everyone)
        assert (data.name, data.parts, data.skeleton) == (name, read.parts, read.skeleton)
        assert torch.equal(stored.parsing, expected.parsing)
        assert torch.equal(stored.presence, expected.presence)
        assert (stored.images - expected.images).abs().mean() < 1e-3
        wide = {"size": 96, "widen": 1.5}
        assert torch.equal(
            Packed(out, split, **wide).batch(everyone).parsing,
            open_dataset(name, split, tmp_path, **wide).batch(everyone).parsing,
        )
        # The centre of each of fewer pixels lies where four of the file's meet: the last of them is the nearest there.
        half = Packed(out, split, 32, resident=True).batch(everyone)
        assert torch.equal(half.parsing, expected.parsing[:, 1::2, 1::2])
        assert (half.parsing == open_dataset(name, split, tmp_path, 32).batch(everyone).parsing).float().mean() > 0.9
    assert packed.check(out).endswith(f", with {len(read.parts)} part labels; the file is whole.")


def test_part_labels_are_packed_where_a_split_has_them(lspet, tmp_path):
    write_part(tmp_path, "train", 40, labelled=False)
    write_part(tmp_path, "val", 8)
    out = pack("lip", tmp_path, tmp_path / "a.pack", 32, ("train", "test"), progress=False)
    with safe_open(out, framework="np") as file:
        assert file.get_slice("test.parsing").get_shape() == [8, 48, 48]
        assert "train.parsing" not in file.keys()  # noqa: SIM118
    assert Packed(out, "train", 32).batch(torch.arange(3)).parsing is None
    assert Packed(out, "test", 32).batch(torch.arange(3)).parsing.shape == (3, 32, 32)
    # A set without any is packed as it was before there were part labels in packed files.
    with safe_open(lspet / "lspet.pack", framework="np") as file:
        assert {key.split(".")[1] for key in file.keys()} == {"images", "joints", "presence", "head_size", "index"}  # noqa: SIM118
        assert "parts" not in file.metadata()
    assert Packed(lspet / "lspet.pack", "test", 32).batch(torch.arange(3)).parsing is None


def test_never_leaves_half_a_file(lspet, tmp_path, monkeypatch):
    out = tmp_path / "lspet.pack"
    out.write_bytes(b"what was there")

    def fail(*_):
        raise OSError("disk gone")

    monkeypatch.setattr(packed, "_write", fail)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(OSError, match="disk gone"):
            pack("lspet", lspet, out, 32, ("test",), progress=False)
    assert out.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [out]


def test_bad_input_is_refused_in_a_sentence(lspet, tmp_path):
    whole = (lspet / "lspet.pack").read_bytes()
    (tmp_path / "cut.pack").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="not a whole one"):
        Packed(tmp_path / "cut.pack", "test")
    (tmp_path / "text.pack").write_text("text")
    with pytest.raises(ValueError, match="not a packed set"):
        packed.check(tmp_path / "text.pack")
    with pytest.raises(FileNotFoundError, match="posebook data pack"):
        Packed(tmp_path / "nothing", "test")
    with pytest.raises(ValueError, match="no split 'validation': it has train, test"):
        Packed(lspet / "lspet.pack", "validation")
    with pytest.raises(ValueError, match=r"up to 1\.5 windows"):
        Packed(lspet / "lspet.pack", "test", 64, widen=1.6)
    for arguments, said in (
        (("lspet", lspet, tmp_path / "a", 63), "even"),
        (("figures", lspet, tmp_path / "a", 64), "nothing to pack"),
        (("lspet", lspet, tmp_path, 64), "is a folder"),
        (("lspet", lspet, tmp_path / "a", 64, ("test", "test")), "each split once"),
        (("lspet", lspet, tmp_path / "a", 64, ("all",)), "no split is called 'all'"),
    ):
        with pytest.raises(ValueError, match=said):
            pack(*arguments, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.pack", "text.pack"]
