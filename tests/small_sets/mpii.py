"""MPII."""

from __future__ import annotations

import h5py
import numpy as np
from PIL import Image
from scipy.io import savemat


def people(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random people on whole pixels, as in the fields of an `.h5`."""
    generator = np.random.default_rng(seed)
    centre = generator.integers(200, 400, (count, 2)).astype(float)
    scale = generator.uniform(0.5, 1.5, count)
    part = np.round(centre[:, None] + generator.uniform(-0.45, 0.45, (count, 16, 2)) * 200 * scale[:, None, None])
    part[0, 3] = 0
    visible = (generator.random((count, 16)) < 0.7).astype(float)
    visible[:, 8:10] = 1
    visible[0, 3] = 0
    names = np.array([f"{number:09d}.jpg" for number in range(count)], "S13")
    return {"imgname": names, "part": part, "visible": visible, "center": centre, "scale": scale,
            "normalize": generator.uniform(20, 60, count)}  # fmt: skip


def write_h5(path, fields, applied: bool = False):
    fields = dict(fields)
    if applied:
        fields["center"] = fields["center"] + np.stack([0 * fields["scale"], 15 * fields["scale"]], -1)
        fields["scale"] = fields["scale"] * 1.25
    with h5py.File(path, "w") as file:
        for key, value in fields.items():
            file[key] = value


def write_mat(path, fields, extra=(), tagged: bool = True):
    """The official layout: structures within structures, and the ways in which a person can lack a label."""
    images = []
    for i in range(len(fields["part"])):
        points = [
            {"x": x, "y": y, "id": j}
            | ({} if j in (8, 9) or not tagged else {"is_visible": str(int(fields["visible"][i, j]))})
            for j, (x, y) in enumerate(fields["part"][i])
            if (x, y) != (0, 0)
        ]
        side = fields["normalize"][i] / 0.6 / np.sqrt(2)
        x, y = fields["center"][i]
        person = {"x1": 10.0, "y1": 20.0, "x2": 10 + side, "y2": 20 + side, "annopoints": {"point": points},
                  "scale": fields["scale"][i], "objpos": {"x": x, "y": y}}  # fmt: skip
        images.append({"image": {"name": fields["imgname"][i].decode()}, "annorect": [person, *extra]})
    images.append({"image": {"name": "nobody.jpg"}, "annorect": np.zeros((0, 0))})
    images.append({"image": {"name": "withheld.jpg"}, "annorect": {"scale": 1.0, "objpos": {"x": 5.0, "y": 5.0}}})
    train = np.array([1] * (len(images) - 1) + [0])

    def structures(value):
        """Lists of dictionaries as MATLAB's arrays of structures."""
        if isinstance(value, dict):
            return {key: structures(v) for key, v in value.items()}
        if isinstance(value, list):
            keys = list(dict.fromkeys(key for v in value for key in v))
            array = np.empty(len(value), dtype=[(key, object) for key in keys])
            for place, v in enumerate(value):
                array[place] = tuple(structures(v[key]) if key in v else np.zeros((0, 0)) for key in keys)
            return array
        return value

    savemat(path, {"RELEASE": {"annolist": structures(images), "img_train": train}})


def write_images(root, fields) -> None:
    """A plain photograph for each name."""
    (root / "images").mkdir(exist_ok=True)
    for number, name in enumerate(dict.fromkeys(fields["imgname"])):
        Image.new("RGB", (600, 600), (9 * number % 256, 60, 90)).save(root / "images" / name.decode())
