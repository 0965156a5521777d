"""A dataset and a network that train in milliseconds, and a run of them that other processes can start."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from posebook.compute.processes import join_processes, leave_processes, processes
from posebook.coordinates import HeatmapCodec
from posebook.papers import create
from posebook.sample import Sample
from posebook.skeleton import MPII
from posebook.training.augment import Augmentation
from posebook.training.loop import train
from posebook.training.masking import KeypointMasking
from posebook.training.recipe import Recipe
from posebook.training.runs import Run


class Squares:
    """Images with three coloured squares; joint j lies at the square of colour j % 3."""

    name = "squares"
    skeleton = MPII
    widen = 1.0

    def __init__(self, split: str = "train", size: int = 32, length: int | None = 48, seed: int = 0) -> None:
        self.split, self.size, self.length, self.seed = split, size, length, seed
        self.device = torch.device("cpu")
        generator = torch.Generator().manual_seed(seed)
        centres = size * (0.15 + 0.7 * torch.rand(length or 64, 3, 2, generator=generator))
        pixels = torch.arange(size) + 0.5
        across = (pixels - centres[..., :1]).abs() < 3  # (n, 3, s)
        down = (pixels - centres[..., 1:]).abs() < 3
        noise = 0.1 * torch.rand(len(centres), 3, size, size, generator=generator)
        self._images = noise + 0.9 * (down[..., :, None] & across[..., None, :])
        self._joints = centres[:, torch.arange(len(MPII)) % 3]

    def batch(self, indices: torch.Tensor) -> Sample:
        places = indices % len(self._images)
        joints = self._joints[places]
        return Sample(
            images=self._images[places],
            joints=joints,
            presence=torch.full(joints.shape[:2], 2, dtype=torch.uint8),
            head_size=torch.full((len(indices),), 12.0),
            torso_size=torch.full((len(indices),), 20.0),
            index=indices,
        )


def people(count: int, size: int, joints: int, seed: int = 0) -> Sample:
    """People in random images, all joints visible."""
    generator = torch.Generator().manual_seed(seed)
    return Sample(
        images=torch.rand(count, 3, size, size, generator=generator),
        joints=4 + (size - 8) * torch.rand(count, joints, 2, generator=generator),
        presence=torch.full((count, joints), 2, dtype=torch.uint8),
        head_size=torch.full((count,), 5.0),
        torso_size=torch.full((count,), 10.0),
        index=torch.arange(count),
    )


class Toy(nn.Module):
    """Two convolutions, with what makes resuming hard: batch norm and dropout."""

    def __init__(self, joints: int = 16, size: int = 32, dropout: float = 0.1) -> None:
        super().__init__()
        self.settings = {"joints": joints, "size": size, "dropout": dropout}
        self.codec = HeatmapCodec(size, stride=4)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2, padding=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(8, joints, 5, stride=2, padding=2),
        )

    def forward(self, images):
        outputs = self.body(images.to(self.body[0].weight.dtype))
        return outputs.to(torch.promote_types(outputs.dtype, torch.float32))

    def loss(self, outputs, batch):
        error = (outputs - self.codec.encode(batch.joints, batch.presence)).square().sum((-2, -1)).mean()
        return error, {"maps": error}

    def decode(self, outputs):
        return self.codec.decode(outputs)

    def maps(self, outputs):
        return outputs


AUGMENTATION = Augmentation(scale=0.1, rotation=10, flip=0.5, brightness=0.1)


def toy_run(output, steps: int = 60, progress: bool = False, save_every: int = 5, **options):
    """A run with everything in it that a resume must bring back. Returns the network and the run."""
    torch.manual_seed(0)
    model = Toy()
    recipe = Recipe(
        steps=steps, batch_size=8, learning_rate=1e-2, clip=5, ema=0.9, bf16=False, log_every=5, validate_every=10,
        validation_images=16, save_every=save_every,
    )  # fmt: skip
    given = {"augmentation": AUGMENTATION, "validation": Squares("validation", seed=1)} | options
    return model, train(model, Squares(), recipe, output=output, progress=progress, **given)


def toy_run_elsewhere(output: str) -> None:
    """The same in a process of its own, on one thread so that sums come in one order."""
    torch.set_num_threads(1)
    toy_run(output)


def shared_runs(output: Path) -> None:
    """Eight steps of a small hourglass, and in float64 of the toy and of a network in three phases; by torchrun's
    processes together, or by one.
    """
    torch.set_num_threads(1)
    join_processes("cpu")
    torch.manual_seed(0)
    networks = {
        "hourglass": create("hourglass", joints=16, size=32, stacks=1, features=16, depth=1),
        "toy": Toy(dropout=0.0).double(),
        "multi_scale": create("multi_scale", size=32, stacks=1, features=16, depth=1, scales=1).double(),
    }
    networks["multi_scale"].register_forward_pre_hook(lambda network, inputs: inputs[0].double())

    def tell(run: Run) -> None:
        output.mkdir(parents=True, exist_ok=True)
        (output / f"told-by-{processes()[0]}").touch()

    for name, model in networks.items():
        options = {"phases": (0.25, 0.5), "masking": KeypointMasking()} if name == "multi_scale" else {}
        recipe = Recipe(steps=8, batch_size=8, learning_rate=1e-4, bf16=False, log_every=1, validation_images=10)
        train(
            model, Squares(), recipe, augmentation=AUGMENTATION, validation=Squares("validation", seed=1),
            output=output / name, progress=False, callback=tell, **options,
        )  # fmt: skip
    leave_processes()


if __name__ == "__main__":
    shared_runs(Path(sys.argv[1]))
