"""Blocks that papers share."""

from posebook.layers.adaptive_conv import AdaptiveConv, dynamic_depthwise_conv2d
from posebook.layers.depthwise import DepthwiseConv
from posebook.layers.hourglass import HourglassBlock
from posebook.layers.residual import Residual
from posebook.layers.separable import SeparableConv, SeparableResidual
from posebook.layers.soft_argmax import ramp, soft_argmax, spatial_softmax

__all__ = [
    "AdaptiveConv",
    "DepthwiseConv",
    "HourglassBlock",
    "Residual",
    "SeparableConv",
    "SeparableResidual",
    "dynamic_depthwise_conv2d",
    "ramp",
    "soft_argmax",
    "spatial_softmax",
]
