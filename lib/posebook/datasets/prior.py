"""The pose prior fitted to real poses, and checked against them: `posebook prior fit` and `posebook prior check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from posebook.datasets.mpii import read_annotations
from posebook.extras import needs
from posebook.figures import random
from posebook.figures.prior import HEAD, PosePrior, limb_lengths, normalise
from posebook.grouping.spectral import mutual_information, spectral_groups
from posebook.skeleton import MPII

# Of real poses, this share lies beyond each limit of what counts as plausible.
BEYOND = 0.001


def complete_poses(paths: Sequence[str | Path]) -> Float[Tensor, "n 16 2"]:
    """The normalised poses of everybody in MPII annotation files who has all 16 joints annotated and in the photograph.

    A person who is in several files counts once: the `.h5` of the validation split repeats people of the `.csv`s,
    with other roundings of head and neck, so that the arms and legs tell who is who, to the pixel.

    Raises:
        FileNotFoundError, ValueError: a file that is missing or unreadable, or not MPII's; nobody is complete.
    """
    joints = []
    for path in paths:
        people = read_annotations(path)
        if people.skeleton is not MPII:
            raise ValueError(f"{path} has the joints of '{people.skeleton.name}'; the pose prior needs MPII's 16")
        # Whole in the photograph, as far as its upper and left edges tell, beyond which coordinates are not above 0.
        joints.append(people.joints[(people.presence > 0).all(1) & (people.joints > 0).all((1, 2))])
    joints = torch.cat(joints) if joints else torch.zeros(0, 16, 2)
    if len(joints) == 0:
        raise ValueError(f"nobody in {', '.join(map(str, paths))} has all 16 joints annotated")
    own = [j for j, name in enumerate(MPII.joints) if name.endswith(("ankle", "knee", "hip", "wrist", "elbow"))]
    _, person = joints[:, own].round().unique(dim=0, return_inverse=True)
    order = torch.arange(len(joints))
    first = torch.full((int(person.max()) + 1,), len(joints)).scatter_reduce(0, person, order, "amin")
    return normalise(joints[first.sort().values])


def fit(poses: Float[Tensor, "n 16 2"], components: int = 96, seed: int = 0) -> PosePrior:
    """The mixture fitted to normalised poses by expectation-maximisation, started from k-means.

    Each pose counts with its mirror image. That makes up for the few people in rare poses: with 96 components, real
    poses left out of the fit are likelier by 3 nats each than under a fit without the mirror images.

    Raises:
        ValueError: fewer poses than components.
    """
    with needs("study", "fitting a pose prior"):
        from sklearn.mixture import GaussianMixture

    if len(poses) < components:
        raise ValueError(f"{len(poses)} poses are too few for {components} components: give more annotations")
    both = torch.cat([poses, poses[:, MPII.mirror] * poses.new_tensor([-1, 1])])
    mixture = GaussianMixture(components, max_iter=200, tol=1e-2, random_state=seed).fit(
        both.flatten(1).double().numpy()
    )
    lengths = limb_lengths(both)
    head = lengths[:, HEAD]
    # No head in the data is that short; an annotation that puts both ends on one point must not make a NaN.
    ratios = lengths / head[:, None].clamp_min(1e-6)
    return PosePrior(
        weights=torch.from_numpy(mixture.weights_).float(),
        means=torch.from_numpy(mixture.means_).float(),
        factors=torch.linalg.cholesky(torch.from_numpy(mixture.covariances_)).float(),
        longest=ratios.quantile(1 - BEYOND, dim=0),
        head=head.quantile(head.new_tensor([BEYOND, 1 - BEYOND])),
        reference_information=mutual_information(poses),
    )


@dataclass(frozen=True)
class Fidelity:
    """How like real poses the sampled ones are.

    Attributes:
        correlation: of the mutual informations of the 120 pairs of joints, sampled with real.
        real_groups, sampled_groups: the five spectral groups of joints by mutual information.
        plausible_draws: share of single draws from the mixture that are plausible.
        plausible: share of the poses that `PosePrior.sample` gives.
    """

    correlation: float
    real_groups: list[list[int]]
    sampled_groups: list[list[int]]
    plausible_draws: float
    plausible: float


def fidelity(prior: PosePrior, samples: int = 20_000, seed: int = 0) -> Fidelity:
    """Sampled poses beside the real ones that the prior was fitted to."""
    keys = random.keys("test", torch.arange(samples), seed)
    # A pose takes 16 kB while it is drawn.
    poses = torch.cat([prior.sample(some) for some in keys.split(2000)])
    draws = torch.cat([prior.sample(some, candidates=1) for some in keys.split(2000)])
    sampled, real = mutual_information(poses), prior.reference_information
    above = torch.triu(torch.ones(16, 16, dtype=torch.bool), 1)
    return Fidelity(
        correlation=float(torch.corrcoef(torch.stack([sampled[above], real[above]]))[0, 1]),
        real_groups=spectral_groups(real),
        sampled_groups=spectral_groups(sampled),
        plausible_draws=float(prior.plausible(draws).float().mean()),
        plausible=float(prior.plausible(poses).float().mean()),
    )
