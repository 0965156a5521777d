"""How people stand, sit and move: a Gaussian mixture over whole poses, fitted to MPII's annotations.

A pose is normalised: the box around its joints has its centre at 0 and its longer side is 1. The fitted prior ships in
`data/pose_prior.safetensors`; `posebook prior fit` makes it anew from MPII's annotations, which hold no images.
Joints are in the order of `skeleton.MPII`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from posebook import random
from posebook.checkpoint import replacing
from posebook.grouping import mutual_information, spectral_groups
from posebook.paths import DATA
from posebook.skeleton import MPII

PRIOR = DATA / "pose_prior.safetensors"

# The stream of `random` that poses are drawn from. Callers who draw other things from the same keys use others.
STREAM = 1000

# Of real poses, this share lies beyond each limit of what counts as plausible.
_BEYOND = 0.001
_HEAD = MPII.pairs(MPII.limbs).index(MPII.pairs((MPII.head,))[0])


@dataclass
class PosePrior:
    """A mixture of `k` Gaussians over the 32 coordinates of a normalised pose.

    Attributes:
        weights: of the components; they sum to 1.
        means: their centres.
        factors: lower-triangular; a component's covariance is factor @ factor.T.
        longest: length of each limb of `MPII.limbs`, in head lengths, that one real pose in a thousand exceeds.
        head: shortest and longest head, in longer sides of the pose, that one real pose in a thousand exceeds.
        reference_information: mutual information of the real poses' joints (`grouping.mutual_information`).

    Example:
        >>> prior = PosePrior.load()
        >>> prior.sample(random.keys("train", torch.arange(3), seed=0)).shape
        torch.Size([3, 16, 2])
    """

    weights: Float[Tensor, " k"]
    means: Float[Tensor, "k 32"]
    factors: Float[Tensor, "k 32 32"]
    longest: Float[Tensor, " limbs"]
    head: Float[Tensor, " 2"]
    reference_information: Float[Tensor, "16 16"]

    @staticmethod
    def load(path: str | Path = PRIOR) -> PosePrior:
        """The prior in a file: the one that ships, if none is named.

        Raises:
            FileNotFoundError, ValueError: no such file, or one that holds no pose prior.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} does not exist: fit the pose prior with `posebook prior fit`")
        try:
            return PosePrior(**load_file(path))
        except (SafetensorError, TypeError) as error:
            raise ValueError(f"{path} holds no pose prior ({error}): fit it anew with `posebook prior fit`") from error

    def save(self, path: str | Path) -> None:
        """Write the prior to a safetensors file, replacing it."""
        from safetensors.torch import save

        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            # Not save_file, whose files only their owner can read.
            part.write_bytes(save({f.name: getattr(self, f.name).contiguous() for f in fields(self)}))

    def to(self, device: torch.device | str) -> PosePrior:
        """The same on another device; it is drawn from with keys on that device."""
        return PosePrior(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def sample(self, keys: Int64[Tensor, " b"], candidates: int = 4, stream: int = STREAM) -> Float[Tensor, "b 16 2"]:
        """A normalised pose for each key.

        Gaussians reach further than bodies do, so each key draws several candidates and takes the first plausible one
        (the very first, where none is).

        Args:
            keys: from `random.keys`.
            candidates: poses drawn a key; 1 gives the mixture as it is.
            stream: of `random`, all of whose numbers this uses.
        """
        choice = random.uniforms(keys, candidates, stream).contiguous()
        noise = random.normals(keys, candidates * 32, stream).reshape(len(keys), candidates, 32)
        edges = self.weights.cumsum(0)
        component = torch.searchsorted(edges / edges[-1], choice, right=True).clamp_max(len(edges) - 1)
        # A sum and not a matrix product: products round differently in batches of different sizes.
        flat = self.means[component] + (self.factors[component] * noise[..., None, :]).sum(-1)
        poses = normalise(flat.reshape(-1, 16, 2))
        first = self.plausible(poses).reshape(len(keys), candidates).int().argmax(1)
        return poses.reshape(len(keys), candidates, 16, 2)[torch.arange(len(keys), device=keys.device), first]

    def plausible(self, poses: Float[Tensor, "b 16 2"]) -> Bool[Tensor, " b"]:
        """Whether the limbs of normalised poses are within what all but a few real poses show.

        Foreshortening makes any limb short, so that only heads, round as they are, have a shortest length.
        """
        lengths = _limb_lengths(poses)
        head = lengths[:, _HEAD]
        return (lengths <= self.longest * head[:, None]).all(1) & (head >= self.head[0]) & (head <= self.head[1])


def normalise(joints: Float[Tensor, "n j 2"]) -> Float[Tensor, "n j 2"]:
    """Poses moved and scaled so that the box around the joints has its centre at 0 and longer side 1."""
    low, high = joints.amin(1, keepdim=True), joints.amax(1, keepdim=True)
    return (joints - (low + high) / 2) / (high - low).amax(-1, keepdim=True)


def complete_poses(paths: Sequence[str | Path]) -> Float[Tensor, "n 16 2"]:
    """The normalised poses of everybody in MPII annotation files who has all 16 joints annotated.

    A person who is in several files counts once: the `.h5` of the validation split repeats people of the `.csv`s,
    with other roundings of head and neck, so that the arms and legs tell who is who, to the pixel.

    Raises:
        FileNotFoundError, ValueError: a file that is missing or unreadable, or not MPII's; nobody is complete.
    """
    from posebook.datasets.mpii import read_annotations

    joints = []
    for path in paths:
        people = read_annotations(path)
        if people.skeleton is not MPII:
            raise ValueError(f"{path} has the joints of '{people.skeleton.name}'; the pose prior needs MPII's 16")
        joints.append(people.joints[(people.presence > 0).all(1)])
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
    from sklearn.mixture import GaussianMixture

    if len(poses) < components:
        raise ValueError(f"{len(poses)} poses are too few for {components} components: give more annotations")
    both = torch.cat([poses, poses[:, MPII.mirror] * poses.new_tensor([-1, 1])])
    mixture = GaussianMixture(components, max_iter=200, tol=1e-2, random_state=seed).fit(
        both.flatten(1).double().numpy()
    )
    lengths = _limb_lengths(both)
    head = lengths[:, _HEAD]
    # No head in the data is that short; an annotation that puts both ends on one point must not make a NaN.
    ratios = lengths / head[:, None].clamp_min(1e-6)
    return PosePrior(
        weights=torch.from_numpy(mixture.weights_).float(),
        means=torch.from_numpy(mixture.means_).float(),
        factors=torch.linalg.cholesky(torch.from_numpy(mixture.covariances_)).float(),
        longest=ratios.quantile(1 - _BEYOND, dim=0),
        head=head.quantile(head.new_tensor([_BEYOND, 1 - _BEYOND])),
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


def _limb_lengths(poses: Tensor) -> Float[Tensor, "n limbs"]:
    start, end = zip(*MPII.pairs(MPII.limbs), strict=True)
    return (poses[:, start] - poses[:, end]).norm(dim=-1)
