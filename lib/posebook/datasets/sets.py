"""The real sets: what they hold, where they come from, and whether a copy of one is whole."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from posebook.datasets import open_dataset
from posebook.sample import SPLITS


@dataclass(frozen=True)
class Archive:
    """An archive at its official address.

    Attributes:
        part: what is in it, "images" or "annotations", or "all".
        url: its address.
        gives: files and folders that it must hold, at the top or together in one folder.
    """

    part: str
    url: str
    gives: tuple[str, ...]


@dataclass(frozen=True)
class RealSet:
    """A real set: what it is and how to get it.

    Attributes:
        archives: what `fetch` downloads; empty where the set needs a form or a person at its site.
        site: its official page.
        how: what to do there, for sets without archives.
    """

    title: str
    holds: str
    site: str
    archives: tuple[Archive, ...] = ()
    how: str = ""


_SAM = "https://sam.johnson.io/research"
_MPI = "https://datasets.d2.mpi-inf.mpg.de/andriluka14cvpr"

SETS = {
    "lsp": RealSet(
        "Leeds Sports Pose",
        "2,000 people, 14 joints",
        f"{_SAM}/lsp.html",
        (Archive("all", f"{_SAM}/lsp_dataset.zip", ("joints.mat", "images")),),
    ),
    "lspet": RealSet(
        "Leeds Sports Pose Extended",
        "10,000 people, 14 joints",
        f"{_SAM}/lspet.html",
        (Archive("all", f"{_SAM}/lspet_dataset.zip", ("joints.mat", "images")),),
    ),
    "mpii": RealSet(
        "MPII Human Pose",
        "about 25,000 photographs, 40,000 people, 16 joints",
        "http://human-pose.mpi-inf.mpg.de",
        (
            Archive("annotations", f"{_MPI}/mpii_human_pose_v1_u12_2.zip", ("mpii_human_pose_v1_u12_1.mat",)),
            Archive("images", f"{_MPI}/mpii_human_pose_v1.tar.gz", ("images",)),
        ),
    ),
    "flic": RealSet(
        "Frames Labeled in Cinema (FLIC)",
        "5,003 people, 11 upper-body joints",
        "https://bensapp.github.io/flic-dataset.html",
        how="follow its link to FLIC.zip, which a file-sharing service serves",
    ),
    "lip": RealSet(
        "Look into Person (LIP)",
        "50,462 people, 16 joints, 20 part labels",
        "https://www.sysu-hcp.net/lip/overview.php",
        how="take the single-person track from the drive folders it links to (where the site is down, the README of "
        "https://github.com/Engineering-Course/LIP_SSL links to them too)",
    ),
    "ccp": RealSet(
        "Clothing Co-Parsing (CCP)",
        "1,004 whole figures with 59 tags of clothing at each pixel, no joints",
        "https://github.com/bearpaw/clothing-co-parsing",
        (
            Archive(
                "all",
                "https://github.com/bearpaw/clothing-co-parsing/archive/refs/heads/master.zip",
                ("label_list.mat", "annotations", "photos"),
            ),
        ),
    ),
    "pascal": RealSet(
        "Extended PASCAL-Person-Part",
        "3,533 photographs of several people, 14 joints, 6 body parts",
        "https://sukixia.github.io/paper.html",
        how="take the joints and part labels of its paper of CVPR 2017 (the part labels are at "
        "http://liangchiehchen.com/projects/DeepLab.html too); the photographs are in PASCAL VOC 2010, "
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2010/",
    ),
}


def check(name: str, root: str | Path, progress: bool = True) -> tuple[bool, str]:
    """Whether a set is whole, and a sentence that says what there is, what is missing or broken, and what to do.

    Raises:
        ValueError, FileNotFoundError: an unknown set, or labels that cannot be read.
    """
    from posebook.datasets import ccp, flic, lip, lsp, mpii, packed, pascal, photographs

    if name == "packed":
        return True, packed.check(root)
    if name not in SETS:
        raise ValueError(f"no set is called '{name}'; there are {', '.join(SETS)}, packed")
    labelled = {"lip": lip, "ccp": ccp, "pascal": pascal}
    if name in labelled:
        fine, sentence = labelled[name].check(root, progress)
    else:
        if name in ("lsp", "lspet"):
            people = lsp.read_people(root, name)
        else:
            people = {"mpii": mpii, "flic": flic}[name].read_people(root)
        fine, sentence = photographs.check(name, people, progress)
    return fine, f"{sentence} {_splits(name, root)}".rstrip()


def _splits(name: str, root: str | Path) -> str:
    """How many people each split has, as far as there are labels and photographs for it."""
    counts = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of photographs that are missing, which the check has told
        for split in SPLITS:
            try:
                counts.append(f"{open_dataset(name, split, root, 64).length:,} {split}")
            except (ValueError, OSError) as error:
                counts.append(f"no {split} ({error})")
    return f"Splits: {', '.join(counts)}."
