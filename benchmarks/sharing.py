"""A training on all cores, alone and where others want them too: short waits between threads against torch's own."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

from timing import row

# Small maps: the more often threads wait for each other, the more their waits cost.
SETTINGS = {"size": 64, "stacks": 1, "features": 64}
BATCH = 16
STEPS = 5

# How often a thread of GNU's OpenMP looks before it sleeps, where nobody says otherwise.
USUAL = "300000"

# What trains beside it: on so many threads.
CASES = {"alone": None, "beside a training on one thread": 1, "beside a training like it": os.cpu_count()}


def rate(looks: str | None, others: int | None) -> float:
    """Images a second of a training; `looks` None leaves the waits to posebook."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("GOMP_", "OMP_"))}
    environment |= {} if looks is None else {"GOMP_SPINCOUNT": looks}
    with ExitStack() as stack:
        if others is not None:
            beside = stack.enter_context(_process("forever", environment | {"OMP_NUM_THREADS": f"{others}"}))
            stack.callback(beside.kill)
            beside.stdout.readline()  # it has begun
        return float(stack.enter_context(_process("once", environment)).stdout.read())


def _process(what: str, environment: dict[str, str]) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, __file__, what], stdout=subprocess.PIPE, text=True, env=environment)


def train(what: str) -> None:
    """Print the images a second of a few steps, or go on training."""
    import torch
    from hourglass import people, step
    from timing import medians

    from posebook.skeleton import SKELETONS

    run = step(SETTINGS, people(BATCH, SETTINGS["size"], len(SKELETONS["mpii"]), torch.device("cpu")))
    if what == "once":
        print(BATCH / medians({"step": run}, STEPS)["step"])
        return
    print("begun", flush=True)
    while True:
        run()


def measure() -> list[dict]:
    rows = []
    for case, others in CASES.items():
        seconds = {"ours": 1 / rate(None, others), "baseline": 1 / rate(USUAL, others)}
        note = f"1 x 64 features, batch {BATCH}; against torch's usual waits between threads"
        rows.append(row(f"training step at 64x64 on all cores, {case}", seconds, 1, "images/s", note))
    return rows


if __name__ == "__main__":
    train(sys.argv[1])
