"""The runs that claims need: each is kept in a folder named by its configuration, so that claims share them.

    train_all(works("soft_argmax", "figures", "study", seeds=3), jobs=2)

A run that was stopped goes on where it was, a finished one is never trained again, and several processes may work on
the same runs: each waits for the run that another one is at.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from posebook.compute.processes import pick_device
from posebook.datasets import open_dataset
from posebook.ledger.claim import Claim, Variant, claims_of
from posebook.network import Setting, settings_of
from posebook.paths import ROOT, replacing
from posebook.sample import Dataset
from posebook.skeleton import LSP, MPII, PASCAL
from posebook.training.checkpoint import STATE, load_into, read_record
from posebook.training.loop import train
from posebook.training.profile import Profile
from posebook.training.recipe import Recipe
from posebook.training.runs import Run

RUNS = ROOT / "runs" / "ledger"
# Beside a run's weights: the rows of its training history.
HISTORY = "history.json"

# Whose joints a set has, so that a run can be named where the set is not.
SKELETONS = {"figures": MPII, "mpii": MPII, "lsp": LSP, "lspet": LSP, "lip": MPII, "pascal": PASCAL}

# A recipe's numbers that decide nothing about the weights.
_INDIFFERENT = ("log_every", "validate_every", "validation_images", "save_every", "save_seconds")


@dataclass(frozen=True)
class Work:
    """A run that claims need: one variant of a paper's network trained from one seed.

    Attributes:
        paper: slug.
        variant: one of the paper's variants.
        half: at half the steps, by which is told how much the second half gained.
    """

    paper: str
    variant: str
    dataset: str
    profile: str
    seed: int
    half: bool = False

    @property
    def variant_of(self) -> Variant:
        """What the variant's name stands for."""
        return claims_of(self.paper).variants[self.variant]

    @property
    def network(self) -> type[nn.Module]:
        """The class of the network."""
        return self.variant_of.network

    @property
    def plan(self) -> Profile:
        """The paper's profile, and over it what the variant has of its own."""
        plan, change = claims_of(self.paper).profiles[self.profile], self.variant_of.profile
        return plan if change is None else change(plan)

    @property
    def recipe(self) -> Recipe:
        """How it is trained."""
        recipe = self.plan.recipe.but(seed=self.seed)
        return recipe.but(steps=recipe.steps // 2) if self.half else recipe

    @property
    def options(self) -> dict[str, str | int | float]:
        """What its set is opened with beside name, split and size."""
        return self.plan.figures | self.variant_of.figures if self.dataset == "figures" else {}

    @property
    def learner(self) -> Work | None:
        """The run whose network gives this one's its learner (`take_learner`), where the variant has one."""
        variant = self.variant_of.learner
        return replace(self, variant=variant, dataset="figures") if variant else None

    @property
    def settings(self) -> dict[str, Setting]:
        """All of the network's settings."""
        plan, known = self.plan, settings_of(self.network)
        of_set = {"size": plan.size, "joints": len(SKELETONS[self.dataset])}
        # Variants of other networks share the profile's settings as far as they have them.
        return known | {k: v for k, v in (self.variant_of.over(plan.settings) | of_set).items() if k in known}

    @property
    def configuration(self) -> dict:
        """Everything that decides what the run gives, as JSON holds it."""
        plan = self.plan
        recipe = {key: value for key, value in vars(self.recipe).items() if key not in _INDIFFERENT}
        return {
            "model": self.network.name,
            "settings": self.settings,
            "dataset": {"name": self.dataset, "split": "train", "size": plan.size, **self.options},
            "recipe": recipe,
            "optimizer": _described(plan.optimizer),
            # A schedule is a function; what it gives along the way tells it from others.
            "schedule": " ".join(f"{plan.schedule(k / 20):.4g}" for k in range(21)),
            # Figures are drawn anew for every step.
            "augmentation": None if self.dataset == "figures" else vars(plan.augmentation),
            "small": plan.small and asdict(plan.small),
            # A key of its own, so that runs without a learner keep their names.
            **({"learner": self.learner.key} if self.learner else {}),
        }

    @property
    def key(self) -> str:
        """The run's name: runs of the same configuration are the same run, whichever claim asks for them."""
        text = json.dumps(self.configuration, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        return f"{self.variant}{' (half the steps)' if self.half else ''}, seed {self.seed}"


def _described(optimizer: Callable) -> str:
    """An optimiser's class, and the settings it is called with."""
    if isinstance(optimizer, partial):
        return f"{optimizer.func.__name__}({', '.join(f'{k}={v}' for k, v in sorted(optimizer.keywords.items()))})"
    return optimizer.__name__


def run_folder(work: Work, runs: str | Path = RUNS) -> Path:
    """Where a run is kept."""
    return Path(runs) / work.key


def read_run(work: Work, runs: str | Path = RUNS) -> dict | None:
    """What `train_run` gave, or None where the run is not over or its test was on other people."""
    path = run_folder(work, runs) / "readings.json"
    if not path.is_file():
        return None
    stored = json.loads(path.read_text(encoding="utf-8"))
    return stored if stored["test_images"] == work.plan.test_images else None


def train_run(
    work: Work,
    runs: str | Path = RUNS,
    data_root: str | Path | None = None,
    device: str = "auto",
    *,
    again: bool = False,
    progress: bool = True,
    callback: Callable[[Run], None] | None = None,
) -> dict:
    """Train a run, or go on with it, and read off it what its paper's claims need. A run is trained once.

    A run that another process works on is waited for. A finished one keeps its weights, `last.safetensors`.

    Args:
        again: take the readings anew, from the weights where they are there.

    Returns:
        `readings` by name, `test_images`, `seconds` of training and of `reading`, `device`, `threads`, `versions`.

    Raises:
        ValueError, OSError: as `open_dataset` and `train` do.
    """
    folder = run_folder(work, runs)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(work, folder):
        stored = None if again else read_run(work, runs)
        if stored is not None:
            return stored
        plan, where = work.plan, pick_device(device)
        train_set, small = training_sets(work, data_root, where)
        test_set = open_dataset(work.dataset, "test", data_root, plan.size, where, **work.options)
        if not is_trained(work, folder):
            learner = work.learner
            if learner is not None:
                train_run(learner, runs, data_root, device, progress=progress)
                learner = trained_network(learner, runs, where)
            run = train_work(work, work.recipe, train_set, folder, progress, callback, small, learner)
            with replacing(folder / HISTORY) as part:
                part.write_text(json.dumps(run.history["training"]) + "\n", encoding="utf-8")
        network, about = trained_network(work, runs, where), read_record(folder / "last.safetensors")
        begin = time.monotonic()
        paper = claims_of(work.paper)
        readings = paper.readings(network, test_set, plan.test_images, train_set)
        if paper.curve_readings is not None and (folder / HISTORY).is_file():
            readings |= paper.curve_readings(json.loads((folder / HISTORY).read_text(encoding="utf-8")))
        result = {
            "run": str(work),
            "readings": readings,
            "test_images": plan.test_images,
            "reading": round(time.monotonic() - begin, 1),
            **{key: about["training"][key] for key in ("seconds", "device", "threads", "versions")},
        }
        with replacing(folder / "readings.json") as part:
            part.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        # Larger than the weights, and of no more use.
        (folder / STATE).unlink(missing_ok=True)
    return result


def trained_network(work: Work, runs: str | Path, device: torch.device) -> nn.Module:
    """The network that a finished run kept, ready to predict."""
    network = work.network(**work.settings)
    load_into(network, run_folder(work, runs) / "last.safetensors")
    return network.to(device).eval()


def _alone(work: Work, folder: Path) -> AbstractContextManager:
    """A context that one process at a time is in. The system ends it with its process, however that comes about."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "lock")
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        print(f"Another process is at {work} ({folder}): waiting for it", file=sys.stderr, flush=True)
        return lock.acquire()


def is_trained(work: Work, folder: Path) -> bool:
    """Whether the folder's weights are those of the run's end."""
    path = folder / "last.safetensors"
    return path.is_file() and read_record(path)["training"]["steps"] >= work.recipe.steps


def training_sets(work: Work, data_root: str | Path | None, device: torch.device) -> tuple[Dataset, Dataset | None]:
    """What a run is trained on: the set in the plan's images, and in its small ones where it has any."""
    small = work.plan.small
    sizes = [work.plan.size, *([small.size] if small else [])]
    sets = [open_dataset(work.dataset, "train", data_root, size, device, work.seed, **work.options) for size in sizes]
    return sets[0], sets[1] if small else None


def train_work(
    work: Work,
    recipe: Recipe,
    dataset: Dataset,
    folder: Path | None,
    progress: bool = False,
    callback: Callable[[Run], None] | None = None,
    small: Dataset | None = None,
    learner: nn.Module | None = None,
) -> Run:
    """Train a run's network by a recipe, in a folder that it goes on from where there is one.

    Args:
        small: the set in the plan's small images, where it has any.
        learner: the network that gives this one its learner.
    """
    plan = work.plan
    torch.manual_seed(work.seed)
    network = work.network(**work.settings)
    if learner is not None:
        network.take_learner(learner)
    return train(
        network,
        dataset,
        recipe,
        optimizer=plan.optimizer,
        schedule=plan.schedule,
        augmentation=None if dataset.length is None else plan.augmentation,
        output=folder,
        callback=callback,
        progress=progress,
        small=small,
        small_part=plan.small.part if small is not None else 0.0,
    )


def base_of(paper: str, dataset: str) -> str:
    """The variant that tells whether runs on a set are long enough.

    It is the paper's own (`LENGTH`) wherever a claim that can be measured on the set compares it. Elsewhere it may not
    be trainable: what learns part labels needs a set that has them. Then it is what the first claim measures against.
    """
    base = claims_of(paper).length.variant
    compared = [claim.variants for claim in _claims_on(paper, dataset)]
    return base if not compared or any(base in variants for variants in compared) else compared[0][-1]


def _claims_on(paper: str, dataset: str) -> list[Claim]:
    """The paper's claims that can be measured on a set."""
    return [claim for claim in claims_of(paper).claims if not claim.sets or dataset in claim.sets]


def works(paper: str, dataset: str, profile: str, seeds: int, variants: Iterable[str] | None = None) -> list[Work]:
    """The runs that claims need: these variants from every seed, and one of half length.

    Args:
        variants: None takes all that the paper's claims about this set compare.

    Raises:
        ValueError: an unknown paper or profile, or a set that runs are not made on.
    """
    profiles = claims_of(paper).profiles
    if profile not in profiles:
        raise ValueError(f"the claims of {paper} have no profile '{profile}'; they have {', '.join(profiles)}")
    if dataset not in SKELETONS:
        raise ValueError(f"claims are measured on {', '.join(SKELETONS)}; there is no '{dataset}'")
    base = base_of(paper, dataset)
    if variants is None:
        variants = dict.fromkeys(variant for claim in _claims_on(paper, dataset) for variant in claim.variants)
    variants = list(variants)
    wanted = [Work(paper, base, dataset, profile, 0), Work(paper, base, dataset, profile, 0, half=True)]
    wanted += [Work(paper, variant, dataset, profile, seed) for seed in range(seeds) for variant in variants]
    # Learners first, so that nobody waits for the one that another run needs.
    return list(dict.fromkeys([*(work.learner for work in wanted if work.learner is not None), *wanted]))


def threads_of(jobs: int) -> int:
    """How many threads each of so many runs has: its share of the cores; alone, what torch takes."""
    from joblib import cpu_count

    return torch.get_num_threads() if jobs == 1 else max(1, cpu_count() // jobs)


def train_all(
    wanted: list[Work],
    runs: str | Path = RUNS,
    data_root: str | Path | None = None,
    device: str = "auto",
    jobs: int = 1,
    say: Callable[[str], None] = print,
) -> None:
    """Train the runs that are not there yet, `jobs` at a time, each on its share of the cores.

    Small networks gain little from a second thread, so that as many jobs as cores are faster than one on all of them.
    The processes are joblib's, so `joblib.parallel_config` can send them elsewhere.
    """
    from joblib import Parallel, delayed

    missing = [work for work in wanted if read_run(work, runs) is None]
    if jobs == 1:
        for number, work in enumerate(missing, start=1):
            say(f"Run {number} of {len(missing)}: {work}")
            train_run(work, runs, data_root, device)
        return
    threads = threads_of(jobs)
    done = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(_train_elsewhere)(work, runs, data_root, device, threads) for work in missing
    )
    for number, work in enumerate(done, start=1):
        say(f"{number} of {len(missing)} runs are over: {work}")


def _train_elsewhere(work: Work, runs: str | Path, data_root: str | Path | None, device: str, threads: int) -> Work:
    """`train_run` in a process of its own, which tells of every tenth of its steps in a line."""
    torch.set_num_threads(threads)
    steps, told, parent = work.recipe.steps, -1, os.getppid()

    def tell(run: Run) -> None:
        nonlocal told
        # Who kills the command means its runs as well, and an exception would have this process take the next one.
        if os.getppid() != parent:
            os._exit(1)
        if 10 * run.step // steps > told:
            told = 10 * run.step // steps
            left = clock(run.seconds / run.step * (steps - run.step))
            print(f"  {work}: step {run.step:,} of {steps:,}, {left} left", file=sys.stderr, flush=True)

    train_run(work, runs, data_root, device, progress=False, callback=tell)
    return work


def clock(seconds: int | float) -> str:
    """A duration as people say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
