"""How each network is trained at each profile: what `posebook train` and the notebooks start from.

A profile holds the side of the images, the network's settings, the recipe's numbers, optimiser, schedule, the
augmentation of real sets (figures are drawn anew for every step and need none), `test_images` where not all are tested
on, `test_scales` where each is looked at in several sizes, and `small` where a first part of the run is on smaller
images.

    quick   within a minute on two CPU cores: that everything works
    study   within ten minutes on two CPU cores: that it learns
    paper   the paper's own settings, for a GPU and a real set
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from posebook.augment import Augmentation
from posebook.checkpoint import load_weights
from posebook.datasets import Dataset, open_dataset
from posebook.datasets.packed import MARGIN
from posebook.inference import evaluate, parse
from posebook.metrics import parsing_score
from posebook.models import create, model_settings
from posebook.processes import join_processes, leave_processes, pick_device, processes
from posebook.schedules import milestones, one_cycle
from posebook.score import render, report
from posebook.skeleton import PARTS
from posebook.training import Recipe, train

# Newell et al. turn by up to 30 degrees and scale by 0.75 to 1.25; Tang and Wu jitter colours too.
_USUAL = Augmentation(scale=0.25, rotation=30, shift=0.05, flip=0.5, brightness=0.2, contrast=0.2, saturation=0.2)

# One kernel for all weights: a step of the small networks is short enough for the optimiser to show in it.
_ADAM = partial(torch.optim.Adam, fused=True)

_HOURGLASS = {
    "quick": {
        "size": 64,
        "settings": {"stacks": 1, "features": 64, "depth": 3},
        "recipe": {
            "minutes": 0.4, "batch_size": 16, "learning_rate": 4e-3, "clip": 5.0, "log_every": 5,
            "validation_images": 64,
        },
        "test_images": 100,
        "optimizer": _ADAM,
        "schedule": one_cycle(0.1),
        "augmentation": _USUAL,
    },
    # In few minutes, many small steps on small images teach more than few large ones. After 90 seconds on two cores, 96
    # pixels beat 128 (PCKh 0.47 to 0.42), and at 128 pixels 128 features beat 192 (0.42 to 0.36).
    "study": {
        "size": 96,
        "settings": {"stacks": 1, "features": 128, "depth": 3},
        "recipe": {
            "minutes": 9.0, "batch_size": 16, "learning_rate": 2e-3, "clip": 5.0, "validate_every": 1000,
            "validation_images": 200,
        },
        "optimizer": _ADAM,
        "schedule": one_cycle(0.1),
        "augmentation": _USUAL,
    },
    # Newell et al. (ECCV 2016), Sec. 3.3: RMSProp at 2.5e-4. Open: batch and epochs are those of `part_groups`
    # (Tang and Wu, CVPR 2019): 250 epochs of MPII's 22,246 people in batches of 16.
    "paper": {
        "size": 256,
        "settings": {"stacks": 8, "features": 256, "depth": 4},
        "recipe": {
            "steps": 250 * 22246 // 16, "batch_size": 16, "learning_rate": 2.5e-4, "log_every": 50,
            "validate_every": 5000, "validation_images": 3000, "save_seconds": 300,
        },
        "optimizer": partial(torch.optim.RMSprop, alpha=0.99),
        "schedule": milestones((170 / 250, 220 / 250)),
        "augmentation": _USUAL,
    },
}  # fmt: skip

# Luvizon et al. (2017), Sec. 4.1: turned by up to 40 degrees, scaled by 0.7 to 1.3. Open: mirror images and colours are
# not in the text, and usual. Departs: on LSP the paper scales by 0.85 to 1.25.
_LUVIZON = Augmentation(scale=0.3, rotation=40, shift=0.05, flip=0.5, brightness=0.2, contrast=0.2, saturation=0.2)

_SOFT_ARGMAX = {
    "quick": {
        "size": 64,
        "settings": {"blocks": 2, "features": 72},
        "recipe": {
            "minutes": 0.35, "batch_size": 16, "learning_rate": 4e-3, "clip": 5.0, "log_every": 5,
            "validation_images": 64,
        },
        "test_images": 100,
        "optimizer": _ADAM,
        "schedule": one_cycle(0.1),
        "augmentation": _LUVIZON,
    },
    # On figures, after the same 170 s of one core: PCKh 0.453 with all images of 96 pixels, 0.469 with half of the time
    # at 64 first, 0.457 with three quarters.
    "study": {
        "size": 96,
        "small": {"size": 64, "part": 0.5},
        "settings": {"blocks": 1, "features": 288},
        "recipe": {
            "minutes": 9.4, "batch_size": 16, "learning_rate": 4e-3, "clip": 5.0, "validate_every": 1000,
            "validation_images": 200,
        },
        "optimizer": partial(torch.optim.AdamW, weight_decay=0.1, fused=True),
        "schedule": one_cycle(0.1),
        "augmentation": _LUVIZON,
    },
    # Sec. 4.1: RMSProp from 1e-3, batches of 16, 120 epochs of MPII's 22,246 people.
    # Departs: the rate falls by 0.4 at fixed places, as the paper's plateaus are not known before a run.
    "paper": {
        "size": 256,
        "settings": {"blocks": 8, "features": 576},
        "recipe": {
            "steps": 120 * 22246 // 16, "batch_size": 16, "learning_rate": 1e-3, "log_every": 50,
            "validate_every": 5000, "validation_images": 3000, "save_seconds": 300,
        },
        "optimizer": partial(torch.optim.RMSprop, alpha=0.9),
        "schedule": milestones((60 / 120, 80 / 120, 95 / 120, 105 / 120, 112 / 120), by=0.4),
        "augmentation": _LUVIZON,
    },
}  # fmt: skip

# Tang and Wu (CVPR 2019), Sec. 4.1. Open: how far colours go, and no shift is named; both as for the hourglass.
_TANG = replace(_USUAL, shear=0.5)

_PART_GROUPS = {
    "quick": _HOURGLASS["quick"] | {
        "settings": {"stacks": 1, "features": 64, "depth": 3, "width": 16},
        "augmentation": _TANG,
    },
    # A branch is a quarter as wide as the trunk, as in the paper.
    "study": _HOURGLASS["study"] | {
        "small": {"size": 64, "part": 0.5},
        "settings": {"stacks": 1, "features": 128, "depth": 3, "width": 32},
        "augmentation": _TANG,
    },
    # Sec. 4.1, 4.2: RMSProp from 2.5e-4, times 0.1 at epochs 170 and 220 of 250, batches of 16; eight stacks for the
    # benchmarks (three for the ablations). Tested on six scales with flip; Open: which six.
    "paper": _HOURGLASS["paper"] | {
        "settings": {"stacks": 8, "features": 256, "depth": 4, "width": 64},
        "augmentation": _TANG,
        "test_scales": (0.8, 0.9, 1.0, 1.1, 1.2, 1.3),
    },
}  # fmt: skip

# Nie et al. (CVPR 2018), Sec. 4.1: turned by up to 40 degrees, moved by up to 40 of 256 pixels, mirrored; no colours.
# Departs: people grow or shrink by 1 -+ 0.35, where the paper has 0.8 to 1.5. All sets get this, LIP's, where the paper
# turns MPII's people by up to 30 degrees, scales them by 0.7 to 1.3 and does not move them.
_NIE = Augmentation(scale=0.35, rotation=40, shift=40 / 256, flip=0.5)

_PARSING_INDUCED = {
    # The adapter loses its second pooling: of 16x16 cells both would leave 1x1 kernels.
    "quick": _HOURGLASS["quick"] | {
        "settings": {"stacks": 1, "features": 64, "depth": 3, "parsing_units": 1, "poolings": 1},
        "augmentation": _NIE,
    },
    "study": _HOURGLASS["study"] | {
        "settings": {"stacks": 1, "features": 128, "depth": 3, "parsing_units": 1, "poolings": 1},
        "augmentation": _NIE,
    },
    # Sec. 4.1: RMSProp from 2.5e-3, halved at epochs 150, 170 and 200 of 250, on LIP's 30,462 images. Open: the batch
    # (the authors' code has 10), and beta, which is the code's: 0.01 beside a mean over the cells of a map, of which
    # the loss here is the sum. Tested on six scales with flip; Open: which six.
    "paper": _HOURGLASS["paper"] | {
        "settings": {"stacks": 8, "features": 256, "depth": 4, "parsing_units": 2, "beta": 0.01 * 64 * 64},
        "recipe": _HOURGLASS["paper"]["recipe"] | {"steps": 250 * 30462 // 16, "learning_rate": 2.5e-3},
        "schedule": milestones((150 / 250, 170 / 250, 200 / 250), by=0.5),
        "augmentation": _NIE,
        "test_scales": (0.8, 0.9, 1.0, 1.1, 1.2, 1.3),
    },
}  # fmt: skip

PROFILES = {
    "hourglass": _HOURGLASS,
    "parsing_induced": _PARSING_INDUCED,
    "part_groups": _PART_GROUPS,
    "soft_argmax": _SOFT_ARGMAX,
    "soft_argmax_detection": _SOFT_ARGMAX,
}


def profile_of(model: str, profile: str) -> dict:
    """A network's profile; ValueError lists what there is."""
    if model not in PROFILES:
        raise ValueError(f"there is no profile for a network called '{model}'; there are {', '.join(PROFILES)}")
    if profile not in PROFILES[model]:
        raise ValueError(f"{model} has no profile '{profile}'; it has {', '.join(PROFILES[model])}")
    return PROFILES[model][profile]


def recipe_of(profile: dict, seed: int = 0, **changes: int | float | None) -> Recipe:
    """A profile's recipe with some numbers changed (None changes nothing). Steps replace minutes, and minutes steps."""
    changes = {key: value for key, value in changes.items() if value is not None}
    numbers = dict(profile["recipe"])
    if changes.keys() & {"steps", "minutes"}:
        numbers = {key: value for key, value in numbers.items() if key not in ("steps", "minutes")}
    return Recipe(**numbers | {"seed": seed} | changes)


def run_profile(
    model: str,
    profile: str,
    dataset: str,
    data_root: str | None,
    settings: dict,
    output: str,
    *,
    size: int | None = None,
    minutes: int | float | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int = 0,
    device: str = "auto",
    imagenet: str | None = None,
    learner: str | None = None,
    fresh: bool = False,
    tensorboard: bool = False,
) -> str | None:
    """Train a network as its profile says, and score it on the test split: what `posebook train` does.

    Validation and test people are the same whatever the seed, so that runs of several seeds compare.

    Args:
        settings: of the network, over the profile's.
        output: folder for state, weights and `test.json`.
        size, minutes, steps, batch_size, lr: over the profile's.
        imagenet: file of VGG16's weights to start from, for networks that take it.
        learner: weights of another network whose learner this one takes and keeps (`ParsingInduced.take_learner`).

    Returns:
        The table of the test's scores; None in all processes but the first.

    Raises:
        ValueError: size and settings name different sizes; a start that the network cannot make; and as
            `open_dataset`, `create` and `train` do.
    """
    if size is not None and settings.get("size", size) != size:
        raise ValueError(f"--size is {size} and --set size={settings['size']}; give one of them")
    for option, given in (("--imagenet", imagenet), ("--learner", learner)):
        if given and model != "parsing_induced":
            raise ValueError(f"{option} is for parsing_induced, and {model} starts from nothing else: leave it out")
    if settings.get("frozen") and not learner:
        raise ValueError("frozen keeps a learner as it was trained, and none is given: add --learner FILE")
    if settings.get("people"):
        raise ValueError(
            "people=true is for scenes of several people, which posebook train does not open: train it from "
            "Python, as notebook 4_parsing_induced/4_evaluation does"
        )
    plan = profile_of(model, profile)
    recipe = recipe_of(plan, seed, minutes=minutes, steps=steps, batch_size=batch_size, learning_rate=lr)
    where = join_processes(pick_device(device))
    side = settings.get("size", size or plan["size"])
    sets = {split: open_dataset(dataset, split, data_root, side, where) for split in ("validation", "test")}
    # Packed crops have a margin, so that what augmentation turns in are real pixels.
    margin, options = (MARGIN, {"widen": MARGIN}) if dataset == "packed" else (1, {})
    training = partial(open_dataset, dataset, "train", data_root, device=where, seed=seed, **options)
    sets["train"] = training(size=round(margin * side))
    small = plan.get("small")
    joints = len(sets["train"].skeleton)
    torch.manual_seed(seed)
    frozen = {"frozen": True} if learner else {}
    of_set = {"joints": joints, "size": side}
    parts = getattr(sets["train"], "parts", PARTS)
    if "parts" in model_settings(model):
        of_set["parts"] = len(parts)
        if settings.get("parts", len(parts)) < len(parts):
            raise ValueError(f"{dataset} has {len(parts)} part labels, and parts is {settings['parts']}: leave it out")
    network = create(model, **plan["settings"] | of_set | settings | frozen)
    if imagenet:
        network.load_imagenet(imagenet)
    if learner:
        network.take_learner(load_weights(learner)[0])
    augmentation = None if sets["train"].length is None else plan["augmentation"]
    train(
        network,
        sets["train"],
        recipe,
        optimizer=plan["optimizer"],
        schedule=plan["schedule"],
        augmentation=augmentation,
        validation=sets["validation"],
        small=training(size=round(margin * small["size"])) if small else None,
        small_part=small["part"] if small else 0.0,
        output=output,
        name=model,
        fresh=fresh,
        tensorboard=tensorboard,
    )
    first = processes()[0] == 0
    people = plan.get("test_images")
    predicted, _, truth = evaluate(
        network, sets["test"], people, flip=True, scales=plan.get("test_scales", (1.0,)), progress=first
    )
    parsed = _parse(network, sets["test"], people)
    leave_processes()
    if not first:
        return None
    scores = report(predicted, truth, sets["test"].skeleton.name) | {"dataset": f"{dataset}, test"} | parsed
    # Figures have no joints outside their images.
    outside = 0 if dataset == "figures" else sets["test"].outside
    scores["outside_crops"] = outside
    Path(output, "test.json").write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
    table = render(scores)
    if parsed:
        table += f"\n\nParts: mean IoU {parsed['mean_iou']:.3f}, pixel accuracy {parsed['pixel_accuracy']:.3f}"
    if outside:
        table += f"\n\nAnnotated joints of the split outside their crops, which do not count: {outside:,}"
    return table


def _parse(network: nn.Module, dataset: Dataset, people: int | None) -> dict[str, float]:
    """What a network that tells parts scores on a set that has their labels; empty for others. One scale, no flip."""
    if getattr(network, "to_parts", None) is None or dataset.batch(torch.zeros(1, dtype=torch.long)).parsing is None:
        return {}
    score = parsing_score(parse(network, dataset, people))
    return {"mean_iou": float(score.mean_iou), "pixel_accuracy": float(score.pixel_accuracy)}
