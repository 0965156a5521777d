"""VGG16 as an encoder at stride 8."""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from posebook.layers.imagenet import read_imagenet, unstandardised

# Simonyan and Zisserman (ICLR 2015), Table 1, D: channels of each convolution, as shares of the widest. "M" is a
# pooling and "" one that is left out.
_LAYERS = (1 / 8, 1 / 8, "M", 1 / 4, 1 / 4, "M", 1 / 2, 1 / 2, 1 / 2, "M", 1, 1, 1, "", 1, 1, 1)


class VGG16(nn.Module):
    """The convolutions of VGG16 without its last two poolings, so that a feature stands for 8 pixels a side.

    Nie et al. (CVPR 2018), Sec. 3.2. Open: what their fully convolutional network has after the last convolution is not
    said; the authors' code has nothing there, and neither has this.

    Weights have the names of torchvision's `vgg16` ("features.0.weight", ...), with norm those of `vgg16_bn`.

    Args:
        features: channels of the last convolutions, a multiple of 8: VGG16's 512, and the others shrink with them.
        norm: batch norm after each convolution, without which the network hardly learns from scratch.
    """

    stride = 8

    def __init__(self, features: int = 512, norm: bool = False) -> None:
        super().__init__()
        made: list[nn.Module] = []
        inputs = 3
        for layer in _LAYERS:
            if isinstance(layer, str):
                # In the place of a pooling that is left out, so that those behind it keep their numbers.
                made.append(nn.MaxPool2d(2) if layer else nn.Identity())
                continue
            outputs = round(layer * features)
            made += [nn.Conv2d(inputs, outputs, 3, padding=1), *([nn.BatchNorm2d(outputs)] * norm), nn.ReLU()]
            inputs = outputs
        self.features = nn.Sequential(*made)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b c s/8 s/8"]:
        return self.features(images)

    def load_imagenet(self, path: str | Path) -> None:
        """Weights of torchvision's `vgg16` (`vgg16_bn` with norm) from its file; its classifier is left out.

        They are for images less ImageNet's mean, over its deviation; the first layer is changed to take images in
        [0, 1] instead.

        Raises:
            FileNotFoundError, ValueError: no such file; not such weights.
        """
        normed = any(isinstance(layer, nn.BatchNorm2d) for layer in self.features)
        found = read_imagenet(path, self, "vgg16_bn" if normed else "vgg16", "512 features")
        weight, more = unstandardised(found["features.0.weight"])
        found |= {"features.0.weight": weight, "features.0.bias": found["features.0.bias"] - more}
        self.load_state_dict(found)
