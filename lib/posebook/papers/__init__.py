"""The catalogue: networks by their names, and with each its settings, its profiles and its weights; papers' claims.

Everything of a paper lies in the folder of its slug: `network`, `profiles`, and, where it has claims, `claims`. A new
paper is a folder, and its lines here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from posebook.compute.precision import float32_by_default
from posebook.ledger.claim import Claim, claims_of
from posebook.network import Setting, check_settings, finds_joints, settings_of
from posebook.outside import check_tensors
from posebook.skeleton import SKELETONS
from posebook.training.checkpoint import read_record, read_tensors, with_suffix
from posebook.training.profile import Profile

# Each network's paper, and its class there. Opened by name, so that a paper is imported when it is asked for.
_NETWORKS = {
    "hourglass": ("hourglass", "Hourglass"),
    "look_into_person": ("look_into_person", "JPPNet"),
    "look_into_person_parsing": ("look_into_person", "SSJPPNet"),
    "multi_scale": ("multi_scale", "MultiScale"),
    "parsing_induced": ("parsing_induced", "ParsingInduced"),
    "part_groups": ("part_groups", "PartGroups"),
    "soft_argmax": ("soft_argmax", "SoftArgmax"),
    "soft_argmax_detection": ("soft_argmax", "SoftArgmaxDetection"),
}
NAMES = tuple(_NETWORKS)

# Where a paper's profiles of a network are not its `PROFILES`.
_PROFILES = {"look_into_person_parsing": "PARSING_PROFILES"}

# No number among the settings of a network in a file is larger: images of that side take gigabytes already.
LARGEST = 4096

# Papers whose claims are in the ledger.
PAPERS = ("soft_argmax", "part_groups", "multi_scale", "parsing_induced", "look_into_person")


def network_class(name: str) -> type[nn.Module]:
    """The class of a network by its name; ValueError lists the names there are."""
    if name not in NAMES:
        raise ValueError(f"no model is called '{name}'; there are {', '.join(NAMES)}")
    slug, attribute = _NETWORKS[name]
    return getattr(import_module(f"posebook.papers.{slug}.network"), attribute)


def profile_of(name: str, profile: str) -> Profile:
    """How a network is trained at "quick", "study" or "paper"; ValueError lists what there is."""
    network = network_class(name)
    module = import_module(f"posebook.papers.{_NETWORKS[name][0]}.profiles")
    profiles = getattr(module, _PROFILES.get(name, "PROFILES"))
    if profile not in profiles:
        raise ValueError(f"{name} has no profile '{profile}'; it has {', '.join(profiles)}")
    return replace(profiles[profile], network=network)


def create(name: str, **settings: Setting) -> nn.Module:
    """A network by its name, with freshly drawn weights.

    Raises:
        ValueError: an unknown name or setting, or a value that the network cannot have.
    """
    network = network_class(name)
    check_settings(network, settings)
    return network(**settings)


def parse_settings(name: str, assignments: Iterable[str]) -> dict[str, Setting]:
    """A network's settings from a command line: "stacks=2" becomes {"stacks": 2}, of the default's type.

    Raises:
        ValueError: an unknown name or setting, something other than name=value, or a value of another type.
    """
    network = network_class(name)
    known, settings = settings_of(network), {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            example = "{}={}".format(*next(iter(known.items())))
            raise ValueError(f"'{assignment}' sets nothing; write it as name=value, for instance {example}")
        check_settings(network, {key: text})
        settings[key] = _parse(key, text, type(known[key]))
    return settings


@float32_by_default()
def load_weights(path: str | Path, device: torch.device | str = "cpu") -> tuple[nn.Module, dict]:
    """A trained network, ready to predict, and what is known about it.

    Returns:
        The network, and a dictionary with its `model` (name), `settings`, `skeleton` (name) and `training`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is broken, was not written by posebook, or does not fit the network it names.
    """
    path = with_suffix(path)
    about, weights = read_record(path), read_tensors(path)
    try:
        described = _described(about, len(weights))
    except Exception as error:  # as many kinds as there are ways to describe no network
        raise ValueError(f"{path} describes a network that posebook does not have: {error}") from error
    check_tensors(weights, described.state_dict(), path)
    model = create(about["model"], **about["settings"])
    model.load_state_dict(weights)
    # What is not trained before a later phase has no part in the predictions of an earlier one.
    if "phase" in about["training"]:
        model.enter(about["training"]["phase"])
    return model.to(device).eval(), about


def _described(about: dict, weights: int) -> nn.Module:
    """The network that a file describes, on the meta device, where it takes no memory whatever its settings say.

    Args:
        weights: how many tensors the file has; a network has no more.

    Raises:
        ValueError, or as the network does: none of the catalogue's, or settings that it cannot have.
    """
    network = network_class(about["model"])
    check_settings(network, about["settings"])
    for name, default in settings_of(network).items():
        value = about["settings"].get(name, default)
        kinds = (int, float) if isinstance(default, float) else (type(default),)
        if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(default, bool):
            raise ValueError(f"its setting {name} is {value!r}, and one like {default!r} is wanted")
        if isinstance(value, int | float) and value > LARGEST:
            raise ValueError(f"its setting {name} is {value}, and the largest is {LARGEST:,}")
    made = 0

    def count(_module: nn.Module, _name: str, parameter: nn.Parameter | None) -> None:
        nonlocal made
        made += parameter is not None
        if made > weights:
            raise ValueError(f"it has more weights than the {weights} that the file holds")

    counting = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):
            model = create(about["model"], **about["settings"])
    finally:
        counting.remove()
    joints = len(SKELETONS[about["skeleton"]])
    if finds_joints(model) and model.settings["joints"] != joints:
        raise ValueError(f"it finds {model.settings['joints']} joints, and {about['skeleton']} has {joints}")
    phases = getattr(model, "phases", 1)
    phase = about["training"].get("phase", 0)
    if type(phase) is not int or not 0 <= phase < phases:
        raise ValueError(f"its phase is {phase!r}, of {phases}")
    return model


def select(names: Iterable[str] = ()) -> list[Claim]:
    """Claims by their ids, or all of a paper's by its slug; no name takes those of all papers.

    Raises:
        ValueError: a name that is neither.
    """
    everything = [claim for paper in PAPERS for claim in claims_of(paper).claims]
    names = list(names)
    known = {claim.id for claim in everything} | set(PAPERS)
    if unknown := [name for name in names if name not in known]:
        ids = ", ".join(claim.id for claim in everything)
        raise ValueError(
            f"no claim or paper is called '{unknown[0]}'; the papers are {', '.join(PAPERS)}, the claims are {ids}"
        )
    return [claim for claim in everything if not names or claim.id in names or claim.paper in names]


def _parse(key: str, text: str, kind: type) -> Setting:
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
