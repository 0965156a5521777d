"""What surrounds rendered people: background, clutter, objects before them, light and the camera."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from posebook.coordinates import Perturbation, similarity, warp
from posebook.figures import palette
from posebook.figures.palette import Draws
from posebook.figures.raster import NO_CUT, Canvas, Shapes

# Owners of shapes that are no person: the background, and what stands before people.
BACKDROP, OBJECT = 0, 255

_CLUTTER, _OBJECTS = 14, 3
_SHAPES, _GROUND, _CAMERA, _LIGHT, _OCCLUDERS, _PLACES = 21, 22, 23, 24, 25, 26


def objects(
    keys: Int64[Tensor, " b"], pose: Float[Tensor, "b 16 2"], size: int, difficulty: str, before: bool = True
) -> Shapes:
    """Clutter behind people ("life") and objects before them (all but "plain").

    More than half of the scenes have an object that is placed over one of the person's joints.

    Args:
        pose: joints of the person to find, in pixels.
        before: whether there are objects before people; without them all else stays as it is.
    """
    front = torch.arange(_CLUTTER + _OBJECTS, device=keys.device) >= _CLUTTER
    odds = torch.where(front, 0.0, 0.75 if difficulty == "life" else 0.0)
    if difficulty != "plain" and before:
        odds[_CLUTTER:] = torch.tensor([0.45, 0.18, 0.08], device=keys.device)
    return _things(Draws(keys, 640, _SHAPES), pose, size, front, odds)


def occluders(keys: Int64[Tensor, " b"], pose: Float[Tensor, "b 16 2"], size: int, count: int) -> Shapes:
    """Objects like those before people, each over one of the person's joints.

    The joint lies anywhere in its object, as if objects fell at random: where an object's middle is tells nothing that
    its outline does not.

    Args:
        pose: joints of the person to find, in pixels.
        count: objects a person.
    """
    always = torch.ones(count, device=keys.device)
    things = _things(Draws(keys, 32 * count, _OCCLUDERS), pose, size, always > 0, always)
    draws = Draws(keys, 3 * count, _PLACES)
    target = (draws.many(count) * pose.shape[1]).long()
    joint = pose.gather(1, target[..., None].expand(-1, -1, 2))
    along, across = draws.many(count), draws.many(count, -1, 1)
    reach = things.end - things.start
    normal = torch.stack([-reach[..., 1], reach[..., 0]], -1) / reach.norm(dim=-1, keepdim=True)
    width = torch.lerp(things.start_radius, things.end_radius, along)
    start = joint - reach * along[..., None] - normal * (width * across)[..., None]
    return replace(things, start=start, end=start + reach, axis_start=start, axis_end=start + reach)


def _things(draws: Draws, pose: Float[Tensor, "b 16 2"], size: int, front: Tensor, odds: Tensor) -> Shapes:
    """Objects, one for each place of `front` (is it before people?) and `odds` (how often is it there?)."""
    count = len(front)
    centre = torch.stack([draws.many(count), draws.many(count)], -1) * size
    target = (draws.many(count) * pose.shape[1]).long()
    chosen = pose.gather(1, target[..., None].expand(-1, -1, 2))
    aside = torch.stack([draws.many(count, -0.06, 0.06), draws.many(count, -0.06, 0.06)], -1) * size
    centre = torch.where(front[:, None], chosen + aside, centre)
    angle = palette.TURN * draws.many(count)
    # Things stand or lie more often than they lean.
    quarter = palette.TURN / 4
    angle = torch.where(draws.many(count) < 0.6, (angle / quarter).round() * quarter, angle)
    half = torch.where(front, draws.many(count, 0.02, 0.14), draws.many(count, 0.02, 0.3)) * size
    reach = torch.stack([angle.cos(), angle.sin()], -1) * half[..., None]
    radius = torch.where(front, draws.many(count, 0.025, 0.085), draws.many(count, 0.015, 0.12)) * size
    taper = draws.many(count, 0.6, 1.3)
    there = draws.many(count) < odds
    gone = torch.full_like(radius, -1.0)
    flat = draws.many(count) < 0.6
    hue, value = draws.many(count), draws.many(count, 0.1, 0.95)
    saturation = draws.many(count, 0.0, 0.8) * torch.where(draws.many(count) < 0.4, 0.2, 1.0)
    colour = palette.hsv(hue, saturation, value)
    # Some clutter has the colour of skin, or colour alone would find people.
    fleshy = (draws.many(count) < 0.12)[..., None]
    colour = torch.where(fleshy, palette.skin(draws)[:, None], colour)
    pattern = torch.stack([draws.many(count, 4, 60), draws.many(count, 2, 25), draws.many(count, 0.1, 0.5)], -1)
    pattern = pattern * torch.stack([draws.many(count) < 0.6, draws.many(count) < 0.5, draws.many(count) < 0.4], -1)
    start, end = centre - reach, centre + reach
    order = torch.arange(count, device=draws.device) * 0.1
    return Shapes(
        start=start,
        end=end,
        start_radius=torch.where(there, radius, gone),
        end_radius=torch.where(there, radius * taper, gone),
        flat=flat,
        depth=(torch.where(front, 50.0, -50.0) + order).expand_as(radius).contiguous(),
        cut=torch.full_like(radius, NO_CUT),
        colours=colour[:, :, None].expand(-1, -1, 2, -1).contiguous(),
        labels=torch.zeros(*radius.shape, 2, dtype=torch.long, device=draws.device),
        owner=torch.where(front, OBJECT, BACKDROP).expand(radius.shape).contiguous(),
        axis_start=start,
        axis_end=end,
        axis_radius=radius * taper.clamp_min(1),
        relief=draws.many(count, 0.0, 0.6),
        pattern=pattern,
    )


def light(keys: Int64[Tensor, " b"]) -> Float[Tensor, "b 2"]:
    """The direction light comes from across the image, its length the strength."""
    draws = Draws(keys, 2, _LIGHT)
    angle, strength = palette.TURN * draws.uniform(), draws.uniform(0.05, 0.4)
    return torch.stack([angle.cos(), angle.sin()], -1) * strength[:, None]


def _ground(keys: Int64[Tensor, " b"], size: int, difficulty: str) -> Float[Tensor, "b 3 s s"]:
    """Wall and floor: two colours, uneven at several scales."""
    draws = Draws(keys, 1000, _GROUND)
    # Walls and floors are paler than clothes.
    wall, floor = (torch.lerp(c, c.mean(1, keepdim=True), 0.4) for c in (palette.cloth(draws), palette.cloth(draws)))
    if difficulty != "life":
        wall = 0.55 + 0.4 * wall * draws.uniform()[:, None]
        floor = wall * 0.9
    floor = torch.where(draws.chance(0.7)[:, None], floor, wall)
    height = draws.uniform(0.45, 0.95) * size
    slope = draws.uniform(-0.12, 0.12)
    centres = torch.arange(size, device=keys.device) + 0.5
    edge = centres[:, None] - height[:, None, None] - slope[:, None, None] * (centres - size / 2)
    mix = torch.sigmoid(edge / draws.uniform(0.3, 3.0)[:, None, None])[:, None]
    image = wall[:, :, None, None] * (1 - mix) + floor[:, :, None, None] * mix
    rough = (0.5 if difficulty == "life" else 0.04) * draws.uniform(0.2, 1.0)
    unevenness = 1.0
    for cells, strength in ((3, 0.8), (8, 0.5), (15, 0.35)):
        blotches = (rough * strength)[:, None] * draws.many(cells * cells, -1, 1)
        unevenness = unevenness + _stretch(blotches.view(-1, 1, cells, cells), size)
    image = image * unevenness
    tint = draws.many(3 * 16, -1, 1).view(-1, 3, 4, 4) * (0.25 * rough)[:, None, None, None]
    return image + _stretch(tint, size)


def _stretch(grid: Float[Tensor, "b c n n"], size: int) -> Float[Tensor, "b c s s"]:
    """Bilinear interpolation of a few cells to an image: two small matrix products, faster than resampling."""
    weights = _weights(grid.shape[-1], size, grid.device)
    return weights.T @ grid @ weights


@functools.lru_cache(maxsize=32)
def _weights(cells: int, size: int, device: torch.device) -> Float[Tensor, "n s"]:
    eye = torch.eye(cells, device=device)[None]
    return F.interpolate(eye, size=size, mode="linear", align_corners=True)[0]


def photograph(
    keys: Int64[Tensor, " b"], canvas: Canvas, size: int, difficulty: str, by: Perturbation
) -> Float[Tensor, "b 3 s s"]:
    """The finished picture: shapes before the ground, seen through a lens, exposed, with the sensor's noise.

    Args:
        by: how the canvas's box is perturbed; beyond the image, the ground goes on as it ends there.
    """
    draws = Draws(keys, 16, _CAMERA)
    drawn = (canvas.shape >= 0)[:, None]
    ground = _ground(keys, size, difficulty)
    if by != Perturbation():
        centre, side = by.box(ground.new_full((len(keys), 2), size / 2), ground.new_full((len(keys),), size))
        ground = warp(ground, similarity(centre, side, size), size, padding="border")
    image = torch.where(drawn, canvas.colour, ground)
    # A lens blurs by more pixels the more there are; three taps, each way, are enough for edges without stairs.
    soft = draws.uniform(0.1, 0.26)[:, None, None, None]
    for dim in (2, 3):
        edge = F.pad(image, (1, 1, 0, 0) if dim == 3 else (0, 0, 1, 1), mode="replicate")
        image = torch.lerp(image, (edge.narrow(dim, 0, size) + edge.narrow(dim, 2, size)) * 0.5, 2 * soft)
    life = difficulty == "life"
    exposure = draws.uniform(0.75, 1.25) if life else draws.uniform(0.95, 1.05)
    balance = draws.many(3, 0.92, 1.08) if life else draws.many(3, 0.99, 1.01)
    grain = draws.uniform(0.0, 0.035) if life else draws.uniform(0.0, 0.01)
    shift = (draws.many(2) * size).long()
    image = image * (exposure[:, None] * balance)[:, :, None, None]
    image = image + _grain(shift, size, keys.device) * grain[:, None, None, None]
    return image.clamp_(0, 1)


def _grain(shift: Tensor, size: int, device: torch.device) -> Float[Tensor, "b 3 s s"]:
    """Noise of unit variance; every image sees one sheet of it from another corner."""
    windows = _sheet(size, device).unfold(1, size, 1).unfold(2, size, 1)  # (3, s + 1, s + 1, s, s), a view
    return windows[:, shift[:, 1], shift[:, 0]].transpose(0, 1)


@functools.lru_cache(maxsize=4)
def _sheet(size: int, device: torch.device) -> Float[Tensor, "3 twice twice"]:
    return torch.randn(3, 2 * size, 2 * size, generator=torch.Generator().manual_seed(0)).to(device)
