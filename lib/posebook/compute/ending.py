"""How work ends before its time: Ctrl-C and the signals that stop a process, and a parent that is gone."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Ctrl-C; what `kill`, a batch system and a shutdown send; a terminal that is closed. Windows has no SIGHUP.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


# The signals that came within `signals_stop`.
_came: list[int] = []


@contextmanager
def signals_stop() -> Iterator[None]:
    """A context in which signals raise `Stopped`, as Ctrl-C does already, so that files and processes are tidied up."""

    def stop(number: int, frame: FrameType | None) -> None:
        _came.append(number)
        raise Stopped(number)

    def say_nothing(lost: Any) -> None:
        if not isinstance(lost.exc_value, Stopped):
            said(lost)

    said, sys.unraisablehook = sys.unraisablehook, say_nothing
    try:
        with _handled_by(stop):
            yield
            check_stopped()
    finally:
        sys.unraisablehook = said
        _came.clear()


def check_stopped() -> None:
    """In `signals_stop`, raise `Stopped` once more if a signal came; for each round of a long loop.

    Python lets no error out of what tidies an object up.
    """
    if _came:
        raise Stopped(_came[0])


def ignore_signals() -> None:
    """Nothing stops this process any more, which is about to end."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def stop_is_asked(active: bool = True) -> Iterator[Callable[[], Stopped | None]]:
    """A context in which the first signal is only noted, for work that comes to a good moment to end before long.

    A second one ends it at once, but for one that comes within a second: a terminal and torchrun may both tell of one
    Ctrl-C. Elsewhere than in a process's first thread, and where `active` is False, nothing changes.

    Returns:
        A function that gives what to raise at a good moment; None where no signal came.
    """
    noted: list[int] = []
    first = 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first
        first = first or time.monotonic()
        noted.append(number)
        if time.monotonic() - first > 1:
            raise Stopped(number)

    with _handled_by(note if active else None):
        yield lambda: Stopped(noted[0]) if noted else None


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None] | None) -> Iterator[None]:
    before = {}
    if handler is not None and threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            # What is ignored stays so: nohup's terminal, Ctrl-C for what a script runs in the background.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def end_with(parent: int, ctrl_c: bool = False) -> None:
    """Have this process end when its parent has, however that came about, and whatever this one is at.

    Nothing is tidied up. A process that is not a child of `parent` is left as it is.

    Args:
        ctrl_c: whether Ctrl-C is for this process too, or left to the parent.
    """
    if os.getpid() == parent or any(some.name == _WATCH for some in threading.enumerate()):
        return
    if os.getppid() != parent and _exists(parent):
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if not ctrl_c and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, name=_WATCH, daemon=True).start()


_WATCH = "posebook-parent"


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
