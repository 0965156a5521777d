"""posebook: learn and reproduce research on human pose estimation.

Importing the package needs torch, numpy and jaxtyping only; pictures, sliders and the command line import the rest
when they are used.
"""

__version__ = "0.1.0"
