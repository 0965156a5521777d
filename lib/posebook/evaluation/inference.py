"""Trained networks at work: batches, whole datasets, photographs; with flip and a scale pyramid."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from posebook.compute.precision import autocast, channels_last
from posebook.compute.processes import processes, sum_over_processes
from posebook.coordinates import invert, similarity, transform_points, warp
from posebook.datasets.images import LARGEST_WINDOW, Picture, PixelError, open_upright
from posebook.evaluation.metrics import AMONG, Truth, confusion, pckh
from posebook.network import evaluating, finds_joints, parses
from posebook.outside import existing
from posebook.sample import Dataset
from posebook.skeleton import PART_MIRROR, Skeleton

if TYPE_CHECKING:
    from posebook.evaluation.average_precision import Detections

# x, y, width and height in a photograph's pixels.
Box = tuple[float, float, float, float]

# Side of the square that a network sees, in longer sides of a person's box.
MARGIN = 1.25

# A magnification, and whether the image is mirrored.
View = tuple[float, bool]


@torch.no_grad()
def predict(
    model: nn.Module,
    images: Float[Tensor, "n 3 s s"],
    mirror: Sequence[int] | None = None,
    flip: bool = True,
    scales: Iterable[int | float] = (1.0,),
    batch_size: int = 64,
    bf16: bool | None = None,
) -> tuple[Float[Tensor, "n j 2"], Float[Tensor, "n j"]]:
    """Joints, averaged over mirror images and scales.

    A network that has `maps(outputs)`, heat maps (b, j, h, w), has them averaged and then decoded by its `codec`; any
    other has its decoded joints averaged, weighted by confidence.

    Args:
        images: square, on the network's device; of the network's size.
        mirror: `skeleton.mirror`, which a flip needs.
        flip: look at the mirror image too (Newell et al., ECCV 2016, Sec. 4).
        scales: the image is also looked at magnified about its middle by each of these factors. Below 1 it is bordered
            by black, above 1 its edges are out of sight there and have no say.
        batch_size: images at a time.
        bf16: as in `precision.use_bf16`.

    Returns:
        Joints (x, y) in image pixels, and a confidence each.

    Raises:
        ValueError: a flip without mirror, no scales or one that is not above 0, images of another size.
    """
    if not finds_joints(model):
        raise ValueError("this network parses alone: joints come from one that finds them")
    if flip and mirror is None:
        raise ValueError("to look at mirror images, give mirror=skeleton.mirror of the joints' order; or flip=False")
    views = _views(model, images, flip, scales)
    average = _average_maps if hasattr(model, "maps") else _average_joints
    with evaluating(model):
        found = [average(model, chunk, views, mirror, bf16) for chunk in images.split(batch_size)]
    joints, confidence = zip(*found, strict=True)
    return torch.cat(joints), torch.cat(confidence)


@torch.no_grad()
def predict_probabilities(
    model: nn.Module,
    images: Float[Tensor, "n 3 s s"],
    flip: bool = True,
    scales: Iterable[int | float] = (1.0,),
    bf16: bool | None = None,
) -> Float[Tensor, "n parts s s"]:
    """How likely each part is at each pixel, averaged over mirror images and scales.

    Args:
        model: one that parses (`network.ParsingNetwork`).
        images, flip, scales, bf16: as in `predict`.

    Raises:
        ValueError: as in `predict`, and a network that does not parse.
    """
    _check_parses(model)
    with evaluating(model):
        return _average(model, images, _views(model, images, flip, scales), _probabilities, bf16)


def predict_labels(
    model: nn.Module, images: Float[Tensor, "n 3 s s"], batch_size: int = 64, **options
) -> Int[Tensor, "n s s"]:
    """The likeliest part of each pixel; options as in `predict_probabilities`."""
    return torch.cat([predict_probabilities(model, some, **options).argmax(1) for some in images.split(batch_size)])


def _check_parses(model: nn.Module) -> None:
    """ValueError for a network without part labels."""
    if not parses(model):
        raise ValueError("this network finds joints alone: part labels come from one that parses")


def _views(model: nn.Module, images: Tensor, flip: bool, scales: Iterable[int | float]) -> list[View]:
    """How images are looked at; ValueError for what cannot be."""
    scales = [float(scale) for scale in scales]
    if not scales or not all(0 < scale < math.inf for scale in scales):
        raise ValueError(f"scales are {scales}; give one or more numbers above 0")
    size = model.settings["size"]
    if images.shape[-2:] != (size, size):
        height, width = images.shape[-2:]
        raise ValueError(f"images are {height} x {width}, the network takes {size} x {size}; resize them first")
    return [(scale, mirrored) for scale in scales for mirrored in ((False, True) if flip else (False,))]


def _average_maps(
    model: nn.Module, images: Tensor, views: list[View], mirror: Sequence[int] | None, bf16: bool | None
) -> tuple[Tensor, Tensor]:
    """Joints of the heat maps of every view, averaged."""

    def maps(model: nn.Module, outputs: object, mirrored: bool) -> Tensor:
        some = model.maps(outputs).float()  # (b, j, h, w)
        return some.flip(-1)[:, mirror] if mirrored else some

    return model.codec.decode(_average(model, images, views, maps, bf16))


def _probabilities(model: nn.Module, outputs: object, mirrored: bool) -> Tensor:
    """Of each part, in the image as it is."""
    some = model.probabilities(outputs)  # (b, parts, s, s)
    # Parts have sides in LIP's labels alone, and those without come first.
    return some.flip(-1)[:, PART_MIRROR[: some.shape[1]]] if mirrored else some


def _average(
    model: nn.Module,
    images: Tensor,
    views: list[View],
    read: Callable[[nn.Module, object, bool], Float[Tensor, "b c h w"]],
    bf16: bool | None,
) -> Float[Tensor, "b c h w"]:
    """Maps of every view brought back to the image and averaged, each cell over the views that show it.

    Args:
        read: the maps of what the network makes of a view, mirrored back where that was mirrored.
    """
    total = seen = 0.0
    for scale, mirrored in views:
        maps = read(model, _look(model, images, scale, mirrored, bf16), mirrored)
        shown = torch.ones_like(maps[:1, :1])
        if scale != 1:
            back = invert(_magnify(maps, scale))
            # Beyond its border a view has no opinion: neither in the sum of the maps nor in the count.
            maps, shown = warp(maps, back, maps.shape[-1]), warp(shown, back[:1], maps.shape[-1])
        total, seen = total + maps, seen + shown
    return total / seen.clamp_min(1e-3)


def _average_joints(
    model: nn.Module, images: Tensor, views: list[View], mirror: Sequence[int] | None, bf16: bool | None
) -> tuple[Tensor, Tensor]:
    """Joints of every view brought back to the image, averaged by confidence."""
    all_joints, all_confidence = [], []
    for scale, mirrored in views:
        joints, confidence = model.decode(_look(model, images, scale, mirrored, bf16))
        if mirrored:
            joints = torch.stack([images.shape[-1] - joints[..., 0], joints[..., 1]], -1)[:, mirror]
            confidence = confidence[:, mirror]
        if scale != 1:
            joints = transform_points(joints.float(), invert(_magnify(images, scale)))
        all_joints.append(joints.float())
        all_confidence.append(confidence.float())
    joints, confidence = torch.stack(all_joints), torch.stack(all_confidence)  # (v, b, j, 2), (v, b, j)
    weight = confidence.clamp_min(1e-6)[..., None]
    return (weight * joints).sum(0) / weight.sum(0), confidence.mean(0)


def _look(model: nn.Module, images: Tensor, scale: float, mirrored: bool, bf16: bool | None):
    """What the network makes of one view of the images."""
    view = images if scale == 1 else warp(images, _magnify(images, scale), images.shape[-1])
    view = view.flip(-1) if mirrored else view
    with autocast(images.device, bf16):
        return model(channels_last(view))


def _magnify(images: Tensor, scale: float) -> Float[Tensor, "b 2 3"]:
    """The map from an image, or a map over it, to the same magnified about its middle."""
    side = images.shape[-1]
    centre = images.new_full((len(images), 2), side / 2)
    return similarity(centre, images.new_full((len(images),), side / scale), side)


def evaluate(
    model: nn.Module,
    dataset: Dataset,
    count: int | None = None,
    batch_size: int = 32,
    flip: bool = False,
    scales: Iterable[int | float] = (1.0,),
    bf16: bool | None = None,
    progress: bool = False,
) -> tuple[Float[Tensor, "n j 2"], Float[Tensor, "n j"], Truth]:
    """Predictions for a dataset, and its labels, on the CPU: what `metrics` and `benchmarks.report` take.

    Several processes share the work, and each gets all of it. Joints that a crop does not show are absent from its
    labels: the readers' `outside` says how many of a real set's never count.

    Args:
        count: this many people spread evenly over the set (the first ones of an endless set); None takes all.
        flip, scales, bf16: as in `predict`.

    Raises:
        ValueError: an endless set without a count; a set that was opened wide.
    """
    from tqdm.auto import tqdm

    numbers = _held_out(dataset, count)
    people = len(numbers)
    rank, world = processes()
    joints = len(dataset.skeleton)
    device = torch.device(dataset.device)
    # One row per person: x and y predicted, confidence, x and y true, presence; then head and torso size.
    table = torch.zeros(people, 6 * joints + 2, device=device)
    for places in tqdm(torch.arange(people).split(batch_size)[rank::world], "evaluating", disable=not progress):
        sample = dataset.batch(numbers[places])
        found, confidence = predict(
            model, sample.images, dataset.skeleton.mirror, flip, scales, batch_size=batch_size, bf16=bf16
        )
        columns = [found.flatten(1), confidence, sample.joints.flatten(1), sample.presence.float()]
        sizes = torch.stack([sample.head_size, sample.torso_size], 1)
        table[places] = torch.cat([*columns, sizes], 1)
    table = sum_over_processes(table).cpu()
    found, confidence, true, presence, sizes = table.split([2 * joints, joints, 2 * joints, joints, 2], 1)
    truth = Truth(true.reshape(-1, joints, 2), presence.to(torch.uint8), sizes[:, 0], sizes[:, 1])
    return found.reshape(-1, joints, 2), confidence, truth


def _held_out(dataset: Dataset, count: int | None) -> Int[Tensor, " n"]:
    """The numbers of so many people that a network is tested on; errors as `evaluate` says."""
    if dataset.widen != 1:
        raise ValueError(
            f"{dataset.name}/{dataset.split} shows people smaller than networks learn them; open it with widen=1.0"
        )
    return spread(dataset, count)


def spread(dataset: Dataset, count: int | None) -> Int[Tensor, " n"]:
    """The numbers of so many people spread evenly over a set, or of all; the first ones of an endless set.

    Raises:
        ValueError: an endless set without a count.
    """
    if dataset.length is None and count is None:
        raise ValueError(f"{dataset.name}/{dataset.split} has no end: say how many to evaluate")
    people = dataset.length if count is None else count if dataset.length is None else min(count, dataset.length)
    numbers = torch.arange(people)
    return numbers if dataset.length is None else numbers * dataset.length // max(people, 1)


def parse(
    model: nn.Module, dataset: Dataset, count: int | None = None, batch_size: int = 32, **options
) -> Int[Tensor, "parts parts"]:
    """How many pixels of each part (row) a network gives each label (column): what `metrics.parsing_score` takes.

    The sum of what `parse_each` gives, whose arguments it has.
    """
    return parse_each(model, dataset, count, batch_size, **options).sum(0)


def parse_each(
    model: nn.Module,
    dataset: Dataset,
    count: int | None = None,
    batch_size: int = 32,
    flip: bool = False,
    **options,
) -> Int[Tensor, "n parts parts"]:
    """How many pixels of each part (row) a network gives each label (column), person by person.

    Args:
        model: one that parses (`network.ParsingNetwork`).
        count: as in `evaluate`.
        flip, options: as in `predict_probabilities`.

    Raises:
        ValueError: the set has no part labels, or as `evaluate` and the network's `labels` do.
    """
    _check_parses(model)
    parts, numbers = model.settings["parts"], _held_out(dataset, count)
    rank, world = processes()
    matrices = torch.zeros(len(numbers), parts, parts, device=torch.device(dataset.device))
    for places in torch.arange(len(numbers)).split(batch_size)[rank::world]:
        sample = dataset.batch(numbers[places])
        if sample.parsing is None:
            raise ValueError(f"{dataset.name}/{dataset.split} has no part labels: take a set that has, or figures")
        labels = predict_labels(model, sample.images, batch_size, flip=flip, **options)
        matrices[places] = confusion(labels, sample.parsing, parts).float()
    return sum_over_processes(matrices).long().cpu()


@torch.no_grad()
def evaluate_people(
    model: nn.Module, dataset: Dataset, count: int | None = None, batch_size: int = 32, bf16: bool | None = None
) -> Detections:
    """What a network finds in scenes of several people, judged: its `mean` is the mAP. One scale, no flip.

    Departs: the paper tests on six scales with flip (Sec. 4.1), scenes of several people among the rest. Offsets of a
    mirror image point the other way, and those of another scale are of another length: `predict` averages heat maps.

    Args:
        model: one with `find(outputs)`, the people of each image.
        dataset: with everyone's labels.
        count: as in `evaluate`.

    Raises:
        ValueError: as `evaluate`, `average_precision` and the network's `find` do.
    """
    from posebook.evaluation.average_precision import average_precision

    with evaluating(model):
        found = None
        for numbers in _held_out(dataset, count).split(batch_size):
            sample = dataset.batch(numbers)
            people = model.find(_look(model, sample.images, 1.0, False, bf16))
            # People are put together on the CPU.
            judged = average_precision(people, sample.to("cpu"), dataset.skeleton)
            found = judged if found is None else found + judged
    return found


def occlusion_curve(
    model: nn.Module,
    shares: Sequence[int | float] = (0, 0.1, 0.2, 0.3, 0.4, 0.5),
    people: int = 1000,
    split: str = "test",
    seed: int = 0,
    batch_size: int = 32,
    bf16: bool | None = None,
    progress: bool = False,
    difficulty: str = "life",
) -> dict[str, list[float | None]]:
    """A network's accuracy on figures of which more and more is hidden; the same people at every share. No flip.

    Figures at the network's size, on its device: `Figures(..., occluded=share)`, whose module says what to be careful
    with.

    Args:
        shares: of the joints in the image, to be occluded; each 0 to 0.5.
        people: spread evenly over the split.
        seed, difficulty: of the figures.

    Returns:
        Lists as long as `shares`: "share" that was asked for, "occluded_share" that there is; and PCKh@0.5, the mean
        over joints, of "all", "visible" and "occluded" joints: None where less than 1 in 100 joints is such.

    Raises:
        ValueError: a share that is not within 0 to 0.5.
    """
    from posebook.figures.dataset import Figures

    device = next(model.parameters()).device
    sets = [Figures(split, model.settings["size"], device, seed, difficulty, occluded=share) for share in shares]
    curve = {name: [] for name in ("share", "occluded_share", *AMONG)}
    for share, dataset in zip(shares, sets, strict=True):
        found, _, truth = evaluate(model, dataset, people, batch_size, bf16=bf16, progress=progress)
        scores = {among: pckh(found, truth, among=among) for among in AMONG}
        counted = {
            among: int(score.counted.sum()) / int(scores["all"].counted.sum()) for among, score in scores.items()
        }
        curve["share"].append(float(share))
        curve["occluded_share"].append(counted["occluded"])
        for among, score in scores.items():
            curve[among].append(float(score.mean) if counted[among] >= 0.01 else None)
    return curve


def mean_pose(dataset: Dataset, count: int = 1000, batch_size: int = 100) -> Float[Tensor, "j 2"]:
    """Each joint's mean place over this many people spread evenly over a set (the first ones of an endless set)."""
    batches = [dataset.batch(some) for some in spread(dataset, count).split(batch_size)]
    joints = torch.cat([batch.joints for batch in batches])
    there = torch.cat([batch.presence for batch in batches])[..., None] > 0
    return torch.where(there, joints, torch.nan).nanmean(0)


def read_photograph(path: str | Path) -> UInt8[np.ndarray, "h w 3"]:
    """A photograph's pixels, upright.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is an address, not an image, or broken; or its pixels do not say what is white.
    """
    return read_picture(path).pixels()


def read_picture(path: str | Path, box: Box | None = None, longest: int | None = None) -> Picture:
    """A photograph, upright; a JPEG whose window is very large is decoded at a half, a quarter or an eighth.

    Args:
        box: as in `square`, which the picture is for.
        longest: pixels along the longer side that a drawing needs; None decodes every pixel.

    Raises:
        FileNotFoundError, ValueError: as in `read_photograph`.
    """
    # As it was given: a Path makes one slash of two.
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", str(path)):
        raise ValueError(f"{path} is an address: download the photograph first and give its file")
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no photograph at {path}")
    existing(path)
    try:
        with open_upright(path) as photograph:
            side, least = max(photograph.extent), 1.0
            window = side if box is None else max(box[2:]) * MARGIN
            if longest is not None and window > LARGEST_WINDOW:
                least = max(LARGEST_WINDOW / 2 / window, min(1.0, longest / side))
            return photograph.decode(least)
    except MemoryError:
        raise
    except PixelError as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    except Exception as error:  # Pillow raises many kinds on broken files
        raise ValueError(f"{path} cannot be read as an image ({error}); is it whole?") from error


def square(
    photograph: UInt8[np.ndarray, "h w 3"] | Picture, size: int, box: Box | None = None, margin: float = MARGIN
) -> tuple[Float[Tensor, "1 3 size size"], Float[Tensor, "1 2 3"]]:
    """The square of a photograph that a network takes, and the map from the photograph's pixels to the square's.

    Args:
        box: x, y, width and height of the person in the photograph's pixels; the square is `margin` times the longer
            side about the middle. None takes the whole photograph. Beyond its edges all is black.

    Raises:
        ValueError: the box is empty, beside the photograph or not of numbers; or so large that all of the photograph
            is less than a pixel of the square.
    """
    picture = photograph if isinstance(photograph, Picture) else _picture(photograph)
    width, height = picture.extent
    x, y, w, h = box or (0, 0, width, height)
    if not all(map(math.isfinite, (x, y, w, h))):
        raise ValueError(f"box {x:g},{y:g},{w:g},{h:g} is not four finite numbers: give x,y,width,height in pixels")
    if w <= 0 or h <= 0 or x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise ValueError(f"box {x:g},{y:g},{w:g},{h:g} holds nothing of the photograph of {width} x {height} pixels")
    side = max(w, h) * (margin if box else 1)
    if side > size * max(width, height):
        raise ValueError(
            f"box {x:g},{y:g},{w:g},{h:g} is too large: the photograph of {width} x {height} pixels would be less than "
            f"one of the {size} x {size} that the network sees; give a box around the person"
        )
    window = max(1, round(side))
    left, top = round(x + w / 2 - window / 2), round(y + h / 2 - window / 2)
    crop = picture.cut(left, top, window, size)
    pixels = torch.from_numpy(np.array(crop, np.float32) / 255).permute(2, 0, 1)[None].contiguous()
    centre = torch.tensor([[left + window / 2, top + window / 2]])
    return pixels, similarity(centre, torch.tensor([float(window)]), size)


def _picture(photograph: UInt8[np.ndarray, "h w 3"]) -> Picture:
    from PIL import Image

    height, width = photograph.shape[:2]
    return Picture(Image.fromarray(photograph), (width, height))


def predict_photograph(
    model: nn.Module,
    photograph: UInt8[np.ndarray, "h w 3"] | Picture,
    skeleton: Skeleton,
    box: Box | None = None,
    **options,
) -> tuple[Float[Tensor, "j 2"], Float[Tensor, " j"]]:
    """Joints of one person in the photograph's own pixels, and their confidence; options as in `predict`."""
    image, affine = square(photograph, model.settings["size"], box)
    device = next(model.parameters()).device
    joints, confidence = predict(model, image.to(device), skeleton.mirror, **options)
    return transform_points(joints.cpu(), invert(affine))[0], confidence[0].cpu()


def parse_photograph(
    model: nn.Module, photograph: UInt8[np.ndarray, "h w 3"] | Picture, box: Box | None = None, **options
) -> UInt8[Tensor, "height width"]:
    """Part labels of one person at the photograph's own pixels, background beyond what the network sees.

    Args:
        options: as in `predict_probabilities`.
    """
    image, affine = square(photograph, model.settings["size"], box)
    device = next(model.parameters()).device
    likely = predict_probabilities(model, image.to(device), **options)[0].cpu()  # (parts, s, s)
    extent = photograph.extent if isinstance(photograph, Picture) else photograph.shape[1::-1]
    back, shape = invert(affine), (extent[1], extent[0])
    # One part after the other: at a photograph's resolution, all of them would be gigabytes.
    best = warp(likely[None, :1], back, shape)[0, 0]
    labels = torch.zeros(shape, dtype=torch.uint8)
    for part in range(1, len(likely)):
        some = warp(likely[None, part : part + 1], back, shape)[0, 0]
        labels[some > best] = part
        best = torch.maximum(best, some)
    return labels
