"""Photographs with the poses that were found in them, as files: what `posebook predict` writes."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebook.evaluation.inference import Box, predict_photograph, read_photograph
from posebook.pictures.poses import draw_pose, show_image
from posebook.pictures.style import figure
from posebook.skeleton import OCCLUDED, VISIBLE, Skeleton


def save_pose_picture(
    path: str | Path,
    image: Float[Tensor, "3 h w"],
    joints: Float[Tensor, "j 2"],
    confidence: Float[Tensor, " j"],
    skeleton: Skeleton,
    unsure: float = 0.2,
) -> None:
    """The image with its pose as a PNG or JPEG of the same shape, at least 480 pixels along its longer side.

    Args:
        unsure: joints below this confidence are rings.

    Raises:
        ValueError: a file name that ends in no format for pictures.
    """
    height, width = image.shape[-2:]
    scale = max(1.0, 480 / max(height, width))
    sheet, axes = figure(size=(width * scale / 100, height * scale / 100))
    sheet.set_layout_engine("none")
    axes[0, 0].set_position((0, 0, 1, 1))
    show_image(axes[0, 0], image)
    presence = torch.where(confidence < unsure, OCCLUDED, VISIBLE)
    draw_pose(axes[0, 0], joints, presence, skeleton, width=max(2.0, max(height, width) * scale / 200))
    sheet.savefig(path, dpi=100)


def write_prediction(
    path: str | Path,
    model: nn.Module,
    skeleton: Skeleton,
    output: Path,
    box: Box | None = None,
    spared: Collection[str | Path] = (),
    **options,
) -> tuple[Path, Path]:
    """Find the person in a photograph, and write the drawn pose (PNG) and its numbers (JSON) into a folder.

    Args:
        spared: files that must stay as they are: other photographs, what was written for them.

    Returns:
        The picture and the JSON, NAME_pose.png and NAME_pose.json; what was there under these names is replaced.

    Raises:
        ValueError: one of them would replace a file to be spared; and as `read_photograph` and `predict` do.
    """
    picture = output / f"{Path(path).stem}_pose.png"
    numbers = picture.with_suffix(".json")
    kept = {Path(file).resolve() for file in (path, *spared)}
    for target in (picture, numbers):
        if target.resolve() in kept:
            raise ValueError(
                f"the pose of {path} would replace {target}, which this command reads or has just written; "
                "give it a folder of its own with --output"
            )
    photograph = read_photograph(path)
    joints, confidence = predict_photograph(model, photograph, skeleton, box, **options)
    found = {
        name: {"x": round(x, 2), "y": round(y, 2), "confidence": round(sure, 4)}
        for name, (x, y), sure in zip(skeleton.joints, joints.tolist(), confidence.tolist(), strict=True)
    }
    about = {"image": str(path), "box": box, "skeleton": skeleton.name, "joints": found}
    output.mkdir(parents=True, exist_ok=True)
    pixels = torch.from_numpy(photograph.copy()).permute(2, 0, 1).float() / 255
    save_pose_picture(picture, pixels, joints, confidence, skeleton)
    numbers.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return picture, numbers
