"""A batched rasteriser of simple shapes: which shape every pixel shows, and its colour.

Every shape is a tapered stroke along a segment: rounded at its ends (a limb, a head, a ball) or cut off flat
(a skirt, a box). The image is cut into tiles, each shape is tested in the tiles it can reach, and the nearest one wins
a pixel; only the winner is then coloured. The work grows with the area that shapes cover, not with shapes x pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from posebook.coordinates import Perturbation

TILE = 8

# How much wider a sleeve or trouser leg is than what it covers.
_SLEEVE = 1.13

# Before any point of a shape, its rounded end included.
NO_CUT = -1e6


@dataclass
class Shapes:
    """Shapes of a batch of images, in pixels.

    A point of a shape has coordinates t along its segment (0 at `start`, 1 at `end`) and u across `axis`, -1 to 1 from
    edge to edge. Before t = `cut` it shows the first colour and label, after it the second: a sleeve and the arm in it.

    Attributes:
        start, end: ends of the segment.
        start_radius, end_radius: half widths there; a shape that is not wanted has negative ones.
        flat: cut off at its ends instead of rounded.
        depth: the greatest wins a pixel.
        cut: where along t the first colour ends; `NO_CUT` for shapes of one piece.
        colours: first and second colour.
        labels: first and second label.
        owner: who the shape belongs to (see `figures`).
        axis_start, axis_end, axis_radius: the segment that light falls around; a torso's shapes share one, so that it
            looks like one body.
        relief: how much light follows the shape's roundness, 0 to 1.
        pattern: waves along t, waves along u, strength: stripes, or checks where both are there.
    """

    start: Float[Tensor, "b n 2"]
    end: Float[Tensor, "b n 2"]
    start_radius: Float[Tensor, "b n"]
    end_radius: Float[Tensor, "b n"]
    flat: Bool[Tensor, "b n"]
    depth: Float[Tensor, "b n"]
    cut: Float[Tensor, "b n"]
    colours: Float[Tensor, "b n 2 3"]
    labels: Int[Tensor, "b n 2"]
    owner: Int[Tensor, "b n"]
    axis_start: Float[Tensor, "b n 2"]
    axis_end: Float[Tensor, "b n 2"]
    axis_radius: Float[Tensor, "b n"]
    relief: Float[Tensor, "b n"]
    pattern: Float[Tensor, "b n 3"]

    def map(self, function) -> Shapes:
        """The same with a function applied to each tensor."""
        return Shapes(**{f.name: function(getattr(self, f.name)) for f in fields(self)})

    def perturbed(self, by: Perturbation, size: int) -> Shapes:
        """The same in a perturbed box of an image of so many pixels a side."""
        points = {name: by.apply(getattr(self, name), size) for name in ("start", "end", "axis_start", "axis_end")}
        radii = ("start_radius", "end_radius", "axis_radius")
        return replace(self, **points, **{name: getattr(self, name) / by.scale for name in radii})

    @staticmethod
    def join(parts: list[Shapes]) -> Shapes:
        """The shapes of several lists in the same images."""
        return Shapes(**{f.name: torch.cat([getattr(p, f.name) for p in parts], 1) for f in fields(Shapes)})


@dataclass
class Canvas:
    """What each pixel shows.

    Attributes:
        shape: number of the winning shape in its image's list, -1 where there is none.
        label, owner: that shape's, 0 where there is none.
        colour: its colour in the light, meaningless where there is none.
    """

    shape: Int[Tensor, "b s s"]
    label: Int[Tensor, "b s s"]
    owner: Int[Tensor, "b s s"]
    colour: Float[Tensor, "b 3 s s"]

    @staticmethod
    def join(parts: list[Canvas]) -> Canvas:
        """The canvases of several batches as one."""
        return Canvas(**{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Canvas)})


def rasterise(shapes: Shapes, size: int, light: Float[Tensor, "b 2"]) -> Canvas:
    """Draws shapes on square canvases.

    Args:
        size: side in pixels, a multiple of 8.
        light: direction across the image that light comes from; its length is its strength.
    """
    if size % TILE:
        raise ValueError(f"figures are drawn in tiles of {TILE} pixels: size must be a multiple of {TILE}, not {size}")
    across = size // TILE
    order = shapes.depth.argsort(1)
    winner = _winners(shapes, order, across)
    batch = len(order)
    order = torch.cat([order.new_full((batch, 1), -1), order], 1)
    winner = order.gather(1, winner.reshape(batch, -1)).view(batch, across, across, TILE, TILE)
    winner = winner.transpose(2, 3).reshape(batch, size, size)
    return _shade(shapes, winner, light)


def _along_and_across(start: Tensor, end: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients (of 1, x, y) of t and of the signed distance from the segment's line; the segment's length."""
    delta = end - start
    length = delta.norm(dim=-1).clamp_min(1e-3)
    # A dot has no direction; any unit vector does.
    unit = torch.where(length[..., None] > 2e-3, delta / length[..., None], delta.new_tensor([0.0, 1.0]))
    normal = torch.stack([-unit[..., 1], unit[..., 0]], -1)
    t = torch.cat([-(start * unit).sum(-1, keepdim=True), unit], -1) / length[..., None]
    s = torch.cat([-(start * normal).sum(-1, keepdim=True), normal], -1)
    return t, s, length


def covers(shapes: Shapes, points: Float[Tensor, "b p 2"]) -> Bool[Tensor, "b p n"]:
    """Which shapes lie over a point, one above the other: what `rasterise` asks at the centres of pixels."""
    t, s, length = _along_and_across(shapes.start, shapes.end)
    points = torch.cat([torch.ones_like(points[..., :1]), points], -1)
    free, aside = points @ t.transpose(1, 2), points @ s.transpose(1, 2)  # (b, p, n)
    held = free.clamp(0, 1)
    beyond = (free - held) * length[:, None] * (1 + 1e4 * shapes.flat[:, None])
    width = torch.lerp(shapes.start_radius[:, None], shapes.end_radius[:, None], held)
    width = width * torch.where(free < shapes.cut[:, None], _SLEEVE, 1.0)
    inside = beyond.square() + aside.square() < width.square()
    return inside & (shapes.start_radius >= 0)[:, None]


def _winners(shapes: Shapes, order: Int[Tensor, "b n"], across: int) -> Int[Tensor, "tiles pixels"]:
    """For every pixel of every tile: 1 + place of the nearest shape in `order`, that of depth; 0 for none."""
    device, (batch, count) = shapes.depth.device, shapes.depth.shape
    t, s, length = _along_and_across(shapes.start, shapes.end)
    reach = torch.maximum(shapes.start_radius, shapes.end_radius) * _SLEEVE + TILE * 0.5**0.5

    corner = torch.arange(across, device=device) * float(TILE)
    middle_y, middle_x = torch.meshgrid(corner + TILE / 2, corner + TILE / 2, indexing="ij")
    middles = torch.stack([torch.ones_like(middle_x), middle_x, middle_y]).view(3, -1)
    t_middle, s_middle = t @ middles, s @ middles
    beyond = (t_middle - t_middle.clamp(0, 1)) * length[..., None]
    near = s_middle.square() + beyond.square() < reach[..., None].square()
    near &= (shapes.start_radius >= 0)[..., None]

    image, shape, tile = near.nonzero().unbind(1)
    rank = torch.empty_like(shapes.depth, dtype=torch.int32)
    places = torch.arange(1, count + 1, device=device, dtype=torch.int32).expand(batch, count)
    rank.scatter_(1, order, places)

    flat_index = image * count + shape
    table = torch.cat(
        [
            t, s, length[..., None], shapes.start_radius[..., None],
            (shapes.end_radius - shapes.start_radius)[..., None], shapes.cut[..., None], shapes.flat[..., None],
        ], -1,
    ).flatten(0, 1)  # fmt: skip
    rows = table[flat_index]  # [pairs, 11]
    x, y = (tile % across) * float(TILE), (tile // across) * float(TILE)
    inner = torch.arange(TILE, device=device) + 0.5
    inner_y, inner_x = torch.meshgrid(inner, inner, indexing="ij")
    basis = torch.stack([torch.ones_like(inner_x), inner_x, inner_y]).view(3, -1)

    def at_pixels(coefficients: Tensor) -> Tensor:
        constant = coefficients[:, 0] + coefficients[:, 1] * x + coefficients[:, 2] * y
        return torch.cat([constant[:, None], coefficients[:, 1:]], 1) @ basis

    free, s_pixels = at_pixels(rows[:, :3]), at_pixels(rows[:, 3:6])  # [pairs, 64]
    length, radius, growth, cut, flat = rows[:, 6:].unsqueeze(2).unbind(1)
    held = free.clamp(0, 1)
    distance = (free - held).mul_(length * (1 + 1e4 * flat)).square_().add_(s_pixels.square_())
    width = (growth * held).add_(radius).mul_(torch.where(free < cut, _SLEEVE, 1.0))
    inside = distance < width.square_()

    key = torch.where(inside, rank.view(-1)[flat_index][:, None], 0)
    winner = torch.zeros(batch * across * across, TILE * TILE, dtype=torch.int32, device=device)
    place = image * across * across + tile
    winner.scatter_reduce_(0, place[:, None].expand_as(key), key, "amax")
    return winner.long()


def _shade(shapes: Shapes, winner: Tensor, light: Tensor) -> Canvas:
    batch, size, _ = winner.shape
    count = shapes.depth.shape[1]
    t, _, _ = _along_and_across(shapes.start, shapes.end)
    _, u, _ = _along_and_across(shapes.axis_start, shapes.axis_end)
    u = u / shapes.axis_radius[..., None].clamp_min(1e-3)
    # Light across the shape: its direction's part along the shape's normal.
    normal = torch.stack([u[..., 1], u[..., 2]], -1)
    normal = normal / normal.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    lit = (normal * light[:, None]).sum(-1)
    # Labels and owners are small whole numbers, which float32 holds exactly.
    table = torch.cat(
        [
            t, u, lit[..., None], shapes.relief[..., None], shapes.cut[..., None], shapes.pattern,
            shapes.colours.flatten(2), shapes.labels, shapes.owner[..., None],
        ], -1,
    ).flatten(0, 1).T.contiguous()  # fmt: skip
    row = winner.clamp_min(0) + (torch.arange(batch, device=winner.device) * count)[:, None, None]
    values = table.gather(1, row.flatten().expand(len(table), -1)).view(-1, batch, size, size)
    centres = torch.arange(size, device=winner.device) + 0.5
    x, y = centres, centres[:, None]
    along = values[0] + values[1] * x + values[2] * y
    across = (values[3] + values[4] * x + values[5] * y).clamp_(-1, 1)
    lit, relief, cut = values[6], values[7], values[8]
    first = along < cut
    shade = 1 + relief * (lit * across - 0.42 * across.square())
    waves = torch.where(values[9] > 0, torch.sin(along * values[9]), 1.0)
    waves *= torch.where(values[10] > 0, torch.sin(across * values[10]), 1.0)
    shade *= 1 + values[11] * waves.mul_(6).clamp_(-1, 1)
    colour = torch.where(first, values[12:15], values[15:18]).mul_(shade).clamp_(0, 1)

    drawn = winner >= 0
    label = torch.where(first, values[18], values[19]).long() * drawn
    return Canvas(shape=winner, label=label, owner=values[20].long() * drawn, colour=colour.transpose(0, 1))
