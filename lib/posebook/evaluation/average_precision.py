"""How well several people are found: average precision by joint, and its mean (mAP).

As the toolkit of MPII Multi-Person does it (Pishchulin et al., *DeepCut*, CVPR 2016), which Nie et al. (CVPR 2018)
name for extended PASCAL-Person-Part (Sec. 4.1):

1. A predicted person goes with the true person of whom it has the largest share of the joints right: within half a
   head size (PCKh). A true person keeps the best of those that go with it. The others are of nobody.
2. A predicted joint is right when its person is somebody's and the joint within half a head size of that one's. A joint
   of nobody's, and one that the true person does not have, is wrong.
3. Predicted joints of all images are put in the order of their confidence, joint by joint. Average precision is the
   area under precision against recall. Recall counts all joints of all true people, so that a missed person costs.

Precision at a recall is the best at that recall or a higher one, summed wherever recall rises, as PASCAL VOC does it
since 2010. (scikit-learn's `average_precision_score` takes precision as it is, and knows nothing of missed joints.)

    total = average_precision(people, sample, MPII)
    total.fractions, total.mean
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from posebook.association import People
from posebook.evaluation.metrics import RANKED
from posebook.sample import Sample
from posebook.skeleton import Skeleton


@dataclass
class PeopleTruth:
    """The labels that scoring needs, where there are no images; a `Sample` of several people serves as well.

    Attributes:
        people_joints: (x, y) in pixels; meaningless where `people_presence` is 0.
        people_presence: 0 not annotated, 1 occluded, 2 visible.
        people_head_size: in pixels; NaN where it is not known.
    """

    people_joints: Float[Tensor, "b p j 2"]
    people_presence: Shaped[Tensor, "b p j"]
    people_head_size: Float[Tensor, "b p"]


@dataclass(frozen=True)
class Detections:
    """Predicted joints, right and wrong, and how many there were to find. Those of several batches add up: `a + b`.

    Attributes:
        confidence: of each predicted joint.
        correct: whether it is right.
        joint: which joint of the body it is.
        counted: how many of each joint there were to find.
        names: the joints of the body, in order.
        ranked: those that the benchmark's own mean covers.
    """

    confidence: Float[Tensor, " d"]
    correct: Bool[Tensor, " d"]
    joint: Int[Tensor, " d"]
    counted: Int[Tensor, " j"]
    names: tuple[str, ...]
    ranked: tuple[str, ...]

    @property
    def fractions(self) -> Float[Tensor, " j"]:
        """Average precision by joint, in [0, 1]; NaN where there was none to find."""
        areas = torch.stack([_area(*self.curve(name)) for name in self.names])
        return areas.where(self.counted > 0, torch.nan)

    @property
    def mean(self) -> Float[Tensor, ""]:
        """mAP: the plain mean over joints, those that never occur left out."""
        return self.fractions.nanmean()

    @property
    def benchmark_mean(self) -> Float[Tensor, ""]:
        """mAP over the joints that the benchmark ranks by; MPII leaves out pelvis and thorax."""
        return self.average(self.ranked)

    def average(self, names: tuple[str, ...]) -> Float[Tensor, ""]:
        """The plain mean over these joints, those that never occur left out."""
        return self.fractions[[self._place(name) for name in names]].nanmean()

    def curve(self, name: str) -> tuple[Float[Tensor, " t"], Float[Tensor, " t"]]:
        """Recall and precision of a joint among predictions down to each confidence, the highest first.

        Joints of the same confidence come in together: their order, and that of images, makes no difference.

        Departs: the toolkit takes them in the order in which they happen to be.
        """
        place = self._place(name)
        own = self.joint == place
        confidence, order = self.confidence[own].sort(descending=True)
        right = self.correct[own][order].cumsum(0)
        predicted = torch.arange(1, len(right) + 1, device=right.device)
        last = torch.ones_like(right, dtype=torch.bool)
        last[:-1] = confidence.diff() < 0
        right, predicted = right[last].double(), predicted[last]
        return right / self.counted[place], right / predicted

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise ValueError(f"there is no joint '{name}'; there are {', '.join(self.names)}")
        return self.names.index(name)

    def __add__(self, other: Detections) -> Detections:
        if self.names != other.names:
            raise ValueError("detections add up only when they are of the same joints")
        joined = {
            name: torch.cat([getattr(self, name), getattr(other, name)]) for name in ("confidence", "correct", "joint")
        }
        return Detections(**joined, counted=self.counted + other.counted, names=self.names, ranked=self.ranked)


def _area(recall: Float[Tensor, " t"], precision: Float[Tensor, " t"]) -> Float[Tensor, ""]:
    """Area under precision against recall, precision being the best at that recall or a higher one."""
    best = precision.flip(0).cummax(0).values.flip(0)
    return (recall.diff(prepend=recall.new_zeros(1)) * best).sum()


def average_precision(
    people: list[People], truth: Sample | PeopleTruth, skeleton: Skeleton, threshold: float = 0.5
) -> Detections:
    """Predicted people matched with the true ones, and their joints judged, on the CPU: see the module's head.

    Open: the toolkit knows everyone's head size. Here true people without one are not counted, and neither are
    predictions that go with them by the mean head size of their image; an image in which no head size is known is left
    out. What is predicted where there is nobody is wrong.

    Args:
        people: those found in each image.
        truth: of the same images, in the same pixels.
        threshold: how far off a joint may lie, in head sizes of the true person.

    Raises:
        ValueError: labels of one person alone, another number of images, or joints in another order than the skeleton.
    """
    joints, presence, sizes = truth.people_joints, truth.people_presence, truth.people_head_size
    if joints is None or presence is None or sizes is None:
        raise ValueError(
            "average precision needs labels for everyone, and these have one person an image: open figures with "
            "people=2 or more, or pascal with crop='photograph'"
        )
    if len(people) != len(joints):
        raise ValueError(f"people were found in {len(people)} images, and the labels are of {len(joints)}")
    if {len(skeleton)} != {joints.shape[2], *(found.joints.shape[1] for found in people)}:
        raise ValueError(f"{skeleton.name} has {len(skeleton)} joints, the labels or the people found another number")
    joints, presence, sizes = joints.cpu(), presence.cpu(), sizes.cpu()
    predicted = pad_sequence([found.joints.cpu() for found in people], batch_first=True)  # (b, n, j, 2)
    confidence = pad_sequence([found.confidence.cpu() for found in people], batch_first=True)  # (b, n, j)
    there = presence > 0  # (b, p, j)
    known = there.any(-1) & (sizes > 0)  # (b, p)
    sizes = torch.where(known, sizes, sizes.where(known, torch.nan).nanmean(1, keepdim=True))
    distance = (predicted[:, :, None] - joints[:, None]).norm(dim=-1) / sizes[:, None, :, None]  # (b, n, p, j)
    right = (distance <= threshold) & there[:, None] & (confidence > 0)[:, :, None]
    best, own = match(right.sum(-1) / there.sum(-1).clamp_min(1)[:, None])  # (b, n)
    correct = right.take_along_dim(best[..., None, None], 2)[:, :, 0] & own[..., None]  # (b, n, j)
    judged = (confidence > 0) & _countable(right, best, there, known)[..., None]
    _, _, joint = judged.nonzero(as_tuple=True)
    return Detections(
        confidence[judged],
        correct[judged],
        joint,
        (there & known[..., None]).sum((0, 1)),
        skeleton.joints,
        RANKED.get(skeleton.name, skeleton.joints),
    )


def match(share: Float[Tensor, "b n p"]) -> tuple[Int[Tensor, "b n"], Bool[Tensor, "b n"]]:
    """The true person that each predicted one goes with, and whether it is the one that this person keeps.

    Args:
        share: of each true person's joints that each predicted person has right.
    """
    value, best = share.max(2)  # (b, n)
    chosen = torch.arange(share.shape[2], device=share.device) == best[..., None]  # (b, n, p)
    # One row more, so that there is a highest where nobody was predicted.
    rivals = F.pad(share * chosen, (0, 0, 0, 1))  # (b, n + 1, p)
    keeps = rivals.argmax(1).gather(1, best)  # (b, n)
    return best, (keeps == torch.arange(share.shape[1], device=share.device)) & (value > 0)


def _countable(
    right: Bool[Tensor, "b n p j"], best: Int[Tensor, "b n"], there: Bool[Tensor, "b p j"], known: Bool[Tensor, "b p"]
) -> Bool[Tensor, "b n"]:
    """Predicted people that are judged: not those that go with a person whose head size is not known."""
    somebodys = right.any(-1).take_along_dim(best[..., None], 2)[..., 0]
    unknown = somebodys & ~known.gather(1, best)
    unscored = there.flatten(1).any(1) & ~known.any(1)
    return ~unknown & ~unscored[:, None]
