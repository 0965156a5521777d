"""Augmentation of a batch at once on its device, against one image after the other."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance
from timing import medians

from posebook.sample import Sample
from posebook.skeleton import MPII
from posebook.training.augment import Augmentation, Changes, augment

COUNT, SIZE = 32, 128
AUGMENTATION = Augmentation(scale=0.25, rotation=30, shift=0.05, flip=0.5, brightness=0.2, contrast=0.2, saturation=0.2)


def people(generator: torch.Generator) -> Sample:
    return Sample(
        images=torch.rand(COUNT, 3, SIZE, SIZE, generator=generator),
        joints=SIZE * torch.rand(COUNT, len(MPII), 2, generator=generator),
        presence=torch.full((COUNT, len(MPII)), 2, dtype=torch.uint8),
        head_size=torch.full((COUNT,), 12.0),
        torso_size=torch.full((COUNT,), 30.0),
        index=torch.arange(COUNT),
    )


def matrix(changes: Changes, i: int) -> np.ndarray:
    """Where each output pixel comes from, for one image, as a data loader's worker works it out: 2 x 3, in pixels."""
    angle, scale = float(changes.rotation[i]), float(changes.scale[i])
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if changes.flip[i] else 1.0, 1.0])
    centre = np.full(2, SIZE / 2)
    shift = centre + SIZE * changes.shift[i].numpy() - linear @ centre
    inverse = np.linalg.inv(linear)
    return np.hstack([inverse, -(inverse @ shift)[:, None]])


def joints_of(joints: torch.Tensor, back: np.ndarray, flip: bool) -> torch.Tensor:
    """One person's joints, one after the other, and swapped in a mirror image."""
    forward = np.linalg.inv(back[:, :2])
    moved = [forward @ (joints[j].numpy() - back[:, 2]) for j in (MPII.mirror if flip else range(len(MPII)))]
    return torch.from_numpy(np.stack(moved)).float()


def loop_torch(sample: Sample, changes: Changes) -> tuple[list, list]:
    """The same arithmetic, an image at a time."""
    grey = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    images, joints = [], []
    for i in range(COUNT):
        back = matrix(changes, i)
        unit = back[:, :2], (back[:, :2].sum(1) * SIZE / 2 + back[:, 2]) / (SIZE / 2) - 1
        theta = torch.from_numpy(np.hstack([unit[0], unit[1][:, None]])).float()[None]
        grid = F.affine_grid(theta, [1, 3, SIZE, SIZE], align_corners=False)
        image = F.grid_sample(sample.images[i : i + 1], grid, align_corners=False)[0]
        image = image * changes.brightness[i]
        pale = (image * grey).sum(0, keepdim=True)
        image = pale + changes.saturation[i] * (image - pale)
        mean = (image * grey).sum(0).mean()
        images.append((mean + changes.contrast[i] * (image - mean)).clamp(0, 1))
        joints.append(joints_of(sample.joints[i], back, bool(changes.flip[i])))
    return images, joints


def loop_pillow(pictures: list[Image.Image], sample: Sample, changes: Changes) -> tuple[list, list]:
    """The same on 8-bit pictures with Pillow, as the transforms of a data loader do it, up to the finished tensor."""
    images, joints = [], []
    for i, picture in enumerate(pictures):
        back = matrix(changes, i)
        image = picture.transform(
            (SIZE, SIZE), Image.Transform.AFFINE, back.ravel().tolist(), Image.Resampling.BILINEAR
        )
        image = ImageEnhance.Brightness(image).enhance(float(changes.brightness[i]))
        image = ImageEnhance.Color(image).enhance(float(changes.saturation[i]))
        image = ImageEnhance.Contrast(image).enhance(float(changes.contrast[i]))
        images.append(torch.from_numpy(np.asarray(image).transpose(2, 0, 1) / np.float32(255)))
        joints.append(joints_of(sample.joints[i], back, bool(changes.flip[i])))
    return images, joints


def measure() -> list[dict]:
    """Images a second of the batch and of the two loops, taken in turns; checks first that the torch loop agrees."""
    generator = torch.Generator().manual_seed(0)
    sample = people(generator)
    pictures = [Image.fromarray((255 * i).byte().permute(1, 2, 0).numpy()) for i in sample.images]
    changes = AUGMENTATION.draw(COUNT, generator)
    ours = augment(sample, changes, MPII)
    images, joints = loop_torch(sample, changes)
    torch.testing.assert_close(ours.images, torch.stack(images), atol=1e-3, rtol=0)
    torch.testing.assert_close(ours.joints, torch.stack(joints), atol=1e-2, rtol=0)
    ways = {
        "batch": lambda: augment(sample, AUGMENTATION.draw(COUNT, generator), MPII),
        "torch": lambda: [torch.stack(x) for x in loop_torch(sample, AUGMENTATION.draw(COUNT, generator))],
        "pillow": lambda: [torch.stack(x) for x in loop_pillow(pictures, sample, AUGMENTATION.draw(COUNT, generator))],
    }
    rate = {name: COUNT / seconds for name, seconds in medians(ways, repeats=15).items()}
    what = f"augmentation, {COUNT} x 3 x {SIZE} x {SIZE}"
    return [
        {
            "what": what,
            "ours": rate["batch"],
            "baseline": rate[name],
            "unit": "images/s",
            "ratio": rate["batch"] / rate[name],
            "note": note,
        }
        for name, note in (
            ("torch", "the same in torch, image by image"),
            ("pillow", "8-bit with Pillow, image by image"),
        )
    ]


if __name__ == "__main__":
    for row in measure():
        print(row)
