"""Training: one loop for every paper, in view.

    run = train(model, dataset, Recipe(steps=2000, learning_rate=1e-3), validation=held_out, output="runs/first")

Batch k is a function of (seed, k) alone, the state of a run is one file, and so a run that was killed goes on as if
nothing had happened. Under `torchrun` each process takes an equal share of every batch.
"""

from __future__ import annotations

import functools
import hashlib
import math
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from posebook.compute.ending import Stopped, stop_is_asked
from posebook.compute.precision import autocast, channels_last
from posebook.compute.processes import first_process_decides, keep_memory, processes, sum_over_processes
from posebook.coordinates import Perturbation
from posebook.evaluation.inference import evaluate, parse
from posebook.evaluation.metrics import parsing_score
from posebook.layers.batch_norm import share_batch_norm
from posebook.network import finds_joints
from posebook.sample import Dataset, Sample
from posebook.skeleton import IGNORE_LABEL
from posebook.training.augment import Augmentation, augment
from posebook.training.masking import KeypointMasking
from posebook.training.recipe import Recipe
from posebook.training.runs import Report, Run, RunFolder
from posebook.training.schedules import Schedule, fingerprint, one_cycle

# Steps whose figures are drawn together: sixteen at a time take up to twice as long an image as sixty-four.
_AHEAD = 4


def step_indices(length: int | None, batch_size: int, step: int, seed: int) -> Int64[Tensor, " b"]:
    """The people of a step's batch.

    A finite set is gone through in a new order each epoch, without a gap between epochs; of an endless one, people
    are taken one after the other and never twice.
    """
    first = step * batch_size
    if length is None:
        return torch.arange(first, first + batch_size)
    epoch, start = divmod(first, length)
    last = (first + batch_size - 1) // length
    orders = torch.cat([_order(length, seed, e) for e in range(epoch, last + 1)])
    return orders[start : start + batch_size]


class _Supply:
    """This process's share of each step's batch. Of an endless set, several steps' shares are made at once."""

    def __init__(self, recipe: Recipe, share: slice) -> None:
        self.recipe, self.share = recipe, share
        self.dataset, self.ready = None, {}

    def __call__(self, dataset: Dataset, step: int) -> Sample:
        if self.dataset is not dataset or step not in self.ready:
            steps = range(step, step + (_AHEAD if dataset.length is None else 1))
            people = [step_indices(dataset.length, self.recipe.batch_size, k, self.recipe.seed) for k in steps]
            made = dataset.batch(torch.cat([numbers[self.share] for numbers in people]))
            each = len(made) // len(steps)
            self.dataset = dataset
            self.ready = {k: made[place * each : (place + 1) * each] for place, k in enumerate(steps)}
        return self.ready[step]


@functools.lru_cache(maxsize=4)
def _order(length: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(length, generator=_generator(seed, epoch, 1))


def _key(*numbers: int) -> int:
    """A seed that is as good as any other seed's neighbour."""
    return int(np.random.SeedSequence([n % 2**64 for n in numbers]).generate_state(1, np.uint64)[0])


def _generator(*numbers: int) -> torch.Generator:
    return torch.Generator().manual_seed(_key(*numbers))


def train(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    optimizer: Callable[..., Optimizer] = torch.optim.Adam,
    schedule: Schedule | None = None,
    scheduler: Callable[[Optimizer], object] | None = None,
    augmentation: Augmentation | None = None,
    masking: KeypointMasking | None = None,
    phases: tuple[float, ...] = (),
    validation: Dataset | None = None,
    small: Dataset | None = None,
    small_part: int | float = 0.5,
    output: str | Path | None = None,
    fresh: bool = False,
    callback: Callable[[Run], None] | None = None,
    progress: bool = True,
    tensorboard: bool = False,
) -> Run:
    """Train a network in place, on the dataset's device.

    Args:
        model: gives `model(images)`, `model.loss(outputs, batch)`, `model.decode(outputs)` and `model.settings`.
        optimizer: called with the parameters to train and `lr=`: a class of torch.optim, or one with more settings
            through `functools.partial`. One that makes parameter groups of its own may ignore the first argument.
        schedule: as in `posebook.training.schedules`, a factor of each group's learning rate; None is `one_cycle()`.
        scheduler: makes a torch scheduler, which replaces the schedule. It steps once a step; ReduceLROnPlateau steps
            at each validation with the score, so give it mode="max".
        augmentation: None changes nothing. Images of another size than the network's are resampled with it.
        masking: patches that make images harder, in the last phase; None: none.
        phases: the parts of the run after which its second phase begins, its third and so on: (0.5, 0.75). The network
            has `phases` of them and is told of each, 0, 1, ..., by `enter(phase)`, which decides what is trained.
        validation: scored with PCKh@0.5, or with PCK@0.2 for sets that PCKh is not defined for; with mean IoU for a
            network that parses alone.
        small: the same people in smaller images, which a network of convolutions takes as well; a first part of the
            run goes through these instead, for there are more of them a minute.
        small_part: that part of the run.
        output: folder for the state, `last` and `best` weights; None writes nothing. A run found there goes on.
        fresh: start anew where there is a run already.
        callback: given the run after each row of the history, in the first process alone; e.g. `live_curve()` in a
            notebook.
        tensorboard: also log to `output`/tensorboard; where the package is not installed, a warning says so.

    Returns:
        The run. The model ends with the last weights, or with their average where the recipe asks for one.

    Raises:
        ValueError: the loss or its gradient stopped being a number; nobody has a joint to learn; the folder holds a
            run of other settings; phases do not follow each other, or the network has another number of them; the
            batch cannot be shared equally by the processes; validation images are not of the network's size, or were
            opened wide; small images are of other people, or their part is not between 0 and 1.
        OSError: the folder cannot be written to, its disk has no room for the run, or another process trains in it.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP came; a run with an output is saved at its next row before. A
            second one ends it at once.
    """
    schedule = schedule or one_cycle()
    rank, world = processes()
    size = model.settings["size"]
    _check(dataset, validation, size, recipe.batch_size, world)
    _check_small(dataset, small, small_part)
    _check_phases(model, phases)
    share = slice(rank * recipe.batch_size // world, (rank + 1) * recipe.batch_size // world)
    device = torch.device(dataset.device)
    if device.type == "cpu":
        keep_memory()

    model = channels_last(model.to(device)).train()
    if phases:  # The last one trains all that any of them does.
        model.enter(len(phases))
    network = model
    if world > 1:
        share_batch_norm(model)
        # What a phase does not train has no gradient to be shared.
        network = DistributedDataParallel(model, find_unused_parameters=bool(phases))
    parameters = [p for p in model.parameters() if p.requires_grad]
    stepper = optimizer(parameters, lr=recipe.learning_rate)
    rates = [group["lr"] for group in stepper.param_groups]
    # What is saved and restored as one.
    parts = {"model": model, "optimizer": stepper}
    if scheduler is not None:
        parts["scheduler"] = scheduler(stepper)
    plateau = isinstance(parts.get("scheduler"), ReduceLROnPlateau)
    if recipe.ema is not None:
        parts["ema"] = AveragedModel(model, use_buffers=True)
    averaged = parts["ema"].module if "ema" in parts else model

    configuration = _configuration(
        model, dataset, validation, recipe, stepper, schedule, parts.get("scheduler"), augmentation
    )
    # Keys of their own, so that runs without them are what they were.
    if phases:
        configuration["phases"] = list(phases)
    if masking is not None:
        configuration["masking"] = asdict(masking)
    if small is not None:
        configuration["small"] = _described(small) | {"part": small_part}
    # Weights that are not trained come from elsewhere: no setting and no seed tells which they are.
    if kept := [p for p in model.parameters() if not p.requires_grad]:
        configuration["kept"] = _digest(kept)
    folder = RunFolder(output, configuration, averaged, dataset.skeleton.name, parts, writes=rank == 0)
    folder.check()
    pending: list[dict[str, Tensor]] = []
    learnt = torch.zeros((), device=device)  # joints, or labelled pixels, seen so far
    changes = augmentation or Augmentation()
    supply = _Supply(recipe, share)
    phase = None

    with ExitStack() as within:
        within.enter_context(folder.alone())
        run = folder.clear() if fresh else folder.restore()
        fraction = _fraction(run, recipe, device)
        log = folder.path if tensorboard and rank == 0 else None
        report = Report(run, fraction, recipe.batch_size, callback if rank == 0 else None, progress and rank == 0, log)
        within.enter_context(report)
        within.enter_context(_own_random_numbers(device))
        asked = within.enter_context(stop_is_asked(folder.path is not None))
        begin = time.monotonic() - run.seconds
        saved, saved_step = time.monotonic(), run.step
        while fraction < 1:
            if scheduler is None:
                for group, rate in zip(stepper.param_groups, rates, strict=True):
                    group["lr"] = rate * schedule(fraction)
            begun = sum(fraction >= start for start in phases)
            if phases and begun != phase:
                phase = begun
                for some in {model, averaged}:
                    some.enter(phase)

            now = small if small is not None and fraction < small_part else dataset
            batch = supply(now, run.step)
            drawn = changes.draw(recipe.batch_size, _generator(recipe.seed, run.step, 2))
            window = now.size / now.widen
            batch = augment(batch, drawn[share], dataset.skeleton, size if now is dataset else round(window), window)
            if masking is not None and phase in (None, len(phases)):
                numbers = masking.draw(recipe.batch_size, _generator(recipe.seed, run.step, 4))
                batch = masking.apply(batch, numbers[share], dataset.skeleton)

            torch.manual_seed(_key(recipe.seed, run.step, rank, 3))  # dropout, and whatever else a network draws
            with autocast(device, recipe.bf16):
                outputs = network(channels_last(batch.images))
            loss, terms = model.loss(outputs, batch)
            loss.backward()
            norm = _clip(parameters, recipe.clip)
            stepper.step()
            stepper.zero_grad()
            if "ema" in parts:
                # A young average forgets faster, so that it does not hold on to the first weights.
                keep = min(recipe.ema, (1 + run.step) / (10 + run.step))
                parts["ema"].multi_avg_fn = get_ema_multi_avg_fn(keep)
                parts["ema"].update_parameters(model)
            if scheduler is not None and not plateau:
                parts["scheduler"].step()

            run.step += 1
            run.seconds = time.monotonic() - begin
            learnt += _labels(model, batch)
            pending.append({"loss": loss.detach(), **{k: v.detach() for k, v in terms.items()}, "gradient": norm})
            fraction = _fraction(run, recipe, device)
            done = fraction >= 1
            validates = done or (recipe.validate_every is not None and run.step % recipe.validate_every == 0)
            if not (validates or run.step % recipe.log_every == 0):
                continue

            _check_labels(model, dataset, sum_over_processes(learnt.clone()), len(pending) * recipe.batch_size)
            means = _means(pending, run.step, folder)
            pending.clear()
            rate = stepper.param_groups[0]["lr"]
            run.history["training"].append({"step": run.step, "seconds": run.seconds, "rate": rate, **means})
            if validates and validation is not None:
                score, measure = _validate(averaged, validation, recipe)
                run.history["validation"].append(
                    {"step": run.step, "seconds": run.seconds, "score": score, "measure": measure}
                )
                # A set in which nobody can be scored gives no number, which is never the best.
                if not math.isnan(score) and (score > run.best or not run.best_step):
                    run.best, run.best_step = score, run.step
                if plateau:
                    parts["scheduler"].step(score)
            report(fraction)
            # All processes end at the same row, whichever of them the signal came to.
            stops = sum_over_processes(torch.tensor(float(asked() is not None), device=device)) > 0
            due = recipe.save_every is not None and run.step - saved_step >= recipe.save_every
            if validates or due or stops or time.monotonic() - saved >= recipe.save_seconds:
                folder.save(run, weights=validates)
                saved, saved_step = time.monotonic(), run.step
            if stops:
                raise asked() or Stopped(signal.SIGTERM)
        folder.export(run, "last")
        if stop := asked():
            raise stop

    if averaged is not model:
        model.load_state_dict(averaged.state_dict())
    return run


def _fraction(run: Run, recipe: Recipe, device: torch.device) -> float:
    """How much of the run is over: of its steps or of its minutes, whichever is further. The same in all processes."""
    by_steps = run.step / recipe.steps if recipe.steps else 0.0
    by_time = run.seconds / (60 * recipe.minutes) if recipe.minutes else 0.0
    fraction = max(by_steps, by_time)
    return first_process_decides(fraction, device) if recipe.minutes else fraction


def _clip(parameters: list[nn.Parameter], limit: int | float | None) -> Tensor:
    """The gradient's norm, which is cut to the limit where there is one."""
    if limit is not None:
        return nn.utils.clip_grad_norm_(parameters, limit)
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def _labels(model: nn.Module, batch: Sample) -> Tensor:
    """How many joints there are to learn from; labelled pixels, for a network that parses alone."""
    if finds_joints(model):
        return (batch.presence > 0).sum()
    return torch.zeros(()) if batch.parsing is None else (batch.parsing != IGNORE_LABEL).sum()


def _check_labels(model: nn.Module, dataset: Dataset, learnt: Tensor, people: int) -> None:
    """ValueError where nothing was there to learn from; asked for when a row is written, as in `_means`."""
    if not learnt:
        what = "joint" if finds_joints(model) else "labelled pixel"
        raise ValueError(
            f"{dataset.name}/{dataset.split} gave no {what} to learn from: of {people:,} people none has a {what} in a "
            f"photograph that can be read; see what `posebook data check {dataset.name} ROOT` says"
        )


def _means(pending: list[dict[str, Tensor]], step: int, folder: RunFolder) -> dict[str, float]:
    """Means of what the last steps gave, over all processes; ValueError where one of them is not a number.

    Asking after each step would have a GPU wait for Python each time, so it is asked before anything is written.
    """
    table = torch.stack([torch.stack([value.float() for value in row.values()]) for row in pending])  # (steps, terms)
    table = sum_over_processes(table).cpu().double() / processes()[1]
    bad = ~table.isfinite()
    if bad.any():
        row, column = bad.nonzero()[0].tolist()
        what = list(pending[0])[column]
        raise folder.diverged(step - len(pending) + row + 1, f"{what} became {float(table[row, column])}")
    return dict(zip(pending[0], table.mean(0).tolist(), strict=True))


def _validate(model: nn.Module, dataset: Dataset, recipe: Recipe) -> tuple[float, str]:
    """Mean over joints of the skeleton's own measure, or the mean IoU of a network that parses alone, and its name."""
    from posebook.evaluation.benchmarks import BENCHMARKS

    if not finds_joints(model):
        matrix = parse(model, dataset, recipe.validation_images, batch_size=recipe.batch_size, bf16=recipe.bf16)
        return float(parsing_score(matrix).mean_iou), "mean IoU"
    benchmark = BENCHMARKS[dataset.skeleton.name]
    joints, _, truth = evaluate(model, dataset, recipe.validation_images, recipe.batch_size, bf16=recipe.bf16)
    return float(benchmark.score(joints, truth).mean), f"{benchmark.measure}@{benchmark.threshold:g}"


def _own_random_numbers(device: torch.device):
    """What the loop draws leaves the caller's random numbers where they were."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def _check(dataset: Dataset, validation: Dataset | None, size: int, batch_size: int, world: int) -> None:
    if batch_size % world:
        raise ValueError(f"{world} processes cannot share a batch of {batch_size} equally; give a multiple of {world}")
    if validation is not None and validation.size != size:
        raise ValueError(f"validation images are {validation.size} pixels and the network takes {size}")
    if validation is not None and validation.widen != 1:
        raise ValueError(f"validation images are {validation.widen:g} windows wide; open that set with widen=1.0")
    if dataset.length is not None and dataset.length < 1:
        raise ValueError(f"{dataset.name}/{dataset.split} is empty: there is nobody to train on")


def _check_phases(model: nn.Module, phases: tuple[float, ...]) -> None:
    name, known = getattr(model, "name", type(model).__name__), getattr(model, "phases", 1)
    if phases and known == 1:
        raise ValueError(f"{name} is not trained in phases: leave them out")
    if phases and len(phases) + 1 != known:
        raise ValueError(
            f"{name} is trained in {known} phases; give {known - 1} parts of the run after which one begins"
        )
    if not all(before < after for before, after in pairwise((0, *phases, 1))):
        raise ValueError(f"phases begin at {phases}; give parts of the run between 0 and 1, each above the one before")


def _check_small(dataset: Dataset, small: Dataset | None, part: int | float) -> None:
    if small is None:
        return
    if (small.name, small.split, small.length) != (dataset.name, dataset.split, dataset.length):
        raise ValueError(
            f"small images are of {small.name}/{small.split} and the others of {dataset.name}/{dataset.split}; "
            "open the same people in two sizes"
        )
    if not 0 <= part <= 1:
        raise ValueError(f"small images are to be {part} of the run; give a part from 0 to 1")


def _configuration(
    model: nn.Module,
    dataset: Dataset,
    validation: Dataset | None,
    recipe: Recipe,
    stepper: Optimizer,
    schedule: Schedule,
    scheduler: object | None,
    augmentation: Augmentation | None,
) -> dict:
    """Everything that decides what a run gives, as JSON would hold it: two runs of the same are the same run."""
    factors = fingerprint(schedule) if scheduler is None else None
    return {
        "model": getattr(model, "name", type(model).__name__.lower()),
        "settings": dict(model.settings),
        "dataset": _described(dataset),
        "validation": None if validation is None else _described(validation),
        "recipe": {k: v for k, v in asdict(recipe).items() if k not in ("save_every", "save_seconds")},
        "optimizer": f"{type(stepper).__name__}({', '.join(f'{k}={v}' for k, v in stepper.defaults.items())})",
        "schedule": factors,
        "scheduler": None if scheduler is None else _described_scheduler(scheduler),
        "augmentation": asdict(augmentation or Augmentation()),
    }


def _digest(weights: list[nn.Parameter]) -> str:
    """A name for weights, the same for the same numbers."""
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _described_scheduler(scheduler: object) -> dict[str, str]:
    """A torch scheduler that has not stepped yet: its type, and its state in words. LambdaLR's keeps no functions."""
    return {"type": type(scheduler).__name__, **{key: str(value) for key, value in scheduler.state_dict().items()}}


def _described(dataset: Dataset) -> dict:
    """A dataset's plain attributes: name, split, size, length and what its class adds (seed, difficulty, widen...)."""
    # Booleans are left out: they say how a set is read (kept on the device or not), not what it is.
    kinds = (str, int, float)
    plain = {k: v for k, v in vars(dataset).items() if not k.startswith("_") and type(v) in kinds}
    fixed = {"name": dataset.name, "split": dataset.split, "size": dataset.size, "length": dataset.length}
    # A key of its own, so that sets in their own windows are what they were.
    by = getattr(dataset, "perturbation", Perturbation())
    return fixed | plain | ({} if by == Perturbation() else {"perturbation": asdict(by)})
