"""Augmentation of a batch with its joints and part labels on its device, against kornia's."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from timing import medians, row
from torch import Tensor

from posebook.compute.processes import pick_device
from posebook.sample import Sample
from posebook.skeleton import MPII, PARTS
from posebook.training.augment import Augmentation, augment

COUNT, SIZE = 32, 128
AUGMENTATION = Augmentation(scale=0.25, rotation=30, shift=0.05, flip=0.5, brightness=0.2, contrast=0.2, saturation=0.2)


def people(count: int, size: int, device: torch.device) -> Sample:
    """Noise with joints and part labels: what a change costs does not depend on what is in the images."""
    generator = torch.Generator().manual_seed(0)
    return Sample(
        images=torch.rand(count, 3, size, size, generator=generator),
        joints=size * torch.rand(count, len(MPII), 2, generator=generator),
        presence=torch.full((count, len(MPII)), 2, dtype=torch.uint8),
        head_size=torch.full((count,), 12.0),
        torso_size=torch.full((count,), 30.0),
        index=torch.arange(count),
        parsing=torch.randint(len(PARTS), (count, size, size), generator=generator, dtype=torch.uint8),
    ).to(device)


def ours(sample: Sample, augmentation: Augmentation) -> Callable[[], Sample]:
    """As the training loop does it: what happens is drawn on the CPU, and done on the sample's device."""
    generator = torch.Generator().manual_seed(0)
    return lambda: augment(sample, augmentation.draw(len(sample), generator), MPII)


def kornia(sample: Sample, augmentation: Augmentation) -> Callable[[], list[Tensor]]:
    """kornia's containers, with the same ranges. Of joints they know the places alone: no sides swap, none leave."""
    from kornia.augmentation import AugmentationSequential, ColorJitter, RandomAffine, RandomHorizontalFlip

    changes = AugmentationSequential(
        RandomAffine(
            degrees=float(augmentation.rotation),
            translate=(augmentation.shift, augmentation.shift),
            scale=(1 - augmentation.scale, 1 + augmentation.scale),
            p=1.0,
        ),
        RandomHorizontalFlip(p=float(augmentation.flip)),
        ColorJitter(augmentation.brightness, augmentation.contrast, augmentation.saturation, p=1.0),
        data_keys=["image", "keypoints", "mask"],
    )
    # Labels go through as numbers, which is what its masks are.
    return lambda: changes(sample.images, sample.joints, sample.parsing[:, None].float())


def agree(sample: Sample) -> None:
    """AssertionError where the two make different mirror images: of all they draw, what can be the same for both."""
    mirror = Augmentation(flip=1)
    mine = ours(sample, mirror)()
    from kornia.augmentation import AugmentationSequential, RandomHorizontalFlip

    changes = AugmentationSequential(RandomHorizontalFlip(p=1.0), data_keys=["image", "keypoints", "mask"])
    # kornia counts pixels from the first one's centre.
    images, joints, parts = changes(sample.images, sample.joints - 0.5, sample.parsing[:, None].float())
    torch.testing.assert_close(mine.images, images, atol=1e-4, rtol=0)
    torch.testing.assert_close(mine.joints, joints[:, list(MPII.mirror)] + 0.5, atol=1e-3, rtol=0)
    # Sides of parts swap in ours alone; the background has none.
    assert torch.equal(mine.parsing == 0, parts[:, 0] == 0), "label maps are mirrored differently"


def measure(device: str = "auto", count: int = COUNT, size: int = SIZE) -> list[dict]:
    """Images a second of the two, taken in turns; checks first that their mirror images agree."""
    if find_spec("kornia") is None:
        print("augmentation is not measured against kornia: install it with pip install -r requirements.txt")
        return []
    sample = people(count, size, pick_device(device))
    agree(sample)
    seconds = medians({"ours": ours(sample, AUGMENTATION), "baseline": kornia(sample, AUGMENTATION)}, repeats=15)
    what = f"augmentation, {count} x 3 x {size} x {size}, with joints and part labels"
    note = "turn, scale, shift, mirror, colours; against kornia's AugmentationSequential for the whole batch"
    return [row(what, seconds, count, "images/s", note)]


if __name__ == "__main__":
    print(*measure(), sep="\n")
