"""A network trained as its profile says, and scored on the test split: what `posebook train` does."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch
from torch import nn

from posebook.compute.processes import join_processes, leave_processes, pick_device, processes
from posebook.datasets import open_dataset
from posebook.datasets.packed import MARGIN
from posebook.evaluation.benchmarks import render, report
from posebook.evaluation.inference import evaluate, parse
from posebook.evaluation.metrics import parsing_score
from posebook.network import Setting, finds_joints, parses, settings_of
from posebook.paths import replacing
from posebook.sample import Dataset
from posebook.skeleton import PARTS
from posebook.training.loop import train
from posebook.training.profile import Profile
from posebook.training.runs import SCORES


def train_by_profile(
    profile: Profile,
    dataset: str,
    data_root: str | None,
    settings: dict[str, Setting],
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
    learner: nn.Module | None = None,
    fresh: bool = False,
    tensorboard: bool = False,
) -> str | None:
    """Train a network as its profile says, and score it on the test split: what `posebook train` does.

    Validation and test people are the same whatever the seed, so that runs of several seeds compare.

    Args:
        settings: of the network, over the profile's.
        output: folder for state, weights and `test.json`.
        size, minutes, steps, batch_size, lr: over the profile's.
        imagenet: file of torchvision's weights to start from, for networks with `load_imagenet`.
        learner: another network whose learner this one takes and keeps, for networks with `take_learner`.

    Returns:
        The table of the test's scores; None in all processes but the first.

    Raises:
        ValueError: size and settings name different sizes; a start that the network cannot make; and as
            `open_dataset`, the network and `train` do.
    """
    if size is not None and settings.get("size", size) != size:
        raise ValueError(f"--size is {size} and --set size={settings['size']}; give one of them")
    if settings.get("frozen") and learner is None:
        raise ValueError("frozen keeps a learner as it was trained, and none is given: add --learner FILE")
    if settings.get("people"):
        raise ValueError(
            "people=true is for scenes of several people, which posebook train does not open: train it from "
            "Python, as notebook 4_parsing_induced/5_several_people does"
        )
    recipe = profile.recipe.but(seed=seed, minutes=minutes, steps=steps, batch_size=batch_size, learning_rate=lr)
    where = join_processes(pick_device(device))
    side = settings.get("size", profile.size if size is None else size)
    sets = {split: open_dataset(dataset, split, data_root, side, where) for split in ("validation", "test")}
    # Packed crops have a margin, so that what augmentation turns in are real pixels.
    margin, options = (MARGIN, {"widen": MARGIN}) if dataset == "packed" else (1, {})
    training = partial(open_dataset, dataset, "train", data_root, device=where, seed=seed, **options)
    sets["train"] = training(size=round(margin * side))
    shares = {split: sets[split].length for split in ("train", "validation", "test")}
    first = processes()[0] == 0
    if shares["train"] is not None and first:
        told = ", ".join(f"{count:,} people in {split}" for split, count in shares.items())
        print(f"{dataset}: {told}", flush=True)
    small = profile.small
    joints = len(sets["train"].skeleton)
    torch.manual_seed(seed)
    frozen = {"frozen": True} if learner is not None else {}
    parts = getattr(sets["train"], "parts", PARTS)
    known = settings_of(profile.network)
    of_set = {"joints": joints, "size": side, "parts": len(parts)}
    of_set = {name: value for name, value in of_set.items() if name in known}
    if "parts" in known and settings.get("parts", len(parts)) < len(parts):
        raise ValueError(f"{dataset} has {len(parts)} part labels, and parts is {settings['parts']}: leave it out")
    if settings.get("joints", joints) != joints:
        raise ValueError(f"{dataset} has {joints} joints, and joints is {settings['joints']}: leave it out")
    network = profile.network(**profile.settings | of_set | settings | frozen)
    if shares["train"] is not None and finds_joints(network):
        for split, some in sets.items():
            if not some.annotated:
                raise ValueError(
                    f"{dataset} has no joint annotated in its {split} split, and {network.name} learns joints: give "
                    "look_into_person_parsing, which parses alone"
                )
    if imagenet:
        network.load_imagenet(imagenet)
    if learner is not None:
        network.take_learner(learner)
    augmentation = None if sets["train"].length is None else profile.augmentation
    train(
        network,
        sets["train"],
        recipe,
        optimizer=profile.optimizer,
        schedule=profile.schedule,
        augmentation=augmentation,
        masking=profile.masking,
        phases=profile.phases,
        validation=sets["validation"],
        small=training(size=round(margin * small.size)) if small else None,
        small_part=small.part if small else 0.0,
        output=output,
        fresh=fresh,
        tensorboard=tensorboard,
    )
    scores = _test(network, sets["test"], profile, progress=first)
    leave_processes()
    if not first:
        return None
    scores["dataset"] = f"{dataset}, test"
    with replacing(Path(output, SCORES)) as part:
        part.write_text(json.dumps(scores, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    tables = [render(scores)] if finds_joints(network) else []
    if "mean_iou" in scores:
        tables.append(f"Parts: mean IoU {scores['mean_iou']:.3f}, pixel accuracy {scores['pixel_accuracy']:.3f}")
    if scores.get("outside_crops"):
        tables.append(
            f"Annotated joints of the split outside their crops, which do not count: {scores['outside_crops']:,}"
        )
    return "\n\n".join(tables)


def _test(network: nn.Module, dataset: Dataset, profile: Profile, progress: bool) -> dict:
    """What a network scores on a set: on its joints and on its parts, as far as both have them."""
    people, options = profile.test_images, {"flip": True, "scales": profile.test_scales}
    scores = {}
    if finds_joints(network):
        predicted, _, truth = evaluate(network, dataset, people, progress=progress, **options)
        scores = report(predicted, truth, dataset.skeleton.name)
        # Figures have no joints outside their images.
        scores["outside_crops"] = 0 if dataset.name == "figures" else dataset.outside
    if parses(network) and dataset.batch(torch.zeros(1, dtype=torch.long)).parsing is not None:
        score = parsing_score(parse(network, dataset, people, **options))
        # Where no label map could be read, there is nothing to score.
        if not score.mean_iou.isnan():
            scores |= {"mean_iou": float(score.mean_iou), "pixel_accuracy": float(score.pixel_accuracy)}
    return scores
