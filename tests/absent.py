"""Stands in for environments that have fewer packages than this one."""

from __future__ import annotations

import inspect
import re
from importlib import metadata


def needed_by(*packages: str) -> set[str]:
    """These packages and all that they need, without their extras; spelt as the package index compares names."""
    found, waiting = set(), list(packages)
    while waiting:
        name = waiting.pop()
        key = re.sub("[-_.]+", "-", name).lower()
        if key in found:
            continue
        found.add(key)
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        waiting += [re.match(r"[\w.-]+", some)[0] for some in required if "extra ==" not in some]
    return found


_REFUSE = """
import re, sys
from importlib import metadata
from importlib.machinery import PathFinder

{needed_by}

allowed = needed_by(*{packages}) | {{"posebook"}}
blocked = {{
    module
    for module, owners in metadata.packages_distributions().items()
    if not any(re.sub("[-_.]+", "-", owner).lower() in allowed for owner in owners)
}}

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in blocked else super().find_spec(name, path, target)

sys.meta_path = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
"""


def all_but(*packages: str) -> str:
    """Code after which nothing is found to import but these packages, what they need, posebook, and what Python has.

    The names that are not found are in `blocked`.
    """
    return _REFUSE.format(needed_by=inspect.getsource(needed_by), packages=packages)
