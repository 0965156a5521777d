"""Soft-argmax forward and backward, in time and memory, against kornia's and dsntnn's."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from importlib.util import find_spec

import torch
from timing import medians
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from posebook.compute.processes import pick_device
from posebook.layers.soft_argmax import soft_argmax

PEOPLE, JOINTS = 32, 16
SIDES = (64, 16)


def kornia(maps: Tensor) -> Tensor:
    from kornia.geometry.subpix import spatial_soft_argmax2d

    return spatial_soft_argmax2d(maps, normalized_coordinates=False)


def dsntnn(maps: Tensor) -> Tensor:
    from dsntnn import dsnt, flat_softmax

    return dsnt(flat_softmax(maps))


# How what a baseline gives becomes a place in [0, 1]: kornia counts cells from the first one's centre, dsntnn's side
# runs from -1 to 1.
BASELINES: dict[str, tuple[Callable, Callable]] = {
    "kornia": (kornia, lambda places, side: (places + 0.5) / side),
    "dsntnn": (dsntnn, lambda places, side: (places + 1) / 2),
}


class Memory(TorchDispatchMode):
    """Bytes of the tensors made since it began that are still alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        given = {storage._cdata for storage in _storages((args, kwargs))}
        for storage in _storages(out):
            key, size = storage._cdata, storage.nbytes()
            if key not in self.known | given:
                self.known.add(key)
                self.bytes += size
                self.peak = max(self.peak, self.bytes)
                weakref.finalize(storage, self._freed, key, size)
        return out

    def _freed(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.bytes -= size


def _storages(tree: object) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def memory(way: Callable[[Tensor], Tensor], maps: Tensor, gradient: Tensor) -> dict[str, int]:
    """Bytes kept from forward for backward, and the most at any time, the maps' gradient among it."""
    way(maps)  # what is made once and kept is no cost of a call
    with Memory() as counted:
        places = way(maps)
        kept = counted.bytes - places.untyped_storage().nbytes()
        torch.autograd.grad(places, maps, gradient)
    return {"kept for backward": kept, "peak": counted.peak}


def installed() -> list[str]:
    """The baselines there are; says which are missing."""
    missing = [name for name in BASELINES if find_spec(name) is None]
    if missing:
        names = " and ".join(missing)
        print(f"soft_argmax is not measured against {names}: install with pip install -r requirements.txt")
    return [name for name in BASELINES if name not in missing]


def agree(way: Callable, as_fraction: Callable, maps: Tensor, gradient: Tensor) -> None:
    """AssertionError where a baseline gives another place, or another gradient of it."""
    ours, theirs = soft_argmax(maps), as_fraction(way(maps), maps.shape[-1])
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)
    slopes = (torch.autograd.grad(places, maps, gradient)[0] for places in (theirs, ours))
    torch.testing.assert_close(*slopes, atol=1e-6, rtol=1e-3)


def measure(device: str = "auto", sides: Iterable[int] = SIDES) -> list[dict]:
    """Maps a second forward and backward, in turns, and memory; checks first that all agree."""
    where = pick_device(device)
    names, rows = installed(), []
    for side in sides:
        torch.manual_seed(0)
        maps = torch.randn(PEOPLE, JOINTS, side, side, device=where, requires_grad=True)
        gradient = torch.randn(PEOPLE, JOINTS, 2, device=where)
        ways = {"ours": soft_argmax} | {name: BASELINES[name][0] for name in names}
        for name in names:
            agree(*BASELINES[name], maps, gradient)

        def step(way: Callable, maps: Tensor = maps, gradient: Tensor = gradient) -> Callable[[], object]:
            return lambda: torch.autograd.grad(way(maps), maps, gradient)

        seconds = medians({name: step(way) for name, way in ways.items()}, repeats=25)
        sizes = {name: memory(way, maps, gradient) for name, way in ways.items()}
        what = f"soft-argmax {PEOPLE}x{JOINTS}x{side}x{side}"
        for name in names:
            rate = {key: PEOPLE * JOINTS / seconds[key] for key in ("ours", name)}
            rows.append(_row(f"{what}, forward and backward", rate["ours"], rate[name], "maps/s", f"against {name}"))
        rows += [
            _row(f"{what}, {kind}", sizes["ours"][kind] / 1e6, sizes[name][kind] / 1e6, "MB", f"against {name}")
            for name in names
            for kind in ("kept for backward", "peak")
        ]
    return rows


def _row(what: str, ours: float, baseline: float, unit: str, note: str) -> dict:
    """A row of the table; of memory, less is better."""
    ratio = baseline / ours if unit == "MB" else ours / baseline
    return {"what": what, "ours": ours, "baseline": baseline, "unit": unit, "ratio": ratio, "note": note}


if __name__ == "__main__":
    for row in measure():
        print(f"{row['what']}: {row['ours']:.3g} against {row['baseline']:.3g} {row['unit']}, {row['ratio']:.2f} x")
