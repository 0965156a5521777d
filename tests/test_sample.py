"""What follows from a person's labels whatever the set: LIP's challenges."""

from __future__ import annotations

import torch

from posebook.datasets.lip import read_annotations
from posebook.sample import tags
from posebook.skeleton import TAGS


def test_tags_by_hand():
    full = torch.full((4, 16), 2, dtype=torch.uint8)
    full[1, [0, 1, 4, 5]] = 0  # no knees, no ankles
    full[2, 6:] = 0  # nothing above the hips
    full[3, 10] = 1
    back = torch.tensor([False, False, False, True])
    table = dict(zip(TAGS, tags(full, back).T.tolist(), strict=True))
    assert table["full_body"] == [True, False, False, True]
    assert table["upper_body"] == [False, True, False, False]
    assert table["lower_body"] == [False, False, True, False]
    assert table["head_missing"] == [False, False, True, False]
    assert table["occlusion"] == [False, False, False, True]
    assert table["back_view"] == [False, False, False, True]


def test_full_bodies_of_lip_are_as_many_as_the_paper_has(real_data):
    """Sec. 4.1.2 counts 5,452 in the validation set; the other numbers are those that the docstring tells."""
    _, _, presence = read_annotations(real_data("lip") / "lip_val_set.csv")
    counts = dict(zip(TAGS, tags(presence, torch.zeros(len(presence), dtype=torch.bool)).sum(0).tolist(), strict=True))
    assert counts["full_body"] == 5452
    assert (counts["head_missing"], counts["occlusion"], counts["upper_body"]) == (119, 4722, 1836)
