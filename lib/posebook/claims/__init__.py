"""What the papers claim: a module a paper, named by its slug, which `posebook.ledger` measures by.

Each has `PROFILES`, how its networks are trained; `VARIANTS`, the networks that its claims compare, by name, each a
network of `posebook.models` with settings over the profile's, or a function of the profile's that gives them, and where
it needs more a dict of it: `figures`, options of that set over the profile's, `plan`, what else of the profile is
another for it, or a function of the profile that gives it, and `learner`, the variant, trained on figures, that gives
it its learner; `readings`, the numbers that are read off a trained network; where they are needed `curve_readings`,
those that are read off its training's history; `LENGTH`, the variant and the readings that tell whether runs are long
enough; and `CLAIMS`.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

PAPERS = ("soft_argmax", "part_groups", "parsing_induced")

# Papers whose claims are written down and not measured yet. They take hours, so they are measured when they are named.
UNMEASURED: tuple[str, ...] = ()


def claims_of(paper: str) -> ModuleType:
    """A paper's claims, by its slug; ValueError lists the papers there are."""
    if paper not in PAPERS:
        raise ValueError(f"no claims are stored for a paper called '{paper}'; there are {', '.join(PAPERS)}")
    return import_module(f"posebook.claims.{paper}")
