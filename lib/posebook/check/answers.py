"""What all checks of exercises share: answers not given yet, wrong answers, comparisons that say what is off."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor


class WrongAnswer(AssertionError):
    """An answer to an exercise that is not right; a notebook shows its sentence and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet: {self}"]


def exercise(check: Callable[..., str]) -> Callable[..., None]:
    """A check of an exercise: what it returns is printed after "Right:"; an answer that is None has not been given yet.

    An answer of another kind than what is asked for, which ends in an error, is told as wrong with what the error says.
    Random numbers drawn meanwhile leave PyTorch's own generator as it was.

    Args:
        check: takes the answer, then what else it needs; raises `WrongAnswer` through `require` and `compare`.
    """

    @wraps(check)
    def checked(answer: Any, *others: Any, **options: Any) -> None:
        if answer is None:
            print("Not answered yet.")
        else:
            try:
                with torch.random.fork_rng(devices=[]):
                    found = check(answer, *others, **options)
            except WrongAnswer:
                raise
            except Exception as error:  # as many kinds as there are answers of another kind
                raise WrongAnswer(
                    f"trying it ends with {type(error).__name__}: {error}. Call it yourself to see where"
                ) from error
            print(f"Right: {found}")

    return checked


def require(condition: bool, sentence: str) -> None:
    """Raises `WrongAnswer` with the sentence where the condition does not hold."""
    if not condition:
        raise WrongAnswer(sentence)


def function(answer: Any) -> None:
    """Raises `WrongAnswer` where an answer is no function."""
    require(callable(answer), f"a function is wanted here, not {type(answer).__name__}")


def number(found: Any) -> float:
    """What an answer's function returned, as a number; raises `WrongAnswer` where it is none."""
    try:
        return float(found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WrongAnswer(f"the function has to return one number, not {type(found).__name__}") from error


def compare(found: Any, expected: Any, sentence: str, tolerance: float = 1e-4) -> None:
    """Hold numbers or tensors against the expected ones: first the shape, then whether they are numbers, then values.

    Args:
        found: what the student has: a tensor, or numbers as a tensor is made of.
        sentence: what to look for where values differ; it must not give the answer.
        tolerance: the largest absolute difference that is right.

    Raises:
        WrongAnswer: they differ.
    """
    expected = torch.as_tensor(expected).double()
    if not isinstance(found, Tensor):
        try:
            found = torch.as_tensor(found)
        except (TypeError, ValueError, RuntimeError) as error:
            raise WrongAnswer(f"numbers or a tensor are wanted here, not {type(found).__name__}") from error
    found = found.detach().cpu().double()
    require(
        found.shape == expected.shape,
        f"the shape is {tuple(found.shape)}, where {tuple(expected.shape)} is wanted",
    )
    require(bool((found.isnan() == expected.isnan()).all()), f"some values are not numbers (NaN): {sentence}")
    off = (found - expected).nan_to_num().abs()
    require(bool((off <= tolerance).all()), sentence)
