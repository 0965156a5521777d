"""The course: its notebooks in the order they are studied, the papers, and what each notebook starts with.

That is a row of links and, once there is a public address, a cell that installs posebook; both follow from `COURSE` and
`REPOSITORY` alone.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

# The public address of the repository on GitHub, such as "https://github.com/OWNER/NAME"; None while it has none.
# Binder, Colab and the book on GitHub's pages are addressed by it, and are left out of the rows without it, as is the
# cell that installs posebook. After changing it, run `posebook notebooks tidy`.
REPOSITORY: str | None = None
BRANCH = "main"

GLOSSARY = "GLOSSARY.md"


@dataclass(frozen=True)
class Chapter:
    """Notebooks on one paper, or on none.

    Attributes:
        notebooks: in the order they are studied: each one's path within `notebooks/` without its ending, and its title.
        solutions: the path of the notebook with the solutions to their exercises.
        citation: authors and year of the paper; empty where they are on none.
        url: where the paper can be read.
    """

    notebooks: tuple[tuple[str, str], ...]
    solutions: str
    citation: str = ""
    url: str = ""


COURSE = (
    Chapter(
        notebooks=(("00_start_here", "Start here"),),
        solutions="00_solutions",
        citation="Newell, Yang, Deng 2016",
        url="https://arxiv.org/abs/1603.06937",
    ),
    Chapter(
        notebooks=(
            ("1_soft_argmax/1_derivation", "Soft-argmax 1: the derivation"),
            ("1_soft_argmax/2_network", "Soft-argmax 2: the network"),
            ("1_soft_argmax/3_training", "Soft-argmax 3: training"),
            ("1_soft_argmax/4_evaluation", "Soft-argmax 4: evaluation"),
        ),
        solutions="1_soft_argmax/5_solutions",
        citation="Luvizon, Tabia, Picard 2017",
        url="https://arxiv.org/abs/1710.02322",
    ),
    Chapter(
        notebooks=(
            ("2_part_groups/1_mutual_information", "Part groups 1: mutual information"),
            ("2_part_groups/2_branching_network", "Part groups 2: the branching network"),
            ("2_part_groups/3_training", "Part groups 3: training"),
            ("2_part_groups/4_evaluation", "Part groups 4: evaluation"),
        ),
        solutions="2_part_groups/5_solutions",
        citation="Tang, Wu 2019",
        url="https://openaccess.thecvf.com/content_CVPR_2019/html/"
        "Tang_Does_Learning_Specific_Features_for_Related_Parts_Help_Human_Pose_CVPR_2019_paper.html",
    ),
    Chapter(
        notebooks=(
            ("3_multi_scale/1_supervision", "Multi-scale structure 1: supervision at every scale"),
            ("3_multi_scale/2_structure_loss", "Multi-scale structure 2: the structure-aware loss"),
            (
                "3_multi_scale/3_masking_and_training",
                "Multi-scale structure 3: keypoint masking, and training in phases",
            ),
            ("3_multi_scale/4_evaluation", "Multi-scale structure 4: evaluation"),
        ),
        solutions="3_multi_scale/5_solutions",
        citation="Ke, Chang, Qi, Lyu 2018",
        url="https://arxiv.org/abs/1803.09894",
    ),
    Chapter(
        notebooks=(
            ("4_parsing_induced/1_adaptive_convolution", "Parsing induced learner 1: the adaptive convolution"),
            ("4_parsing_induced/2_learner", "Parsing induced learner 2: the learner"),
            ("4_parsing_induced/3_training", "Parsing induced learner 3: training"),
            ("4_parsing_induced/4_evaluation", "Parsing induced learner 4: evaluation"),
            ("4_parsing_induced/5_several_people", "Parsing induced learner 5: several people"),
        ),
        solutions="4_parsing_induced/6_solutions",
        citation="Nie, Feng, Zuo, Yan 2018",
        url="https://openaccess.thecvf.com/content_cvpr_2018/html/Nie_Human_Pose_Estimation_CVPR_2018_paper.html",
    ),
    Chapter(
        notebooks=(
            ("5_look_into_person/1_benchmark", "Look into Person 1: the benchmark"),
            ("5_look_into_person/2_joint_network", "Look into Person 2: the joint network"),
            ("5_look_into_person/3_structure", "Look into Person 3: structure-sensitive learning"),
            ("5_look_into_person/4_evaluation", "Look into Person 4: training and evaluation"),
        ),
        solutions="5_look_into_person/5_solutions",
        citation="Liang, Gong, Shen, Lin 2018",
        url="https://arxiv.org/abs/1804.01984",
    ),
    Chapter(notebooks=(("6_ledger", "The ledger"),), solutions="6_solutions"),
)

ORDER = tuple(entry for chapter in COURSE for entry in chapter.notebooks)


def chapter_of(name: str) -> Chapter | None:
    """The chapter that a notebook, or its solutions, belong to; None for a notebook that is not of the course."""
    for chapter in COURSE:
        if name == chapter.solutions or name in dict(chapter.notebooks):
            return chapter
    return None


def link_row(name: str, repository: str | None = REPOSITORY) -> str:
    """The links a notebook starts with, in Markdown: its neighbours, solutions, glossary, paper, and where to run it.

    Args:
        name: the notebook's path within `notebooks/`, without its ending.
        repository: the public address on GitHub; None leaves Binder, Colab and the book out.

    Raises:
        ValueError: the notebook is not in `COURSE`, or the address is not one of a repository on GitHub.
    """
    chapter = chapter_of(name)
    if chapter is None:
        raise ValueError(f"{name} is not in the course: add it to COURSE in posebook.notebooks.links")
    links = []
    if name == chapter.solutions:
        links.append(
            "exercises: " + ", ".join(f"[{title}]({_path(name, other)})" for other, title in chapter.notebooks)
        )
    else:
        place = [other for other, _ in ORDER].index(name)
        for word, at in (("previous", place - 1), ("next", place + 1)):
            if 0 <= at < len(ORDER):
                other, title = ORDER[at]
                links.append(f"{word}: [{title}]({_path(name, other)})")
        links.append(f"[solutions]({_path(name, chapter.solutions)})")
    links.append(f"[glossary]({relative(name, GLOSSARY)})")
    if chapter.url:
        links.append(f"paper: [{chapter.citation}]({chapter.url})")
    return " · ".join(links + _online(name, repository))


def install_code(repository: str | None = REPOSITORY) -> str:
    """A cell that installs posebook where it is missing, as in Colab; empty where there is no public address.

    Raises:
        ValueError: the address is not one of a repository on GitHub.
    """
    if repository is None:
        return ""
    package = f"posebook[study] @ git+https://github.com/{_owner_and_name(repository)}@{BRANCH}"
    return f"""# Where posebook is missing, as in Colab
import importlib.util

if importlib.util.find_spec("posebook") is None:
    %pip install -q "{package}\""""


def _owner_and_name(repository: str) -> str:
    start, owner_and_name = repository[:19], repository[19:].strip("/")
    if start != "https://github.com/" or owner_and_name.count("/") != 1:
        raise ValueError(f"the repository's address is '{repository}'; give one like https://github.com/OWNER/NAME")
    return owner_and_name


def _online(name: str, repository: str | None) -> list[str]:
    """Links that run a notebook elsewhere, and to its page in the book."""
    if repository is None:
        return []
    owner_and_name = _owner_and_name(repository)
    owner, project = owner_and_name.split("/")
    return [
        f"[Binder](https://mybinder.org/v2/gh/{owner_and_name}/{BRANCH}?urlpath=lab/tree/notebooks/{name}.ipynb)",
        f"[Colab](https://colab.research.google.com/github/{owner_and_name}/blob/{BRANCH}/notebooks/{name}.ipynb)",
        f"[book](https://{owner.lower()}.github.io/{project}/notebooks/{name}.html)",
    ]


def _path(name: str, other: str) -> str:
    """Where another notebook lies as seen from this one's folder."""
    return relative(name, f"{other}.ipynb")


def relative(name: str, file: str) -> str:
    """A file in `notebooks/` as a link in this notebook names it."""
    return posixpath.relpath(file, posixpath.dirname(name) or ".")
