"""Stop every long-running command at random moments, go on, and say what was lost: `make campaign`.

python tests/reliability/campaign.py --moments 20 --only train --only "data pack"
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reliability.kinds import SIGNALS, kinds, serving, stopped, whole


def main() -> None:
    """Print a table of what was tried and what was fine; status 1 where anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=20, help="of each signal, per command")
    parser.add_argument("--only", action="append", help="a command's name in the table; may be given again")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    # A script's background ignores Ctrl-C, and what is started there would.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rows, faults = [], []
    with serving() as address, tempfile.TemporaryDirectory(prefix="posebook-campaign-") as place:
        for name, kind in kinds(address).items():
            if given.only and name not in given.only:
                continue
            began, random = time.monotonic(), Random(f"{given.seed} {name}")
            folder = Path(place, name.replace(" ", "-"), "whole")
            folder.mkdir(parents=True)
            expected, seconds = whole(kind, folder)
            counts = dict.fromkeys((*SIGNALS, 0), 0)
            fine = dict(counts)
            # A command that is stopped time and again comes to its end: so it begins anew after every third.
            for turn in range(given.moments):
                moments = [(number, random.random()) for number in random.sample(SIGNALS, len(SIGNALS))]
                folder = Path(place, name.replace(" ", "-"), f"{turn}")
                folder.mkdir()
                for number, fault in stopped(kind, folder, moments, expected, seconds):
                    counts[number] += 1
                    fine[number] += fault is None
                    if fault:
                        faults.append(f"{name}, {'resumed' if not number else number.name}: {fault}")
                        print(faults[-1], flush=True)
            row = [f"{fine[number]} of {counts[number]}" for number in counts]
            rows.append([name, *row, f"{seconds:.1f} s", f"{time.monotonic() - began:.0f} s"])
            print("  ".join(rows[-1]), flush=True)
    print()
    head = ["stopped", *(number.name for number in SIGNALS), "the same after", "works for", "took"]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
