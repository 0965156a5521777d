"""Peak memory of notebooks at profile `quick`, against what a small Binder machine leaves for a kernel.

    python benchmarks/run.py memory                            all notebooks, into results/benchmarks.json
    python benchmarks/memory.py notebooks/00_solutions.ipynb   these alone, printed only

Counted is what is resident of the kernel and of all processes that it starts; pages that they share count for each.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from tqdm import tqdm

from posebook.notebooks.headless import find
from posebook.paths import NOTEBOOKS

BOUND = 1200  # MB
INTERVAL = 0.1  # seconds between two looks


def resident(process: psutil.Process) -> float:
    """MB resident in all processes below this one, or the most that any of them ever had, where that is more."""
    total = highest = 0
    for child in process.children(recursive=True):
        try:
            total += child.memory_info().rss
            # Linux keeps a process's peak, which may lie between two looks.
            status = Path(f"/proc/{child.pid}/status").read_text()
            highest = max(highest, *(int(peak) * 1024 for peak in re.findall(r"VmHWM:\s+(\d+) kB", status)), 0)
        except (psutil.NoSuchProcess, OSError):  # it has ended since, or this is not Linux
            continue
    return max(total, highest) / 1e6


def peak(notebook: Path) -> tuple[float, float]:
    """The peak in MB while a notebook runs, and how many seconds that takes.

    Raises:
        RuntimeError: the notebook stopped before its end.
    """
    with tempfile.TemporaryDirectory() as output, tempfile.TemporaryFile("w+") as log:
        main = "from posebook.cli import main; main()"
        began, most = time.monotonic(), 0.0
        ran = subprocess.Popen(
            [sys.executable, "-c", main, "run", str(notebook), "--output", output], stdout=log, stderr=log
        )
        try:
            above = psutil.Process(ran.pid)
            while ran.poll() is None:
                most = max(most, resident(above))
                time.sleep(INTERVAL)
        finally:
            ran.kill()
        if ran.returncode:
            log.seek(0)
            raise RuntimeError(f"{notebook} stopped: {log.read()[-1000:]}")
        return most, time.monotonic() - began


def measure(notebooks: list[str] | None = None) -> list[dict]:
    rows = []
    for notebook in (bar := tqdm(find(notebooks or ()), unit="notebook", leave=False)):
        name = (notebook.relative_to(NOTEBOOKS) if notebook.is_relative_to(NOTEBOOKS) else notebook).with_suffix("")
        bar.set_postfix_str(str(name))
        most, seconds = peak(notebook)
        verdict = "more than" if most > BOUND else "within"
        rows.append(
            {
                "what": f"peak memory of `{name.as_posix()}` at quick",
                "ours": most,
                "baseline": BOUND,
                "unit": "MB",
                "ratio": BOUND / most,
                "note": f"{verdict} the bound; the kernel and what it starts, {seconds:.0f} s",
            }
        )
    return rows


def main() -> None:
    from run import table

    rows = measure(sys.argv[1:])
    print(table(rows))
    above = [row["what"].removeprefix("peak memory of ") for row in rows if row["ours"] > BOUND]
    if above:
        raise SystemExit(f"more than {BOUND:,} MB: {', '.join(above)}")


if __name__ == "__main__":
    main()
