"""ResNet with atrous convolutions as an encoder at stride 8."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from posebook.layers.imagenet import read_imagenet, unstandardised

# Bottlenecks of Res-2 to Res-5 by the number of layers: He et al. (CVPR 2016), Table 1, and two small ones of our own.
BLOCKS = {14: (1, 1, 1, 1), 26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}

# Dilation in the place of a stride in Res-4 and Res-5 (Chen et al., *DeepLab*, Sec. 3.1).
_DILATIONS = (1, 1, 2, 4)


class ResNet(nn.Module):
    """ResNet whose last two stages have dilated convolutions instead of strides: He et al. (CVPR 2016), with Chen et
    al.'s atrous convolutions (TPAMI 2018).

    Weights have the names of torchvision's `resnet50` and `resnet101` ("layer1.0.conv1.weight", ...).

    Args:
        depth: number of layers, one of `BLOCKS`.
        width: channels of the first convolution, the paper's 64; Res-2 to Res-5 give 4, 8, 16 and 32 times as many.
        pooled: with the max pooling after the first convolution. Without it, for small images, the stride is 4.
        last: with Res-5.
        checkpointing: in training keep only what each bottleneck is given, and compute the rest again for the gradient.
    """

    def __init__(
        self, depth: int = 101, width: int = 64, pooled: bool = True, last: bool = True, checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.depth, self.pooled, self.last, self.checkpointing = depth, pooled, last, checkpointing
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for stage, blocks in enumerate(BLOCKS[depth] if last else BLOCKS[depth][:-1]):
            middle, dilation = width * 2**stage, _DILATIONS[stage]
            made = []
            for block in range(blocks):
                stride = 2 if stage == 1 and block == 0 else 1
                made.append(Bottleneck(inputs, middle, stride, dilation))
                inputs = 4 * middle
            setattr(self, f"layer{stage + 1}", nn.Sequential(*made))

    def forward(
        self, images: Float[Tensor, "b 3 _ _"]
    ) -> tuple[Float[Tensor, "b c4 h w"], Float[Tensor, "b c5 h w"] | None]:
        """What Res-4 and Res-5 give; None without Res-5."""
        x = F.relu(self.bn1(self.conv1(images)))  # (b, width, s / 2, s / 2)
        if self.pooled:
            x = F.max_pool2d(x, 3, stride=2, padding=1)  # (b, width, s / 4, s / 4)
        x = self._stage(self.layer2, self._stage(self.layer1, x))  # (b, 8 width, s / 8, s / 8)
        x = self._stage(self.layer3, x)  # (b, 16 width, s / 8, s / 8)
        return x, self._stage(self.layer4, x) if self.last else None  # (b, 32 width, s / 8, s / 8)

    def _stage(self, blocks: nn.Sequential, x: Tensor) -> Tensor:
        for block in blocks:
            x = recomputed(block, x) if self.checkpointing and self.training else block(x)
        return x

    def load_imagenet(self, path: str | Path) -> None:
        """Weights of torchvision's `resnet50` or `resnet101` from its file; its classifier is left out.

        Raises:
            FileNotFoundError, ValueError: no such file; not such weights.
        """
        if self.depth not in (50, 101):
            raise ValueError(
                f"ImageNet's weights are of depth 50 or 101 and width 64, and this network's depth is {self.depth}"
            )
        deeper = f"layer3.{len(self.layer3)}.conv1.weight"
        found = read_imagenet(path, self, f"resnet{self.depth}", "width 64 and that depth", deeper)
        weight, more = unstandardised(found["conv1.weight"])
        found |= {"conv1.weight": weight, "bn1.running_mean": found["bn1.running_mean"] + more}
        self.load_state_dict(found)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each with batch norm, added to the input: He et al. (CVPR 2016), Fig. 5 right."""

    def __init__(self, inputs: int, middle: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, 4 * middle, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * middle)
        self.downsample = None
        if stride > 1 or inputs != 4 * middle:
            skip = nn.Conv2d(inputs, 4 * middle, 1, stride, bias=False)
            self.downsample = nn.Sequential(skip, nn.BatchNorm2d(4 * middle))

    def forward(self, x: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h2 w2"]:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def recomputed(module: nn.Module, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
    """What a module gives, of which nothing but the inputs is kept for the gradient."""
    return checkpoint(module, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _second_time(module)))


@contextmanager
def _second_time(module: nn.Module) -> Iterator[None]:
    """Batch norm does not count the same batch twice."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)
