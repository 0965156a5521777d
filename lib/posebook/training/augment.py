"""Augmentation of whole batches on their device: one affine warp for the geometry, one 3x3 matrix for the colours.

Random numbers are drawn for a whole batch at once and apart from the images, so that processes that share a batch
draw the same numbers and each applies its own slice:

    augmentation = Augmentation(scale=0.25, rotation=30, flip=0.5)
    changes = augmentation.draw(len(sample), torch.Generator().manual_seed(0))
    sample = augment(sample, changes, skeleton)
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from posebook.coordinates import inside, similarity, transform_points, warp
from posebook.sample import Sample
from posebook.skeleton import ABSENT, IGNORE_LABEL, PART_MIRROR, Skeleton

# How bright red, green and blue look (ITU-R BT.601).
LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Augmentation:
    """How far each change may go; 0 is not at all. Every change is uniform in its range.

    Args:
        scale: the person grows or shrinks by a factor in 1 -+ scale.
        rotation: degrees to either side.
        shift: fraction of the image's side, to any side.
        shear: x moves by up to this times y, about the image's centre (`part_groups`, Sec. 4.1, uses 0.5).
        flip: probability of a mirror image.
        brightness: colours times a factor in 1 -+ brightness.
        contrast: distance from the image's mean grey times a factor in 1 -+ contrast.
        saturation: distance from the pixel's own grey times a factor in 1 -+ saturation.

    Raises:
        ValueError: a range that is negative or too wide to make sense.
    """

    scale: int | float = 0.0
    rotation: int | float = 0.0
    shift: int | float = 0.0
    shear: int | float = 0.0
    flip: int | float = 0.0
    brightness: int | float = 0.0
    contrast: int | float = 0.0
    saturation: int | float = 0.0

    def __post_init__(self) -> None:
        limits = {"scale": 0.99, "rotation": 180, "shift": 1, "shear": 2}
        for name, value in asdict(self).items():
            if not 0 <= value <= limits.get(name, 1):
                raise ValueError(f"augmentation: {name} is {value}; give a number from 0 to {limits.get(name, 1)}")

    def draw(self, count: int, generator: torch.Generator) -> Changes:
        """What happens to each of `count` images.

        Every call uses as many random numbers, whatever the ranges are: to switch one change off leaves the others
        what they were.
        """
        numbers = torch.rand(count, 9, generator=generator, device=generator.device)  # (b, 9)
        spread = 2 * numbers - 1
        return Changes(
            scale=1 + self.scale * spread[:, 0],
            rotation=math.radians(self.rotation) * spread[:, 1],
            shift=self.shift * spread[:, 2:4],
            shear=self.shear * spread[:, 4],
            flip=numbers[:, 5] < self.flip,
            brightness=1 + self.brightness * spread[:, 6],
            contrast=1 + self.contrast * spread[:, 7],
            saturation=1 + self.saturation * spread[:, 8],
            moves=any((self.scale, self.rotation, self.shift, self.shear, self.flip)),
            tints=any((self.brightness, self.contrast, self.saturation)),
        )


@dataclass(frozen=True)
class Changes:
    """What happens to each image of a batch; see `Augmentation` for the units (rotation is in radians here).

    `moves` and `tints` say whether geometry and colours change at all, so that what does not costs nothing.
    """

    scale: Float[Tensor, " b"]
    rotation: Float[Tensor, " b"]
    shift: Float[Tensor, "b 2"]
    shear: Float[Tensor, " b"]
    flip: Bool[Tensor, " b"]
    brightness: Float[Tensor, " b"]
    contrast: Float[Tensor, " b"]
    saturation: Float[Tensor, " b"]
    moves: bool = True
    tints: bool = True

    def _map(self, function) -> Changes:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: function(v) for k, v in values.items() if isinstance(v, Tensor)})

    def __getitem__(self, which: slice) -> Changes:
        """The same for some of the images."""
        return self._map(lambda value: value[which])

    def to(self, device: torch.device | str) -> Changes:
        """The same on another device."""
        return self._map(lambda value: value.to(device, non_blocking=True))


def augment(
    sample: Sample, changes: Changes, skeleton: Skeleton, size: int | None = None, window: int | float | None = None
) -> Sample:
    """The batch after its changes: images, joints, presence, sizes and label maps all move together.

    What the warp brings in from beyond the image is black, of instance 0 and of a part to be ignored. A joint that
    leaves the image becomes absent, and a sample that was moved has no tags. In a mirror image, joints and parts swap
    sides.

    Args:
        sample: square images.
        skeleton: the order of the joints, for the mirror.
        size: side of the result in pixels; None is the window's, rounded.
        window: side of the middle square that the result shows where nothing changes, in the sample's pixels; None is
            the whole image. What a sample shows beyond it is what rotations and shifts bring in.

    Raises:
        ValueError: images that are not square, or changes drawn for another number of images.
    """
    height, width = sample.images.shape[-2:]
    window = width if window is None else window
    size = round(window) if size is None else size
    if height != width:
        raise ValueError(f"augmentation needs square images, these are {height} x {width}; crop them first")
    if len(changes.scale) != len(sample):
        raise ValueError(f"changes were drawn for {len(changes.scale)} images, the batch has {len(sample)}")
    changes = changes.to(sample.images.device)
    if changes.moves or not size == window == width:
        sample = _move(sample, changes, skeleton, size, window)
    if changes.tints:
        sample = replace(sample, images=tint(sample.images, changes))
    return sample


def affine(changes: Changes, width: int, size: int, window: int | float) -> Float[Tensor, "b 2 3"]:
    """The map from images of `width` pixels to changed ones of `size`: mirror, shear, rotation and scale, shift.

    The middle `window` pixels become the whole result where nothing else changes.
    """
    centre = changes.shift.new_full((len(changes.scale), 2), width / 2)
    turn = similarity(centre, window / changes.scale, size, changes.rotation)  # (b, 2, 3)
    sign = 1 - 2 * changes.flip.to(turn.dtype)
    zero, one = torch.zeros_like(sign), torch.ones_like(sign)
    # x' - c = sign * (x - c) + shear * (y - c), y' = y, with c the centre.
    offset = (1 - sign - changes.shear) * (width / 2)
    skew = torch.stack([sign, changes.shear, offset, zero, one, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    moved = turn @ skew
    return torch.cat([moved[..., :2], moved[..., 2:] + size * changes.shift[..., None]], -1)


def tint(images: Float[Tensor, "b 3 h w"], changes: Changes) -> Float[Tensor, "b 3 h w"]:
    """Images with brightness, saturation and contrast changed, in this order, then kept within [0, 1].

    All three are linear in a pixel's colour, so they are one matrix and one offset an image.
    """
    grey = images.new_tensor(LUMINANCE)
    eye = torch.eye(3, device=images.device)
    saturation, contrast = changes.saturation[:, None, None], changes.contrast[:, None, None]
    # Saturation keeps a pixel's grey and so the image's mean grey, which contrast turns about.
    mix = changes.brightness[:, None, None] * (saturation * eye + (1 - saturation) * grey)  # (b, 3, 3)
    mean = changes.brightness * (images.mean((-2, -1)) @ grey)  # (b,)
    offset = (1 - contrast) * mean[:, None, None]  # (b, 1, 1)
    pixels = torch.baddbmm(offset, contrast * mix, images.flatten(2))  # (b, 3, h * w)
    return pixels.clamp_(0, 1).view_as(images)


def _move(sample: Sample, changes: Changes, skeleton: Skeleton, size: int, window: int | float) -> Sample:
    """Everything that has a place in the image, moved."""
    matrix = affine(changes, sample.size, size, window)
    growth = changes.scale * (size / window)
    joints, presence = _move_joints(sample.joints, sample.presence, matrix, changes.flip, skeleton, size)
    moved = {
        "images": _move_images(sample.images, matrix, size, int(window // size)),
        "joints": joints,
        "presence": presence,
        "head_size": sample.head_size * growth,
        "people_head_size": None if sample.people_head_size is None else sample.people_head_size * growth[:, None],
        "torso_size": sample.torso_size * growth,
        # They tell which parts of the body are in sight, which is no longer so.
        "tags": None,
    }
    if sample.people_joints is not None and sample.people_presence is not None:
        moved["people_joints"], moved["people_presence"] = _move_joints(
            sample.people_joints, sample.people_presence, matrix, changes.flip, skeleton, size
        )
    if sample.parsing is not None:
        parts = _mirror_parts(sample.parsing, changes.flip)
        moved["parsing"] = _move_labels(parts, matrix, size, outside=IGNORE_LABEL)
    if sample.instances is not None:
        moved["instances"] = _move_labels(sample.instances, matrix, size, outside=0)
    return replace(sample, **moved)


def _move_images(images: Tensor, matrix: Tensor, size: int, factor: int) -> Tensor:
    """Images warped; where they shrink to a half or less they are averaged down first, so that nothing flickers."""
    if factor > 1 and images.shape[-1] % factor == 0:
        images = F.avg_pool2d(images, factor)
        # A pixel of the smaller image is `factor` pixels of the larger.
        matrix = matrix * matrix.new_tensor([factor, factor, 1])
    return warp(images, matrix, size)


def _move_joints(
    joints: Float[Tensor, "b *p j 2"],
    presence: UInt8[Tensor, "b *p j"],
    matrix: Tensor,
    flip: Tensor,
    skeleton: Skeleton,
    size: int,
) -> tuple[Tensor, Tensor]:
    """Joints carried along and swapped in mirror images, absent where they leave the image."""
    mirror = torch.tensor(skeleton.mirror, device=joints.device)
    flip = flip.reshape(-1, *[1] * (presence.dim() - 1))
    presence = torch.where(flip, presence[..., mirror], presence)
    joints = torch.where(flip[..., None], joints[..., mirror, :], joints)
    joints = transform_points(joints, matrix)
    return joints, torch.where(inside(joints, size), presence, ABSENT)


def _mirror_parts(parsing: UInt8[Tensor, "b h w"], flip: Bool[Tensor, " b"]) -> UInt8[Tensor, "b h w"]:
    """Part labels that have a side, swapped in mirror images; labels beyond LIP's stay what they are."""
    table = torch.arange(256, dtype=torch.uint8, device=parsing.device)
    table[: len(PART_MIRROR)] = table.new_tensor(PART_MIRROR)
    return torch.where(flip[:, None, None], table[parsing.int()], parsing)


def _move_labels(labels: UInt8[Tensor, "b h w"], matrix: Tensor, size: int, outside: int) -> UInt8[Tensor, "b s s"]:
    """Label maps warped to the nearest label, `outside` where the warp shows what is beyond the image."""
    # Beyond the image the warp gives 0, so labels are counted from `outside`.
    shifted = labels[:, None].float() - outside
    return (warp(shifted, matrix, size, mode="nearest") + outside).round_().to(torch.uint8)[:, 0]
