"""The claims of Nie, Feng, Zuo, Yan: *Human Pose Estimation with Parsing Induced Learner*, CVPR 2018, and what they are
measured by.
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from functools import partial

from torch import Tensor, nn

from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.evaluation.inference import evaluate, evaluate_people, parse
from posebook.evaluation.metrics import parsing_score
from posebook.ledger.claim import Claim, Length, PaperClaims, Variant, comparison, complete, details_of, minus
from posebook.network import Setting
from posebook.papers.parsing_induced.facing import TooFew, facing
from posebook.papers.parsing_induced.network import ParsingInduced
from posebook.papers.parsing_induced.profiles import PROFILES as TRAINING
from posebook.sample import Dataset
from posebook.training.profile import ADAMW, Profile

# All variants are trained alike, by steps, so that a run can be repeated to the bit.
PROFILES = {
    # Each tenth of so short a run is to have a row.
    "quick": TRAINING["quick"].but(
        size=32,
        settings={"features": 16, "depth": 2, "poolings": 0},
        recipe={"steps": 20, "batch_size": 8, "learning_rate": 2e-3, "log_every": 1},
        test_images=64,
    ),
    # As for `part_groups`. Of 16x16 cells, one pooling makes 3x3 kernels, which reach a little further over the image
    # than 7x7 over 64x64.
    "study": TRAINING["study"].but(
        size=64,
        figures={"difficulty": "objects"},
        settings={"features": 64, "depth": 2},
        recipe={"steps": 2000, "learning_rate": 4e-3},
        optimizer=ADAMW,
        test_images=2000,
    ),
    "paper": TRAINING["paper"].but(test_images=None),
}


def _vgg16(variant: str) -> Variant:
    """A variant with VGG16 in the place of hourglasses, at twice the stride: the adapter has one pooling less.

    The paper's has 512 features to the hourglass's 256; in small networks both have as many.
    """

    def settings(given: dict[str, Setting]) -> dict[str, Setting]:
        small = given["features"] < 256
        poolings = max(0, given.get("poolings", 2) - small)
        features = given["features"] * (1 if small else 2)
        return {"variant": variant, "backbone": "vgg16", "stacks": 1, "poolings": poolings, "features": features}

    return Variant(ParsingInduced, settings)


def _in_larger_images(profile: Profile) -> Profile:
    """For scenes of several people, each of whom is smaller: heads are to have a few pixels."""
    return profile.but(size=max(128, profile.size))


_SCENES = {"figures": {"people": 4}, "profile": _in_larger_images}
_PLAIN = {"figures": {"difficulty": "plain"}}

VARIANTS = {
    "pil": Variant(ParsingInduced),
    "pose": Variant(ParsingInduced, {"variant": "pose"}),
    "pose_more": Variant(ParsingInduced, lambda given: {"variant": "pose", "stacks": given["stacks"] + 1}),
    "self": Variant(ParsingInduced, {"variant": "self"}),
    "self_factored": Variant(ParsingInduced, {"variant": "self_factored"}),
    "add": Variant(ParsingInduced, {"variant": "add"}),
    "multi": Variant(ParsingInduced, {"variant": "multi"}),
    "concat": Variant(ParsingInduced, {"variant": "concat"}),
    "mtl": Variant(ParsingInduced, {"variant": "mtl"}),
    "official": Variant(ParsingInduced, {"order": "official"}),
    "pil_2u": Variant(ParsingInduced, {"parsing_units": 2}),
    "pil_4u": Variant(ParsingInduced, {"parsing_units": 4}),
    "vgg_pil": _vgg16("pil"),
    "vgg_pose": _vgg16("pose"),
    "vgg_self": _vgg16("self"),
    "vgg_add": _vgg16("add"),
    "vgg_multi": _vgg16("multi"),
    "vgg_concat": _vgg16("concat"),
    "vgg_mtl": _vgg16("mtl"),
    # The learner's own people stand before a quiet background with nothing before them.
    "teacher": Variant(ParsingInduced, **_PLAIN),
    "plain_pose": Variant(ParsingInduced, {"variant": "pose"}, **_PLAIN),
    "transfer": Variant(ParsingInduced, {"frozen": True}, learner="teacher"),
    # Scenes of two to four people.
    "people_pil": Variant(ParsingInduced, {"people": True}, **_SCENES),
    "people_pose": Variant(ParsingInduced, {"people": True, "variant": "pose"}, **_SCENES),
}

# Into so many parts of equal length a run's history is divided.
PARTS_OF_RUN = 10

# Sets that have part labels.
_LABELLED = ("figures", "lip")


class OthersKernels(nn.Module):
    """A network whose images are given each other's predicted kernels: each gets those of the image before it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.settings, self.codec = network, network.settings, network.codec
        self.maps, self.decode = network.maps, network.decode
        # As the network is: whoever looks through this one leaves it so.
        self.train(network.training)

    def forward(self, images: Tensor):
        return self.network(images, self.network(images).kernels.roll(1, 0))


class MeanKernels(OthersKernels):
    """A network whose images all have the mean of the batch's kernels."""

    def forward(self, images: Tensor):
        kernels = self.network(images).kernels
        return self.network(images, kernels.mean(0, keepdim=True).expand_as(kernels))


def readings(
    model: nn.Module, dataset: Dataset, count: int | None = None, train: Dataset | None = None, batch_size: int = 32
) -> dict[str, float | list[float | None]]:
    """Everything the claims need to know of a trained network: fractions over held-out people, one scale, no flip.

        miou                mean IoU of the parts, of networks that parse a set with labels
        others, mean        pckh with the kernels of another image and with the batch's mean kernels, where the network
                            predicts kernels
        same_way, ...       what `facing` gives, but for "own", of such networks on figures, where `train` is given and
                            enough people face either way
        map                 the mAP alone, of networks that find several people

    With what `complete` adds.

    Args:
        model: `ParsingInduced`.
        dataset: held out.
        count: this many people spread evenly over the set; None takes all.
        train: the set that the network was trained on.
    """
    if model.settings["people"]:
        return {"map": float(evaluate_people(model, dataset, count, batch_size).benchmark_mean)}
    predicted, _, truth = evaluate(model, dataset, count, batch_size)
    found = {}
    if model.settings["variant"] == "pil":
        score = BENCHMARKS[dataset.skeleton.name].score
        for name, network in (("others", OthersKernels(model)), ("mean", MeanKernels(model))):
            found[name] = float(score(evaluate(network, dataset, count, batch_size)[0], truth).mean)
        if dataset.name == "figures" and train is not None:
            # A handful of people may all face one way.
            with suppress(TooFew):
                found |= facing(model, dataset, train, count, batch_size)
                del found["own"]  # which is pckh
    if model.parses and dataset.name in _LABELLED:
        found["miou"] = float(parsing_score(parse(model, dataset, count, batch_size)).mean_iou)
    return complete(found, predicted, truth, dataset, train)


def curve_readings(history: list[dict]) -> dict[str, float]:
    """The pose loss in training over each tenth of a run: "loss_1" to "loss_10"."""
    last = history[-1]["step"]
    tenths: list[list[float]] = [[] for _ in range(PARTS_OF_RUN)]
    for row in history:
        tenths[min(PARTS_OF_RUN - 1, (row["step"] - 1) * PARTS_OF_RUN // last)].append(row["pose"])
    return {f"loss_{k}": sum(rows) / len(rows) for k, rows in enumerate(tenths, start=1) if rows}


def reached_after(slow: dict[str, float], fast: dict[str, float], place: int) -> float:
    """The share of its run after which `fast` is at the pose loss that `slow` has in this tenth of its own.

    By straight lines between the tenths' middles; 1 where it is never reached.
    """
    goal = slow[f"loss_{place}"]
    losses = [fast[f"loss_{k}"] for k in range(1, PARTS_OF_RUN + 1)]
    if losses[0] <= goal:
        return 0.5 / PARTS_OF_RUN
    for k, (before, after) in enumerate(itertools.pairwise(losses)):
        if after <= goal:
            return (k + 0.5 + (before - goal) / (before - after)) / PARTS_OF_RUN
    return 1.0


# What claims compare unless they say otherwise.
_minus = partial(minus, name="pckh")
_BESIDE = ("pckh", "visible", "occluded", "miou")
_details = partial(details_of, names=_BESIDE)
_claim = partial(comparison, "parsing_induced", reading="pckh", beside=_BESIDE, paper_numbers="none", sets=_LABELLED)

_MEASURE = "PCKh@0.5 (PCK@0.2 on LSP's sets), mean over the joints"

# Of networks that are given two kernels for all people.
_TWO = ("pckh", "any_way", "two_predicted", "two_true", "one_number", "facing_accuracy", "front_views")
_WITH_TWO = (
    "with the mean kernel of front or of back views of training people, whichever the predicted one is nearer to"
)

# What each alternative of Table 1 loses there against VGG16-PIL(VGG16) at 75.0.
_ALTERNATIVES = {
    "add": ("Adding parsing features to pose features does not do what the learner does.", 68.6),
    "multi": ("Multiplying pose features by parsing features does not do what the learner does.", 63.7),
    "concat": ("Concatenating parsing features to pose features does not do what the learner does.", 66.1),
    "mtl": ("Learning both tasks from the same features does not do what the learner does.", 65.3),
    "self": ("The gain is not that of one more convolution: the learner beats a usual one in its place.", 69.8),
}


def _against(name: str, backbone: str) -> Claim:
    """The learner against one of Table 1's alternatives."""
    statement, value = _ALTERNATIVES[name]
    vgg = backbone == "vgg"
    statement = f"With VGG16: {statement[0].lower()}{statement[1:]}" if vgg else statement
    return _claim(
        f"vgg_{name}" if vgg else name,
        "Sec. 4.2, Table 1",
        statement,
        f"{_MEASURE}, of the learner minus that of its alternative; both with {'VGG16' if vgg else 'an hourglass'}.",
        ("vgg_pil", f"vgg_{name}") if vgg else ("pil", name),
        paper_value=(75.0 - value) / 100 if vgg else None,
        paper_numbers=f"VGG16, LIP validation: 75.0 against {value}",
    )


CLAIMS = (
    _claim(
        "baseline",
        "Sec. 4.2, Table 2",
        "The learner improves the hourglass it is added to.",
        f"{_MEASURE}, minus that of the same hourglass alone.",
        ("pil", "pose"),
        paper_numbers="LIP validation, HG-1s-1u with the learner: 82.2; for HG-1s-1u alone the table lacks the mean",
    ),
    _claim(
        "plain",
        "Sec. 4.2, Table 2",
        "The learner improves the hourglass it is added to, also where everybody stands free.",
        f"{_MEASURE}, minus that of the same hourglass alone, both on plain figures.",
        ("teacher", "plain_pose"),
        paper_numbers="LIP validation, HG-1s-1u with the learner: 82.2; for HG-1s-1u alone the table lacks the mean",
        sets=("figures",),
    ),
    _claim(
        "vgg_baseline",
        "Sec. 4.2, Table 1",
        "The learner improves the VGG16 network it is added to.",
        f"{_MEASURE}, minus that of the same VGG16 alone.",
        ("vgg_pil", "vgg_pose"),
        paper_value=0.059,
        paper_numbers="LIP validation: 75.0 against 69.1",
    ),
    *(_against(name, backbone) for backbone in ("hourglass", "vgg") for name in _ALTERNATIVES),
    _claim(
        "prediction",
        "Sec. 4.2, after VGG16-Self",
        "What helps is that kernels are predicted for each image: the learner beats the same factored convolution with "
        "one learnt kernel for all.",
        f"{_MEASURE}, minus that with a kernel that does not depend on the image. (Not in the paper, whose Self has a "
        "full convolution.)",
        ("pil", "self_factored"),
        paper_numbers="none of its own",
    ),
    _claim(
        "stack",
        "Sec. 4.2, Table 2",
        "One stack with the learner beats two stacks, which have a similar number of parameters.",
        f"{_MEASURE}, minus that of the network with one more stack and no learner. (As counted, the paper's own pair "
        "differs: 8.76 M with the learner, 6.57 M with two stacks.)",
        ("pil", "pose_more"),
        paper_value=0.014,
        paper_numbers="82.2 against 80.8",
    ),
    _claim(
        "better_parsing",
        "Sec. 4.2, Table 3",
        "Better parsing gives better pose estimation.",
        f"{_MEASURE}, of the network whose parsing encoder has four units per place, minus that with one; beside it "
        "how much better it parses.",
        ("pil_4u", "pil", "pil_2u"),
        details=lambda r: {
            "gain of mean IoU": _minus("pil_4u", "pil", name="miou")(r), **_details("pil", "pil_2u", "pil_4u")(r)
        },
        paper_numbers="HG-4s-2u, upper body: 89.0 with an encoder of one unit, 89.4 with four; mean IoU 41.1 and 43.3",
    ),
    _claim(
        "shuffle",
        "Sec. 3.1, eq. (1)",
        "Kernels are adapted to the image: with those of another image the network is worse.",
        f"{_MEASURE}, minus that when each image is given the kernels of another. (Not in the paper: were they the "
        "same for all, nothing would fall.)",
        ("pil",),
        measure=lambda r: r["pil"]["pckh"] - r["pil"]["others"],
        details=_details("pil", names=("pckh", "others", "mean")),
        paper_numbers="none of its own",
    ),
    _claim(
        "facing",
        "Sec. 3.1, eq. (1)",
        "Kernels tell which way a person faces: those of a stranger who faces the other way are worse than those of "
        "one who faces the same way.",
        f"{_MEASURE}, with the kernels of a stranger who faces the same way (is seen from behind, or is not) minus "
        "that with those of one who faces the other way. (Not in the paper.)",
        ("pil",),
        measure=lambda r: r["pil"]["same_way"] - r["pil"]["other_way"],
        details=_details("pil", names=("pckh", "same_way", "other_way", "any_way", "swapped_other", "swapped_own")),
        paper_numbers="none of its own",
        sets=("figures",),
    ),
    _claim(
        "mostly_facing",
        "Sec. 3.1, eq. (1)",
        "What kernels tell is mostly which way a person faces: two of them, chosen by a predicted facing, have more "
        "than half of what predicted kernels gain over the mean of all.",
        f"{_MEASURE}, {_WITH_TWO}, minus the middle between that with predicted kernels and that with the mean of "
        "all. (Not in the paper.)",
        ("pil",),
        measure=lambda r: r["pil"]["two_predicted"] - (r["pil"]["pckh"] + r["pil"]["any_way"]) / 2,
        details=_details("pil", names=_TWO),
        paper_numbers="none of its own",
        sets=("figures",),
    ),
    _claim(
        "two_kernels",
        "Sec. 3.1, eq. (1)",
        "Two kernels for all images, chosen by a predicted facing, are no worse than a kernel predicted for each.",
        f"{_MEASURE}, {_WITH_TWO}, minus that with predicted kernels; no worse is less than half a percentage point. "
        "(Not in the paper.)",
        ("pil",),
        measure=lambda r: r["pil"]["two_predicted"] - r["pil"]["pckh"],
        details=_details("pil", names=_TWO),
        bound=-0.005,
        paper_numbers="none of its own",
        sets=("figures",),
    ),
    _claim(
        "order",
        "Sec. 3.2, and the authors' code",
        "V, kernels, U without norm (the paper) is no worse than U, kernels, V with norm (the code).",
        f"{_MEASURE}, of the paper's order minus that of the code's; no worse is less than half a percentage point.",
        ("pil", "official"),
        bound=-0.005,
        paper_numbers="none of its own",
    ),
    _claim(
        "people",
        "Sec. 4.3, Table 5",
        "The learner improves pose estimation of several people.",
        "mAP without pelvis and thorax, in scenes of two to four people, minus that of the same network without it.",
        ("people_pil", "people_pose"),
        measure=_minus("people_pil", "people_pose", name="map"),
        details=_details("people_pil", "people_pose", names=("map",)),
        paper_value=0.014,
        paper_numbers="extended PASCAL-Person-Part: 41.0 against 39.6",
        sets=("figures",),
    ),
    _claim(
        "transfer",
        "Sec. 4.4, Table 6",
        "A learner that was trained on another set, and is not trained further, improves pose estimation.",
        f"{_MEASURE}, with the learner of plain figures, frozen, minus that of the pose network alone.",
        ("transfer", "pose"),
        paper_value=0.008,
        paper_numbers="LIP to MPII, validation, HG-8s-1u: 91.0 against 90.2",
        sets=(),
    ),
    _claim(
        "transfer_speed",
        "Sec. 4.4, Fig. 4",
        "A learner from another set makes learning faster.",
        "Share of the steps after which the pose network alone is first at the pose loss in training that it has in "
        "the last tenth of its run, minus the share after which the network with the learner of plain figures is.",
        ("transfer", "pose"),
        # Both by the same rule: noise takes a curve to its own last tenth's loss before its last tenth.
        measure=lambda r: (
            reached_after(r["pose"], r["pose"], PARTS_OF_RUN) - reached_after(r["pose"], r["transfer"], PARTS_OF_RUN)
        ),
        details=lambda r: {
            f"{variant} loss_{k}": r[variant][f"loss_{k}"]
            for variant in ("transfer", "pose")
            for k in range(1, PARTS_OF_RUN + 1)
        },
        paper_numbers="in a figure alone",
        sets=(),
    ),
)  # fmt: skip

LEDGER = PaperClaims(
    slug="parsing_induced",
    profiles=PROFILES,
    variants=VARIANTS,
    readings=readings,
    length=Length("pil", "pckh", "mean_pose"),
    claims=CLAIMS,
    curve_readings=curve_readings,
)
