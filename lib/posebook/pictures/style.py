"""What all pictures have in common: the figure they are drawn on, colours, names as a reader sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from posebook.extras import needs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Series without a side, in this order: people who see no red, no green or no blue tell all six apart, the first three
# as easily as anybody. LINES goes with them, since a second difference helps everybody.
SERIES = ("#E69F00", "#56B4E9", "#000000", "#006D4F", "#7A0177", "#999999")
LINES = ("-", "--", "-.", ":", (0, (6, 1.5)), (0, (2, 2)))
ERROR_COLOUR = "#CC0000"


def style() -> None:
    """Set matplotlib's defaults for a notebook, once at its top: layout, sizes, fewer lines, twice the pixels.

    High-density screens show them all; on others a picture has the same size as before.
    """
    import sys

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
            "axes.prop_cycle": mpl.cycler(color=SERIES, linestyle=LINES),
            "legend.frameon": False,
            "image.interpolation": "nearest",
        }
    )
    shell = "IPython" in sys.modules and sys.modules["IPython"].get_ipython()
    if shell and "IPKernelApp" in shell.config:
        with needs("study", "a notebook's pictures"):
            from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")


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
