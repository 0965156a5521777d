"""Blocks that papers share."""

from posebook.layers.hourglass import HourglassBlock
from posebook.layers.residual import Residual

__all__ = ["HourglassBlock", "Residual"]
