"""Readings, the store that all else in the ledger follows from: a line per trained run, in a file per paper.

A file only ever grows by whole lines: it is written anew beside its place and renamed, under a lock. Files of two
machines become one by putting one behind the other: a run that is there twice counts once.

In a repository the files are those of its results/. An installed package has files of its own, which it leaves as they
are: they count until results/ in the current folder has one of that paper, and that one begins with their lines.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_type_hints

from posebook.outside import read_text
from posebook.paths import RESULTS, WORK, alone, check_writable, replacing

# Where results are written, and looked for first, when nobody gives a folder.
OWN = WORK / "results"
FOLDER = OWN / "readings"


@dataclass(frozen=True)
class Reading:
    """What was read off one trained network, and how it came about.

    Attributes:
        paper, variant, dataset, profile, seed, half: as in `runs.Work`.
        options: what the set was opened with beside name, split and size.
        digest: name of the run's configuration; runs of one digest are one run.
        test_images: how many people it was read on; None: all of the test split.
        readings: numbers by name, fractions where they are accuracies; lists by joint or by threshold.
        seconds: of training.
        reading_seconds: of testing.
        device, threads, versions: that it was trained with.
        date: on which it was read.
        carried: the readings are only those that claims had stored, before runs were kept.
    """

    paper: str
    variant: str
    dataset: str
    profile: str
    seed: int
    half: bool
    options: dict[str, str | int | float]
    digest: str
    test_images: int | None
    readings: dict[str, float | list[float | None]]
    seconds: float
    reading_seconds: float
    device: str
    threads: int
    versions: dict[str, str]
    date: str
    carried: bool = False

    @property
    def key(self) -> tuple[str, str, int | None]:
        """What two readings of the same run, on the same people, have in common.

        A run on several threads, as older ones may be, is another run: its sums come in another order.
        """
        digest = self.digest if self.threads == 1 else f"{self.digest} on {self.threads} threads"
        return digest, self.dataset, self.test_images


Readings = dict[tuple[str, str, int | None], Reading]


def read(paper: str, folder: str | Path = FOLDER) -> Readings:
    """All readings of a paper; of those of one run, the last that was not carried.

    Raises:
        ValueError: a line that is none.
    """
    path = _file(paper, folder)
    found: Readings = {}
    if not path.exists():
        return found
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            reading = Reading(**json.loads(line))
            _check(reading)
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{path}: line {number} is no reading ({error}); restore the file, or delete the line"
            ) from error
        if reading.key not in found or not reading.carried:
            found[reading.key] = reading
    return found


def append(readings: Iterable[Reading], folder: str | Path = FOLDER) -> None:
    """Add readings to the files of their papers, but for those that are there."""
    folder = check_writable(folder)
    by_paper: dict[str, list[Reading]] = {}
    for reading in readings:
        by_paper.setdefault(reading.paper, []).append(reading)
    for paper, added in by_paper.items():
        path = folder / f"{paper}.jsonl"
        with alone(folder / f".{paper}.lock"):
            there = read(paper, folder)
            lines = [_line(some) for some in added if some.key not in there or there[some.key].carried > some.carried]
            if not lines:
                continue
            before = _file(paper, folder)
            text = read_text(before) if before.exists() else ""
            with replacing(path) as part:
                part.write_text(text + "".join(lines), encoding="utf-8")


def _check(reading: Reading) -> None:
    """TypeError or ValueError where a field is not of its kind: verdicts follow from these."""
    kinds = get_type_hints(Reading)
    for name in ("paper", "variant", "dataset", "profile", "seed", "half", "digest", "test_images", "carried"):
        if not isinstance(getattr(reading, name), kinds[name]):
            raise TypeError(f"{name} is {getattr(reading, name)!r}")
    if not isinstance(reading.readings, dict):
        raise TypeError(f"readings are {reading.readings!r}")
    for name, value in reading.readings.items():
        for number in value if isinstance(value, list) else [value]:
            fits = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
            if not fits and not (number is None and isinstance(value, list)):
                raise ValueError(f"its {name} is {number!r}, which is no number")


def _file(paper: str, folder: str | Path) -> Path:
    """The file to read a paper's readings from."""
    path = Path(folder) / f"{paper}.jsonl"
    return RESULTS / "readings" / path.name if Path(folder) == FOLDER and not path.is_file() else path


def _line(reading: Reading) -> str:
    return json.dumps(asdict(reading), allow_nan=False) + "\n"
