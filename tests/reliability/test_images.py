"""Pictures from outside: only those of the formats meant, of a bounded number of pixels, whole or refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from damage import damaged, few, refusal
from posebook.cli import main
from posebook.datasets import images
from posebook.datasets.images import MOST_PIXELS, PixelError, open_image
from posebook.datasets.labelled import read_png
from posebook.evaluation.inference import read_photograph, square


def claimed(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose head says that it is so large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8193, 13_000, 2**31 - 1])
def test_too_many_pixels_are_refused_before_they_are_unpacked(tmp_path, side):
    path = tmp_path / "a.png"
    path.write_bytes(claimed(side, side))
    with pytest.warns() if side == 13_000 else pytest.MonkeyPatch.context():
        with pytest.raises(PixelError, match="make it smaller first"):
            open_image(path)
        with pytest.raises(PixelError, match="make it smaller first"):
            read_png(path, 20)
        with pytest.raises(ValueError, match=r"a\.png cannot be read as an image: it has .* pixels"):
            read_photograph(path)
    assert MOST_PIXELS >= 8192**2


def test_predict_tells_of_it_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(claimed(13_000, 13_000))
    Image.new("RGB", (60, 80)).save("b.png")
    run = CliRunner().invoke(main, ["predict", "a.png", "b.png", "--device", "cpu"])
    assert run.exit_code == 1
    assert "a.png cannot be read as an image: it has 13000 x 13000 pixels, and 67 million are the most" in run.output
    assert Path("predictions/b_pose.json").is_file()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(evil) (w) file closefile showpage\n%%EOF\n"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.eps"])
def test_no_picture_is_a_program(tmp_path, name):
    (tmp_path / name).write_bytes(EPS)
    with pytest.raises(ValueError, match=f"{name} cannot be read as an image"):
        read_photograph(tmp_path / name)
    assert {"EPS", "PDF", "WMF", "PSD"}.isdisjoint(images.FORMATS)


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 20, (40, 30), np.uint8)
    image = Image.fromarray(pixels)
    (image if kind == "PNG" else image.convert("RGB")).save(file, kind, exif=Image.Exif())
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@few
@given(data=st.data())
def test_damaged_pictures_are_read_or_refused(tmp_path, kind, data):
    path, content = tmp_path / f"a.{kind.lower()}", data.draw(damaged(picture(kind)))

    def read(path: Path) -> None:
        assert read_photograph(path).ndim == 3

    refusal(path, content, read)


@pytest.mark.parametrize(
    "box",
    [(1e308, 0, 1e308, 1e308), (-1e308, -1e308, 1.7e308, 1.7e308), (0, 0, 1e300, 1e300), (0, 0, 5, float("inf")),
     (0, 0, float("nan"), 5), (1e18, 0, 5, 5)],
)  # fmt: skip
def test_boxes_too_large_are_refused(box):
    with pytest.raises(ValueError, match=r"box .* (holds nothing|too large|finite)"):
        square(np.zeros((80, 60, 3), np.uint8), 64, tuple(map(float, box)))


@pytest.mark.parametrize("box", [(0, 0, 1e-300, 1e-300), (-1e3, -1e3, 2e3, 2e3), (59.999, 79.999, 3e3, 1e-9)])
def test_odd_boxes_that_hold_something_are_cut(box):
    pixels, affine = square(np.zeros((80, 60, 3), np.uint8), 64, tuple(map(float, box)))
    assert pixels.shape == (1, 3, 64, 64)
    assert affine.isfinite().all()
