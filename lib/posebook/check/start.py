"""Checks of the exercises of `00_start_here`."""

from __future__ import annotations

import torch
from torch import Tensor

from posebook.check.answers import compare, exercise, function, require
from posebook.coordinates import HeatmapCodec
from posebook.skeleton import MPII

_WRIST, _SCALE = torch.tensor([10.0, 20.0]), 0.25  # as the first exercise says them
_SIZE, _STRIDE = 128, 4


def _near(found: Tensor, other: Tensor, tolerance: float = 1e-3) -> bool:
    return found.shape == other.shape and bool((found.double() - other.double()).abs().max() < tolerance)


@exercise
def half_pixel(wrist: object) -> str:
    """Where the wrist of the first exercise lies in the crop."""
    right = (_WRIST + 0.5) * _SCALE
    found = torch.as_tensor(wrist).double() if isinstance(wrist, tuple | list | Tensor) else torch.zeros(0)
    mistakes = {
        "that is the tool's location scaled; where is the wrist before scaling, in this project's convention?": (
            _WRIST * _SCALE
        ),
        "the half pixel is one of the photograph's: when must it be added, before the scale or after it?": (
            _WRIST * _SCALE + 0.5
        ),
        "that is where the tool itself would say the wrist is in the crop": (_WRIST + 0.5) * _SCALE - 0.5,
        "the half pixel goes the other way: the tool's first centre is 0, and this project's is 0.5": (
            (_WRIST - 0.5) * _SCALE
        ),
        "x comes first, then y": right.flip(0),
    }
    for sentence, mistake in mistakes.items():
        require(not _near(found, mistake), sentence)
    compare(wrist, right, "write down the wrist in this project's convention first, and then scale it")
    return "the tool's centre moves by half a pixel, and then a scale is a multiplication"


@exercise
def centre_of_mass(read: object) -> str:
    """A function from heat maps (n, joints, cells, cells) at stride 4 to the mean location of their cells in pixels."""
    function(read)
    generator = torch.Generator().manual_seed(1)
    truth = 20 + 88 * torch.rand(300, 3, 2, generator=generator)
    maps = HeatmapCodec(_SIZE, _STRIDE).encode(truth, torch.full((300, 3), 2))
    found = read(maps.clone())
    require(isinstance(found, Tensor), f"the function gives {type(found).__name__}, where a tensor is wanted")
    require(
        found.shape == truth.shape,
        f"for maps of shape {tuple(maps.shape)} it gives {tuple(found.shape)}, where {tuple(truth.shape)} is wanted",
    )
    mass = maps.sum((-2, -1))[..., None]
    mistakes = {
        "x and y are exchanged: which dimension of a map counts columns?": truth.flip(-1),
        "these are numbers of cells: how many pixels is a cell wide?": truth / _STRIDE,
        "every location is half a cell too far to the top left: where is a cell's centre?": truth - _STRIDE / 2,
        "these are numbers of cells, counted from 0: where is a cell's centre, and how wide is it?": (
            truth / _STRIDE - 0.5
        ),
        "the weights of a map must sum to 1: what do its heights sum to?": truth * mass,
    }
    for sentence, mistake in mistakes.items():
        require(not _near(found, mistake, 0.05), sentence)
    error = (found - truth).norm(dim=-1).mean().item()
    require(error < 0.05, f"the mean error is {error:.2f} px: a mean of the cells' centres, weighted by their heights")
    scaled = read(3 * maps)
    require(_near(scaled, found, 0.05), "maps three times as high have the same centre of mass; these have not")
    return f"mean error {error:.3f} px on maps without noise"


@exercise
def mirrored(flip: object) -> str:
    """A function that turns an image (3, s, s) and the joints of MPII (16, 2) in it from left to right."""
    function(flip)
    generator = torch.Generator().manual_seed(2)
    size = 96
    image = torch.rand(3, size, size, generator=generator)
    joints = size * torch.rand(len(MPII), 2, generator=generator)
    given = image.clone(), joints.clone()
    result = flip(*given)
    pair = isinstance(result, tuple | list) and len(result) == 2 and all(isinstance(part, Tensor) for part in result)
    require(pair, "two things are wanted: the image and its joints")
    require(_near(given[0], image) and _near(given[1], joints), "it changes what it is given: make new tensors instead")
    turned, moved = result
    require(not _near(turned, image.flip(-2)), "the image is upside down: which dimension goes from left to right?")
    require(_near(turned, image.flip(-1)), "the image is not mirrored from left to right")
    require(
        moved.shape == joints.shape,
        f"the joints have shape {tuple(moved.shape)}, where {tuple(joints.shape)} is wanted",
    )
    x, y = (size - joints[:, 0]), joints[:, 1]
    partner = list(MPII.mirror)
    found_x, found_y = moved[:, 0], moved[:, 1]
    require(
        not (_near(found_x, x) and _near(found_y, y)),
        "each joint lies where it should, but under its old name: what is the left wrist called in a mirror?",
    )
    require(
        not (_near(found_x, x[partner]) and _near(found_y, y)),
        "left and right have exchanged their x, but each has kept its y: a joint is both",
    )
    require(
        not (_near(found_x, joints[partner, 0]) and _near(found_y, y[partner])),
        "left and right are exchanged, but the points have not moved: what does the mirror do to x?",
    )
    require(
        not _near(found_x, x[partner] - 1),
        "x is one pixel off: the image reaches from 0 to its width (section 3)",
    )
    require(
        _near(found_y, y[partner]) or _near(found_y, y), "a mirror from left to right leaves the heights as they are"
    )
    require(
        _near(found_x, x[partner]), "x is not right: a point goes as far from the right edge as it was from the left"
    )
    require(_near(found_y, y[partner]), "left and right must change places with both of their coordinates")
    return "the image and both coordinates of every joint agree"
