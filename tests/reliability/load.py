"""Long-running commands on as much as people have: how long, how much memory, and what becomes of one bad file.

python tests/reliability/load.py --share 0.1
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from small_sets import lip

POSES, MAPS, PHOTOGRAPHS = 100_000, 50_000, 10_000
SIDE = 96


def main() -> None:
    """Print a row per command; the last words of each stand below it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the numbers that are meant")
    parser.add_argument("--only", action="append", help="a command of the table; may be given again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="posebook-load-") as place:
        for name, make in {"groups": poses, "score": maps, "pack": photographs, "predict": pictures}.items():
            if given.only and name not in given.only:
                continue
            folder = Path(place, name)
            folder.mkdir()
            count, command = make(folder, given.share)
            status, seconds, megabytes, said = ran(command)
            print(f"{name:8} {count:>7,}  {seconds:6.0f} s  {megabytes:6,.0f} MB  status {status}", flush=True)
            print("\n".join(f"         {line[:160]}" for line in said[-3:]), flush=True)


def poses(folder: Path, share: float) -> tuple[int, list[str]]:
    """`posebook groups` on a list of poses as LIP has it."""
    count = int(POSES * share)
    drawn = np.random.default_rng(0).uniform(0, 200, (count, 16, 2)).round().astype(int)
    lines = (
        f"{number}.jpg," + ",".join(f"{x},{y},0" for x, y in person) for number, person in enumerate(drawn.tolist())
    )
    (folder / "lip_train_set.csv").write_text("\n".join(lines) + "\n")
    return count, ["groups", "--poses", str(folder / "lip_train_set.csv")]


def maps(folder: Path, share: float) -> tuple[int, list[str]]:
    """`posebook score` on label maps, one of which is cut short in the middle."""
    count = int(MAPS * share)
    for name in ("predicted", "labels"):
        _linked(folder / name, count, "png", (Image.fromarray(lip.blocks(SIDE, SIDE, seed)) for seed in range(20)))
    _cut(folder / "predicted" / f"{count // 2:06}.png")
    return count, ["score", "--dataset", "lip", "--parsing", str(folder / "predicted"), "--labels",
                   str(folder / "labels")]  # fmt: skip


def photographs(folder: Path, share: float) -> tuple[int, list[str]]:
    """`posebook data pack` of a set like LSPET, one of whose photographs is cut short in the middle."""
    count = int(PHOTOGRAPHS * share)
    joints = np.random.default_rng(0).uniform(10, SIDE - 10, (14, 3, count))
    joints[:, 2] = 1
    savemat(folder / "joints.mat", {"joints": joints})
    _linked(folder / "images", count, "jpg", _scenes(), "im{:05}", 1)
    _cut(folder / "images" / f"im{count // 2:05}.jpg")
    return count, ["data", "pack", "lspet", str(folder), str(folder / "packed.safetensors"), "--size", str(SIDE)]


def pictures(folder: Path, share: float) -> tuple[int, list[str]]:
    """`posebook predict` on a folder of photographs, one of which is cut short in the middle."""
    count = int(PHOTOGRAPHS * share)
    _linked(folder / "photographs", count, "jpg", _scenes())
    _cut(folder / "photographs" / f"{count // 2:06}.jpg")
    return count, ["predict", str(folder / "photographs"), "--output", str(folder / "found")]


def ran(command: list[str]) -> tuple[int, float, float, list[str]]:
    """Status, seconds, peak memory in MB of the largest process, and the lines that it wrote at its end."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as heard:
        process = subprocess.Popen([sys.executable, "-m", "posebook.cli", *command], stdout=heard, stderr=heard)
        _, status, usage = os.wait4(process.pid, 0)
        heard.seek(0)
        lines = [line.rpartition("\r")[2].rstrip() for line in heard.read().splitlines()]
    # On Linux in kB; what it waited for is in its own figure.
    return os.waitstatus_to_exitcode(status), time.monotonic() - began, usage.ru_maxrss / 1e3, [x for x in lines if x]


def _scenes() -> Iterable[Image.Image]:
    generator = np.random.default_rng(0)
    return (Image.fromarray(generator.integers(0, 256, (SIDE, SIDE, 3), np.uint8)) for _ in range(20))


def _linked(
    folder: Path, count: int, kind: str, some: Iterable[Image.Image], name: str = "{:06}", first: int = 0
) -> None:
    """A folder of so many files that are the same few over and over, as links."""
    folder.mkdir()
    originals = []
    for number, picture in enumerate(some):
        originals.append(folder.parent / f"{folder.name}-{number}.{kind}")
        picture.save(originals[-1])
    for number in range(count):
        os.link(originals[number % len(originals)], folder / f"{name.format(first + number)}.{kind}")


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 3])


if __name__ == "__main__":
    main()
