"""Colours that stand beside each other in a picture differ for people who see fewer colours, too."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from posebook.ledger.picture import COLOURS
from posebook.pictures.style import ERROR_COLOUR, LINES, SERIES
from posebook.skeleton import CENTRE_COLOUR, LEFT_COLOUR, RIGHT_COLOUR

colour = pytest.importorskip("colour", reason="colour-science is not installed", exc_type=ImportError)

# Machado, Oliveira and Fernandes 2009: who lacks one of the three kinds of cones.
SIGHTS = ("all colours", "Protanomaly", "Deuteranomaly", "Tritanomaly")
# In CIEDE2000; 10 is a plain difference of two patches beside each other, thin lines need more.
LEAST = 20.0


def seen(colours: tuple[str, ...], sight: str) -> np.ndarray:
    """CIE Lab of colours as somebody sees them who lacks one kind of cones."""
    linear = colour.models.eotf_sRGB([[int(name[i : i + 2], 16) / 255 for i in (1, 3, 5)] for name in colours])
    if sight != "all colours":
        linear = np.clip(linear @ colour.blindness.matrix_cvd_Machado2009(sight, 1.0).T, 0, 1)
    return colour.XYZ_to_Lab(colour.RGB_to_XYZ(linear, "sRGB", apply_cctf_decoding=False))


def closest(colours: tuple[str, ...]) -> float:
    """The smallest difference between two of the colours, over all sights."""
    sights = [seen(colours, sight) for sight in SIGHTS]
    pairs = [(lab[a], lab[b]) for lab in sights for a, b in itertools.combinations(range(len(colours)), 2)]
    return min(float(colour.delta_E(one, other, method="CIE 2000")) for one, other in pairs)


@pytest.mark.parametrize(
    ("colours", "least"),
    [
        (SERIES, LEAST),
        (SERIES[:3], 45.0),
        (tuple(COLOURS.values()), LEAST),
        ((LEFT_COLOUR, RIGHT_COLOUR, CENTRE_COLOUR), LEAST),
        ((LEFT_COLOUR, ERROR_COLOUR), LEAST),
    ],
    ids=["series", "first three series", "verdicts", "sides", "an error beside the left"],
)
def test_colours_used_together_stay_apart(colours, least):
    assert closest(colours) >= least


def test_two_colours_that_become_one_are_found():
    assert closest(("#009E73", "#CC79A7")) < LEAST


def test_series_differ_in_their_lines_too():
    assert len(set(LINES)) == len(SERIES) == len(set(SERIES))
