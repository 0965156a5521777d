"""What makes the spread of a paired difference small: no benchmark of speed, but what the ledger's intervals rest on.

    python benchmarks/spread.py        trains what is missing (eight runs of some minutes), and prints the table

The learner of `parsing_induced` against the pose network alone, at profile study, from four seeds: with the weights as
they are at the end and averaged over the last steps, on 2,000 test people and on each quarter of them, and with each
seed of one network held against every other seed of the other. Rows are kept in results/spread.json.
"""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from posebook.datasets import open_dataset
from posebook.evaluation.benchmarks import BENCHMARKS
from posebook.evaluation.inference import evaluate
from posebook.evaluation.metrics import Truth
from posebook.ledger import runs
from posebook.ledger.work import Work
from posebook.paths import RESULTS, replacing

VARIANTS, SEEDS = ("pil", "pose"), range(4)
# How much of the average is kept at a step.
DECAYS = (0.98, 0.99, 0.998)
QUARTERS = 4


def trained(work: Work) -> dict[str, nn.Module]:
    """A run's network as it ends, and its averages over the steps."""
    kept: dict[str, nn.Module] = {}
    train = runs.train

    def watched(network: nn.Module, *arguments, **options):
        kept["as it ends"] = network
        return train(network, *arguments, **options)

    def average(*_) -> None:
        for decay in DECAYS:
            name = f"average, {decay:g}"
            if name not in kept:
                keep = get_ema_multi_avg_fn(decay)
                kept[name] = AveragedModel(kept["as it ends"], multi_avg_fn=keep, use_buffers=True)
            kept[name].update_parameters(kept["as it ends"])

    hook, runs.train = register_optimizer_step_post_hook(average), watched
    try:
        dataset, small = runs.training_sets(work, None, torch.device("cpu"))
        runs.train_work(work, work.recipe, dataset, None, progress=True, small=small)
    finally:
        hook.remove()
        runs.train = train
    return {name: getattr(network, "module", network).eval() for name, network in kept.items()}


def scores(network: nn.Module, work: Work) -> list[float]:
    """PCKh@0.5 in percent: of all test people, then of each quarter of them."""
    people = open_dataset("figures", "test", None, work.plan.size, **work.options)
    joints, _, truth = evaluate(network, people, work.plan.test_images)
    parts = [slice(None), *(slice(k, None, QUARTERS) for k in range(QUARTERS))]
    labels = [Truth(*(value[part] for value in vars(truth).values())) for part in parts]
    score = BENCHMARKS[people.skeleton.name].score
    return [100 * float(score(joints[part], some).mean) for part, some in zip(parts, labels, strict=True)]


def table(rows: list[dict]) -> str:
    """Standard deviations over seeds of the difference of the two networks, in percentage points."""
    lines = [
        "| weights | difference | spread | with another seed each | on a quarter of the people |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in rows[0]["scores"]:
        found = {(row["variant"], row["seed"]): np.array(row["scores"][name]) for row in rows}
        one, other = (np.array([found[variant, seed] for seed in SEEDS]) for variant in VARIANTS)  # (seeds, 1 + 4)
        paired = (one - other).std(0, ddof=1)
        apart = np.std([one[i, 0] - other[j, 0] for i, j in permutations(SEEDS, 2)], ddof=1)
        quarter = float(np.sqrt((paired[1:] ** 2).mean()))
        mean = (one - other)[:, 0].mean()
        lines.append(f"| {name} | {mean:+.2f} | {paired[0]:.2f} | {apart:.2f} | {quarter:.2f} |")
    return "\n".join(lines)


def main(file: Path = RESULTS / "spread.json") -> None:
    rows = json.loads(file.read_text()) if file.exists() else []
    done = {(row["variant"], row["seed"]) for row in rows}
    for seed in SEEDS:
        for variant in VARIANTS:
            if (variant, seed) in done:
                continue
            work = Work("parsing_induced", variant, "figures", "study", seed)
            rows.append(
                {
                    "variant": variant,
                    "seed": seed,
                    "scores": {name: scores(network, work) for name, network in trained(work).items()},
                }
            )
            with replacing(file) as part:
                part.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
