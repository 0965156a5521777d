"""Sliders over a picture, which shows its first state too where nobody is there to move them."""

from __future__ import annotations

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

    The picture is an ordinary output of the cell, so that a notebook executed without a browser keeps it, and moving
    a slider replaces it in place.

    Attributes:
        sliders: the controls by name; setting `sliders[name].value` is moving them.
    """

    def __init__(self, draw: Callable[..., Figure], sliders: dict[str, ValueWidget]) -> None:
        self.sliders = sliders
        self._draw = draw
        self._handles = []
        for control in sliders.values():
            control.observe(self._redraw, names="value")

    @property
    def values(self) -> dict[str, Any]:
        """Where the sliders stand."""
        return {name: control.value for name, control in self.sliders.items()}

    def picture(self) -> Figure:
        """What `draw` gives for where the sliders stand."""
        import matplotlib.pyplot as plt

        result = self._draw(**self.values)
        # Else a notebook shows it once more at the end of the cell, and keeps every state ever drawn.
        plt.close(result)
        return result

    def _redraw(self, change: dict) -> None:
        if not self._handles:
            return
        try:
            picture = self.picture()
        except ValueError as error:
            # A notebook hides what a slider's callback raises.
            with needs("study", "a slider"):
                from IPython.display import Pretty

            picture = Pretty(str(error))
        for handle in self._handles:
            handle.update(picture)

    def _ipython_display_(self) -> None:
        with needs("study", "a slider"):
            import ipywidgets
            from IPython.display import display

        display(ipywidgets.VBox(list(self.sliders.values())))
        handle = display(self.picture(), display_id=True)
        # Outside a notebook there is nothing to replace.
        if handle is not None:
            self._handles.append(handle)


def explore(draw: Callable[..., Figure], **sliders: object) -> Explorer:
    """Put a picture under sliders.

    Args:
        draw: takes a value a slider, by name, and returns a figure. A ValueError it raises is shown in its place.
        sliders: as in `slider`.

    Example:
        >>> explore(lambda sigma, kind: plot_bell(sigma, kind), sigma=(0.5, 4.0, 0.5, 1.0), kind=["plain", "noisy"])
    """
    return Explorer(draw, {name: slider(name, choices) for name, choices in sliders.items()})
