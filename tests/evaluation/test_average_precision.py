"""mAP of several people: cases with known answers, and the same by loops over people and joints."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from posebook.association import People
from posebook.evaluation.average_precision import Detections, PeopleTruth, average_precision, match
from posebook.figures.dataset import Figures
from posebook.skeleton import LSP, MPII

WRISTS = ("r_wrist", "l_wrist")


def truth(people: int = 2, images: int = 1) -> PeopleTruth:
    """People 100 pixels apart with heads of 10, so that a joint may be off by 5."""
    generator = torch.Generator().manual_seed(0)
    # Whole numbers, so that half a head size is exactly that.
    joints = (50 * torch.rand(images, people, 16, 2, generator=generator)).round()
    joints[..., 0] += 100 * torch.arange(people)[:, None]
    return PeopleTruth(joints, torch.full((images, people, 16), 2), torch.full((images, people), 10.0))


def found(joints: torch.Tensor, confidence: float | list[float] = 0.9) -> People:
    """People with these joints, one confidence for all of a person's."""
    each = torch.as_tensor(confidence).expand(len(joints))[:, None].expand(-1, joints.shape[1]).clone()
    return People(joints.clone(), each, each.mean(1))


def test_the_labels_themselves_score_one():
    labels = truth()
    result = average_precision([found(labels.people_joints[0])], labels, MPII)
    assert (result.fractions == 1).all()
    assert result.mean == 1
    assert result.benchmark_mean == 1
    assert result.counted.tolist() == [2] * 16
    # In any order, and as far off as half a head size.
    moved = labels.people_joints[0].flip(0) + torch.tensor([3.0, 4.0])
    assert average_precision([found(moved)], labels, MPII).mean == 1
    assert average_precision([found(moved + 0.1)], labels, MPII).mean == 0


def test_a_missed_person_costs_recall():
    labels = truth(people=4)
    assert average_precision([found(labels.people_joints[0, :3])], labels, MPII).mean == pytest.approx(0.75)


def test_of_two_of_a_person_the_worse_one_is_wrong():
    labels = truth(people=1)
    twice = labels.people_joints[0].repeat(2, 1, 1)
    # As sure as the other, it halves the precision at which the person is found; less sure, it costs nothing.
    assert average_precision([found(twice)], labels, MPII).mean == pytest.approx(0.5)
    assert average_precision([found(twice, [0.9, 0.2])], labels, MPII).mean == 1
    # The one with the larger share right is kept, were it the less sure one.
    twice[0, :4] += 30
    result = average_precision([found(twice, [0.9, 0.2])], labels, MPII)
    assert result.mean == pytest.approx(0.5)


def test_swapped_joints_are_wrong_and_the_others_right():
    labels = truth()
    swapped = labels.people_joints[0].clone()
    right, left = (MPII.index(name) for name in WRISTS)
    swapped[:, [right, left]] = swapped[:, [left, right]]
    result = average_precision([found(swapped)], labels, MPII)
    assert result.average(WRISTS) == 0
    assert result.average(tuple(name for name in MPII.joints if name not in WRISTS)) == 1
    assert result.mean == pytest.approx(14 / 16)


def test_nobody_found_scores_zero_and_nobody_there_scores_nothing():
    labels = truth()
    nobody = found(torch.zeros(0, 16, 2))
    assert average_precision([nobody], labels, MPII).mean == 0
    empty = PeopleTruth(labels.people_joints, torch.zeros(1, 2, 16), torch.full((1, 2), torch.nan))
    assert average_precision([nobody], empty, MPII).fractions.isnan().all()
    # Whoever is found in an empty image is wrong: above the right ones it costs, below them it does not.
    right = average_precision([found(labels.people_joints[0], 0.5)], labels, MPII)
    for confidence, expected in ((0.9, 2 / 3), (0.1, 1)):
        wrong = average_precision([found(labels.people_joints[0, :1], confidence)], empty, MPII)
        assert (right + wrong).mean == pytest.approx(expected)


def test_precision_is_the_best_at_a_recall_or_a_higher_one():
    def area(order: list[bool], counted: int) -> float:
        confidence = torch.linspace(0.9, 0.1, len(order))
        single = Detections(
            confidence, torch.tensor(order), torch.zeros(len(order), dtype=int), torch.tensor([counted]), ("a",), ("a",)
        )
        return float(single.mean)

    assert area([True, False, True], 2) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    assert area([False, True, True], 2) == pytest.approx(2 / 3)
    assert area([True, False], 4) == pytest.approx(1 / 4)
    assert area([False], 1) == 0


def test_a_joint_that_the_true_person_lacks_is_wrong_and_one_not_predicted_is_missed():
    labels = truth(people=1)
    labels.people_presence[0, 0, 3] = 0
    labels.people_joints[0, 0, 3] = torch.nan
    people = found(labels.people_joints[0].nan_to_num(0.0))
    people.confidence[0, 5] = 0
    people.joints[0, 7] = torch.nan
    result = average_precision([people], labels, MPII)
    assert result.fractions[3].isnan()
    assert (result.joint == 3).sum() == 1
    assert not result.correct[result.joint == 3].any()
    assert result.fractions[[5, 7]].tolist() == [0, 0]
    assert (result.joint == 5).sum() == 0
    assert result.mean == pytest.approx(13 / 15)


def test_people_without_a_head_size_and_those_found_there_are_left_out():
    labels = truth(people=3)
    labels.people_head_size[0, 1] = torch.nan
    result = average_precision([found(labels.people_joints[0])], labels, MPII)
    assert result.counted.tolist() == [2] * 16
    assert len(result.joint) == 2 * 16
    assert result.mean == 1
    # Elsewhere in the image a wrong person is wrong as ever; where nobody has a size, nothing is judged.
    elsewhere = torch.cat([labels.people_joints[0], labels.people_joints[0, :1] + 500])
    assert average_precision([found(elsewhere)], labels, MPII).mean == pytest.approx(2 / 3)
    labels.people_head_size[:] = torch.nan
    assert len(average_precision([found(elsewhere)], labels, MPII).joint) == 0


def test_the_best_prediction_is_kept_by_each_true_person():
    # Two go with the first, the second of them is better; the third goes with nobody.
    share = torch.tensor([[[0.4, 0.3], [0.6, 0.5], [0.0, 0.0], [0.1, 0.2]]])
    best, own = match(share)
    assert best[0, [0, 1, 3]].tolist() == [0, 0, 1]
    assert own.tolist() == [[False, True, False, True]]


def test_it_is_what_going_from_person_to_person_gives():
    """Guesses near and far, too many and too few, with ties in nothing."""
    sample = Figures("test", size=128, people=4).batch(torch.arange(24))
    generator = torch.Generator().manual_seed(1)
    people = []
    for joints in sample.people_joints:
        count = int(torch.randint(0, 6, (1,), generator=generator))
        which = torch.randint(0, 4, (count,), generator=generator)
        guess = joints[which] + 3 * torch.randn(count, 16, 2, generator=generator)
        confidence = torch.rand(count, 16, generator=generator)
        confidence[confidence < 0.15] = 0
        people.append(People(guess, confidence, confidence.mean(1)))
    result = average_precision(people, sample, MPII)

    rows, counted = [], np.zeros(16)
    for image, guessed in enumerate(people):
        presence, sizes = sample.people_presence[image], sample.people_head_size[image]
        real = [p for p in range(4) if (presence[p] > 0).any()]
        shares = np.zeros((len(guessed), len(real)))
        right = np.zeros((len(guessed), len(real), 16), bool)
        for n in range(len(guessed)):
            for i, p in enumerate(real):
                for j in range(16):
                    if presence[p, j] and guessed.confidence[n, j] > 0:
                        off = math.dist(guessed.joints[n, j].tolist(), sample.people_joints[image, p, j].tolist())
                        right[n, i, j] = off <= 0.5 * sizes[p]
                shares[n, i] = right[n, i].sum() / int((presence[p] > 0).sum())
        for p in real:
            counted += (presence[p] > 0).numpy()
        for n in range(len(guessed)):
            i = shares[n].argmax()
            rivals = [m for m in range(len(guessed)) if shares[m].argmax() == i]
            mine = shares[n, i] > 0 and n == max(rivals, key=lambda m, i=i: shares[m, i])
            for j in range(16):
                if guessed.confidence[n, j] > 0:
                    rows.append((j, float(guessed.confidence[n, j]), mine and bool(right[n, i, j])))
    assert result.counted.tolist() == counted.tolist()
    for j in range(16):
        order = [hit for joint, _, hit in sorted(rows, key=lambda row: -row[1]) if joint == j]
        precision = [sum(order[: k + 1]) / (k + 1) for k in range(len(order))]
        area = sum(max(precision[k:]) for k, hit in enumerate(order) if hit) / counted[j]
        assert result.fractions[j].item() == pytest.approx(area)
    assert 0.1 < result.mean < 0.9

    halves = [average_precision(people[part], sample[part], MPII) for part in (slice(10, 24), slice(0, 10))]
    torch.testing.assert_close((halves[0] + halves[1]).fractions, result.fractions)


def test_errors_say_what_does_not_fit():
    labels, single = truth(), Figures("test", size=64).batch(torch.arange(1))
    people = [found(labels.people_joints[0])]
    with pytest.raises(ValueError, match="people=2 or more"):
        average_precision(people, single, MPII)
    with pytest.raises(ValueError, match="found in 2 images, and the labels are of 1"):
        average_precision(people * 2, labels, MPII)
    with pytest.raises(ValueError, match="lsp has 14 joints"):
        average_precision(people, labels, LSP)
    result = average_precision(people, labels, MPII)
    with pytest.raises(ValueError, match="no joint 'nose'"):
        result.curve("nose")
    other = Detections(torch.zeros(0), torch.zeros(0, dtype=bool), torch.zeros(0, dtype=int), torch.zeros(1, dtype=int),
                       ("a",), ("a",))  # fmt: skip
    with pytest.raises(ValueError, match="same joints"):
        result + other
