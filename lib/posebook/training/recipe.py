"""The numbers of a run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """The numbers of a run. It ends when its steps or its minutes are over, whichever comes first.

    A run by steps can be repeated, and stopped and resumed, to the same bits on the same machine with as many threads
    (`torch.get_num_threads`): sums over more of them come in another order. A run by minutes
    resumes where it was as well, but its schedule follows the clock: no two such runs are the same to the bit.

    Args:
        steps: updates of the weights.
        minutes: of work, validation included; those before a resume count.
        batch_size: people a step, over all processes together.
        learning_rate: what the schedule's factor multiplies.
        clip: the gradient's largest norm; None leaves it.
        ema: how much an average of the weights keeps at a step (0.999); the average is validated and saved. None: none.
        bf16: as in `precision.use_bf16`.
        seed: of batches, augmentation and dropout. The same numbers take the same number of threads.
        log_every: steps to a row of the history.
        validate_every: steps from one validation to the next; None validates at the end alone.
        validation_images: people in a validation, or as many as there are.
        save_every: steps from one saved state to the next, rounded up to a row of the history; None goes by time.
        save_seconds: the same in seconds.

    Raises:
        ValueError: neither steps nor minutes, or a number out of its range, which ends at 10^12 steps of 65,536 people.
    """

    steps: int | None = None
    minutes: int | float | None = None
    batch_size: int = 32
    learning_rate: int | float = 1e-3
    clip: int | float | None = None
    ema: float | None = None
    bf16: bool | None = None
    seed: int = 0
    log_every: int = 10
    validate_every: int | None = None
    validation_images: int = 500
    save_every: int | None = None
    save_seconds: int | float = 60

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("recipe: give steps, or minutes, or both")
        for name, value in asdict(self).items():
            if name not in ("seed", "bf16") and value is not None and not 0 < value < math.inf:
                raise ValueError(f"recipe: {name} is {value}; give a number above 0")
        # Beyond, people cannot be numbered, and nothing would come to an end or fit into memory.
        for name, most in (("steps", 10**12), ("batch_size", 2**16)):
            if (getattr(self, name) or 0) > most:
                raise ValueError(f"recipe: {name} is {getattr(self, name)}; give at most {most:,}")
        if self.ema is not None and self.ema >= 1:
            raise ValueError(f"recipe: ema is {self.ema}; give the part of the average to keep, below 1")

    def but(self, **changes: int | float | bool | None) -> Recipe:
        """The same with some numbers changed; None changes nothing. Steps replace minutes, and minutes steps."""
        changes = {name: value for name, value in changes.items() if value is not None}
        if changes.keys() & {"steps", "minutes"}:
            changes = {"steps": None, "minutes": None} | changes
        return replace(self, **changes)
