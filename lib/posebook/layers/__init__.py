"""Blocks that papers share."""

from posebook.layers.depthwise import DepthwiseConv
from posebook.layers.hourglass import HourglassBlock
from posebook.layers.residual import Residual
from posebook.layers.separable import SeparableConv, SeparableResidual
from posebook.layers.soft_argmax import ramp, soft_argmax, spatial_softmax

__all__ = [
    "DepthwiseConv",
    "HourglassBlock",
    "Residual",
    "SeparableConv",
    "SeparableResidual",
    "ramp",
    "soft_argmax",
    "spatial_softmax",
]
