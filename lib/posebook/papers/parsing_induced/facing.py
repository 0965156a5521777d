"""What the predicted kernels tell of a person, measured by giving people other kernels than their own.

Kernels of a stranger who faces the same way, of one who faces the other way, two kernels for everybody (the mean of
front views and the mean of back views), and kernels on the line through these two. Not in the paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from posebook.compute.precision import autocast, channels_last
from posebook.evaluation.benchmarks import BENCHMARKS, Benchmark
from posebook.evaluation.inference import spread
from posebook.evaluation.metrics import Truth, distances
from posebook.network import evaluating
from posebook.sample import Dataset, Sample
from posebook.skeleton import TAGS

# So many people of the training set give the two mean kernels.
TRAINING_PEOPLE = 1000


class TooFew(ValueError):
    """Not enough people face one of the two ways."""


@dataclass(frozen=True)
class TwoKernels:
    """The mean kernels of people seen from the front and of people seen from behind."""

    front: Float[Tensor, "c k k"]
    back: Float[Tensor, "c k k"]

    def chosen(self, back: Bool[Tensor, " b"]) -> Float[Tensor, "b c k k"]:
        """One of the two for each person."""
        return torch.where(back[:, None, None, None], self.back, self.front)

    def tell(self, kernels: Float[Tensor, "b c k k"]) -> Bool[Tensor, " b"]:
        """Who is seen from behind: those whose own kernels are nearer to the mean of back views."""
        means = torch.stack([self.front, self.back]).flatten(1)  # (2, c k k)
        return torch.cdist(kernels.flatten(1), means).argmin(1) == 1

    def nearest(self, kernels: Float[Tensor, "b c k k"]) -> Float[Tensor, "b c k k"]:
        """The nearest kernels on the line through the two: one number is left of each person's own."""
        line = self.back - self.front
        along = ((kernels - self.front) * line).sum((1, 2, 3)) / line.square().sum()  # (b,): 0 is front, 1 is back
        return self.front + along[:, None, None, None] * line


def two_kernels(kernels: Float[Tensor, "b c k k"], back: Bool[Tensor, " b"]) -> TwoKernels:
    """The mean kernels of either way to face.

    Raises:
        TooFew: nobody faces one of the two ways.
    """
    _check(back, 1)
    return TwoKernels(kernels[~back].mean(0), kernels[back].mean(0))


def strangers(back: Bool[Tensor, " b"]) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
    """For each person the place of another who faces the same way, and of one who faces the other way.

    Raises:
        TooFew: fewer than two people face one of the two ways.
    """
    _check(back, 2)
    front, behind = (~back).nonzero()[:, 0], back.nonzero()[:, 0]
    same, other = torch.empty_like(back, dtype=torch.long), torch.empty_like(back, dtype=torch.long)
    for mine, theirs in ((front, behind), (behind, front)):
        same[mine] = mine.roll(1)
        # Fewer people are seen from behind: each gives its kernels several times, or a few of the others give theirs.
        other[mine] = theirs[torch.arange(len(mine), device=back.device) * len(theirs) // len(mine)]
    return same, other


def swapped(predicted: Float[Tensor, "b j 2"], truth: Sample | Truth, benchmark: Benchmark) -> Float[Tensor, ""]:
    """The share of the wrong joints that are right for their mirror joint: the left one where the right one is.

    Right and wrong are by the benchmark's threshold. NaN where no joint is wrong.
    """
    size, mirror = benchmark.size(truth), benchmark.skeleton.mirror
    wrong = distances(predicted, truth.joints, truth.presence, size) > benchmark.threshold
    across = distances(predicted, truth.joints[:, mirror], truth.presence[:, mirror], size) <= benchmark.threshold
    return (wrong & across).sum() / wrong.sum()


def facing(
    model: nn.Module,
    dataset: Dataset,
    train: Dataset,
    count: int | None = None,
    batch_size: int = 32,
) -> dict[str, float]:
    """How well joints are found with kernels that tell nothing of a person but which way the person faces.

    PCKh, or what the set's benchmark has in its place, mean over the joints, of people who each have

        own                        the kernels that are predicted for them
        same_way, other_way        those of a stranger who faces the same way, the other way
        any_way                    the mean kernel of all
        two_true, two_predicted    the mean kernel of front or of back views, chosen by how a person does face, or by
                                   which of the two the person's own kernels are nearer to
        one_number                 the kernels nearest to the person's own on the line through these two

    and of these people

        facing_accuracy            the share of whom the nearer mean tells which way they face
        front_views                the share who are not seen from behind
        swapped_other              the share of left and right swaps among the joints that are wrong with `other_way`
        swapped_own                the same with `own`

    All three means are of people of the training set, and so of none who is scored. One scale, no flip. Shares of
    nothing are left out.

    Args:
        model: `ParsingInduced`, of variant "pil".
        dataset: held out, with tags.
        train: the set that the network was trained on, with tags; its first `TRAINING_PEOPLE` people are taken, or so
            many spread evenly over it.
        count: this many people spread evenly over the set; None takes all.

    Raises:
        ValueError: a network that predicts no kernels, or a set without tags.
        TooFew: fewer than two people face one of the two ways, or nobody in the training set does.
    """
    if model.settings["variant"] != "pil":
        raise ValueError(f"a {model.settings['variant']} predicts no kernels: give a network of variant pil")
    benchmark = BENCHMARKS[dataset.skeleton.name]
    _, learnt, learnt_back, _ = _look(model, train, TRAINING_PEOPLE, batch_size)
    joints, kernels, back, truth = _look(model, dataset, count, batch_size)
    two = two_kernels(learnt, learnt_back)
    same, other = strangers(back)
    told = two.tell(kernels)
    mean = learnt.mean(0)
    given = {
        "same_way": lambda i: kernels[same[i]],
        "other_way": lambda i: kernels[other[i]],
        "any_way": lambda i: mean.expand_as(kernels[i]),
        "two_true": lambda i: two.chosen(back[i]),
        "two_predicted": lambda i: two.chosen(told[i]),
        "one_number": lambda i: two.nearest(kernels[i]),
    }
    found = {"own": joints} | {name: torch.empty_like(joints) for name in given}
    for places, sample in _batches(dataset, count, batch_size):
        for name, some in given.items():
            found[name][places] = _find(model, sample.images, some(places))[0]
    scores = {name: benchmark.score(some.cpu(), truth).mean for name, some in found.items()}
    shares = {
        "facing_accuracy": (told == back).float().mean(),
        "front_views": (~back).float().mean(),
        "swapped_other": swapped(found["other_way"].cpu(), truth, benchmark),
        "swapped_own": swapped(joints.cpu(), truth, benchmark),
    }
    return {name: float(value) for name, value in (scores | shares).items() if not value.isnan()}


def _check(back: Tensor, least: int) -> None:
    behind = int(back.sum())
    if min(behind, len(back) - behind) < least:
        raise TooFew(
            f"of {len(back)} people, {behind} are seen from behind and {len(back) - behind} are not: to compare the "
            f"two ways to face, take so many people that there are at least {least} of either"
        )


def _batches(dataset: Dataset, count: int | None, batch_size: int) -> Iterator[tuple[Tensor, Sample]]:
    """People with their places among those that are asked for; ValueError for a set without tags."""
    numbers = spread(dataset, count)
    for places in torch.arange(len(numbers)).split(batch_size):
        sample = dataset.batch(numbers[places])
        if sample.tags is None:
            raise ValueError(f"{dataset.name}/{dataset.split} does not tell who is seen from behind: take figures")
        yield places.to(sample.images.device), sample


@torch.no_grad()
def _find(model: nn.Module, images: Tensor, kernels: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Joints, and the kernels that they were found with."""
    with evaluating(model), autocast(images.device, None):
        outputs = model(channels_last(images), kernels)
    return model.codec.decode(model.maps(outputs).float())[0], outputs.kernels.float()


def _look(
    model: nn.Module, dataset: Dataset, count: int | None, batch_size: int
) -> tuple[Float[Tensor, "b j 2"], Float[Tensor, "b c k k"], Bool[Tensor, " b"], Truth]:
    """Joints, kernels, who is seen from behind, and the labels, these on the CPU."""
    rows = []
    for _, sample in _batches(dataset, count, batch_size):
        labels = (sample.joints, sample.presence, sample.head_size, sample.torso_size)
        back = sample.tags[:, TAGS.index("back_view")]
        rows.append((*_find(model, sample.images), back, *(some.cpu() for some in labels)))
    joints, kernels, back, *labels = (torch.cat(column) for column in zip(*rows, strict=True))
    return joints, kernels, back, Truth(*labels)
