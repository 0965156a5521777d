"""Photographs with the poses that were found in them, as files: what `posebook predict` reads and writes."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from posebook.evaluation.inference import Box, parse_photograph, predict_photograph, read_picture
from posebook.network import finds_joints, parses
from posebook.outside import existing
from posebook.paths import alone, replacing
from posebook.pictures.label_maps import save_label_map, save_parsing_picture
from posebook.pictures.poses import draw_pose, show_image
from posebook.pictures.style import figure
from posebook.skeleton import OCCLUDED, VISIBLE, Skeleton, part_names

# A drawing's longer side in pixels is never less and never more: matplotlib takes about 150 bytes per pixel.
SHORTEST_SIDE, LONGEST_SIDE = 480, 2048

# What a folder's photographs are called.
SUFFIXES = (
    ".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A photograph to find the person in.

    Attributes:
        image: the file, as it was given or found.
        name: what a file of boxes calls it: its path within the folder that was given, or its file name.
        output: the folder that its pose goes to.
    """

    image: str
    name: Path
    output: Path


def find_photographs(given: Iterable[str | Path], output: str | Path, recursive: bool = False) -> list[Job]:
    """The photographs that files and folders stand for, each once.

    A file's pose goes to the folder `output`, and so do those of a folder's photographs; with `recursive` those in its
    subfolders go to subfolders of the same names. In folders, hidden files and what `write_prediction` drew are left
    out. Files that are not there are kept: reading them says so.

    Raises:
        ValueError: a folder without photographs; two photographs whose poses would be the same file.
    """
    output = Path(output)
    jobs: dict[Path, Job] = {}
    for entry in given:
        folder = Path(entry)
        if not folder.is_dir():
            jobs.setdefault(Path(os.path.abspath(folder)), Job(str(entry), Path(folder.name), output))
            continue
        found = _photographs_in(folder, recursive)
        if not found:
            further = "" if recursive else "; with --recursive its subfolders are looked through too"
            raise ValueError(f"{entry} holds no photographs ({' '.join(SUFFIXES)}){further}")
        for path in found:
            name = path.relative_to(folder)
            jobs.setdefault(Path(os.path.abspath(path)), Job(str(path), name, output / name.parent))
    targets: dict[Path, Job] = {}
    for job in jobs.values():
        target = _target(job.image, job.output)
        other = targets.setdefault(target, job)
        if other is not job:
            raise ValueError(
                f"the poses of {other.image} and {job.image} would both be {target}: give the folder that holds both "
                "with --recursive, which keeps subfolders apart, give each an --output of its own, or rename one"
            )
    return list(jobs.values())


def _photographs_in(folder: Path, recursive: bool) -> list[Path]:
    """The photographs in a folder, in the order of their names, a folder's before those of its subfolders."""
    found = []
    for where, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if recursive and not name.startswith("."))
        paths = (Path(where, name) for name in sorted(names) if not name.startswith("."))
        found += [path for path in paths if path.suffix.lower() in SUFFIXES and not _is_drawing(path)]
    return found


def _is_drawing(path: Path) -> bool:
    """Whether it has the name of a picture that `write_prediction` drew, and what it draws lies beside it."""
    if path.name.endswith("_pose.png"):
        return path.with_suffix(".json").exists()
    stem = path.name.removesuffix("_parsing.png").removesuffix("_parts.png")
    return stem != path.name and all((path.parent / f"{stem}{end}").exists() for end in ("_parsing.png", "_parts.png"))


def _target(image: str | Path, output: Path) -> Path:
    """The drawn pose of a photograph; the numbers have the same name with `.json`."""
    return output / f"{Path(image).stem}_pose.png"


def read_boxes(path: str | Path) -> dict[str, Box]:
    """The boxes in a CSV file: a file name, x, y, width and height a line; the first line may name the columns.

    Raises:
        FileNotFoundError, ValueError: no such file; another kind of file or line, or a name that is there twice.
    """
    existing(path, "give the file of boxes")
    boxes = {}
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, strict=True)
            for fields in lines:
                numbers = [_number(field) for field in fields[1:]]
                if not any(fields) or (lines.line_num == 1 and not any(number is not None for number in numbers)):
                    continue
                if len(numbers) != 4 or None in numbers or not all(map(math.isfinite, numbers)):
                    raise ValueError(
                        f"line {lines.line_num} is '{','.join(fields)}'; give a file name and x, y, width and height, "
                        "between commas"
                    )
                if fields[0] in boxes:
                    raise ValueError(f"line {lines.line_num} has a second box for {fields[0]}: leave one of them")
                boxes[fields[0]] = tuple(numbers)
    except (ValueError, csv.Error) as error:  # text that is not in UTF-8 is a ValueError
        raise ValueError(f"{path} is not a CSV file of boxes: {error}") from error
    return boxes


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def match_boxes(boxes: dict[str, Box], jobs: Sequence[Job]) -> tuple[dict[Job, Box], list[str]]:
    """Each photograph's box, and the names that are of no photograph.

    A box is called as its photograph's `Job.name`, or as the end of its path where no other photograph's is the same.

    Raises:
        ValueError: a name that is of several photographs, or two names of one.
    """
    by_name = {job.name: [job] for job in jobs}
    by_file: dict[str, list[Job]] = {}
    for job in jobs:
        by_file.setdefault(job.name.name, []).append(job)
    found: dict[Job, Box] = {}
    unknown = []
    for name, box in boxes.items():
        parts = Path(name).parts
        alike = by_name.get(Path(name)) or [
            job
            for job in by_file.get(Path(name).name, [])
            if Path(os.path.abspath(job.image)).parts[-len(parts) :] == parts
        ]
        if not alike:
            unknown.append(name)
            continue
        if len(alike) > 1:
            raise ValueError(f"the box of {name} may be of {alike[0].image} or {alike[1].image}: give more of its path")
        if alike[0] in found:
            raise ValueError(f"{alike[0].image} has two boxes, one under the name {name}: leave one of them")
        found[alike[0]] = box
    return found, unknown


def save_pose_picture(
    path: str | Path,
    image: Float[Tensor, "3 h w"],
    joints: Float[Tensor, "j 2"],
    confidence: Float[Tensor, " j"],
    skeleton: Skeleton,
    unsure: float = 0.2,
) -> None:
    """The image with its pose as a PNG or JPEG of the same shape, 480 to 2048 pixels along its longer side.

    Args:
        unsure: joints below this confidence are rings.

    Raises:
        ValueError: a file name that ends in no format for pictures.
    """
    path = Path(path)
    height, width = image.shape[-2:]
    if max(height, width) > LONGEST_SIDE:
        shape = [max(1, round(side * LONGEST_SIDE / max(height, width))) for side in (height, width)]
        image = F.interpolate(image[None], shape, mode="bilinear", antialias=True)[0]
        joints = joints * joints.new_tensor([shape[1] / width, shape[0] / height])
        height, width = shape
    scale = max(1.0, SHORTEST_SIDE / max(height, width))
    sheet, axes = figure(size=(width * scale / 100, height * scale / 100))
    sheet.set_layout_engine("none")
    axes[0, 0].set_position((0, 0, 1, 1))
    show_image(axes[0, 0], image)
    presence = torch.where(confidence < unsure, OCCLUDED, VISIBLE)
    draw_pose(axes[0, 0], joints, presence, skeleton, width=max(2.0, max(height, width) * scale / 200))
    with replacing(path) as part:
        sheet.savefig(part, dpi=100, format=path.suffix.removeprefix("."))


def write_prediction(
    path: str | Path,
    model: nn.Module,
    skeleton: Skeleton,
    output: Path,
    box: Box | None = None,
    spared: Collection[Path] = (),
    **options,
) -> list[Path]:
    """Find the person in a photograph, and write what a network finds into a folder.

    Of joints the drawn pose (PNG) and its numbers (JSON), NAME_pose.png and NAME_pose.json. Of parts the label map
    (`label_maps.save_label_map`) in the photograph's size, and drawn over the photograph: NAME_parts.png and
    NAME_parsing.png.

    Args:
        spared: files that must stay as they are, resolved: other photographs.

    Returns:
        The files; what was there under these names is replaced.

    Raises:
        ValueError: one of them would replace the photograph or a file to be spared; joints that are not numbers; and
            as `read_picture`, `square` and `predict` do.
    """
    picture = _target(path, output)
    poses = [picture, picture.with_suffix(".json")] if finds_joints(model) else []
    maps = [output / f"{Path(path).stem}_{name}.png" for name in ("parts", "parsing")] if parses(model) else []
    for target in (*poses, *maps):
        if target.resolve() in spared or target.resolve() == Path(path).resolve():
            raise ValueError(
                f"what is found in {path} would replace {target}, which this command reads; give it a folder of its "
                "own with --output"
            )
    photograph = read_picture(path, box, LONGEST_SIDE)
    pixels = torch.from_numpy(photograph.pixels(LONGEST_SIDE)).permute(2, 0, 1).float() / 255
    if poses:
        joints, confidence = predict_photograph(model, photograph, skeleton, box, **options)
        if not (joints.isfinite().all() and confidence.isfinite().all()):
            raise ValueError(
                f"the joints found in {path} are not all numbers: take scales nearer to 1, or weights that are whole"
            )
        found = {
            name: {"x": round(x, 2), "y": round(y, 2), "confidence": round(sure, 4)}
            for name, (x, y), sure in zip(skeleton.joints, joints.tolist(), confidence.tolist(), strict=True)
        }
        about = {"image": str(path), "box": box, "skeleton": skeleton.name, "joints": found}
        text = json.dumps(about, indent=2, allow_nan=False) + "\n"
        drawn = joints * (torch.tensor([pixels.shape[2], pixels.shape[1]]) / torch.tensor(photograph.extent))
    labels = parse_photograph(model, photograph, box, **options) if maps else None
    output.mkdir(parents=True, exist_ok=True)
    # All files of a photograph are of one process.
    with alone(output / f".{picture.stem}.lock", f"{picture}"):
        if poses:
            save_pose_picture(picture, pixels, drawn, confidence, skeleton)
            with replacing(poses[1]) as part:
                part.write_text(text, encoding="utf-8")
        if labels is not None:
            parts = part_names(model.settings["parts"])
            save_label_map(maps[0], labels, parts)
            save_parsing_picture(maps[1], pixels, labels, parts)
    return poses + maps
