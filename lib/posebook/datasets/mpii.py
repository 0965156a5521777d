"""MPII Human Pose: the official `.mat`, and the `.h5` and `.csv` files that much published code shares.

Andriluka, Pishchulin, Gehler, Schiele, *2D Human Pose Estimation: New Benchmark and State of the Art Analysis*,
CVPR 2014.

Coordinates count pixels from 1, as MATLAB does and as the set's authors have confirmed: the middle of the first pixel
is (1, 1), and (0.5, 0.5) here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor

from posebook.datasets.arrays import matlab_names, read_hdf5, read_matlab
from posebook.datasets.photographs import FROM_ONE, People, Photographs, assign, box_around, in_folder, join_people
from posebook.datasets.tables import read_table
from posebook.outside import existing
from posebook.sample import HEAD_OF_DIAGONAL, HEAD_OF_JOINTS, check_split
from posebook.sample import head_size as head_length
from posebook.skeleton import FLIC, OCCLUDED, VISIBLE, Skeleton
from posebook.skeleton import MPII as MPII_SKELETON

MAT = "mpii_human_pose_v1_u12_1.mat"

# A person is `scale` x 200 pixels tall. The window that networks are trained on is a quarter larger and lies 15 x
# scale lower, so that feet are not cut off (Newell et al., ECCV 2016, in their published code).
HEIGHT, CONTEXT, SHIFT = 200.0, 1.25, 15.0

# The joints in MPII's order, by the names in the `gt_valid.mat` of public evaluation code.
EVALUATION_NAMES = (
    "rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor",
    "neck", "head", "rwri", "relb", "rsho", "lsho", "lelb", "lwri",
)  # fmt: skip


@dataclass
class Annotations:
    """What a file says about people, in the order of the file; in pixels of the photographs.

    Attributes:
        skeleton: the order of the joints: MPII's, or FLIC's for its files.
        images: file name of each person's photograph; empty where the file does not say.
        joints: (x, y); meaningless where `presence` is 0.
        presence: 0 not annotated, 1 occluded, 2 visible. Not annotated is, in a `.mat`, what it does not list; in other
            files, where neither coordinate is above 0 and it is not called visible: heads reach beyond their
            photographs. A `.csv` does not tell what is occluded, so its joints count as visible.
        centre, scale: a person's position and height / 200 as in the official `.mat`; from the box around the joints
            where a file has neither.
        head_size: 0.6 x the diagonal of the head box; where a file has none, 0.75 x the distance from upper neck to
            head top; NaN where it is not known, as for FLIC.
    """

    skeleton: Skeleton
    images: list[str]
    joints: Float[Tensor, "n j 2"]
    presence: UInt8[Tensor, "n j"]
    centre: Float[Tensor, "n 2"]
    scale: Float[Tensor, " n"]
    head_size: Float[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: Tensor) -> Annotations:
        """Some of the people: a tensor of places or of booleans."""
        places = torch.arange(len(self))[which]
        tensors = {f.name: getattr(self, f.name)[places] for f in fields(self) if f.name not in ("skeleton", "images")}
        return replace(self, images=[self.images[i] for i in places.tolist()], **tensors)


class MPII(Photographs):
    """MPII Human Pose as a dataset.

    The labels of the official test images are withheld, so, as in the literature, "test" is the usual validation
    split, and so is "validation": a score on it after choosing weights by it is a little too good. Its people are
    those of `valid.h5` where that file is there; else of `test_joints.csv`; else those of the `.mat` whose
    photograph's name has a CRC-32 divisible by 10. "train" is everyone in the `.mat`, else `train.h5`, else
    `train_joints.csv`, except the people in photographs that the validation split shows.

    A person's crop is a square of 1.25 x 200 x scale pixels around the centre, moved down by 15 x scale. People
    without any annotated joint are left out. Annotated joints that the crop does not show are absent, so that a score
    from the crops is a little higher than the benchmark's, which counts them; `outside` says how many they are.

    Args:
        root: folder that holds the annotations and `images/`; the rest as in `Photographs`. `read_annotations` needs
            no images.

    Raises:
        FileNotFoundError: no annotations for the split, or none of the photographs.
        ValueError: a file that is not what its name says.
    """

    name, skeleton = "mpii", MPII_SKELETON

    def read_people(self) -> People:
        """The people of the split that have any joint."""
        return as_people(read_split(self.root, self.split), self.root / "images")


def read_people(root: str | Path) -> People:
    """Everyone in the splits of MPII that root has annotations for, with their windows."""
    folder, splits = Path(root) / "images", []
    for split in ("train", "test"):
        try:
            splits.append(as_people(read_split(root, split), folder))
        except FileNotFoundError:
            continue
    if not splits:
        raise FileNotFoundError(f"{root} holds no annotations of MPII: it needs {MAT}, or .h5 or .csv files of it")
    return join_people(splits)


def as_people(annotations: Annotations, folder: Path) -> People:
    """The annotated people with their windows, their photographs in `folder`, in pixels that count from 0."""
    centre, window = windows(annotations)
    return People(
        paths=in_folder(folder, annotations.images),
        joints=annotations.joints - FROM_ONE,
        presence=annotations.presence,
        centre=centre - FROM_ONE,
        window=window,
        head_size=annotations.head_size,
    )


def windows(annotations: Annotations) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " n"]]:
    """Centre and side of each person's window, the one networks are trained on, in the file's own pixels.

    FLIC's has neither shift nor enlargement.
    """
    scale = annotations.scale
    if annotations.skeleton is FLIC:
        return annotations.centre, HEIGHT * scale
    down = torch.stack([torch.zeros_like(scale), SHIFT * scale], -1)
    return annotations.centre + down, CONTEXT * HEIGHT * scale


def read_split(root: str | Path, split: str) -> Annotations:
    """The people of a split of MPII, as `MPII` describes it; needs no images.

    Raises:
        FileNotFoundError: root holds no annotations for the split.
        ValueError: no such split.
    """
    check_split(split)
    root = Path(root)
    mat = next((path for path in (root / MAT, root / "mpii_human_pose_v1_u12_2" / MAT) if path.is_file()), None)
    valid = next((root / name for name in ("valid.h5", "test_joints.csv") if (root / name).is_file()), None)
    train = mat or next((root / name for name in ("train.h5", "train_joints.csv") if (root / name).is_file()), None)
    if (split == "train" and train is None) or (split != "train" and mat is None and valid is None):
        wanted = f"{MAT}, train.h5 or train_joints.csv" if split == "train" else f"valid.h5, test_joints.csv or {MAT}"
        raise FileNotFoundError(f"{root} holds no annotations of MPII for {split}: it needs {wanted}")
    if split != "train" and valid is not None:
        people = read_annotations(valid)
    else:
        people = read_annotations(train)
        if valid is None:
            people = people[
                torch.tensor([(of == "train") == (split == "train") for of in assign(people.images, 10, ("test",))])
            ]
        else:
            shown = set(read_annotations(valid).images)
            people = people[torch.tensor([name not in shown for name in people.images])]
    return people[(people.presence > 0).any(1)]


def read_annotations(path: str | Path) -> Annotations:
    """People in an MPII-style `.h5` (FLIC's too), `.csv` or `.json`, in MPII's official `.mat`, or a `gt_valid.mat`.

    In the file's own pixels, which count from 1 as MATLAB does; `read_people` counts from 0 as all of posebook does.
    From the official `.mat` come the people of the training images who have joints and a scale. Some `.h5` files hold
    centre and scale with the window's shift and enlargement applied; they are brought back to the official ones.

    Raises:
        FileNotFoundError, ValueError: no such file; another kind of file, or one that cannot be read.
    """
    path = existing(path)
    readers = {".h5": _read_h5, ".csv": _read_csv, ".json": _read_json, ".mat": _read_mat}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: annotations are read from {', '.join(readers)} files")
    try:
        people = readers[path.suffix.lower()](path)
    except Exception as error:  # as many kinds as there are ways for a file to be something else
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} is not an annotation file of MPII that can be read ({error!r})") from error
    placed = people.centre.isfinite().all(1) & (people.scale > 0) & people.scale.isfinite()
    if len(lost := ((people.presence > 0).any(1) & ~placed).nonzero()):
        raise ValueError(f"{path}: person {int(lost[0]) + 1} of {len(people):,} has joints, and no centre or scale")
    return people


def _read_h5(path: Path) -> Annotations:
    fields = ("imgname", "part", "visible", "center", "scale", "normalize")
    found = read_hdf5(path, *fields)
    if missing := [name for name in fields if name not in found]:
        raise ValueError(f"{path} lacks {', '.join(sorted(missing))}: it is not an annotation file of MPII or FLIC")
    names, part, visible, centre, scale, head = (found[name] for name in fields)
    skeleton = {(16, 2): MPII_SKELETON, (11, 2): FLIC}.get(part.shape[1:])
    if skeleton is None:
        raise ValueError(f"{path}: part is {'x'.join(map(str, part.shape))}; MPII's is Nx16x2 and FLIC's Nx11x2")
    if skeleton is MPII_SKELETON:
        centre, scale = _official_window(centre, scale)
    else:
        head = np.full_like(head, np.nan)
    present = (part > 0).any(-1) | (visible > 0)
    return _annotations(texts(names), part, present, visible, centre, scale, head, skeleton)


def texts(names: np.ndarray) -> list[str]:
    """Names as HDF5 files store them: texts, or a number per letter."""
    if names.ndim == 2:
        names = [bytes(row.astype(np.uint8)) for row in names]
    names = [name.item() if isinstance(name, np.ndarray) else name for name in names]  # a text alone in a cell
    return [name if isinstance(name, str) else bytes(name).rstrip(b"\0").decode() for name in names]


def _read_json(path: Path) -> Annotations:
    """A list of people with `joints`, `joints_vis`, `image`, `center` and `scale`, as public training code has it."""
    people = json.loads(path.read_text(encoding="utf-8-sig"))
    part, visible, centre, scale = (
        np.array([person[key] for person in people], float) for key in ("joints", "joints_vis", "center", "scale")
    )
    if part.shape[1:] != (16, 2) or visible.shape[1:] != (16,):
        raise ValueError(f"{path}: joints are {'x'.join(map(str, part.shape))}; MPII's are Nx16x2")
    present = (part > 0).any(-1) | (visible > 0)
    unknown = np.full(len(people), np.nan)
    found = _annotations([person["image"] for person in people], part, present, visible, centre, scale, unknown)
    found.head_size = HEAD_OF_JOINTS * head_length(found.joints, found.presence, MPII_SKELETON)
    return found


def _official_window(
    centre: Float[np.ndarray, "n 2"], scale: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
    """Centre and scale as the `.mat` has them: whole pixels tell whether shift and enlargement were applied."""
    back = np.stack([centre[:, 0], centre[:, 1] - SHIFT * scale / CONTEXT], -1)

    def whole(y: np.ndarray) -> float:
        return float((np.abs(y - np.round(y)) < 1e-3).mean())

    applied = whole(back[:, 1]) > max(0.9, whole(centre[:, 1]))
    return (back, scale / CONTEXT) if applied else (centre, scale)


def _read_csv(path: Path) -> Annotations:
    names, numbers = read_table(path, (32,), "an image's name and 16 times x, y")
    part = numbers.reshape(-1, 16, 2)
    return _framed(names, part, (part > 0).any(-1), np.ones(part.shape[:2]), None)


def _framed(
    images: list[str],
    part: Float[np.ndarray, "n 16 2"],
    present: Bool[np.ndarray, "n 16"],
    visible: Shaped[np.ndarray, "n 16"],
    head: Float[np.ndarray, " n"] | None,
) -> Annotations:
    """People of a file without centre and scale: from the box around their joints; and head size, if it has none."""
    unknown = np.full(len(images), np.nan)
    centre = np.stack([unknown, unknown], -1)
    people = _annotations(images, part, present, visible, centre, unknown, unknown if head is None else head)
    # The window of the box, so that centre and scale mean what they mean elsewhere.
    middle, side = box_around(people.joints, people.presence, 1.0)
    people.scale = side / HEIGHT
    people.centre = middle - torch.stack([torch.zeros_like(side), SHIFT * people.scale], -1)
    if head is None:
        people.head_size = HEAD_OF_JOINTS * head_length(people.joints, people.presence, MPII_SKELETON)
    return people


def _read_mat(path: Path) -> Annotations:
    if "pos_gt_src" in matlab_names(path):
        return _read_evaluation(path)
    release = read_matlab(path, "RELEASE")["RELEASE"]
    names, people = [], []
    for image, train in zip(np.atleast_1d(release.annolist), np.atleast_1d(release.img_train), strict=True):
        for person in np.atleast_1d(image.annorect) if train else ():
            values = _read_person(person)
            if values is not None:
                names.append(str(image.image.name))
                people.append(values)
    if not people:
        raise ValueError(f"{path} has nobody with joints among its training images")
    return _annotations(names, *(np.stack(column) for column in zip(*people, strict=True)))


def _read_person(person) -> tuple | None:
    """Joints, which there are, which are visible, centre, scale and head size of one entry of `annorect`.

    None where it lacks joints.
    """
    points = getattr(getattr(person, "annopoints", None), "point", None)
    centre, scale = getattr(person, "objpos", None), getattr(person, "scale", None)
    if points is None or np.size(scale) != 1 or not hasattr(centre, "x"):
        return None
    part, present, visible = np.zeros((16, 2)), np.zeros(16, bool), np.ones(16)
    for point in np.atleast_1d(points):
        joint = int(point.id)
        part[joint], present[joint] = (point.x, point.y), True
        # Neck and head top carry no tag, and some files none at all: what is annotated is then taken as visible.
        tag = getattr(point, "is_visible", "")
        visible[joint] = float(tag) if np.size(tag) == 1 and str(tag) else 1.0
    corners = [float(getattr(person, key, np.nan)) for key in ("x1", "y1", "x2", "y2")]
    head = HEAD_OF_DIAGONAL * np.hypot(corners[2] - corners[0], corners[3] - corners[1])
    return part, present, visible, np.array([centre.x, centre.y], float), float(scale), head


def _read_evaluation(path: Path) -> Annotations:
    """The labels that public evaluation code compares with (`gt_valid.mat`): joints x 2 x people, and head boxes.

    It names the joints in its own words, and no photographs.
    """
    wanted = ("dataset_joints", "jnt_missing", "pos_gt_src", "headboxes_src")
    names, missing, part, boxes = read_matlab(path, *wanted).values()
    order = [list(names).index(name) for name in EVALUATION_NAMES]
    part = part.reshape(16, 2, -1)[order].transpose(2, 0, 1)
    present = missing.reshape(16, -1)[order].T == 0
    corners = boxes.reshape(2, 2, -1)
    head = HEAD_OF_DIAGONAL * np.linalg.norm(corners[1] - corners[0], axis=0)
    return _framed([""] * len(part), part, present, np.ones(present.shape), head)


def _annotations(
    images: list[str],
    part: np.ndarray,
    present: np.ndarray,
    visible: np.ndarray,
    centre: np.ndarray,
    scale: np.ndarray,
    head: np.ndarray,
    skeleton: Skeleton = MPII_SKELETON,
) -> Annotations:
    part, centre, scale, head = (torch.from_numpy(np.asarray(a, np.float32)) for a in (part, centre, scale, head))
    annotated = torch.from_numpy(np.asarray(present)) & part.isfinite().all(-1)
    presence = torch.where(torch.from_numpy(np.asarray(visible)) > 0, VISIBLE, OCCLUDED) * annotated
    return Annotations(skeleton, images, part, presence.to(torch.uint8), centre, scale, head)
