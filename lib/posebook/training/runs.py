"""How far a run is, the folder it is kept in, and how it tells of itself while it goes."""

from __future__ import annotations

import math
import platform
import shutil
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from posebook import __version__
from posebook.compute.precision import use_bf16
from posebook.compute.processes import device_name, processes
from posebook.extras import needs
from posebook.paths import alone, check_writable
from posebook.training.checkpoint import STATE, load_state, save_state, save_weights

# In a run's folder, what it scored on the test split once it was over.
SCORES = "test.json"


@dataclass
class Run:
    """How far a run is, and what it was like.

    Attributes:
        step: updates made.
        seconds: of work, over all sittings.
        best: highest score of a validation, 0 before the first.
        best_step: the step it was measured at.
        history: "training" has rows with step, seconds, rate, and the means since the row before of loss, its terms
            and the gradient's norm; "validation" rows with step, seconds, score and the name of the measure.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = 0.0
    best_step: int = 0
    history: dict[str, list[dict]] = field(default_factory=lambda: {"training": [], "validation": []})

    @property
    def curve(self) -> list[dict]:
        """Loss and validation scores, as `pictures.plot_curve` draws them."""
        rows = [{"step": row["step"], "loss": row["loss"]} for row in self.history["training"]]
        return rows + [
            {"step": row["step"], f"validation {row['measure']}": row["score"]} for row in self.history["validation"]
        ]

    @property
    def is_best(self) -> bool:
        """Whether the weights of this very step are the best so far."""
        return self.best_step == self.step > 0


class RunFolder:
    """Where a run is kept. Without a path, or in any process but the first, nothing is written."""

    def __init__(
        self, path: str | Path | None, configuration: dict, model: nn.Module, skeleton: str, parts: dict, writes: bool
    ) -> None:
        self.path = None if path is None else Path(path)
        self.writes = writes and path is not None
        self.configuration, self.model, self.skeleton, self.parts = configuration, model, skeleton, parts

    @property
    def holds_state(self) -> bool:
        """Whether there is a state to go on from."""
        return self.path is not None and (self.path / STATE).is_file()

    def diverged(self, step: int, what: str) -> ValueError:
        """What to say of a run that stopped being one of numbers."""
        kept = f"; the last good state is kept in {self.path}" if self.holds_state else ""
        return ValueError(
            f"at step {step} the {what}{kept}. Lower the learning rate, clip the gradient, or train with bf16 off"
        )

    def check(self) -> None:
        """OSError where the run could not be written: before it starts, and not when it is to be saved."""
        if not self.writes:
            return
        check_writable(self.path)
        # The network, an optimiser's two numbers per weight, perhaps an average; weights twice; each written beside.
        weights = sum(value.numel() * value.element_size() for value in self.model.state_dict().values())
        wanted, free = 8 * weights, shutil.disk_usage(self.path).free
        if wanted > free:
            raise OSError(
                f"the run takes up to {wanted / 1e6:,.0f} MB in {self.path}, and its disk has {free / 1e6:,.0f} MB "
                "free: make room, or give another folder"
            )

    def alone(self) -> AbstractContextManager:
        """A context in which no other process trains in the folder; OSError where one does."""
        return (
            alone(self.path / "training.lock", f"the run in {self.path}", wait=False) if self.writes else nullcontext()
        )

    def restore(self) -> Run:
        """The run as it was saved, with the parts set back to it; a new one where there is none."""
        state = load_state(self.path, self.configuration) if self.path else None
        if state is None:
            return Run()
        try:
            for key, part in self.parts.items():
                part.load_state_dict(state["parts"][key])
            run = Run(**state["run"])
            if [type(run.step), *map(type, map(run.history.get, ("training", "validation")))] != [int, list, list]:
                raise ValueError("it does not say how far the run was")
        except Exception as error:  # as many kinds as there are ways for a state to be another one
            raise ValueError(
                f"{self.path / STATE} is not the state of this run ({error}); give another folder, or start afresh"
            ) from error
        # The kill may have come between the state and the weights that follow from it.
        if run.is_best:
            self.export(run, "best")
        return run

    def clear(self) -> Run:
        """A new run, with what an older one left gone."""
        if self.writes:
            for name in (STATE, SCORES, "last.safetensors", "last.json", "best.safetensors", "best.json"):
                (self.path / name).unlink(missing_ok=True)
        return Run()

    def save(self, run: Run, weights: bool) -> None:
        """The state; then, where asked, the weights that follow from it.

        Raises:
            ValueError: weights that are not numbers, which no run goes on from.
        """
        for name, value in self.model.state_dict().items():
            if not value.isfinite().all():
                raise self.diverged(run.step, f"weights {name} hold values that are not numbers")
        if not self.writes:
            return
        parts = {key: part.state_dict() for key, part in self.parts.items()}
        save_state(self.path, {"configuration": self.configuration, "run": asdict(run), "parts": parts})
        if weights:
            self.export(run, "last")
            if run.is_best:
                self.export(run, "best")

    def export(self, run: Run, which: str) -> None:
        """Weights, and how they came about."""
        if not self.writes:
            return
        device = next(self.model.parameters()).device
        validated = run.history["validation"]
        score = validated[-1]["score"] if validated and validated[-1]["step"] == run.step else None
        record = {key: value for key, value in self.configuration.items() if key not in ("model", "settings")}
        record |= {
            "steps": run.step,
            **({"phase": self.model.phase} if "phases" in self.configuration else {}),
            "images": run.step * self.configuration["recipe"]["batch_size"],
            "seconds": round(run.seconds, 1),
            "loss": run.history["training"][-1]["loss"] if run.history["training"] else None,
            "score": score if score is not None and math.isfinite(score) else None,
            "measure": validated[-1]["measure"] if validated else None,
            "device": device_name(device),
            "bf16": use_bf16(device, self.configuration["recipe"]["bf16"]),
            "threads": torch.get_num_threads(),
            "processes": processes()[1],
            "versions": {"posebook": __version__, "torch": torch.__version__, "python": platform.python_version()},
        }
        save_weights(self.path / which, self.model, self.configuration["model"], self.skeleton, record)


class Report:
    """Tells how a run goes: a progress bar, a callback, a TensorBoard log in `folder`."""

    def __init__(
        self,
        run: Run,
        fraction: float,
        batch_size: int,
        callback: Callable[[Run], None] | None,
        progress: bool,
        folder: Path | None,
    ) -> None:
        from tqdm.auto import tqdm

        shape = "{desc} {percentage:3.0f}% |{bar}| {elapsed}{postfix}"
        self.bar = tqdm(desc="training", total=100, initial=100 * fraction, bar_format=shape, disable=not progress)
        self.run, self.batch_size, self.callback = run, batch_size, callback
        self.since = run.step, run.seconds
        self.validated = len(run.history["validation"])
        self.log = None
        if folder is not None:
            try:
                with needs("study", "a TensorBoard log"):
                    from torch.utils.tensorboard import SummaryWriter
            except ModuleNotFoundError as error:
                # The history has the same numbers.
                warnings.warn(f"training goes on without it: {error}", stacklevel=3)
            else:
                self.log = SummaryWriter(str(folder / "tensorboard"), purge_step=run.step + 1)

    def __enter__(self) -> Report:
        return self

    def __call__(self, fraction: float) -> None:
        """After each row of the history."""
        run = self.run
        row, validation = run.history["training"][-1], run.history["validation"]
        speed = self.batch_size * (run.step - self.since[0]) / max(run.seconds - self.since[1], 1e-9)
        self.since = run.step, run.seconds
        text = f"step {run.step:,}, {speed:,.0f} images/s, loss {row['loss']:.4g}"
        if validation:
            text += f", {validation[-1]['measure']} {100 * validation[-1]['score']:.1f} %"
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(100 * min(fraction, 1.0) - self.bar.n)
        if self.log is not None:
            self._write(row, validation[self.validated :])
        self.validated = len(validation)
        if self.callback is not None:
            self.callback(run)

    def _write(self, row: dict, validated: list[dict]) -> None:
        """The newest row, and what was validated since the one before, for TensorBoard."""
        for key in row.keys() - {"step", "seconds"}:
            self.log.add_scalar(f"training/{key}", row[key], row["step"])
        for other in validated:
            self.log.add_scalar(f"validation/{other['measure']}", other["score"], other["step"])

    def __exit__(self, *error) -> None:
        self.bar.close()
        if self.log is not None:
            self.log.close()


def live_curve(seconds: float = 2.0) -> Callable[[Run], None]:
    """A callback that redraws the training curve under a notebook's cell, this often at most.

    Drawing never takes more than a fiftieth of the time.
    """
    due = -math.inf

    def show(run: Run) -> None:
        nonlocal due
        begin = time.monotonic()
        if begin < due:
            return
        with needs("study", "a curve that is drawn anew"):
            from IPython.display import clear_output, display

        from posebook.pictures import plot_curve

        clear_output(wait=True)
        display(plot_curve(run.curve))
        now = time.monotonic()
        due = now + max(seconds, 49 * (now - begin))

    return show
