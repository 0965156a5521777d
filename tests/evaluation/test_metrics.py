"""Scores against brute force over people and joints, and the cases benchmarks define."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posebook.evaluation.metrics import (
    Truth,
    auc,
    confusion,
    distances,
    observer_centric,
    parsing_score,
    pck,
    pckh,
    pcp,
    thresholds,
)
from posebook.skeleton import FLIC, LSP, MPII, PARTS, PASCAL, Skeleton


def people(skeleton: Skeleton = MPII, count: int = 40, seed: int = 0) -> tuple[torch.Tensor, Truth]:
    """Random poses with every kind of presence, and predictions near and far."""
    generator = torch.Generator().manual_seed(seed)
    joints = 20 + 200 * torch.rand(count, len(skeleton), 2, generator=generator)
    presence = torch.randint(0, 3, (count, len(skeleton)), generator=generator).to(torch.uint8)
    size = 10 + 40 * torch.rand(count, generator=generator)
    size[3] = torch.nan
    predicted = joints + 15 * torch.randn(joints.shape, generator=generator)
    predicted[5, 2] = torch.nan
    return predicted, Truth(joints, presence, head_size=size, torso_size=2 * size)


@pytest.mark.parametrize("among", ["all", "visible", "occluded"])
def test_pckh_is_what_counting_one_by_one_gives(among):
    predicted, truth = people()
    code = {"all": (1, 2), "visible": (2,), "occluded": (1,)}[among]
    correct, counted = np.zeros(16, int), np.zeros(16, int)
    for person in range(len(truth)):
        for joint in range(16):
            size = float(truth.head_size[person])
            if int(truth.presence[person, joint]) in code and not np.isnan(size):
                counted[joint] += 1
                distance = np.hypot(*(predicted[person, joint] - truth.joints[person, joint]).tolist())
                correct[joint] += distance <= 0.5 * size  # False where the prediction is NaN
    score = pckh(predicted, truth, 0.5, among=among)
    assert score.correct.tolist() == correct.tolist()
    assert score.counted.tolist() == counted.tolist()
    assert 0 < correct.sum() < counted.sum()


def test_scores_of_batches_add_up_to_the_score_of_all():
    predicted, truth = people()
    whole = pckh(predicted, truth)
    parts = [
        pckh(predicted[part], Truth(*(v[part] for v in vars(truth).values()))) for part in (slice(0, 7), slice(7, 40))
    ]
    total = parts[0] + parts[1]
    assert torch.equal(total.correct, whole.correct)
    assert torch.equal(total.counted, whole.counted)
    with pytest.raises(ValueError, match="same joints"):
        whole + pck(*people(LSP), skeleton=LSP)


def test_nan_predictions_are_wrong_and_joints_without_annotation_have_no_score():
    predicted, truth = people()
    truth.presence[:, 4] = 0
    predicted[:, 7] = torch.nan
    score = pckh(predicted, truth, threshold=1e9)
    assert score.fractions[4].isnan()
    assert score.fractions[7] == 0
    others = [j for j in range(16) if j not in (2, 4, 7)]
    assert (score.fractions[others] == 1).all()
    assert score.mean == pytest.approx(float((score.fractions[others].sum() + score.fractions[2]) / 15))


def test_a_person_without_a_size_is_left_out():
    predicted, truth = people()
    for size in (torch.nan, 0.0):
        truth.head_size[:] = size
        assert pckh(predicted, truth).counted.sum() == 0
        assert pckh(predicted, truth).mean.isnan()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_distance_equal_to_the_threshold_is_right(dtype):
    joints = torch.zeros(1, 16, 2, dtype=dtype)
    truth = Truth(joints, torch.full((1, 16), 2), torch.full((1,), 10.0, dtype=dtype), joints.new_full((1,), 10.0))
    predicted = joints + joints.new_tensor([2.0, 0.0])
    assert pck(predicted, truth, 0.2).mean == 1
    assert pck(predicted + 1e-3, truth, 0.2).mean == 0


def test_pck_is_of_torso_and_pckh_of_head():
    predicted, truth = people()
    assert torch.equal(pck(predicted, truth, 0.25).correct, pckh(predicted, truth, 0.5).correct)


def test_means_pool_and_average_as_they_say():
    predicted, truth = people()
    score = pckh(predicted, truth)
    keep = [j for j in range(16) if j not in (6, 7)]
    assert score.benchmark_mean == pytest.approx(float(score.correct[keep].sum() / score.counted[keep].sum()))
    assert score.mean == pytest.approx(float(score.fractions.mean()))
    assert score.average(("r_hip", "l_hip")) == pytest.approx(float(score.fractions[[2, 3]].mean()))
    with pytest.raises(ValueError, match="no 'tail'"):
        score.pooled(("tail",))


def test_auc_is_the_mean_over_fifty_one_thresholds():
    predicted, truth = people()
    grid = thresholds(0.5)
    assert grid.tolist() == [k / 100 for k in range(51)]
    by_joint, total = auc(pckh(predicted, truth, grid))
    each = [pckh(predicted, truth, k / 100) for k in range(51)]
    assert torch.allclose(by_joint, torch.stack([s.fractions for s in each]).mean(0))
    assert total == pytest.approx(float(torch.stack([s.benchmark_mean for s in each]).mean()))
    with pytest.raises(ValueError, match="row of thresholds"):
        auc(pckh(predicted, truth, 0.5))


def test_distances_tell_apart_wrong_and_not_counted():
    predicted, truth = people()
    result = distances(predicted, truth.joints, truth.presence, truth.head_size)
    assert result[3].isnan().all()
    assert torch.equal(result[4].isnan(), truth.presence[4] == 0)
    truth.presence[5, 2] = 2
    assert distances(predicted, truth.joints, truth.presence, truth.head_size)[5, 2].isinf()


def test_pcp_is_strict():
    joints = torch.zeros(1, 14, 2)
    joints[0, :, 1] = torch.arange(14) * 10.0
    truth = Truth(joints, torch.full((1, 14), 2), torch.ones(1), torch.ones(1))
    predicted = joints.clone()
    assert pcp(predicted, truth, skeleton=LSP).mean == 1
    predicted[0, 0, 0] = 5.0  # the right ankle, exactly half the length of the lower leg away
    assert pcp(predicted, truth, skeleton=LSP).benchmark_mean == 1
    predicted[0, 0, 0] = 5.01
    score = pcp(predicted, truth, skeleton=LSP)
    wrong = [name for name, right in zip(score.names, score.correct, strict=True) if not right]
    assert wrong == ["r_lower_leg"]


@pytest.mark.parametrize("skeleton", [LSP, MPII])
def test_pcp_is_what_counting_one_by_one_gives(skeleton):
    predicted, truth = people(skeleton, seed=1)
    predicted = truth.joints + 3 * (predicted - truth.joints)
    score = pcp(predicted, truth, among="occluded", skeleton=skeleton)
    for place, (a, b) in enumerate(skeleton.pairs(skeleton.pcp_limbs)):
        correct = counted = 0
        for person in range(len(truth)):
            if min(truth.presence[person, a], truth.presence[person, b]) == 1:
                true, guess = truth.joints[person].numpy(), predicted[person].numpy()
                reach = 0.5 * np.linalg.norm(true[a] - true[b])
                counted += 1
                correct += all(np.linalg.norm(true[j] - guess[j]) <= reach for j in (a, b))
        assert (int(score.correct[place]), int(score.counted[place])) == (correct, counted)
    assert "torso" in score.names


def test_pcp_scores_lsp_torso_between_the_middles_of_hips_and_shoulders():
    _, truth = people(LSP)
    truth.presence[:] = 2
    # Both hips move apart, their middle stays.
    predicted = truth.joints.clone()
    predicted[:, 2, 0] += 500
    predicted[:, 3, 0] -= 500
    score = pcp(predicted, truth, skeleton=LSP)
    fractions = dict(zip(score.names, score.fractions.tolist(), strict=True))
    assert fractions["torso"] == 1
    assert fractions["r_upper_leg"] == 0


def test_pcp_refuses_an_order_without_limbs():
    with pytest.raises(ValueError, match="use pck"):
        pcp(*people(FLIC))


def test_observer_centric_forgives_left_for_right_and_person_centric_does_not():
    _, truth = people()
    truth.presence[:] = 2
    truth.head_size[3] = 20
    mirrored = truth.joints[:, MPII.mirror]
    centre = [MPII.index(name) for name in ("pelvis", "thorax", "upper_neck", "head_top")]
    sides = [j for j in range(16) if j not in centre]
    assert pckh(mirrored, truth, 0.05, centric="observer").mean == 1
    person = pckh(mirrored, truth, 0.05)
    assert person.fractions[centre].mean() == 1
    assert person.fractions[sides].mean() < 0.1
    # Right answers stay right whatever is annotated.
    _, truth = people()
    assert pckh(truth.joints.clone(), truth, 0.0, centric="observer").mean == 1


def test_observer_centric_left_is_the_images_left_and_limbs_stay_whole():
    _, truth = people()
    joints, presence = observer_centric(truth.joints, truth.presence, MPII)
    left, right = MPII.index("l_shoulder"), MPII.index("r_shoulder")
    known = (presence[:, left] > 0) & (presence[:, right] > 0)
    assert 0 < known.sum() < len(known)
    assert (joints[known, left, 0] <= joints[known, right, 0]).all()
    assert torch.equal(joints[~known][:, [left, right]], truth.joints[~known][:, [left, right]])
    arm = [MPII.index(f"l_{name}") for name in ("shoulder", "elbow", "wrist")]
    other = [MPII.mirror[j] for j in arm]
    kept = (joints[:, arm] == truth.joints[:, arm]).flatten(1).all(1)
    traded = (joints[:, arm] == truth.joints[:, other]).flatten(1).all(1)
    assert (kept ^ traded).all()
    assert traded.any()
    assert torch.equal(presence[traded][:, arm], truth.presence[traded][:, other])
    again, _ = observer_centric(joints, presence, MPII)
    assert torch.equal(again, joints)


def test_wrong_arguments_are_named():
    predicted, truth = people()
    with pytest.raises(ValueError, match="must agree"):
        pckh(predicted[:5], truth)
    with pytest.raises(ValueError, match="'person' or 'observer'"):
        pckh(predicted, truth, centric="mirror")
    with pytest.raises(ValueError, match="all, visible, occluded"):
        pckh(predicted, truth, among="hidden")
    with pytest.raises(ValueError, match="all, visible, occluded"):
        pcp(predicted, truth, among="hidden")
    with pytest.raises(ValueError, match="lsp has 14"):
        pckh(predicted, truth, skeleton=LSP)
    short = Truth(truth.joints[:, :5], truth.presence[:, :5], truth.head_size, truth.torso_size)
    with pytest.raises(ValueError, match="Give the skeleton"):
        pckh(predicted[:, :5], short)


def test_the_joints_of_pascal_are_scored_by_their_own_names():
    predicted, truth = people(PASCAL)
    score = pckh(predicted, truth, skeleton=PASCAL)
    assert score.names == score.ranked == PASCAL.joints
    forehead = PASCAL.index("forehead")
    there = (truth.presence[:, forehead] > 0) & ~truth.head_size.isnan()
    near = (predicted - truth.joints)[there, forehead].norm(dim=-1) <= 0.5 * truth.head_size[there]
    assert (int(score.correct[forehead]), int(score.counted[forehead])) == (int(near.sum()), int(there.sum()))
    assert 0 < near.sum() < there.sum()
    # LSP has as many joints, and a head top in the forehead's place.
    for measure in (pckh, pck, pcp):
        with pytest.raises(ValueError, match="which order do these 14 joints have, lsp or pascal\\? Give the skeleton"):
            measure(predicted, truth)
    assert pcp(predicted, truth, skeleton=PASCAL).names == tuple(
        name for name in pcp(predicted, truth, skeleton=LSP).names if name != "head"
    )


def test_flic_ranks_by_elbows_and_wrists():
    score = pck(*people(FLIC))
    assert sorted(score.ranked) == ["l_elbow", "l_wrist", "r_elbow", "r_wrist"]
    places = [FLIC.index(name) for name in score.ranked]
    assert score.benchmark_mean == pytest.approx(float(score.correct[places].sum() / score.counted[places].sum()))


def test_parsing_scores_are_what_scikit_learn_gives():
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, jaccard_score

    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 20, (3, 16, 16), generator=generator).to(torch.uint8)
    predicted = torch.where(torch.rand(truth.shape, generator=generator) < 0.6, truth, 19 - truth)
    truth[:, :4] = 255
    matrix = confusion(predicted, truth)
    for image in range(3):
        kept = truth[image] != 255
        expected = confusion_matrix(truth[image][kept], predicted[image][kept], labels=range(20))
        assert matrix[image].tolist() == expected.tolist()
    kept = truth != 255
    score = parsing_score(matrix.sum(0))
    assert score.pixel_accuracy == pytest.approx(accuracy_score(truth[kept], predicted[kept]))
    assert score.mean_accuracy == pytest.approx(balanced_accuracy_score(truth[kept], predicted[kept]))
    assert score.mean_iou == pytest.approx(jaccard_score(truth[kept], predicted[kept], average="macro"))


def test_a_column_beyond_the_classes_is_always_wrong():
    score = parsing_score(torch.tensor([[6, 1, 1], [0, 2, 2]]))
    assert score.pixel_accuracy == pytest.approx(8 / 12)
    assert score.iou.tolist() == pytest.approx([6 / 8, 2 / 5])
    assert score.class_accuracy.tolist() == pytest.approx([6 / 8, 2 / 4])


def test_parsing_leaves_out_classes_that_never_occur_and_refuses_others():
    truth = torch.zeros(1, 4, 4, dtype=torch.uint8)
    truth[0, 2:] = 5
    score = parsing_score(confusion(truth, truth)[0])
    assert score.mean_iou == 1
    assert score.iou.isnan().sum() == len(PARTS) - 2
    with pytest.raises(ValueError, match="predicted labels"):
        confusion(truth + 30, truth)
    with pytest.raises(ValueError, match="true labels"):
        confusion(truth, truth + 30)
    assert confusion(truth, torch.full_like(truth, 255)).sum() == 0
