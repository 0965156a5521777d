"""Networks: a file a paper, named by its slug, and the stacked hourglass that four of the five start from.

Every network is used in the same way:

    outputs = network(images)                      # (b, 3, s, s) in [0, 1] to whatever it likes
    loss, terms = network.loss(outputs, batch)     # a scalar, and its parts by name
    joints, confidence = network.decode(outputs)   # (b, j, 2) in pixels, (b, j)

`network.settings` holds what it was made with, `joints` and `size` among it; all have defaults. A network that makes
heat maps also has `maps(outputs)`, (b, j, h, w), and a `codec` that reads them: inference then averages maps over flips
and scales, and coordinates otherwise. A new network is a line in `_CLASSES` and a profile in `profiles`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib import import_module

from torch import nn

# Where the network of each name is defined.
_CLASSES = {
    "hourglass": ("posebook.models.hourglass", "Hourglass"),
    "parsing_induced": ("posebook.models.parsing_induced", "ParsingInduced"),
    "part_groups": ("posebook.models.part_groups", "PartGroups"),
    "soft_argmax": ("posebook.models.soft_argmax", "SoftArgmax"),
    "soft_argmax_detection": ("posebook.models.soft_argmax", "SoftArgmaxDetection"),
}
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


def parse_settings(name: str, assignments: Iterable[str]) -> dict[str, int | float | bool | str]:
    """A network's settings from a command line: "stacks=2" becomes {"stacks": 2}, of the default's type.

    Raises:
        ValueError: an unknown name or setting, something other than name=value, or a value of another type.
    """
    known = model_settings(name)
    settings = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"'{assignment}' sets nothing; write it as name=value, for instance {_example(known)}")
        _require(name, key, known)
        settings[key] = _parse(key, text, type(known[key]))
    return settings


def create(name: str, **settings: int | float | bool | str) -> nn.Module:
    """A network by its name, with freshly drawn weights.

    Raises:
        ValueError: an unknown name or setting, or a value that the network cannot have.
    """
    known = model_settings(name)
    for key in settings:
        _require(name, key, known)
    return model_class(name)(**settings)


def check_counts(model: str, **counts: int) -> None:
    """ValueError for a setting, given by its name, that is not a whole number of at least 1."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{model}: {name} is {value!r}; give a whole number of at least 1")


def _require(name: str, key: str, known: dict) -> None:
    if key not in known:
        raise ValueError(f"model '{name}' has no setting '{key}'; it has {', '.join(known)}")


def _example(known: dict) -> str:
    return "{}={}".format(*next(iter(known.items())))


def _parse(key: str, text: str, kind: type) -> int | float | bool | str:
    """A setting's value from text."""
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"setting '{key}' is '{text}'; write {key}=true or {key}=false")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        wanted = {int: "a whole number", float: "a number"}[kind]
        raise ValueError(f"setting '{key}' is '{text}'; give {wanted}") from None
