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
from posebook.network import Setting, settings_of
from posebook.paths import replacing
from posebook.sample import Dataset
from posebook.skeleton import PARTS
from posebook.training.loop import train
from posebook.training.profile import Profile


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
        imagenet: file of VGG16's weights to start from, for networks with `load_imagenet`.
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
            "Python, as notebook 4_parsing_induced/4_evaluation does"
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
    if shares["train"] is not None:
        for split, some in sets.items():
            if not some.annotated:
                raise ValueError(f"{dataset} has no joint annotated in its {split} split, and networks learn joints")
        if processes()[0] == 0:
            print(
                f"{dataset}: " + ", ".join(f"{count:,} people in {split}" for split, count in shares.items()),
                flush=True,
            )
    small = profile.small
    joints = len(sets["train"].skeleton)
    torch.manual_seed(seed)
    frozen = {"frozen": True} if learner is not None else {}
    of_set = {"joints": joints, "size": side}
    parts = getattr(sets["train"], "parts", PARTS)
    if "parts" in settings_of(profile.network):
        of_set["parts"] = len(parts)
        if settings.get("parts", len(parts)) < len(parts):
            raise ValueError(f"{dataset} has {len(parts)} part labels, and parts is {settings['parts']}: leave it out")
    network = profile.network(**profile.settings | of_set | settings | frozen)
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
    first = processes()[0] == 0
    people = profile.test_images
    predicted, _, truth = evaluate(network, sets["test"], people, flip=True, scales=profile.test_scales, progress=first)
    parsed = _parse(network, sets["test"], people)
    leave_processes()
    if not first:
        return None
    scores = report(predicted, truth, sets["test"].skeleton.name) | {"dataset": f"{dataset}, test"} | parsed
    # Figures have no joints outside their images.
    outside = 0 if dataset == "figures" else sets["test"].outside
    scores["outside_crops"] = outside
    with replacing(Path(output, "test.json")) as part:
        part.write_text(json.dumps(scores, indent=2, allow_nan=False) + "\n", encoding="utf-8")
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
