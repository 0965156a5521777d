"""What all pictures have in common: the figure they are drawn on, colours, names as a reader sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours that are neither left nor right: for series that have no side.
SERIES = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
ERROR_COLOUR = "#CC0000"


def style() -> None:
    """Set matplotlib's defaults for a notebook, once at its top: layout, sizes, fewer lines."""
    import matplotlib as mpl

    mpl.rcParams.update(
        {
            "figure.constrained_layout.use": True,
            "figure.dpi": 100,
            "figure.figsize": (7, 4),
            "font.size": 11,
            "axes.titlesize": 12,
            "axes.titleweight": "bold",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": mpl.cycler(color=SERIES),
            "legend.frameon": False,
            "image.interpolation": "nearest",
        }
    )


def figure(
    rows: int = 1, columns: int = 1, size: tuple[float | int, float | int] = (7, 4)
) -> tuple[Figure, np.ndarray]:
    """A figure and its grid of axes. Nobody shows it but who gets it: pyplot does not keep it."""
    # Importing pyplot is what teaches a notebook to display figures.
    import matplotlib.pyplot as plt

    result = plt.figure(figsize=size, layout="constrained")
    axes = result.subplots(rows, columns, squeeze=False)
    plt.close(result)
    return result, axes


def readable(name: str) -> str:
    """A joint's or part's name as it stands in a picture: `l_upper_arm` is "left upper arm"."""
    side = {"l_": "left ", "r_": "right "}.get(name[:2], "")
    return side + (name[2:] if side else name).replace("_", " ")


def numpy_of(values: Tensor) -> np.ndarray:
    """A tensor's numbers as an array on the CPU, in single precision where they are fractions."""
    return values.detach().cpu().float().numpy() if values.is_floating_point() else values.detach().cpu().numpy()
