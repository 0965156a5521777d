"""Where things are: the pixel-centre convention, affine crops, and heat maps made and read back.

A point (x, y) is in pixels with the centre of the top-left pixel at (0.5, 0.5). An image scaled by s has its joints
scaled by s, without further thought; half pixels appear in this module alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor


def pixel_centres(count: int, device: torch.device | str = "cpu") -> Float[Tensor, " count"]:
    """Coordinates of the pixel centres along one side: 0.5, 1.5, ..."""
    return torch.arange(count, device=device, dtype=torch.float32) + 0.5


def inside(points: Float[Tensor, "*b 2"], extent: Int[Tensor, "*#b 2"] | int) -> Bool[Tensor, "*b"]:
    """Which points lie within an image of this width and height, or of this side."""
    return ((points >= 0) & (points < extent)).all(-1)


def similarity(
    centre: Float[Tensor, "b 2"],
    window: Float[Tensor, " b"],
    size: int,
    rotation: Float[Tensor, " b"] | None = None,
) -> Float[Tensor, "b 2 3"]:
    """The map from an image to its square crop of `size` pixels.

    Args:
        centre: what comes to lie in the middle of the crop, in image pixels.
        window: side of the square cut out, in image pixels.
        size: side of the crop, in pixels.
        rotation: turns the crop's content clockwise (as seen, y pointing down), in radians.

    Returns:
        Matrices A with `crop = A @ (x, y, 1)`.
    """
    scale = size / window
    angle = torch.zeros_like(window) if rotation is None else rotation
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    linear = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], 1)
    shift = size / 2 - (linear @ centre[..., None])
    return torch.cat([linear, shift], -1)


def invert(affine: Float[Tensor, "b 2 3"]) -> Float[Tensor, "b 2 3"]:
    """The inverse of each affine map."""
    linear = torch.linalg.inv(affine[..., :2])
    return torch.cat([linear, -linear @ affine[..., 2:]], -1)


def transform_points(points: Float[Tensor, "b *n 2"], affine: Float[Tensor, "b 2 3"]) -> Float[Tensor, "b *n 2"]:
    """Points carried along by an affine map a batch entry."""
    flat = points.reshape(len(points), -1, 2)
    return (flat @ affine[..., :2].transpose(1, 2) + affine[:, None, :, 2]).reshape(points.shape)


def warp(
    images: Float[Tensor, "b c h w"],
    affine: Float[Tensor, "b 2 3"],
    size: int | tuple[int, int],
    mode: str = "bilinear",
    padding: str = "zeros",
) -> Float[Tensor, "b c h2 w2"]:
    """Images resampled so that the point p lands on `affine @ p`.

    Args:
        images: any channels; label maps go through with `mode="nearest"`.
        affine: from input pixels to output pixels.
        size: output side, or (height, width).
        padding: "zeros", "border" or "reflection" beyond the input's edge.
    """
    height, width = (size, size) if isinstance(size, int) else size
    back = invert(affine)
    # grid_sample wants output positions in [-1, 1] (edge to edge) mapped to input positions in [-1, 1].
    to_pixels = back.new_tensor([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1]])
    h, w = images.shape[-2:]
    to_unit = back.new_tensor([[2 / w, 0, -1], [0, 2 / h, -1], [0, 0, 1]])
    last_row = back.new_tensor([0.0, 0.0, 1.0]).expand(len(back), 1, 3)
    theta = (to_unit @ torch.cat([back, last_row], 1) @ to_pixels)[:, :2]
    grid = F.affine_grid(theta, [len(images), images.shape[1], height, width], align_corners=False)
    return F.grid_sample(images, grid.to(images.dtype), mode=mode, padding_mode=padding, align_corners=False)


@dataclass(frozen=True)
class Perturbation:
    """Another box around people than their own window, as a detector may give it. By default it is the window.

    Attributes:
        shift: of its middle to the right and down, in sides of the person's window.
        scale: of its side, in sides of the person's window; below 1 people look larger.

    Raises:
        ValueError: a scale that is not above 0.
    """

    shift: tuple[float, float] = (0.0, 0.0)
    scale: float | int = 1.0

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError(f"perturbation: scale is {self.scale}; give sides of the person's window, above 0")

    def box(
        self, centre: Float[Tensor, "*b 2"], window: Float[Tensor, "*b"]
    ) -> tuple[Float[Tensor, "*b 2"], Float[Tensor, "*b"]]:
        """Centre and side of the box, of a window's."""
        return centre + window[..., None] * centre.new_tensor(self.shift), window * self.scale

    def then(self, other: Perturbation) -> Perturbation:
        """The box that another perturbation makes of this one's."""
        (x, y), (further_x, further_y) = self.shift, other.shift
        return Perturbation((x + self.scale * further_x, y + self.scale * further_y), self.scale * other.scale)

    def apply(self, points: Float[Tensor, "*b 2"], size: int) -> Float[Tensor, "*b 2"]:
        """From pixels of the person's window to pixels of the box, both of `size` pixels a side."""
        return (points - self._middle(points, size)) / self.scale + size / 2

    def undo(self, points: Float[Tensor, "*b 2"], size: int) -> Float[Tensor, "*b 2"]:
        """From pixels of the box to pixels of the person's window."""
        return (points - size / 2) * self.scale + self._middle(points, size)

    def _middle(self, points: Tensor, size: int) -> Float[Tensor, " 2"]:
        """The box's middle in pixels of the person's window."""
        return self.box(points.new_full((2,), size / 2), points.new_tensor(float(size)))[0]


@dataclass(frozen=True)
class HeatmapCodec:
    """Joints to heat maps and back; both ends live here so that they cannot drift apart.

    Args:
        size: side of the (square) image in pixels.
        stride: image pixels a heat-map cell.
        sigma: standard deviation of the Gaussian, in cells. Tompson et al. (2014) and Newell et al. (2016) use 1.
        offset: how `decode` reads a peak, unless it is told otherwise.

    Raises:
        ValueError: an offset that `decode` does not know.

    Example:
        >>> codec = HeatmapCodec(size=64, stride=4)
        >>> maps = codec.encode(torch.tensor([[[30.0, 21.0]]]), torch.tensor([[2]]))
        >>> codec.decode(maps)[0]
        tensor([[[30., 21.]]])
    """

    size: int
    stride: int = 4
    sigma: int | float = 1.0
    offset: str = "quarter"

    def __post_init__(self) -> None:
        _check_offset(self.offset)

    @property
    def cells(self) -> int:
        """Heat-map cells a side."""
        return self.size // self.stride

    def of(self, maps: Float[Tensor, "*b h w"]) -> HeatmapCodec:
        """The same for images of another size: those that a network made these maps of."""
        return replace(self, size=self.stride * maps.shape[-1])

    def encode(
        self, joints: Float[Tensor, "*b j 2"], presence: Shaped[Tensor, "*b j"]
    ) -> Float[Tensor, "*b j cells cells"]:
        """Gaussians of peak height 1 around the joints; a map of zeros for a joint that is absent or outside.

        The Gaussian is centred on the joint itself, not on the cell it falls into.
        Departs: Newell et al. round to the cell first, which costs up to half a cell before training starts.
        """
        shown = (presence > 0) & inside(joints, self.size)
        # An absent joint may hold anything, NaN included, and NaN times 0 is NaN.
        joints = torch.where(shown[..., None], joints, 0.0)
        centres = pixel_centres(self.cells, joints.device)
        offset = (centres - joints[..., None] / self.stride) / self.sigma
        # Below exp(-40) products of two would be denormal numbers, with which a CPU takes four times as long.
        bell = torch.exp((-0.5 * offset.square()).clamp_min(-40))
        x, y = bell[..., 0, :], bell[..., 1, :] * shown[..., None]
        return y[..., :, None] * x[..., None, :]

    def decode(
        self, maps: Float[Tensor, "*b j h w"], offset: str | None = None
    ) -> tuple[Float[Tensor, "*b j 2"], Float[Tensor, "*b j"]]:
        """Joints in image pixels, and the height of the peak as confidence.

        Args:
            offset: "none" gives the centre of the highest cell; "quarter" moves it a quarter cell towards the
                higher neighbour in x and in y, as Newell et al. (2016) do; "parabola" fits one through the logarithm
                of the peak and its neighbours, exact for a Gaussian. None takes the codec's own.

        Raises:
            ValueError: another offset.
        """
        offset = self.offset if offset is None else offset
        _check_offset(offset)
        width = maps.shape[-1]
        peak, place = maps.flatten(-2).max(-1)
        row, column = place // width, place % width
        cell = torch.stack([column, row], -1).to(maps.dtype) + 0.5
        return (cell + within_cell(maps, row, column, offset)) * self.stride, peak


def _check_offset(offset: str) -> None:
    if offset not in ("none", "quarter", "parabola"):
        raise ValueError(f"offset must be 'none', 'quarter' or 'parabola', not '{offset}'")


def within_cell(
    maps: Float[Tensor, "*b j h w"], row: Int[Tensor, "*b j"], column: Int[Tensor, "*b j"], offset: str
) -> Float[Tensor, "*b j 2"]:
    """How far the peak lies from the centre of its cell, in cells; 0 along a side where a neighbour is missing."""
    if offset == "none":
        return maps.new_zeros(*row.shape, 2)
    height, width = maps.shape[-2:]
    flat = maps.flatten(-2)

    def value(r: Tensor, c: Tensor) -> Tensor:
        place = r.clamp(0, height - 1) * width + c.clamp(0, width - 1)
        return flat.gather(-1, place[..., None])[..., 0]

    low = torch.stack([value(row, column - 1), value(row - 1, column)], -1)
    high = torch.stack([value(row, column + 1), value(row + 1, column)], -1)
    interior = torch.stack([(column > 0) & (column < width - 1), (row > 0) & (row < height - 1)], -1)
    if offset == "quarter":
        return 0.25 * torch.sign(high - low) * interior
    tiny = math.exp(-30)
    middle = value(row, column)[..., None].clamp_min(tiny).log()
    low, high = low.clamp_min(tiny).log(), high.clamp_min(tiny).log()
    curvature = low - 2 * middle + high
    shift = 0.5 * (low - high) / torch.where(curvature.abs() < 1e-6, torch.ones_like(curvature), curvature)
    return shift.clamp(-0.5, 0.5) * interior
