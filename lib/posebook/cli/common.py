"""What all commands share: errors in one sentence, and options that hold more than a word."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable

import click


def friendly(function: Callable | None = None, *, stopped: str = "") -> Callable:
    """Turn the errors that a person can meet into one sentence without a traceback. Goes below `@click.option`s.

    Ctrl-C and the signals that stop a process end it with a sentence too, and with the status that shells give them:
    128 and the signal's number. An empty text, which a script with an unset variable gives, is refused: it is no name,
    and not the default.

    Args:
        stopped: what is left of work that was stopped, and how it goes on.
    """
    if function is None:
        return functools.partial(friendly, stopped=stopped)

    @functools.wraps(function)
    def wrapper(*arguments, **options):
        from posebook.compute.ending import ignore_signals, signals_stop

        try:
            for name, value in options.items():
                if value == "" or (isinstance(value, tuple) and "" in value):
                    raise ValueError(f"{name.replace('_', '-')} is given, and is empty: give it, or leave it out")
            with signals_stop():
                return function(*arguments, **options)
        except BrokenPipeError:  # `posebook ... | head`: who read has had enough, and click ends quietly
            raise
        except (ValueError, OSError, ModuleNotFoundError) as error:
            raise click.ClickException(sentence(error)) from error
        except KeyboardInterrupt as error:
            ignore_signals()  # a second Ctrl-C is not to end what is ending in a traceback
            number = getattr(error, "number", signal.SIGINT)
            called = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            click.echo(f"\nStopped by {called}{': ' * bool(stopped)}{stopped}", err=True)
            sys.exit(128 + number)

    return wrapper


def sentence(error: Exception) -> str:
    """An error in words; the system's own with the file that it is about, and without its number."""
    if isinstance(error, OSError) and error.strerror:
        name = error.filename  # a file's, or the number of one that is open
        named = isinstance(name, str | bytes | os.PathLike) and name
        return f"{os.fsdecode(name)}: {error.strerror}" if named else error.strerror
    return str(error)


def duration(text: str) -> float:
    """Seconds of a duration as 90m, 2h or 45s; ValueError says how it should look."""
    units = {"s": 1, "m": 60, "h": 3600}
    try:
        seconds = float(text[:-1]) * units[text[-1:]]
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"--budget is '{text}'; give a time as 90m, 2h or 45s")
    return seconds


def numbers(text: str, option: str, form: str, count: int | None = None) -> tuple[float, ...]:
    """Finite numbers between commas; ValueError says how they should look."""
    import math

    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or (count is not None and len(numbers) != count) or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{option} is '{text}'; give {form}, as finite numbers")
    return numbers
