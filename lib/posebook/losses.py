"""The losses of the papers as functions of tensors.

Each is normalised by constants (batch, joints), never by how many joints are present, so that the mean of the losses
of a batch's halves is the loss of the batch, on however many processes the halves are.
"""

from __future__ import annotations

from jaxtyping import Float, Shaped
from torch import Tensor


def heatmap_mse(
    maps: Float[Tensor, "b j h w"], target: Float[Tensor, "b j h w"], presence: Shaped[Tensor, "b j"]
) -> Float[Tensor, ""]:
    """Squared error of heat maps, summed over the cells of a map, averaged over the batch and the joints.

    The sum over cells keeps the scale readable and the same at every map size: blank maps against Gaussians of
    standard deviation sigma cells cost pi sigma^2 (an average over 64x64 cells would make that 0.0008).

    Args:
        presence: a joint counts where this is not 0; occluded joints are learnt like visible ones.
    """
    error = (maps.float() - target).square().sum((-2, -1))  # (b, j)
    return (error * (presence > 0)).mean()
