"""Leeds Sports Pose (LSP) and Leeds Sports Pose Extended (LSPET).

Both come as `joints.mat` beside a folder `images/`, and differ in what they hold:

    set    joints     people  third row                     photographs
    LSP    3x14xN      2,000  0 visible, 1 occluded         im0001.jpg
    LSPET  14x3xN     10,000  0 not annotated, 1 annotated  im00001.jpg

Johnson, Everingham, *Clustered Pose and Nonlinear Appearance Models for Human Pose Estimation*, BMVC 2010;
*Learning Effective Human Pose Estimation from Inaccurate Annotation*, CVPR 2011.

Open: the sets do not say from what their coordinates count. They are taken to count pixels from 1, as MATLAB does, in
which their labels were made: half a pixel is taken off.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from posebook.datasets.arrays import read_matlab
from posebook.datasets.photographs import FROM_ONE, People, Photographs, box_around
from posebook.sample import head_size
from posebook.skeleton import ABSENT, OCCLUDED, VISIBLE
from posebook.skeleton import LSP as LSP_SKELETON

# Side of a person's window beside the longer side of the box around the annotated joints.
CONTEXT = 1.25

LSP_PEOPLE = 2000
# People of LSPET in each of validation and test.
LSPET_HELD_OUT = 500


class LSP(Photographs):
    """LSP as a dataset.

    It keeps its official halves, 1,000 people to train on and 1,000 to test; the last 100 of the first half are the
    validation split.

    A person's crop is a square around the box of the annotated joints, 1.25 times its longer side. Head size is the
    distance from neck to head top. People without any annotated joint are left out.

    Args:
        root: folder that holds `joints.mat` and `images/`; the rest as in `Photographs`.

    Raises:
        FileNotFoundError: no `joints.mat`, or none of the photographs.
        ValueError: an unknown layout, or evidently the other of the two sets.
    """

    name, skeleton = "lsp", LSP_SKELETON

    def read_people(self) -> People:
        """The people of the split that have any joint."""
        everyone = read_people(self.root, self.name)
        places = _places(self.name, self.split, len(everyone))
        return everyone[places[(everyone.presence[places] > 0).any(1)]]


class LSPET(LSP):
    """LSPET as a dataset: as LSP, but for its splits and what its labels say.

    It has no official split: here the last 500 by number are the test split, the 500 before them validation, the rest
    train. It does not say what is occluded: all its annotated joints count as visible, and its labels, which were
    crowd-sourced, hold errors.
    """

    name = "lspet"


def read_people(root: str | Path, name: str) -> People:
    """Everyone in LSP or LSPET by number, those without any annotated joint included (their centre is NaN)."""
    root = Path(root)
    joints, presence = read_labels(root / "joints.mat", name)
    joints = joints - FROM_ONE
    centre, window = box_around(joints, presence, CONTEXT)
    digits = 4 if name == "lsp" else 5
    paths = [root / "images" / f"im{number:0{digits}d}.jpg" for number in range(1, len(joints) + 1)]
    return People(paths, joints, presence, centre, window, head_size(joints, presence, LSP_SKELETON))


def read_labels(path: str | Path, name: str) -> tuple[Float[Tensor, "n 14 2"], UInt8[Tensor, "n 14"]]:
    """Positions, in the file's own pixels, and presence of everyone in the `joints.mat` of LSP or LSPET.

    Absent is what is not a number, what LSPET calls not annotated, and in LSP what is -1, -1.

    Raises:
        FileNotFoundError, ValueError: as `read_joints` does; the file is evidently the other of the two sets.
    """
    joints, third = read_joints(path)
    _refuse_the_other(Path(path), name, third)
    zero, one = (VISIBLE, OCCLUDED) if name == "lsp" else (ABSENT, VISIBLE)
    annotated = joints.isfinite().all(-1)
    if name == "lsp":
        annotated &= ~(joints < 0).all(-1)
    return joints, (torch.where(third > 0, one, zero) * annotated).to(torch.uint8)


def read_joints(path: str | Path) -> tuple[Float[Tensor, "n 14 2"], Float[Tensor, "n 14"]]:
    """Positions and third row of a `joints.mat`, whichever of 14x3xN and 3x14xN it is.

    Raises:
        FileNotFoundError, ValueError: no such file; not a MATLAB file, no `joints` in it, or another shape.
    """
    path = Path(path)
    joints = np.asarray(read_matlab(path, "joints")["joints"])
    shape = "x".join(map(str, joints.shape))
    if joints.ndim != 3 or set(joints.shape[:2]) != {3, 14} or not np.issubdtype(joints.dtype, np.number):
        raise ValueError(f"joints in {path} is {shape}; LSP's is 3x14xN and LSPET's 14x3xN")
    order = (2, 0, 1) if joints.shape[0] == 14 else (2, 1, 0)
    rows = torch.from_numpy(np.ascontiguousarray(joints.transpose(order), dtype=np.float32))
    return rows[..., :2].contiguous(), rows[..., 2].contiguous()


def name_of(third: Float[Tensor, "n 14"]) -> str:
    """Which of the two sets a third row is of: most joints are annotated in LSPET (1), few are occluded in LSP (1)."""
    return "lspet" if (third > 0).float().mean() > 0.5 else "lsp"


def _refuse_the_other(path: Path, name: str, third: Tensor) -> None:
    """ValueError where the file is evidently the other of the two sets."""
    if name not in ("lsp", "lspet"):
        raise ValueError(f"name must be 'lsp' or 'lspet', not '{name}'")
    other = "lspet" if name == "lsp" else "lsp"
    digits = 5 if other == "lspet" else 4
    if (path.parent / "images" / f"im{1:0{digits}d}.jpg").exists():
        raise ValueError(
            f"{path.parent} holds {other.upper()} (images/im{1:0{digits}d}.jpg): open it by the name '{other}'"
        )
    if name_of(third) == other:
        share = float((third > 0).float().mean())
        raise ValueError(
            f"the third row of {path} is 1 for {share:.0%} of the joints, as in {other.upper()}, where it means "
            f"something else than in {name.upper()}: give {name.upper()}'s own, or open this one by the name '{other}'"
        )
    if name == "lsp" and len(third) != LSP_PEOPLE:
        raise ValueError(
            f"{path} has {len(third):,} people and LSP {LSP_PEOPLE:,}: its official halves cannot be told; get it whole"
        )
    if name == "lspet" and len(third) <= 2 * LSPET_HELD_OUT:
        raise ValueError(
            f"{path} has {len(third):,} people, too few for LSPET: {2 * LSPET_HELD_OUT:,} are held out; get it whole"
        )


def _places(name: str, split: str, count: int) -> Int[Tensor, " n"]:
    """Which people by number are in a split."""
    ends = (900, 1000, 2000) if name == "lsp" else (count - 2 * LSPET_HELD_OUT, count - LSPET_HELD_OUT, count)
    bounds = {"train": (0, ends[0]), "validation": (ends[0], ends[1]), "test": (ends[1], ends[2])}
    return torch.arange(*bounds[split])
