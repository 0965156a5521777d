"""One hourglass: down to the smallest map and up again, with a branch at every resolution."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from posebook.layers.residual import Residual


class HourglassBlock(nn.Module):
    """Newell et al. (ECCV 2016), Sec. 3.1 and Fig. 3.

    An hourglass of depth d is a branch at the input's resolution plus, added to it, a path at half the resolution
    that holds an hourglass of depth d - 1; at depth 0 only residual units are left.

    Args:
        features: channels throughout.
        depth: number of poolings; the input's sides are multiples of 2 ** depth.
        units: residual units per location.
    """

    def __init__(self, features: int, depth: int, units: int = 1) -> None:
        super().__init__()
        self.branch = residuals(features, units)
        self.before = residuals(features, units)
        self.inner = HourglassBlock(features, depth - 1, units) if depth > 1 else residuals(features, units)
        self.after = residuals(features, units)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.pyramid(x)[-1]

    def pyramid(self, x: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b c hs ws"]]:
        """The features on the way up, `depth` of them: each twice as wide as the one before, the last as wide as x."""
        y = self.before(F.max_pool2d(x, 2))  # (b, c, h / 2, w / 2)
        below = self.inner.pyramid(y) if isinstance(self.inner, HourglassBlock) else []
        y = self.after(below[-1] if below else self.inner(y))  # (b, c, h / 2, w / 2)
        return [*below, self.branch(x) + F.interpolate(y, scale_factor=2.0, mode="nearest")]


def residuals(features: int, units: int) -> nn.Sequential:
    """`units` residual units in a row, all of one width."""
    return nn.Sequential(*(Residual(features, features) for _ in range(units)))
