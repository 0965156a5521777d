"""Photographs as they lie in files, decoded in one way for everybody: upright, as 8-bit RGB."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from posebook.outside import existing

if TYPE_CHECKING:
    from PIL.Image import Image

# A window with a longer side than this, in pixels, is averaged over blocks before it is padded: padding stays small.
LARGEST_WINDOW = 8192

# What photographs and label maps come in. Pillow knows more, and for some (EPS) it runs other programs on the file.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

# A picture of more pixels than this is refused: a file of some kB can unpack to gigabytes.
MOST_PIXELS = 2**26

# Tags of TIFF, and of EXIF with it.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274

# What Pillow keeps a photograph's tags under.
_TAGGED = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}

# What turns a photograph of each orientation upright, as Pillow calls it; from 5 on, width and height change places.
_TURNS = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip
# Turned upright, these orientations' first column, or first row, is one that was stored last.
_FIRST_COLUMN_LAST, _FIRST_ROW_LAST = (2, 3, 6, 7), (3, 4, 7, 8)


class PixelError(ValueError):
    """Pixels that cannot be shown in 8 bits, or too many of them; the sentence says what to do."""


@dataclass
class Picture:
    """The pixels of a photograph, or of a smaller copy of it.

    Attributes:
        image: upright, in 8-bit RGB.
        extent: width and height of the whole photograph, upright, in its own pixels.
        shrink: how many of the photograph's pixels are side by side in one of `image`.
        corner: where the photograph's top left corner is in `image`. A smaller copy has a whole number of pixels, and
            the last ones may be partly beyond the photograph: turned upright, they may come first.
    """

    image: Image
    extent: tuple[int, int]
    shrink: int | float = 1.0
    corner: tuple[float, float] = (0.0, 0.0)

    def cut(
        self, left: int | float, top: int | float, window: int | float, size: int
    ) -> UInt8[np.ndarray, "size size 3"]:
        """A square window scaled to `size`, black beyond the photograph's edges.

        The window's corner and side are in the photograph's pixels and may be fractions. Pillow averages when it
        shrinks. No more than `LARGEST_WINDOW` x `LARGEST_WINDOW` pixels are padded, however large the window is.
        """
        from PIL.Image import Resampling

        image = self.image
        left, top = (at / self.shrink + start for at, start in zip((left, top), self.corner, strict=True))
        window = window / self.shrink
        blocks = math.ceil(window / LARGEST_WINDOW)
        if blocks > 1:
            image = image.reduce((min(blocks, image.width), min(blocks, image.height)))
            left, top, window = left / blocks, top / blocks, window / blocks
        x, y = math.floor(left), math.floor(top)
        side = math.ceil(max(left - x, top - y) + window)
        # Pillow's crop fills with black beyond the edges.
        part = image.crop((x, y, x + side, y + side))
        box = (left - x, top - y, left - x + window, top - y + window)
        return np.asarray(part.resize((size, size), Resampling.BILINEAR, box=box))

    def pixels(self, longest: int | None = None) -> UInt8[np.ndarray, "h w 3"]:
        """All of the pixels; scaled so that the longer side is `longest` where it is longer than that."""
        from PIL.Image import Resampling

        image = self.image
        if longest is not None and max(image.size) > longest:
            scale = longest / max(image.size)
            image = image.resize([max(1, round(side * scale)) for side in image.size], Resampling.BILINEAR)
        return np.array(image)


class Upright:
    """A photograph that is open and not decoded yet; `extent` is its width and height when it stands upright."""

    def __init__(self, image: Image) -> None:
        self._image, self._orientation = image, _orientation(image)
        self.extent = image.size if self._orientation < 5 else image.size[::-1]

    def decode(self, least: int | float = 1.0) -> Picture:
        """The pixels.

        Args:
            least: the share of the photograph's width and height that is enough; JPEG is decoded at a half, a quarter
                or an eighth where that is no less.

        Raises:
            PixelError: the pixels' format does not say which value is white.
            Exception: as Pillow raises on broken files, of many kinds.
        """
        width, height = self._image.size
        draft = self._image.draft("RGB", (max(1, int(width * least)), max(1, int(height * least))))
        shrink = width / draft[1][2] if draft else 1.0
        image, corner = _eight_bit(self._image), (0.0, 0.0)
        if self._orientation > 1:
            from PIL.Image import Transpose

            image = image.transpose(Transpose[_TURNS[self._orientation]])
            ways = (_FIRST_COLUMN_LAST, _FIRST_ROW_LAST)
            beyond = [side - whole / shrink for side, whole in zip(image.size, self.extent, strict=True)]
            corner = tuple(b * (self._orientation in way) for b, way in zip(beyond, ways, strict=True))
        return Picture(image, self.extent, shrink, corner)


@contextmanager
def open_upright(path: str | Path) -> Iterator[Upright]:
    """Open a photograph, which the EXIF tag for orientation turns upright; a tag that cannot be read turns nothing.

    Raises:
        PixelError: more pixels than `MOST_PIXELS`.
        Exception: as Pillow raises on broken files, of many kinds.
    """
    with open_image(path) as opened:
        yield Upright(opened)


def open_image(path: str | Path) -> Image:
    """`PIL.Image.open` of the formats that photographs and label maps come in, whatever the file is called.

    Raises:
        ValueError: a pipe or a device, which might never end.
        PixelError: more pixels than `MOST_PIXELS`.
        Exception: as Pillow raises on broken files and on other formats, of many kinds.
    """
    from PIL import Image

    existing(path)
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        opened = Image.open(path, formats=formats)
    except Image.DecompressionBombError as error:
        raise PixelError(f"it has too many pixels ({error}): make it smaller first") from error
    width, height = opened.size
    if width * height > MOST_PIXELS:
        opened.close()
        raise PixelError(
            f"it has {width} x {height} pixels, and {MOST_PIXELS / 1e6:.0f} million are the most: make it smaller first"
        )
    return opened


def extent(path: str | Path) -> tuple[int, int]:
    """Width and height of a photograph when it stands upright; errors as in `open_upright`."""
    with open_upright(path) as photograph:
        return photograph.extent


def _orientation(image: Image) -> int:
    """1 where the photograph stands upright, or a key of `_TURNS`."""
    # PNG may have its tag behind the pixels, and Pillow turns TIFF itself, while it loads it.
    if image.format in ("PNG", "TIFF"):
        image.load()
    # Most photographs of sets have no tags, and looking for one takes part of the time of a small crop.
    if image.format == "TIFF" or _TAGGED.isdisjoint(image.info):
        return 1
    try:
        orientation = image.getexif().get(_ORIENTATION)
        return orientation if orientation in _TURNS else 1
    except Exception:  # a broken tag raises many kinds; the pixels are still good
        return 1


def _eight_bit(image: Image) -> Image:
    """The same pixels as 8-bit RGB; PixelError where it is not known which value is white."""
    from PIL import Image as Pillow

    if image.mode == "RGB":
        image.load()
        return image
    # Pillow gives PNG and PGM of 16 bits as I in some versions, scaled to 16 bits.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        tags = getattr(image, "tag_v2", {})
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]  # TIFF may have 12
        white = 2**bits - 1
        grey = (np.arange(2**16).clip(max=white) * 255 + white // 2) // white
        if tags.get(_PHOTOMETRIC) == 0:  # in such a TIFF, 0 is white
            grey = 255 - grey
        return Pillow.fromarray(grey.astype(np.uint8)[np.asarray(image)]).convert("RGB")
    if image.mode.startswith("I") or image.mode == "F":
        kind = "fractions" if image.mode == "F" else "integers of 32 bits or with a sign"
        raise PixelError(
            f"its pixels are {kind}, which do not say what is white: save it with 8 or 16 bits per channel"
        )
    return image.convert("RGB")
