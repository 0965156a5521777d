"""Sliders over a picture, which shows its first state too where nobody is there to move them."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from posebook.extras import needs

if TYPE_CHECKING:
    from ipywidgets import ValueWidget
    from matplotlib.figure import Figure


def slider(name: str, choices: object) -> ValueWidget:
    """One control.

    Args:
        name: what it sets; its label, underscores as spaces.
        choices: (low, high, step, start) for a slider, of whole numbers if all four are; a list for a menu that
            starts at its first entry; a bool for a tick box.

    Raises:
        ValueError: none of these, or a start outside low to high.
    """
    with needs("study", "a slider"):
        import ipywidgets

    looks = {"description": name.replace("_", " "), "style": {"description_width": "initial"}}
    if isinstance(choices, bool):
        return ipywidgets.Checkbox(value=choices, indent=False, **looks)
    if isinstance(choices, list) and choices:
        return ipywidgets.Dropdown(options=choices, value=choices[0], **looks)
    if not isinstance(choices, tuple) or len(choices) != 4:
        raise ValueError(f"'{name}' must be (low, high, step, start), a list of choices or a bool, not {choices!r}")
    low, high, step, start = choices
    if not low <= start <= high or step <= 0:
        raise ValueError(f"'{name}' is {choices}: start must lie between low and high, and step above 0")
    kind = ipywidgets.IntSlider if all(isinstance(c, int) for c in choices) else ipywidgets.FloatSlider
    # A picture takes longer to draw than a mouse to move: it is drawn when the slider is let go.
    looks |= {"continuous_update": False, "layout": {"width": "28em"}}
    return kind(value=start, min=low, max=high, step=step, **looks)


class Explorer:
    """A picture under sliders, shown when a notebook's cell ends with it; made by `explore`.

    Both are widgets, which every notebook front end moves, Voila too. The cell's output holds the first picture as an
    ordinary image besides, for pages on which nothing can move.

    Attributes:
        sliders: the controls by name; setting `sliders[name].value` is moving them.
        box: the widget that holds them and the picture.
    """

    def __init__(self, draw: Callable[..., Figure], sliders: dict[str, ValueWidget]) -> None:
        with needs("study", "a slider"):
            import ipywidgets

        self.sliders = sliders
        self._draw = draw
        # As wide as the figure is: stretched, it would be blurred.
        self._image = ipywidgets.Image(format="png", layout={"max_width": "100%", "align_self": "flex-start"})
        # Its line is kept free, so that nothing below moves when a sentence comes or goes.
        self._problem = ipywidgets.HTML(layout={"min_height": "1.6em"})
        # Side by side where there is room, so that the picture is in sight while they are moved.
        controls = ipywidgets.Box(list(sliders.values()), layout={"flex_flow": "row wrap", "grid_gap": "0 2em"})
        self.box = ipywidgets.VBox([controls, self._problem, self._image])
        # The cell fails where the first picture cannot be drawn.
        first = self.picture()
        self._first = as_png(first)
        self._show(first)
        for control in sliders.values():
            control.observe(self._redraw, names="value")

    @property
    def values(self) -> dict[str, Any]:
        """Where the sliders stand."""
        return {name: control.value for name, control in self.sliders.items()}

    @property
    def shown(self) -> bytes:
        """The picture that stands under the sliders, a PNG."""
        return bytes(self._image.value)

    @property
    def problem(self) -> str:
        """Why there is no picture of where the sliders stand; empty where there is one."""
        return html.unescape(self._problem.value)

    def picture(self) -> Figure:
        """What `draw` gives for where the sliders stand."""
        import matplotlib.pyplot as plt

        result = self._draw(**self.values)
        # Else a notebook shows it once more at the end of the cell, and keeps every state ever drawn.
        plt.close(result)
        return result

    def _show(self, picture: Figure) -> None:
        # Before the width is set: where this fails, the last picture stays, and keeps its size.
        png = as_png(picture, density=2, compression=1)
        self._image.layout.width = f"{picture.get_figwidth() * picture.dpi:.0f}px"
        self._image.value = png

    def _redraw(self, change: dict) -> None:
        try:
            self._show(self.picture())
            self._problem.value = ""
        except Exception as error:
            # A notebook hides what a slider's callback raises. A ValueError is a sentence about the values.
            what = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            self._problem.value = html.escape(f"{what} (the picture below is the last that could be drawn)")

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        still = {"image/png": base64.b64encode(self._first).decode()}
        return self.box._repr_mimebundle_() | still


def as_png(figure: Figure, density: int = 1, compression: int = 6) -> bytes:
    """A figure as a PNG file, of one size whatever is drawn in it.

    Args:
        density: pixels of the file for each of the figure's, per side; high-density screens show two.
        compression: 0 to 9; lower is faster, and the file is larger.
    """
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=density * figure.dpi, pil_kwargs={"compress_level": compression})
    return file.getvalue()


def explore(draw: Callable[..., Figure], **sliders: object) -> Explorer:
    """Put a picture under sliders.

    Args:
        draw: takes one value per slider, by name, and returns a figure. What an error says is shown above the last
            picture.
        sliders: as in `slider`.

    Example:
        >>> explore(lambda sigma, kind: plot_bell(sigma, kind), sigma=(0.5, 4.0, 0.5, 1.0), kind=["plain", "noisy"])
    """
    return Explorer(draw, {name: slider(name, choices) for name, choices in sliders.items()})
