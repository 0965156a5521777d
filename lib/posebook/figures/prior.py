"""How people stand, sit and move: a Gaussian mixture over whole poses, fitted to MPII's annotations.

A pose is normalised: the box around its joints has its centre at 0 and its longer side is 1. The fitted prior ships in
`data/pose_prior.safetensors`; `posebook prior fit` makes it anew from MPII's annotations, which hold no images.
Joints are in the order of `skeleton.MPII`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from posebook.figures import random
from posebook.outside import check_tensors, existing
from posebook.paths import DATA, replacing
from posebook.skeleton import MPII

PRIOR = DATA / "pose_prior.safetensors"

# The stream of `random` that poses are drawn from. Callers who draw other things from the same keys use others.
STREAM = 1000

# The place of the head among `MPII.limbs`.
HEAD = MPII.limbs.index(MPII.head)


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

        advice = "fit the pose prior with `posebook prior fit`"
        try:
            found = load_file(existing(path, advice))
        except SafetensorError as error:
            raise ValueError(f"{path} holds no pose prior ({error}): {advice}") from error
        k = found["weights"].numel() if "weights" in found else 1
        shapes = {"weights": (k,), "means": (k, 32), "factors": (k, 32, 32), "longest": (len(MPII.limbs),)}
        shapes |= {"head": (2,), "reference_information": (16, 16)}
        wanted = {name: torch.empty(shape, dtype=torch.float32, device="meta") for name, shape in shapes.items()}
        check_tensors(found, wanted, f"{path}, which is to hold a pose prior,")
        if not k or (found["weights"] < 0).any() or found["weights"].sum() <= 0:
            raise ValueError(f"{path} holds no pose prior (its components have no weight): {advice}")
        return PosePrior(**found)

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
        lengths = limb_lengths(poses)
        head = lengths[:, HEAD]
        return (lengths <= self.longest * head[:, None]).all(1) & (head >= self.head[0]) & (head <= self.head[1])


def normalise(joints: Float[Tensor, "n j 2"]) -> Float[Tensor, "n j 2"]:
    """Poses moved and scaled so that the box around the joints has its centre at 0 and longer side 1."""
    low, high = joints.amin(1, keepdim=True), joints.amax(1, keepdim=True)
    return (joints - (low + high) / 2) / (high - low).amax(-1, keepdim=True)


def limb_lengths(poses: Float[Tensor, "n j 2"]) -> Float[Tensor, "n limbs"]:
    """How long each of MPII's limbs is, from joint to joint, in the unit of the poses."""
    start, end = zip(*MPII.pairs(MPII.limbs), strict=True)
    return (poses[:, start] - poses[:, end]).norm(dim=-1)
