"""Photographs are decoded in one way: upright, in 8 bits, and never padded at full size."""

from __future__ import annotations

import os
import struct
import subprocess
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from posebook.datasets import images, photographs, sets
from posebook.datasets.images import Picture, PixelError, extent, open_upright
from posebook.datasets.labelled import read_png
from posebook.datasets.lip import LIP
from posebook.evaluation.inference import read_photograph
from posebook.pictures.photographs import SUFFIXES
from small_sets.lip import SIZES, write_part

# Smooth, and different at each corner.
SCENE = np.stack(
    [
        np.tile(np.linspace(0, 250, 120), (80, 1)),
        np.tile(np.linspace(0, 250, 80)[:, None], (1, 120)),
        np.zeros((80, 120)),
    ],
    -1,
).astype(np.uint8)


def save(path: Path, pixels: np.ndarray = SCENE, orientation: int | None = None, **options) -> Path:
    if orientation is not None:
        options["exif"] = Image.Exif()
        options["exif"][274] = orientation
    Image.fromarray(pixels).save(path, **options)
    return path


def pixels_of(path: Path) -> np.ndarray:
    with open_upright(path) as photograph:
        return photograph.decode().pixels()


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", [None, *range(10)])
def test_photographs_stand_upright(tmp_path, suffix, orientation):
    plain = pixels_of(save(tmp_path / f"plain.{suffix}"))
    path = save(tmp_path / f"turned.{suffix}", orientation=orientation)
    turns = {
        2: plain[:, ::-1], 3: plain[::-1, ::-1], 4: plain[::-1], 5: plain.swapaxes(0, 1), 8: np.rot90(plain),
        6: np.rot90(plain, -1), 7: plain.swapaxes(0, 1)[::-1, ::-1],
    }  # fmt: skip
    expected = turns.get(orientation, plain)
    assert np.array_equal(pixels_of(path), expected)
    assert extent(path) == expected.shape[1::-1]
    whole = max(expected.shape)
    crop, size = photographs.read_crop(path, 0.0, 0.0, float(whole), whole)
    assert size == expected.shape[1::-1]
    assert np.array_equal(crop[: expected.shape[0], : expected.shape[1]], expected)
    assert photographs._extent(path) == size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_that_is_decoded_small_is_cropped_like_an_upright_one(tmp_path, orientation):
    """Of 1203 x 801 pixels, an eighth is 150.4 x 100.1."""
    large = np.asarray(Image.fromarray(SCENE).resize((1203, 801)))
    sideways = save(tmp_path / "sideways.jpg", large, orientation, quality=95)
    with Image.open(sideways) as image:
        upright = save(tmp_path / "upright.png", np.asarray(ImageOps.exif_transpose(image)))
    (crop, size), (whole, same) = (photographs.read_crop(path, 33.3, 50.5, 700.0, 64) for path in (sideways, upright))
    assert size == same
    assert abs((crop.astype(int) - whole)[..., :2].mean()) < 0.5
    assert np.abs(crop.astype(int) - whole).max() <= 3


def test_a_tag_behind_the_pixels_of_a_png_counts_and_a_broken_one_does_not(tmp_path):
    path = save(tmp_path / "late.png")
    exif = Image.Exif()
    exif[274] = 6
    for tag, size in ((exif.tobytes()[6:], (80, 120)), (b"MM\0*\xff\xff\xff\xff", (120, 80)), (b"?", (120, 80))):
        chunk = struct.pack(">I", len(tag)) + b"eXIf" + tag + struct.pack(">I", zlib.crc32(b"eXIf" + tag))
        data = save(path).read_bytes()
        path.write_bytes(data[:-12] + chunk + data[-12:])
        assert extent(path) == size
        assert pixels_of(path).shape == (*size[::-1], 3)


RAMP = np.array([[0, 128, 129, 257, 32768], [65535, 65407, 300, 60000, 65278]], np.uint16)
IN_8_BITS = np.array([[0, 0, 1, 1, 128], [255, 255, 1, 233, 254]])


@pytest.mark.parametrize("name", ["a.png", "a.tif", "big-endian.tif", "a.pgm", "a.jp2"])
def test_grey_of_16_bits_keeps_its_range(tmp_path, name):
    path = tmp_path / name
    if name.startswith("big"):
        Image.frombytes("I;16B", RAMP.shape[::-1], RAMP.astype(">u2").tobytes()).save(path)
        assert path.read_bytes()[:2] == b"MM"
    else:
        Image.fromarray(RAMP).save(path)
    for found in (pixels_of(path), photographs.read_crop(path, 0.0, 0.0, 5.0, 5)[0][:2]):
        assert np.array_equal(found, np.repeat(IN_8_BITS[..., None], 3, -1))


def tiff(bits: int, photometric: int, data: bytes) -> bytes:
    """A grey TIFF of 2 x 1 pixels."""
    entries = [
        (256, 2),
        (257, 1),
        (258, bits),
        (259, 1),
        (262, photometric),
        (273, 8),
        (277, 1),
        (278, 1),
        (279, len(data)),
    ]
    start = 8 + len(data)
    fields = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<I", start) + data + struct.pack("<H", len(entries)) + fields + b"\0\0\0\0"


def test_tiffs_say_what_is_white(tmp_path):
    path = tmp_path / "a.tif"
    for bits, photometric, data, expected in (
        (16, 1, struct.pack("<HH", 65535, 257), (255, 1)),
        (16, 0, struct.pack("<HH", 65535, 257), (0, 254)),
        (12, 1, bytes([0xFF, 0xF8, 0x00]), (255, 128)),
        (8, 0, bytes([255, 1]), (0, 254)),
    ):
        path.write_bytes(tiff(bits, photometric, data))
        assert pixels_of(path)[0, :, 0].tolist() == list(expected), (bits, photometric)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_without_a_white_are_refused(tmp_path, kind):
    names, _, _ = write_part(tmp_path, "val", 4)
    first = tmp_path / "TrainVal_images" / "val_images" / names[0]
    Image.fromarray(np.full(SIZES[0][::-1], 40_000, kind)).save(first, format="TIFF")
    with pytest.raises(PixelError, match=r"do not say what is white: save it with 8 or 16 bits"):
        pixels_of(first)
    data = LIP(tmp_path, "test", 64)
    with pytest.warns(UserWarning, match="do not say what is white"):
        sample = data.batch(torch.arange(4))
    assert not sample.presence[0].any()
    assert sample.images[0].std() == 0
    fine, sentence = sets.check("lip", tmp_path, progress=False)
    assert not fine
    assert "1 cannot be read" in sentence
    assert "do not say what is white" in sentence


@pytest.mark.parametrize("name", ["1.png", "L.png", "P.png", "LA.png", "RGBA.png", "CMYK.jpg", "L.jpg", "P.gif"])
def test_formats_of_8_bits_are_as_pillow_converts_them(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(SCENE).convert(path.stem).save(path)
    with Image.open(path) as image:
        assert np.array_equal(pixels_of(path), np.asarray(image.convert("RGB")))


def test_labels_lie_on_a_sideways_photograph(tmp_path):
    """A set whose photograph is stored lying gives what it gives when the same pixels are stored upright."""
    names, _, _ = write_part(tmp_path, "val", 4)
    good = LIP(tmp_path, "test", 64).batch(torch.arange(4))
    first = tmp_path / "TrainVal_images" / "val_images" / names[0]
    with Image.open(first) as image:
        save(first, np.rot90(np.asarray(image)), 6, format="PNG")
    assert extent(first) == SIZES[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = LIP(tmp_path, "test", 64).batch(torch.arange(4))
    assert torch.equal(found.presence, good.presence)
    assert torch.equal(found.parsing, good.parsing)
    assert torch.allclose(found.images, good.images, atol=0.03)
    fine, sentence = sets.check("lip", tmp_path, progress=False)
    assert fine, sentence


def test_a_large_window_is_averaged_before_it_is_padded(monkeypatch):
    picture = Picture(Image.fromarray(SCENE), (120, 80))
    wanted = [picture.cut(*window, 32).astype(int) for window in ((-40, -60, 200), (-3.5, 10.25, 150.5), (0, 0, 120))]
    sides, crop = [], Image.Image.crop
    monkeypatch.setattr(images, "LARGEST_WINDOW", 64)
    monkeypatch.setattr(Image.Image, "crop", lambda self, box: sides.append(box[2] - box[0]) or crop(self, box))
    found = [picture.cut(*window, 32) for window in ((-40, -60, 200), (-3.5, 10.25, 150.5), (0, 0, 120))]
    assert max(sides) <= 65
    for some, other in zip(found, wanted, strict=True):
        assert np.abs(some - other).mean() < 4


def test_a_window_of_any_size_can_be_cut():
    wide = Image.new("RGB", (30_000, 400))
    wide.paste((255, 255, 255), (15_000, 0, 30_000, 400))
    crop = Picture(wide, wide.size).cut(0, -14_800, 30_000, 64)
    assert crop[32, 40:].min() > 90
    assert crop[32, :24].max() == crop[:28].max() == crop[37:].max() == 0
    for window in (1e5, 1e9, 1e15):
        assert Picture(wide, wide.size).cut(0, 0, window, 64).max() < 255


def test_a_bomb_is_refused_in_a_sentence(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(PixelError, match=r"too many pixels .*: make it smaller first"):
        extent(path)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(touched) (w) file closefile\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.eps"])
def test_no_program_is_run_on_a_picture(tmp_path, monkeypatch, name):
    """PostScript is a program, and Pillow hands it to Ghostscript: under any name it is no photograph."""
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **options: pytest.fail("a program was started"))
    path = tmp_path / name
    path.write_bytes(EPS)
    for read in (lambda: images.extent(path), lambda: read_png(path, 20), lambda: read_photograph(path)):
        with pytest.raises(Exception, match=r"cannot identify image file|cannot be read as an image"):
            read()


def test_a_pipe_is_no_photograph(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match="is no file on a disk"):
        images.extent(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match="is no file on a disk"):
        read_png(tmp_path / "pipe.jpg", 20)


def test_formats_are_those_that_folders_are_looked_through_for():
    Image.init()
    known = {Image.EXTENSION[suffix] for suffix in SUFFIXES if suffix in Image.EXTENSION}
    assert known <= set(images.FORMATS)
