"""ImageNet's weights from torchvision's files, for networks that take images in [0, 1]."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebook.outside import check_tensors, existing

# Of ImageNet's images, as torchvision's models take them.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def read_imagenet(
    path: str | Path, network: nn.Module, model: str, advice: str, absent: str | None = None
) -> dict[str, Tensor]:
    """A network's state with the weights of a file; others there, as the classifier's, are left out.

    Args:
        model: torchvision's name of the network.
        advice: what settings of the network have these weights' shapes.
        absent: a name that only the weights of another, deeper network have.

    Raises:
        FileNotFoundError, ValueError: no such file; not such weights.
    """
    path = existing(path, f"give the file of torchvision's {model} weights")
    try:
        given = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} is no file of torch weights ({type(error).__name__})") from error
    # Old files do not count batches.
    own = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    given = given if isinstance(given, dict) else {}
    found = {name: value for name, value in given.items() if name in own and isinstance(value, Tensor)}
    wrong = [name for name in own if name not in found or found[name].shape != own[name].shape]
    if found and absent in given:
        raise ValueError(f"{path} is of a deeper network: it has '{absent}'; give torchvision's {model} weights")
    if wrong:
        raise ValueError(
            f"{path} has no '{wrong[0]}' of shape {tuple(own[wrong[0]].shape)}; give torchvision's {model} weights, "
            f"to a network of {advice}"
        )
    check_tensors(found, own, path)
    return network.state_dict() | found


def unstandardised(
    weight: Float[Tensor, "outputs 3 k k"],
) -> tuple[Float[Tensor, "outputs 3 k k"], Float[Tensor, " outputs"]]:
    """A first layer's weights for images in [0, 1], and by how much its outputs are larger then.

    ImageNet's weights are for images minus the mean colour, over its deviation. At the border, where zeros were the
    mean colour and are black now, the new layer is not exactly the old one.
    """
    mean, deviation = (weight.new_tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _DEVIATION))
    return weight / deviation, (weight * mean / deviation).sum((1, 2, 3))
