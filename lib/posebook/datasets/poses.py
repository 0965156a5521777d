"""Poses in the annotation file of any set, and which of their joints belong together (`posebook groups`).

report = group_report(["train_joints.csv", "test_joints.csv"], window=2)
print(render(report))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from posebook.datasets import lip
from posebook.datasets.arrays import matlab_names
from posebook.datasets.lsp import name_of, read_joints, read_labels
from posebook.datasets.mpii import read_annotations, windows
from posebook.datasets.photographs import box_around
from posebook.datasets.tables import read_lines
from posebook.grouping.information import JointHistogram
from posebook.grouping.spectral import adjusted_rand, bootstrap_groups, named_groups, spectral_groups
from posebook.outside import existing
from posebook.sample import head_size, torso_size
from posebook.skeleton import LSP, MPII, Skeleton

# What poses can be scaled by, each with the side of the lattice in that unit where none is asked for.
NORMALISATIONS = {"box": 2.5, "annotated": 1.5, "torso": 6.0, "head": 10.0}

# With fewer poses a report says how far its groups can be trusted, from this many draws of the poses.
FEW, DRAWS = 2000, 20


@dataclass
class Poses:
    """People of one file, in pixels of their photographs.

    Attributes:
        skeleton: the order of the joints.
        joints: (x, y); meaningless where `presence` is 0.
        presence: 0 absent, 1 occluded, 2 visible.
        centre, window: middle and side of the square that the set's own annotations put around each person; None
            where the file has no such thing.
    """

    skeleton: Skeleton
    joints: Float[Tensor, "n j 2"]
    presence: UInt8[Tensor, "n j"]
    centre: Float[Tensor, "n 2"] | None = None
    window: Float[Tensor, " n"] | None = None

    def __len__(self) -> int:
        return len(self.joints)

    def frame(self, normalise: str = "box") -> tuple[Float[Tensor, "n 2"], Float[Tensor, " n"]]:
        """Centre and unit of length of each pose, as `JointHistogram.add` takes them; NaN where they are not known.

        Args:
            normalise: "box": centre and longer side of the box around the present joints; "annotated": the window
                that the set's own centre and scale give, for MPII the usual 1.25 x 200 px x scale, 15 px x scale
                below the centre; "torso" or "head": the box's centre, and the distance of the skeleton's two torso or
                head joints.

        Raises:
            ValueError: another word; poses without what it asks for.
        """
        if normalise not in NORMALISATIONS:
            raise ValueError(f"poses are not normalised by '{normalise}'; choose one of {', '.join(NORMALISATIONS)}")
        if normalise == "annotated":
            if self.centre is None or self.window is None:
                raise ValueError("it has no centre and scale of each person: normalise by box, torso or head instead")
            return self.centre, self.window
        centre, side = box_around(self.joints, self.presence, 1.0)
        if normalise == "box":
            return centre, side.clamp_min(torch.finfo(side.dtype).tiny)
        if normalise == "head" and self.skeleton.head is None:
            raise ValueError("it has no two head joints: normalise by box or torso instead")
        size = torso_size if normalise == "torso" else head_size
        length = size(self.joints, self.presence, self.skeleton)
        return centre, torch.where(length > 0, length, torch.nan)


def read_poses(path: str | Path) -> Poses:
    """People in MPII's `.mat`, MPII's or FLIC's `.h5`, MPII's `.csv`, LSP's or LSPET's `joints.mat`, or LIP's `.csv`.

    The kinds are told apart by what is in the file.

    Raises:
        FileNotFoundError, ValueError: no such file; another kind of file, or one that cannot be read.
    """
    path = existing(path)
    if path.suffix not in (".mat", ".h5", ".csv"):
        raise ValueError(f"{path}: poses are read from .mat, .h5 and .csv files")
    if path.suffix == ".mat" and "joints" in matlab_names(path):
        _, third = read_joints(path)
        return Poses(LSP, *read_labels(path, name_of(third)))
    if path.suffix == ".csv" and _columns(path) == 1 + 3 * len(MPII):
        _, joints, presence = lip.read_annotations(path)
        return Poses(MPII, joints, presence)
    people = read_annotations(path)
    if path.suffix == ".csv":
        return Poses(people.skeleton, people.joints, people.presence)
    return Poses(people.skeleton, people.joints, people.presence, *windows(people))


def _columns(path: Path) -> int:
    """How many fields the first line of a .csv has."""
    return len(next(iter(read_lines(path)), ()))


def group_report(
    paths: Sequence[str | Path],
    window: int | float | None = None,
    normalise: str = "box",
    groups: int = 5,
    lattice: int = 16,
    corrected: bool = False,
) -> dict:
    """Everything `posebook groups` prints, as a dictionary that JSON can hold.

    Args:
        paths: files that `read_poses` reads, all of one skeleton. Who is in several of them counts several times.
        window: side of the lattice in the unit that `normalise` says; None: as in `NORMALISATIONS`.
        normalise: as `Poses.frame` takes it.
        groups, lattice, corrected: as `spectral_groups` and `JointHistogram` take them.

    Raises:
        FileNotFoundError, ValueError: a file that cannot be read or lacks what `normalise` asks for; files of several
            skeletons; nobody with any joint, or a joint that nobody has; poses from which no groups can be told; a
            parameter out of its range.
    """
    histogram, skeleton, counted = None, None, []
    for path in paths:
        poses = read_poses(path)
        if skeleton not in (None, poses.skeleton):
            raise ValueError(
                f"{path} has the joints of {poses.skeleton.name}, and {paths[0]} those of {skeleton.name}: "
                "give files of one skeleton"
            )
        skeleton = poses.skeleton
        try:
            centre, unit = poses.frame(normalise)
        except ValueError as error:
            raise ValueError(f"{path} cannot be normalised so: {error}") from error
        if histogram is None:
            window = NORMALISATIONS[normalise] if window is None else window
            histogram = JointHistogram(len(skeleton), window, lattice)
        histogram.add(poses.joints, poses.presence, centre, unit)
        counted.append((poses.joints, poses.presence, centre, unit))
    files = ", ".join(map(str, paths))
    if histogram is None or histogram.poses == 0:
        raise ValueError(f"nobody in {files or 'no files'} has a pose that can be counted")
    unseen = [name for name, cells in zip(skeleton.joints, histogram.singles, strict=True) if not cells.any()]
    if unseen:
        raise ValueError(
            f"nobody in {files} has {', '.join(unseen)}, so that no group can be told for them: give poses that have "
            f"every joint of {skeleton.name}"
        )
    matrix = histogram.matrix(corrected)
    found = spectral_groups(matrix, groups)
    apart = matrix[~torch.eye(len(matrix), dtype=torch.bool)]
    told = 1 < groups < len(matrix)  # else there is but one way to group them
    if told and (len(found) < groups or apart.max() - apart.min() < 1e-6):
        number = "the one pose" if histogram.poses == 1 else f"the {histogram.poses:,} poses"
        raise ValueError(
            f"{groups} groups cannot be told from {number} in {files}, in which too many joints seem related alike: "
            "give more poses, or a larger lattice"
        )
    return {
        "groups": named_groups(found, skeleton),
        "trust": _trust(counted, found, groups, histogram, corrected) if told and histogram.poses < FEW else None,
        "poses": histogram.poses,
        "window": histogram.window,
        "normalise": normalise,
        "lattice": lattice,
        "corrected": corrected,
        "skeleton": skeleton.name,
        "joints": list(skeleton.joints),
        "matrix": matrix.tolist(),
    }


def _trust(
    counted: list[tuple[Tensor, ...]], found: list[list[int]], groups: int, histogram: JointHistogram, corrected: bool
) -> dict[str, int | float]:
    """How the groups of few poses hold when as many people are drawn from them again, with replacement.

    Args:
        counted: joints, presence, centre and unit of each file.

    Returns:
        `draws`; `same`, the share of them that give just these groups; `agreement`, the mean adjusted Rand index of
        their groups with these, 1 for the same and about 0 for chance.
    """
    joints, presence, centre, unit = (torch.cat(parts) for parts in zip(*counted, strict=True))
    stability = bootstrap_groups(
        joints, presence, groups, histogram.window, histogram.lattice, centre, unit, DRAWS,
        corrected=corrected, reference=found,
    )  # fmt: skip
    agreement = sum(adjusted_rand(drawn, found) for drawn in stability.draws) / DRAWS
    return {"draws": DRAWS, "same": stability.same, "agreement": agreement}


def render(report: dict, strongest: int = 12) -> str:
    """The report as text: the groups, for few poses how far to trust them, and the pairs that tell most."""
    units = {"box": "longer sides of the pose", "annotated": "windows of the annotations"}
    unit = units.get(report["normalise"], f"{report['normalise']} lengths")
    names, matrix = report["joints"], torch.tensor(report["matrix"])
    group = {name: number for number, members in enumerate(report["groups"], 1) for name in members}
    first, second = torch.triu_indices(len(names), len(names), 1)
    order = matrix[first, second].argsort(descending=True)[:strongest]
    pairs = [(names[a], names[b], float(matrix[a, b])) for a, b in zip(first[order], second[order], strict=True)]
    lines = [
        f"{report['poses']:,} poses of {report['skeleton']}, {report['lattice']}x{report['lattice']} cells over "
        f"{report['window']:g} {unit}" + (", chance taken off" if report["corrected"] else ""),
        "",
        *(f"group {number}: {', '.join(members)}" for number, members in enumerate(report["groups"], 1)),
        *([_in_words(report["trust"])] if report["trust"] else []),
        "",
        f"{'strongest pairs':<27} nats  group",
    ]
    lines += [f"{a:<13} {b:<13} {nats:.3f}  {_where(group[a], group[b])}" for a, b, nats in pairs]
    return "\n".join(lines)


def _in_words(trust: dict) -> str:
    return (
        f"few poses: {trust['same']:.0%} of {trust['draws']} draws of as many people, with replacement, give just "
        f"these groups (mean agreement {trust['agreement']:.2f}; 1: the same, 0: chance)"
    )


def _where(one: int, other: int) -> str:
    return str(one) if one == other else f"{one} and {other}"
