"""The claims of Liang, Gong, Shen, Lin: *Look into Person*, TPAMI 2018, and what they are measured by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.evaluation.inference import evaluate, parse_each, spread
from posebook.evaluation.metrics import Truth, parsing_score
from posebook.ledger.claim import (
    Length,
    PaperClaims,
    SeedReadings,
    Variant,
    comparison,
    complete,
    details_of,
    minus,
)
from posebook.papers.look_into_person.network import JPPNet, Outputs, SSJPPNet
from posebook.papers.look_into_person.profiles import PROFILES as TRAINING
from posebook.papers.look_into_person.profiles import SMALL
from posebook.sample import Dataset
from posebook.skeleton import PART_INDEX, PART_MIRROR, TAGS
from posebook.training.profile import ADAMW, Profile
from posebook.training.schedules import one_cycle, polynomial

# All variants are trained alike, in one phase, on whole people behind objects.
_ALIKE = {"phases": (), "figures": {"difficulty": "objects"}}
# What the paper calls "Joint": one scale, no refinement.
_JOINT = {"scales": 1, "refinements": 0}
PROFILES = {
    "quick": replace(
        TRAINING["quick"].but(
            size=32, recipe={"steps": 20, "batch_size": 8, "learning_rate": 2e-3, "log_every": 1}, test_images=64
        ),
        settings=SMALL | {"width": 4, "features": 8} | _JOINT,
        schedule=one_cycle(0.1),
        **_ALIKE,
    ),
    # In float32: on CPUs that have bfloat16 a step took 1.3 to 1.5 times as long in it, at 16x16 cells.
    "study": replace(
        TRAINING["quick"].but(
            size=64,
            recipe={"steps": 1500, "learning_rate": 4e-3, "log_every": 10, "bf16": False},
            test_images=2000,
        ),
        settings=SMALL | _JOINT,
        schedule=one_cycle(0.1),
        optimizer=ADAMW,
        **_ALIKE,
    ),
    "paper": TRAINING["paper"].but(settings=_JOINT, schedule=polynomial(0.9), test_images=None, **_ALIKE),
}


def _fine_tuned(plan: Profile) -> Profile:
    """With the structure-sensitive loss in the last two fifths: Sec. 6.1, 30 epochs and 20 more."""
    return plan.but(phases=(30 / 50,))


VARIANTS = {
    "pose": Variant(JPPNet, {"tasks": "pose"}),
    "parsing": Variant(JPPNet, {"tasks": "parsing"}),
    "joint": Variant(JPPNet),
    # Other people walk by, and the image's edges cut people off: of some, the head is missing.
    "life": Variant(JPPNet, figures={"difficulty": "life"}),
    # Trained on rendered people, tested on the photographs of another set.
    "joint_abroad": Variant(JPPNet, trained_on="figures"),
    "pose_abroad": Variant(JPPNet, {"tasks": "pose"}, trained_on="figures"),
    "scales": Variant(JPPNet, {"scales": 2}),
    "refined": Variant(JPPNet, {"refinements": 1}),
    "refined_twice": Variant(JPPNet, {"refinements": 2}),
    # The network with attention to scale, with the structure-sensitive loss in two readings and without.
    "attention": Variant(SSJPPNet, {"scales": 2, "structure": "none"}),
    "weight": Variant(SSJPPNet, {"scales": 2, "structure": "weight"}, profile=_fine_tuned),
    "soft": Variant(SSJPPNet, {"scales": 2, "structure": "soft"}, profile=_fine_tuned),
}

# Part labels that have a side, and the small ones that Sec. 4.1.3 and 6.2.1 name.
_SIDED = [label for label, other in enumerate(PART_MIRROR) if label != other]
_SMALL_PARTS = [PART_INDEX[name] for name in ("glove", "sunglasses", "socks", "scarf")]

# LIP's challenges, without the one that has too few images for the paper's figures (403 of 50,462).
CHALLENGES = tuple(tag for tag in TAGS if tag != "lower_body")


def readings(
    model: nn.Module, dataset: Dataset, count: int | None = None, train: Dataset | None = None, batch_size: int = 32
) -> dict[str, float | list[float | None]]:
    """Everything the claims need to know of a trained network: fractions over held-out people, one scale, no flip.

        miou, pixels              mean IoU and pixel accuracy, of networks that parse
        sided, sideless           mean IoU of arms, legs and shoes, left and right; and of all other parts
        swapped                   of the pixels of arms, legs and shoes that get such a label of the right kind, the
                                  share with that of the wrong side
        small                     mean IoU of gloves, sunglasses, socks and scarves
        miou_TAG, pckh_TAG        of the people of one of LIP's challenges, where the set has their tags; mean IoU is of
                                  the parts that occur among them
        lost_TAG                  by how much these parts' mean IoU is higher among all people

    With what `complete` adds, of networks that find joints.

    Args:
        model: `JPPNet` or `SSJPPNet`.
        dataset: held out.
        count: this many people spread evenly over the set; None takes all.
        train: the set that the network was trained on.
    """
    found, tags = {}, _tags(dataset, count, batch_size)
    if model.parses and dataset.batch(spread(dataset, count)[:1]).parsing is not None:
        matrices = parse_each(model, dataset, count, batch_size)
        everyone = matrices.sum(0)
        found |= _of_parts(everyone)
        for tag, which in tags.items():
            those = matrices[which].sum(0)
            there = those.sum(1) > 0
            iou, of_all = parsing_score(those).iou[there], parsing_score(everyone).iou[there]
            found |= {f"miou_{tag}": float(iou.mean()), f"lost_{tag}": float((of_all - iou).mean())}
    if not model.finds_joints:
        return _numbers(found)
    score = BENCHMARKS[dataset.skeleton.name].score
    if train is not None and train.skeleton is not dataset.skeleton:
        model = InOrder(model, dataset.skeleton.places_in(train.skeleton))
    predicted, _, truth = evaluate(model, dataset, count, batch_size)
    for tag, which in tags.items():
        some = Truth(*(value[which] for value in vars(truth).values()))
        found[f"pckh_{tag}"] = float(score(predicted[which], some).mean)
    return _numbers(complete(found, predicted, truth, dataset, train))


def _numbers(found: dict[str, float | list[float | None]]) -> dict[str, float | list[float | None]]:
    """Without what is no number: nobody is of a challenge, or a part does not occur."""
    return {name: value for name, value in found.items() if value == value}


class InOrder(nn.Module):
    """A network's joints in another set's order.

    Args:
        places: of the other order's joints among the network's.
    """

    def __init__(self, network: nn.Module, places: list[int]) -> None:
        super().__init__()
        self.network, self.places = network, places
        self.settings, self.codec, self.forward = network.settings, network.codec, network.forward
        self.train(network.training)

    def maps(self, outputs: Outputs) -> Float[Tensor, "b joints cells cells"]:
        """The heat maps of the other order's joints."""
        return self.network.maps(outputs)[:, self.places]


def _of_parts(matrix: Int[Tensor, "parts parts"]) -> dict[str, float]:
    """What a confusion matrix tells of LIP's parts."""
    score = parsing_score(matrix)
    sided = torch.zeros(len(matrix), dtype=torch.bool)
    sided[_SIDED] = True
    right, swapped = matrix[_SIDED, _SIDED].sum(), matrix[_SIDED, [PART_MIRROR[label] for label in _SIDED]].sum()
    return {
        "miou": float(score.mean_iou),
        "pixels": float(score.pixel_accuracy),
        "sided": float(score.iou[sided].nanmean()),
        "sideless": float(score.iou[~sided].nanmean()),
        "swapped": float(swapped / (right + swapped)),
        "small": float(score.iou[_SMALL_PARTS].nanmean()),
    }


def _tags(dataset: Dataset, count: int | None, batch_size: int) -> dict[str, Bool[Tensor, " n"]]:
    """Who of these people is of which of `CHALLENGES`; none of a set without tags."""
    found = []
    for some in spread(dataset, count).split(batch_size):
        tags = dataset.batch(some).tags
        if tags is None:
            return {}
        found.append(tags.cpu())
    tags = torch.cat(found)
    return {tag: tags[:, TAGS.index(tag)] for tag in CHALLENGES}


_BOTH, _LABELLED = ("figures", "lip"), ("figures", "lip", "ccp")
_BESIDE = ("pckh", "miou", "pixels")
_claim = partial(comparison, "look_into_person", beside=_BESIDE, paper_numbers="none", sets=_BOTH)
_parts_claim = partial(_claim, beside=("miou", "pixels", "sided", "sideless", "swapped", "small"), sets=_LABELLED)

_POSE = "PCKh@0.5, mean over the joints"
_PARSING = "Mean IoU of the 20 parts"


def _more_for(one: str, other: str, variants: tuple[str, str]) -> Callable[[SeedReadings], float]:
    """How much more the first variant gains on the second by one reading than by another."""
    return lambda r: minus(*variants, name=one)(r) - minus(*variants, name=other)(r)


def _challenges(*readings: str) -> Callable[[SeedReadings], dict[str, float]]:
    return details_of("life", names=(readings[0], *(f"{name}_{tag}" for name in readings for tag in CHALLENGES)))


CLAIMS = (
    _claim(
        "joint_pose",
        "Sec. 1 and 6.2.2, Tables 5 and 6",
        "Learning to parse as well makes pose estimation better.",
        f"{_POSE}, of the network that learns both tasks, without scales and refinement, minus that of its half "
        "that learns joints alone.",
        ("joint", "pose"),
        reading="pckh",
        paper_numbers="no network with one task of this architecture; ResNet-101: 76.5, JPPNet with all parts: 82.5",
    ),
    _claim(
        "joint_parsing",
        "Sec. 1 and 6.2.1, Tables 2 and 3",
        "Learning joints as well makes parsing better.",
        f"{_PARSING}, of the network that learns both tasks, without scales and refinement, minus that of its half "
        "that parses alone.",
        ("joint", "parsing"),
        reading="miou",
        paper_numbers="no network with one task of this architecture; DeepLab (ResNet-101): 44.80, JPPNet: 51.37",
    ),
    _claim(
        "joint_sides",
        "Sec. 6.2.1, Table 4",
        "Learning joints as well helps most for parts that are confused left and right.",
        "The gain of mean IoU of arms, legs and shoes by learning joints as well, minus the gain of the other parts.",
        ("joint", "parsing"),
        reading="sided",
        beside=("sided", "sideless", "swapped"),
        measure=_more_for("sided", "sideless", ("joint", "parsing")),
        paper_numbers="by Table 4, JPPNet with all parts gains 15.5 there on DeepLab (ResNet-101), elsewhere 2.7",
    ),
    _claim(
        "joint_small",
        "Sec. 6.2.1, Table 4",
        "Learning joints as well makes small parts better.",
        "Mean IoU of gloves, sunglasses, socks and scarves, with both tasks minus that with parsing alone.",
        ("joint", "parsing"),
        reading="small",
        beside=("small",),
        paper_numbers="by Table 4, JPPNet's 30.7 against DeepLab (ResNet-101)'s 26.9",
    ),
    _claim(
        "transfer",
        "Sec. 6.2.2, Table 10",
        "A network that also learnt to parse finds joints better in photographs of another set.",
        "PCK@0.2 (PCKh@0.5 on MPII), mean over the joints, of the network that learns both tasks minus that of its "
        "half that learns joints alone; both trained on rendered people and tested on the photographs of this set.",
        ("joint_abroad", "pose_abroad"),
        reading="pckh",
        beside=("pckh",),
        paper_numbers="trained on LIP, tested on MPII: JPPNet with all parts 84.1, ResNet-101 77.9",
        sets=("lsp", "lspet", "mpii"),
    ),
    _claim(
        "scales_parsing",
        "Sec. 6.3, Table 12",
        "Looking at the input at several scales makes parsing better.",
        f"{_PARSING}, with two scales minus that with one.",
        ("scales", "joint"),
        reading="miou",
        paper_value=0.0135,
        paper_numbers="three scales, without refinement: 50.83 against 49.48",
    ),
    _claim(
        "scales_pose",
        "Sec. 6.3, Table 11",
        "Looking at the input at several scales makes pose estimation better.",
        f"{_POSE}, with two scales minus that with one.",
        ("scales", "joint"),
        reading="pckh",
        paper_value=0.013,
        paper_numbers="three scales, without refinement: 80.9 against 79.6",
    ),
    _claim(
        "scales",
        "Sec. 6.3, Tables 11 and 12",
        "Several scales help parsing more than pose estimation.",
        "The gain of mean IoU with two scales instead of one, minus the gain of PCKh@0.5.",
        ("scales", "joint"),
        reading="miou",
        measure=_more_for("miou", "pckh", ("scales", "joint")),
        paper_value=0.0005,
        paper_numbers="without refinement +1.35 of mean IoU and +1.3 of PCKh, with one refinement +1.78 and +0.4",
    ),
    _claim(
        "refinement_pose",
        "Sec. 6.3, Table 11",
        "One refinement makes pose estimation better.",
        f"{_POSE}, with one refinement minus that with none.",
        ("refined", "joint"),
        reading="pckh",
        paper_value=0.025,
        paper_numbers="one scale: 82.1 against 79.6",
    ),
    _claim(
        "refinement_parsing",
        "Sec. 6.3, Table 12",
        "One refinement makes parsing better.",
        f"{_PARSING}, with one refinement minus that with none.",
        ("refined", "joint"),
        reading="miou",
        paper_value=0.001,
        paper_numbers="one scale: 49.58 against 49.48; with three scales 51.36 against 50.83",
    ),
    _claim(
        "refinement",
        "Sec. 6.3, Tables 11 and 12",
        "A refinement helps pose estimation more than parsing.",
        "The gain of PCKh@0.5 with one refinement instead of none, minus the gain of mean IoU.",
        ("refined", "joint"),
        reading="pckh",
        measure=_more_for("pckh", "miou", ("refined", "joint")),
        paper_value=0.024,
        paper_numbers="one scale: +2.5 of PCKh and +0.10 of mean IoU",
    ),
    _claim(
        "second_pose",
        "Sec. 6.3, Table 11",
        "A second refinement makes pose estimation better.",
        f"{_POSE}, with two refinements minus that with one; one scale.",
        ("refined_twice", "refined"),
        reading="pckh",
        paper_value=0.002,
        paper_numbers="three scales: 82.7 against 82.5",
    ),
    _claim(
        "second_parsing",
        "Sec. 6.3, Table 12",
        "A second refinement makes parsing worse.",
        f"{_PARSING}, with one refinement minus that with two; one scale.",
        ("refined", "refined_twice"),
        reading="miou",
        paper_value=0.0072,
        paper_numbers="three scales: 51.36 against 50.64",
    ),
    _parts_claim(
        "structure",
        "Sec. 6.2.1, Tables 2 and 3",
        "The structure-sensitive loss makes parsing better.",
        f"{_PARSING} (of those that the set has), of the network with attention to scale, with the loss as a weight in "
        "the last two fifths of the run, minus that without.",
        ("weight", "attention"),
        reading="miou",
        paper_value=0.0181,
        paper_numbers="LIP, validation: 44.73 against 42.92",
    ),
    _parts_claim(
        "structure_soft",
        "Sec. 5.3, eq. (2)",
        "The structure-sensitive loss makes parsing better when it has a gradient of its own.",
        f"{_PARSING} (of those that the set has), with soft centres, minus that without the loss. (Not in the paper.)",
        ("soft", "attention"),
        reading="miou",
    ),
    _parts_claim(
        "structure_sides",
        "Sec. 6.2.1, Table 4",
        "The structure-sensitive loss helps most where left and right are confused.",
        "The gain of mean IoU of arms, legs and shoes with the loss as a weight, minus the gain of the other parts. "
        "(Said of JPPNet there.)",
        ("weight", "attention"),
        reading="sided",
        measure=_more_for("sided", "sideless", ("weight", "attention")),
        paper_value=0.0004,
        paper_numbers="by Table 4, parts with a side gain 1.84 on average and the others 1.80",
        sets=_BOTH,
    ),
    _parts_claim(
        "structure_small",
        "Sec. 6.2.1, Table 4",
        "The structure-sensitive loss makes small parts better.",
        "Mean IoU of gloves, sunglasses, socks and scarves with the loss as a weight, minus that without. (Said of "
        "JPPNet there.)",
        ("weight", "attention"),
        reading="small",
        paper_value=0.0327,
        paper_numbers="by Table 4, their mean goes from 22.72 to 25.99",
    ),
    _claim(
        "back_parsing",
        "Sec. 4.1.2, Fig. 5",
        "People seen from behind are the hardest to parse.",
        "How much lower the mean IoU of the parts that occur is among people seen from behind than among all people, "
        "minus the same for the hardest of the other challenges (head missing, occlusion, upper body, full body).",
        ("life",),
        measure=lambda r: (
            r["life"]["lost_back_view"] - max(r["life"][f"lost_{tag}"] for tag in CHALLENGES if tag != "back_view")
        ),
        details=_challenges("miou", "lost"),
        reading="miou",
        paper_numbers="in a figure; of the network with attention to scale 33.50 against 42.92 for all",
        sets=("figures",),
    ),
    _claim(
        "head_parsing",
        "Sec. 4.1.2, Fig. 5",
        "People whose head is missing are harder to parse than people on average.",
        "How much lower the mean IoU of the parts that occur is among people whose head is missing than among all.",
        ("life",),
        measure=lambda r: r["life"]["lost_head_missing"],
        details=_challenges("miou", "lost"),
        reading="miou",
        paper_numbers="in a figure",
        sets=("figures",),
    ),
    _claim(
        "back_pose",
        "Sec. 4.2.2, Fig. 7",
        "Joints of people seen from behind are the hardest to find.",
        f"{_POSE}, of people of the hardest of the other challenges (occlusion, upper body, full body), minus that of "
        "people seen from behind.",
        ("life",),
        measure=lambda r: (
            min(r["life"][f"pckh_{tag}"] for tag in ("occlusion", "full_body", "upper_body"))
            - r["life"]["pckh_back_view"]
        ),
        details=_challenges("pckh"),
        reading="pckh",
        paper_numbers="in a figure; the text says that all approaches lose nearly 10 points on people seen from behind",
        sets=("figures",),
    ),
)  # fmt: skip

LEDGER = PaperClaims(
    slug="look_into_person",
    profiles=PROFILES,
    variants=VARIANTS,
    readings=readings,
    length=Length("joint", "pckh", "mean_pose"),
    claims=CLAIMS,
)
