"""Signals that stop a process, also where Python loses the error that they raise."""

from __future__ import annotations

import os
import signal
import weakref

import pytest

from posebook.compute.ending import Stopped, check_stopped, signals_stop


class Thing:
    """Can be pointed at weakly."""


def lose_a_signal() -> None:
    """As matplotlib does now and then: it comes while an object that is gone is tidied up."""
    thing = Thing()
    pointer = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    del thing
    assert pointer() is None


def work(loop: bool, rounds: list[int]) -> None:
    with signals_stop():
        lose_a_signal()
        for number in range(3):
            if loop:
                check_stopped()
            rounds.append(number)


@pytest.mark.parametrize(("loop", "done"), [(False, [0, 1, 2]), (True, [])])
def test_a_signal_is_not_lost_where_errors_are(loop, done, capfd):
    rounds: list[int] = []
    with pytest.raises(Stopped) as raised:
        work(loop, rounds)
    assert raised.value.number == signal.SIGTERM
    assert rounds == done
    assert "Stopped" not in capfd.readouterr().err
    check_stopped()  # nobody asks outside
