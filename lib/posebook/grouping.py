"""Which joints tell about each other: mutual information of their places, and groups of related joints.

Tang and Wu, *Does Learning Specific Features for Related Parts Help Human Pose Estimation?* (CVPR 2019), Sec. 3.1.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

# Cells of joint histograms held at once: 128 MB of counts.
_CELLS_AT_ONCE = 2**24


def mutual_information(
    joints: Float[Tensor, "n j 2"],
    presence: Shaped[Tensor, "n j"] | None = None,
    window: float = 2.5,
    lattice: int = 16,
) -> Float[Tensor, "j j"]:
    """Mutual information of every two joints' places, in nats (Eq. 1); on the diagonal each joint's entropy.

    Each pose is scaled and centred on a lattice, and the probabilities are plain histograms of its cells. With few
    poses the histograms are sparse and the information is overestimated; compare only figures from equally many.

    Open: the paper does not say how poses are scaled and centred. Here the centre is that of the box around a pose's
    joints, and the lattice spans `window` times the box's longer side. At 2.5 the paper's five groups come out on
    MPII, and mostly stay when poses are drawn again; many windows between 1 and 3 group the legs by side instead, or
    the shoulders with the arms.

    Args:
        joints: (x, y) in any unit.
        presence: 0 where a joint is absent; a pair's histogram counts the poses that have both, the box is that of
            the joints present. None: all are present.
        window: side of the lattice in longer sides of the pose; a joint outside counts in the nearest cell.
        lattice: cells a side.

    Raises:
        ValueError: no poses at all, or a window or lattice that is not positive.
    """
    if len(joints) == 0:
        raise ValueError("mutual information needs poses, and there are none: check what the poses were selected by")
    if window <= 0 or lattice < 1:
        raise ValueError(f"window and lattice must be positive, not {window} and {lattice}")
    present = torch.ones(joints.shape[:2], dtype=torch.bool, device=joints.device) if presence is None else presence > 0
    cells = _quantise(joints, present, window, lattice)
    number = joints.shape[1]
    pairs = torch.triu_indices(number, number, device=joints.device)
    at_once = max(1, _CELLS_AT_ONCE // lattice**4)
    information = torch.cat(
        [_pairwise(cells[:, a], cells[:, b], present[:, a] & present[:, b], lattice**2)
         for a, b in zip(*(side.split(at_once) for side in pairs), strict=True)]
    )  # fmt: skip
    matrix = information.new_zeros(number, number)
    matrix[pairs[0], pairs[1]] = information
    matrix[pairs[1], pairs[0]] = information
    return matrix.float()


def spectral_groups(information: Float[Tensor, "j j"], groups: int = 5, seed: int = 0) -> list[list[int]]:
    """Joints grouped by spectral clustering, the information being the affinity (Sec. 3.1, Fig. 2b).

    The diagonal plays no part.

    Returns:
        Groups of joint indices, ascending in each group and by each group's first.

    Raises:
        ValueError: fewer than one group, or more groups than joints.
    """
    from sklearn.cluster import SpectralClustering

    if not 1 <= groups <= len(information):
        raise ValueError(f"{len(information)} joints make 1 to {len(information)} groups, not {groups}")
    clustering = SpectralClustering(groups, affinity="precomputed", random_state=seed, n_init=20)
    labels = clustering.fit_predict(information.double().cpu().numpy())
    members = [(labels == label).nonzero()[0].tolist() for label in set(labels.tolist())]
    return sorted(members)


def _quantise(joints: Tensor, present: Tensor, window: float, lattice: int) -> Int[Tensor, "n j"]:
    """The cell of the lattice that each joint falls into."""
    low = joints.masked_fill(~present[..., None], torch.inf).amin(1)
    high = joints.masked_fill(~present[..., None], -torch.inf).amax(1)
    side = (high - low).amax(-1).clamp_min(torch.finfo(joints.dtype).tiny)
    place = (joints - (low + high)[:, None] / 2) / (window * side)[:, None, None]
    # An absent joint may hold anything, NaN included; its cell is never counted.
    column, row = ((place + 0.5) * lattice).nan_to_num().floor().clamp(0, lattice - 1).long().unbind(-1)
    return row * lattice + column


def _pairwise(first: Tensor, second: Tensor, both: Tensor, cells: int) -> Float[Tensor, " p"]:
    """Mutual information of columns of cells, each with its partner column, over the poses that have both."""
    pairs = first.shape[1]
    place = (torch.arange(pairs, device=first.device) * cells + first) * cells + second
    counts = torch.bincount(place[both], minlength=pairs * cells**2).reshape(pairs, cells, cells).double()
    total = counts.sum((1, 2)).clamp_min(1)
    # sum of p log p over cells is (sum of n log n) / N - log N, for the joint histogram and for both marginals.
    joint, rows, columns = (torch.special.xlogy(n, n).flatten(1).sum(1) for n in (counts, counts.sum(2), counts.sum(1)))
    return ((joint - rows - columns) / total + total.log()).clamp_min(0)
