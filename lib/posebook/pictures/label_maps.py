"""Part labels as files: the labels themselves, and drawn over their photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from posebook.paths import replacing
from posebook.pictures.poses import draw_parsing, parsing_legend, show_image
from posebook.pictures.style import figure
from posebook.skeleton import COLOUR_OF_PART, IGNORE_LABEL


def save_label_map(path: str | Path, labels: UInt8[Tensor, "h w"], parts: tuple[str, ...]) -> None:
    """The labels as a PNG with a palette: its pixels are the numbers, and any viewer shows them in the parts' colours.

    `posebook score --parsing` and the reader of LIP take such files.
    """
    from PIL import Image

    palette = np.zeros((256, 3), np.uint8)
    palette[: len(parts)] = [list(bytes.fromhex(COLOUR_OF_PART[name][1:])) for name in parts]
    palette[IGNORE_LABEL] = 255
    image = Image.fromarray(labels.numpy())
    image.putpalette(palette.flatten().tolist())
    with replacing(Path(path)) as part:
        image.save(part, format="PNG")


def save_parsing_picture(
    path: str | Path, image: Float[Tensor, "3 h w"], labels: UInt8[Tensor, "h2 w2"], parts: tuple[str, ...]
) -> None:
    """The image with its parts in colours over it and a legend below, as a PNG of about 100 pixels per inch.

    Args:
        labels: of any resolution; those at the image's pixels are taken.
    """
    height, width = image.shape[-2:]
    labels = F.interpolate(labels[None, None], size=(height, width), mode="nearest")[0, 0]
    scale = max(1.0, 480 / max(height, width))
    sheet, axes = figure(size=(max(5.0, width * scale / 100), height * scale / 100 + 1))
    show_image(axes[0, 0], image)
    draw_parsing(axes[0, 0], labels, 0.6, parts)
    parsing_legend(sheet, labels, parts)
    with replacing(Path(path)) as part:
        sheet.savefig(part, dpi=100, format="png")
