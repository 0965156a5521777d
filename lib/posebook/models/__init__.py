"""Networks: a file a paper, named by its slug, and the stacked hourglass that four of the five start from."""

from __future__ import annotations

import inspect
from importlib import import_module

from torch import nn

# Where the network of each name is defined.
_CLASSES = {"hourglass": ("posebook.models.hourglass", "Hourglass")}
NAMES = tuple(_CLASSES)


def model_class(name: str) -> type[nn.Module]:
    """The class of a network by its name; ValueError lists the names there are."""
    if name not in _CLASSES:
        raise ValueError(f"no model is called '{name}'; there are {', '.join(NAMES)}")
    module, attribute = _CLASSES[name]
    return getattr(import_module(module), attribute)


def model_settings(name: str) -> dict[str, int | float | bool | str]:
    """The settings a network takes, each with its default."""
    return {key: value.default for key, value in inspect.signature(model_class(name)).parameters.items()}


def create(name: str, **settings: int | float | bool | str) -> nn.Module:
    """A network by its name, with freshly drawn weights.

    Raises:
        ValueError: an unknown name or setting, or a value that the network cannot have.
    """
    known = model_settings(name)
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise ValueError(f"model '{name}' has no setting '{unknown[0]}'; it has {', '.join(known)}")
    return model_class(name)(**settings)
