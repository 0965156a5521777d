"""Where things are in the repository."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
WEIGHTS = DATA / "weights"
RESULTS = ROOT / "results"
NOTEBOOKS = ROOT / "notebooks"
