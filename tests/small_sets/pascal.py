"""Extended PASCAL-Person-Part."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.io import savemat

from posebook.datasets.pascal import PARTS

WIDTH, HEIGHT = 160, 120


TRAIN = [f"2008_{number:06d}" for number in range(40)]


TEST = [f"2010_{number:06d}" for number in range(6)]


# How many people the photographs show, in turn.
COUNTS = (1, 3, 2)


RELEASE = {"joints": "PersonJoints", "labels": "SegmentationPart", "lists": "", "images": "JPEGImages"}


BUNDLE = {key: f"pascal_data/{folder}" for key, folder in RELEASE.items()} | {"images": "VOCdevkit/VOC2010/JPEGImages"}


ARCHIVES = {
    "joints": "pose_annotations",
    "labels": "pascal_person_part/pascal_person_part_gt",
    "lists": "pascal_person_part/pascal_person_part_trainval_list",
    "images": "JPEGImages",
}


def cells(arrays):
    cell = np.empty((1, len(arrays)), object)
    for place, array in enumerate(arrays):
        cell[0, place] = array
    return cell


def write_people(path, joints, boxes):
    """People whose pixels count from 0, in a file whose pixels count from 1: the middle of the first is (1, 1)."""
    joints = [np.concatenate([person[:, :2] + 0.5, person[:, 2:]], -1) for person in joints]
    savemat(path, {"joints": cells(joints), "boxes": cells([box[None] + 0.5 for box in boxes])})


def write_set(root, layout=RELEASE):
    """Joints (file order, x, y, v) and boxes of each photograph's people, largest box first, by its name."""
    folders = {key: root / folder for key, folder in layout.items()}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    people = {}
    for place, name in enumerate(TRAIN + TEST):
        count = COUNTS[place % len(COUNTS)]
        sides = np.array([60, 50, 40])[:count]
        corners = generator.integers(0, (WIDTH - 60, HEIGHT - 60), (count, 2))
        boxes = np.concatenate([corners, corners + sides[:, None] - [[10, 0]]], -1).astype(float)
        joints = corners[:, None] + generator.uniform(0, sides[:, None, None] - [[[10, 0]]], (count, 14, 2))
        v = generator.choice([0, 1, 2], (count, 14, 1), p=[0.2, 0.6, 0.2])
        people[name] = np.concatenate([joints, v], -1), boxes
        # The files have people in any order.
        order = generator.permutation(count)
        write_people(folders["joints"] / f"{name}.mat", people[name][0][order], boxes[order])
        labels = generator.integers(0, len(PARTS), (6, 8), np.uint8).repeat(20, 0).repeat(20, 1)
        picture = Image.fromarray(labels)
        picture.putpalette([c for label in range(256) for c in (label, 255 - label, 7)])
        picture.save(folders["labels"] / f"{name}.png")
        Image.fromarray(labels * 40).convert("RGB").save(folders["images"] / f"{name}.jpg", quality=98)
    for part, names in (("train", TRAIN), ("val", TEST)):
        (folders["lists"] / f"{part}_id.txt").write_text("\n".join(names) + "\n")
    return people
