"""Which joints tell about each other: groups of related joints by the mutual information of their places.

Tang and Wu, *Does Learning Specific Features for Related Parts Help Human Pose Estimation?* (CVPR 2019), Sec. 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from posebook.extras import needs
from posebook.grouping.information import JointHistogram, quantise
from posebook.skeleton import MPII, Skeleton

# The groups that the paper prints, by joint names: five in Fig. 2(b); six, where "the head and neck will be detached
# from the shoulders and thorax".
PAPER_GROUPS = {
    count: tuple(tuple(MPII.joints[joint] for joint in group) for group in MPII.groups(name))
    for count, name in ((5, "five"), (6, "six"))
}


def mutual_information(
    joints: Float[Tensor, "n j 2"],
    presence: Shaped[Tensor, "n j"] | None = None,
    window: int | float = 2.5,
    lattice: int = 16,
    corrected: bool = False,
) -> Float[Tensor, "j j"]:
    """Mutual information of every two joints' places, in nats: the short way to `JointHistogram.matrix`.

    With few poses it is overestimated; compare only figures from equally many, or corrected ones.

    Open: which groups come out hangs on the window. With all people of MPII, 1.95 to 2 and 2.4 to 2.6 longer sides of
    the pose give the paper's five; many windows between 1 and 3 group the legs by side instead.

    Raises:
        ValueError: no poses at all, or a window or lattice that is not positive.
    """
    if len(joints) == 0:
        raise ValueError("mutual information needs poses, and there are none: check what the poses were selected by")
    histogram = JointHistogram(joints.shape[1], window, lattice, joints.device)
    return histogram.add(joints, presence).matrix(corrected)


def spectral_groups(information: Float[Tensor, "j j"], groups: int = 5, seed: int = 0) -> list[list[int]]:
    """Joints grouped by spectral clustering, the information being the affinity (Sec. 3.1, Fig. 2b).

    The diagonal plays no part. A joint that tells nothing about any other counts as related to all of them alike, and
    its group is arbitrary.

    Returns:
        Groups of joint indices, ascending in each group and by each group's first. Of poses that are too few to tell
        so many groups apart, there can be fewer than were asked for.

    Raises:
        ValueError: fewer than one group, or more groups than joints.
    """
    import warnings

    with needs("study", "grouping joints"):
        from sklearn.cluster import SpectralClustering
        from sklearn.exceptions import ConvergenceWarning

    if not 1 <= groups <= len(information):
        raise ValueError(f"{len(information)} joints make 1 to {len(information)} groups, not {groups}")
    if groups == len(information):
        return [[joint] for joint in range(groups)]
    # With few starts k-means now and then stops at a grouping that is not the best.
    clustering = SpectralClustering(groups, affinity="precomputed", random_state=seed, n_init=200)
    affinity = information.double().cpu()
    alone = (affinity - affinity.diag().diag()).sum(1) <= 0
    if alone.any():  # it would have a degree of 0, by which the Laplacian divides
        faint = 1e-6 * (affinity.max() if affinity.max() > 0 else 1.0)
        affinity = affinity.masked_fill(alone[:, None] | alone, float(faint))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer groups than were asked for
        labels = clustering.fit_predict(affinity.numpy())
    members = [(labels == label).nonzero()[0].tolist() for label in set(labels.tolist())]
    return sorted(members)


def named_groups(groups: Sequence[Sequence[int]], skeleton: Skeleton) -> list[list[str]]:
    """Groups of places in a skeleton as groups of joint names."""
    return [[skeleton.joints[j] for j in group] for group in groups]


def placed_groups(groups: Sequence[Sequence[str]], skeleton: Skeleton) -> list[list[int]]:
    """Groups of joint names as groups of places, in the order of `spectral_groups`.

    Joints that the skeleton lacks are left out, and groups of which nothing remains.
    """
    return sorted(skeleton.places(groups))


def body_groups(skeleton: Skeleton) -> list[list[int]]:
    """The six groups after the structure of the body (Sec. 3.1), as places in a skeleton; five for FLIC's joints."""
    return sorted(skeleton.groups("body"))


def overlapping_groups(groups: Sequence[Sequence[int]], skeleton: Skeleton) -> list[list[int]]:
    """The groups, where each shoulder also joins the group of its elbow ("Overlapping groups", Sec. 4.3)."""
    joins = {skeleton.index(f"{side}_elbow"): skeleton.index(f"{side}_shoulder") for side in "lr"}
    return sorted(sorted({*group, *(joins[j] for j in group if j in joins)}) for group in groups)


def adjusted_rand(groups: Sequence[Sequence[str | int]], others: Sequence[Sequence[str | int]]) -> float:
    """How far two groupings agree: adjusted Rand index, 1 where they are the same and about 0 for chance.

    Joints that only one of them has are left out, so that skeletons can be compared by joint names.

    Raises:
        ValueError: a joint is in two groups of a grouping, or the two have no joint in common.
    """
    with needs("study", "comparing groups"):
        from sklearn.metrics import adjusted_rand_score

    labels = [{joint: number for number, group in enumerate(all_of) for joint in group} for all_of in (groups, others)]
    if any(len(label) < sum(map(len, all_of)) for label, all_of in zip(labels, (groups, others), strict=True)):
        raise ValueError("groups that overlap cannot be compared by the adjusted Rand index: give disjoint ones")
    common = [joint for joint in labels[0] if joint in labels[1]]
    if not common:
        raise ValueError("the two groupings have no joint in common: compare skeletons by joint names")
    return float(adjusted_rand_score(*([label[joint] for joint in common] for label in labels)))


@dataclass(frozen=True)
class Stability:
    """How groups hold when people are drawn again.

    Attributes:
        reference: the groups that draws are compared with.
        draws: the groups of each draw.
        together: share of the draws in which two joints are in one group.
        same: share of the draws whose groups are all the reference's.
    """

    reference: list[list[int]]
    draws: list[list[list[int]]]
    together: Float[Tensor, "j j"]
    same: float


def bootstrap_groups(
    joints: Float[Tensor, "n j 2"],
    presence: Shaped[Tensor, "n j"] | None = None,
    groups: int = 5,
    window: int | float = 2.5,
    lattice: int = 16,
    centre: Float[Tensor, "n 2"] | None = None,
    unit: Float[Tensor, " n"] | None = None,
    draws: int = 100,
    seed: int = 0,
    corrected: bool = False,
    reference: Sequence[Sequence[int]] | None = None,
) -> Stability:
    """The groups of as many people drawn with replacement, many times over (Efron's bootstrap).

    A person who is drawn twice makes joints look a little more related than they are.

    Args:
        joints, presence, centre, unit: as `JointHistogram.add` takes them.
        draws: how many times.
        seed: of the drawing.
        reference: groups to compare with, in the order of `spectral_groups`; None: those of all people once.

    Raises:
        ValueError: no poses or draws, or what `JointHistogram` and `spectral_groups` refuse.
    """
    if len(joints) == 0 or draws < 1:
        raise ValueError(f"a bootstrap needs poses and draws, not {len(joints)} and {draws}")
    number, device = joints.shape[1], joints.device
    cells, here = quantise(joints, presence, window, lattice, centre, unit)

    def grouped(cells: Tensor, here: Tensor) -> list[list[int]]:
        histogram = JointHistogram(number, window, lattice, device).count(cells, here)
        return spectral_groups(histogram.matrix(corrected), groups)

    reference = grouped(cells, here) if reference is None else [list(group) for group in reference]
    generator = torch.Generator().manual_seed(seed)
    drawn, together = [], torch.zeros(number, number)
    for _ in range(draws):
        people = torch.randint(len(joints), (len(joints),), generator=generator).to(device)
        drawn.append(grouped(cells[:, people], here[:, people]))
        label = torch.zeros(number, dtype=torch.long)
        for place, group in enumerate(drawn[-1]):
            label[group] = place
        together += label[:, None] == label
    return Stability(reference, drawn, together / draws, sum(one == reference for one in drawn) / draws)
