"""Mutual information of all pairs of joints, against scikit-learn pair by pair."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from sklearn.metrics import mutual_info_score
from timing import medians, row

from posebook.figures import random
from posebook.figures.prior import PosePrior
from posebook.grouping.information import quantise
from posebook.grouping.spectral import mutual_information

POSES, WINDOW, LATTICE = 20_000, 2.0, 16


def pair_by_pair(cells: np.ndarray) -> np.ndarray:
    """Mutual information of every two rows of cells, in the order of `itertools.combinations`."""
    return np.array([mutual_info_score(first, second) for first, second in combinations(cells, 2)])


def measure() -> list[dict]:
    """Poses a second of the two, in turns; checks first that they find the same. Ours finds the cells as well."""
    prior = PosePrior.load()
    keys = random.keys("test", torch.arange(POSES), seed=0)
    poses = torch.cat([prior.sample(some, candidates=1) for some in keys.split(2000)])
    cells = quantise(poses, None, WINDOW, LATTICE, None, None)[0].numpy()

    def ours() -> torch.Tensor:
        return mutual_information(poses, window=WINDOW, lattice=LATTICE)

    above = torch.triu_indices(poses.shape[1], poses.shape[1], 1).unbind(0)
    np.testing.assert_allclose(ours()[above].numpy(), pair_by_pair(cells), atol=1e-5)

    seconds = medians({"ours": ours, "baseline": lambda: pair_by_pair(cells)}, repeats=9)
    what = f"mutual information, 16 joints, {LATTICE}x{LATTICE} cells"
    note = f"{POSES:,} poses in {1000 * seconds['ours']:.0f} ms; against scikit-learn's mutual_info_score, pair by pair"
    return [row(what, seconds, POSES, "poses/s", note)]


if __name__ == "__main__":
    print(*measure(), sep="\n")
