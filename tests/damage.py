"""Files as disks, networks and ill will leave them: cut short, or with bits turned over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# The same examples each time, and few: what they find is told at once, and the next run finds it again.
few = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Damaged(bytes):
    """Bytes that a failing test does not print."""

    def __repr__(self) -> str:
        return f"{len(self)} bytes"


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> Damaged:
    """The content cut short, or with up to eight bits of it turned over, half of them in its first 200 bytes."""
    if draw(st.booleans()):
        return Damaged(content[: draw(st.integers(0, len(content) - 1))])
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, min(200, len(content)) - 1) | st.integers(0, len(content) - 1))
        changed[place] ^= 1 << draw(st.integers(0, 7))
    return Damaged(changed)


def refusal(path: Path, content: bytes, read: Callable[[Path], object]) -> str:
    """Write and read a file: what it was refused with, a sentence that names it, or "" where it was taken."""
    path.write_bytes(content)
    try:
        read(path)
    except (ValueError, OSError) as error:
        said = str(error)
        assert path.name in said or str(path.parent) in said, said
        assert "\n" not in said.strip(), said
        return said
    return ""
