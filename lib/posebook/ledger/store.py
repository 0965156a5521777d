"""Where measurements are kept: a file a claim, the newest last."""

from __future__ import annotations

import json
from pathlib import Path

from posebook.ledger.claim import Claim
from posebook.ledger.runs import Work
from posebook.paths import replacing


def _file(claim: Claim, results: str | Path) -> Path:
    return Path(results) / f"{claim.id}.json"


def measurements(claim: Claim, results: str | Path) -> list[dict]:
    """What was measured of a claim, the newest last; ValueError where the file is not whole."""
    path = _file(claim, results)
    if not path.is_file():
        return []
    try:
        return json.loads(path.read_text(encoding="utf-8"))["measurements"]
    except (json.JSONDecodeError, KeyError) as error:
        raise ValueError(f"{path} is not a file of measurements ({error!r}); restore it or delete it") from error


def stored(claim: Claim, wanted: list[Work], seeds: int, results: str | Path) -> dict | None:
    """The measurement on just these runs, where there is one."""
    same = {
        "runs": [work.key for work in wanted],
        "seeds": list(range(seeds)),
        "test_images": wanted[0].plan.test_images,
    }
    fitting = [found for found in measurements(claim, results) if same.items() <= found.items()]
    return fitting[-1] if fitting else None


def append(claim: Claim, measurement: dict, results: str | Path, runs: Path) -> None:
    """Add a measurement to its claim's file, unless another process has just added the same."""
    from filelock import FileLock

    path = _file(claim, results)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(runs / "results.lock"):
        before = measurements(claim, results)
        if any(found["runs"] == measurement["runs"] and found["values"] == measurement["values"] for found in before):
            return
        with replacing(path) as part:
            text = json.dumps(claim.about | {"measurements": [*before, measurement]}, indent=2)
            part.write_text(text + "\n", encoding="utf-8")
