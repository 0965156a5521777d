"""posebook: learn and reproduce research on human pose estimation.

Importing the package needs torch, numpy and jaxtyping only; pictures, sliders and the command line import the rest
when they are used.
"""

import os

# Threads of torch wait for each other by spinning, for milliseconds unless told otherwise. Where another process wants
# the same cores, that takes from it, and from themselves, far more than it saves. OpenMP reads this as torch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

__version__ = "0.1.0"
