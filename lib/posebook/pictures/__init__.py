"""Pictures: poses and parsing over images, heat maps, charts, diagrams of networks, and sliders over any of them.

Every function returns its figure and shows nothing by itself; in a notebook the figure that a cell ends with is shown.
Left and right keep the skeleton's two colours in every picture; an occluded joint is a ring, a visible one a dot.
Notebooks take all of them from here.
"""

from posebook.pictures.charts import bar_by_joint, matrix, plot_curve, plot_occlusion_sweep
from posebook.pictures.diagram import diagram
from posebook.pictures.photographs import save_pose_picture
from posebook.pictures.poses import (
    draw_parsing,
    draw_pose,
    parsing_legend,
    show_image,
    show_maps,
    show_people,
    show_predictions,
    show_samples,
)
from posebook.pictures.sliders import explore
from posebook.pictures.style import ERROR_COLOUR, SERIES, figure, readable, style
from posebook.skeleton import PART_COLOURS

__all__ = [
    "ERROR_COLOUR",
    "PART_COLOURS",
    "SERIES",
    "bar_by_joint",
    "diagram",
    "draw_parsing",
    "draw_pose",
    "explore",
    "figure",
    "matrix",
    "parsing_legend",
    "plot_curve",
    "plot_occlusion_sweep",
    "readable",
    "save_pose_picture",
    "show_image",
    "show_maps",
    "show_people",
    "show_predictions",
    "show_samples",
    "style",
]
