"""Run the benchmarks: one table, and results/benchmarks.json.

    python benchmarks/run.py                every benchmark
    python benchmarks/run.py hourglass      those whose file's name contains a word; the others' rows stay in the file
    python benchmarks/run.py --list         their names

A benchmark is a file in this folder with `measure() -> list[dict]`; a row says `what`, `ours`, `baseline`, `unit`,
`ratio` and `note`. The ratio is what counts: both numbers of a row come from one run, measured in turns.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch
from tqdm import tqdm

from posebook import __version__
from posebook.compute.precision import has_bf16
from posebook.compute.processes import pick_device
from posebook.paths import RESULTS

HERE = Path(__file__).parent
NOT_BENCHMARKS = ("gpu", "run", "spread", "timing")


def names() -> list[str]:
    """The benchmarks' files without their ending."""
    return sorted(file.stem for file in HERE.glob("*.py") if file.stem not in NOT_BENCHMARKS)


def chosen(words: list[str]) -> list[str]:
    """The names that contain any of the words; all without words."""
    for word in words:
        if not any(word in name for name in names()):
            raise SystemExit(f"no benchmark's name contains '{word}'; there are {', '.join(names())}")
    return [name for name in names() if not words or any(word in name for word in words)]


def machine(device: str = "auto") -> dict:
    """What the numbers were measured on."""
    where = pick_device(device)
    cuda = where.type == "cuda"
    return {
        "device": torch.cuda.get_device_name() if cuda else _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bfloat16": has_bf16(where),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "posebook": __version__,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _processor() -> str:
    """The processor's name: Linux tells it in a file alone."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine()


def table(rows: list[dict]) -> str:
    """The rows as a table in Markdown."""
    lines = ["| what | posebook | baseline | unit | ratio | note |", "|---|---:|---:|---|---:|---|"]
    lines += [
        f"| {row['what']} | {_figure(row['ours'])} | {_figure(row['baseline'])} | {row['unit']} | {row['ratio']:.1f} "
        f"| {row['note']} |"
        for row in rows
    ]
    return "\n".join(lines)


def _figure(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure speed beside what a user would pick instead.")
    parser.add_argument("words", nargs="*", help="only benchmarks whose name contains one of these")
    parser.add_argument("--list", action="store_true", help="print the benchmarks' names")
    parser.add_argument("--output", type=Path, default=RESULTS / "benchmarks.json", help="where the rows go")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(names()))
        return

    stored = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    measured = {}
    for name in (bar := tqdm(chosen(arguments.words), unit="benchmark")):
        bar.set_postfix_str(name)
        measured[name] = {"machine": machine(), "rows": importlib.import_module(name).measure()}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: result for name, result in stored.items() if name in names()}
    arguments.output.write_text(json.dumps(dict(sorted({**kept, **measured}.items())), indent=2) + "\n")
    print(table([row for result in measured.values() for row in result["rows"]]))


if __name__ == "__main__":
    main()
