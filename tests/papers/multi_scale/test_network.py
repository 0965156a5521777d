from __future__ import annotations

import pytest
import torch

from posebook.losses import heatmap_loss, structure_loss
from posebook.papers import create, profile_of
from posebook.papers.hourglass.network import Hourglass
from posebook.papers.multi_scale.network import JOINTLY, REGRESSION, SUPERVISION, MultiScale, Outputs
from posebook.skeleton import FLIC, LSP, MPII, PASCAL
from toy import people

SMALL = {"size": 64, "stacks": 2, "features": 16, "depth": 3, "scales": 3}


def small(**changes) -> MultiScale:
    torch.manual_seed(0)
    return create("multi_scale", **SMALL | changes)


def test_without_its_parts_it_is_newells_hourglass():
    torch.manual_seed(0)
    plain = Hourglass(size=64, stacks=2, features=16, depth=3)
    ours = small(scales=1, regression=False, alpha=0.0)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in plain.named_parameters()]
    batch = people(3, 64, 16)
    outputs = plain(batch.images), ours(batch.images)
    torch.testing.assert_close(outputs[1].scales[0], outputs[0], rtol=0, atol=0)
    torch.testing.assert_close(ours.loss(outputs[1], batch)[0], plain.loss(outputs[0], batch)[0])
    # With them, its hourglasses start as the plain one's.
    state = small().state_dict()
    assert all(torch.equal(state[name], value) for name, value in small(scales=1).state_dict().items()
               if not name.startswith("regression"))  # fmt: skip


def test_every_stack_has_maps_at_every_scale_and_the_regression_too():
    model = small()
    outputs = model(torch.rand(2, 3, 64, 64))
    assert [maps.shape for maps in outputs.scales] == [(2, 2, 16, side, side) for side in (4, 8, 16)]
    assert [maps.shape for maps in outputs.regressed] == [(2, 16, side, side) for side in (4, 8, 16)]
    assert model.maps(outputs) is outputs.regressed[-1]
    alone = small(regression=False)(torch.rand(2, 3, 64, 64))
    assert alone.regressed == ()
    assert small(scales=2)(torch.rand(2, 3, 64, 64)).scales[0].shape == (2, 2, 16, 8, 8)


def test_the_regression_sees_every_scale_and_stack_and_the_image():
    model = small().eval()
    images = torch.rand(2, 3, 64, 64)
    scales = model(images).scales
    before = model.regression(scales, images)
    for place in range(3):
        for stack in range(2):
            changed = [maps.clone() for maps in scales]
            changed[place][:, stack] += 1
            assert not torch.equal(model.regression(tuple(changed), images)[-1], before[-1]), (place, stack)
    assert not torch.equal(model.regression(scales, 1 - images)[-1], before[-1])


def test_the_papers_network_is_hardly_larger_than_newells():
    with torch.device("meta"):
        ours, plain = (
            sum(p.numel() for p in create(name, stacks=8).parameters()) for name in ("multi_scale", "hourglass")
        )
    assert 1 < ours / plain < 1.05


@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("norm", ["squared", "cells", "map"])
def test_the_loss_is_that_of_every_stack_and_scale(alpha, norm):
    """With ground truth whose coarse cells each hold the highest of the cells they cover."""
    model, batch = small(alpha=alpha, norm=norm), people(3, 64, 16)
    batch.presence[:, :5] = torch.tensor([0, 1, 2, 0, 1], dtype=torch.uint8)
    outputs = model(batch.images)
    target = model.codec.encode(batch.joints, batch.presence)
    total = {"scale_4": 0.0, "scale_2": 0.0, "scale_1": 0.0, "regression": 0.0}
    groups = torch.tensor(MPII.structure)
    for place, factor in enumerate((4, 2, 1)):
        coarse = target.unflatten(-2, (-1, factor)).unflatten(-1, (-1, factor)).amax((-3, -1))
        for name, maps in ((f"scale_{factor}", outputs.scales[place][:, 0]),
                           (f"scale_{factor}", outputs.scales[place][:, 1]),
                           ("regression", outputs.regressed[place])):  # fmt: skip
            total[name] += heatmap_loss(maps, coarse, batch.presence, norm)
            total[name] += alpha * structure_loss(maps, coarse, batch.presence, groups, "sum", norm)
    loss, terms = model.loss(outputs, batch)
    assert terms.keys() == total.keys()
    for name, value in terms.items():
        torch.testing.assert_close(value, total[name])
    torch.testing.assert_close(loss, sum(total.values()))


def test_ground_truth_peaks_where_the_joint_is_at_every_scale():
    """Within half a cell: a loss of nothing, at each scale, is that of a map with its peak in the joint's cell."""
    model, batch = small(alpha=0.0, regression=False), people(8, 64, 16, seed=3)
    full = model.codec.encode(batch.joints, batch.presence)
    for factor in (1, 2, 4):
        coarse = torch.nn.functional.max_pool2d(full, factor)
        width = coarse.shape[-1]
        place = coarse.flatten(-2).argmax(-1)
        centre = torch.stack([place % width, place // width], -1) + 0.5
        off = (centre * 4 * factor - batch.joints).abs() / (4 * factor)
        assert off.max() <= 0.5 + 1e-5
        scales = [torch.nn.functional.max_pool2d(full, f)[:, None].expand(-1, 2, -1, -1, -1) for f in (4, 2, 1)]
        assert model.loss(Outputs(tuple(scales), ()), batch)[0] == 0


def gradients(model: MultiScale) -> dict[str, bool]:
    """Which parts a step would train."""
    batch = people(4, 64, 16)
    model.zero_grad()
    model.loss(model(batch.images), batch)[0].backward()
    found = {"regression": False, "supervision": False}
    for name, parameter in model.named_parameters():
        found["regression" if name.startswith("regression") else "supervision"] |= parameter.grad is not None
    return found


def test_phases_train_what_the_paper_trains_in_them():
    model = small().train()
    assert gradients(model) == {"regression": True, "supervision": True}
    for phase, trained in ((SUPERVISION, "supervision"), (REGRESSION, "regression")):
        model.enter(phase)
        assert gradients(model) == {name: name == trained for name in ("regression", "supervision")}
    before = {name: value.clone() for name, value in model.named_buffers() if not name.startswith("regression")}
    model.train()
    _, terms = model.loss(model(torch.rand(4, 3, 64, 64)), people(4, 64, 16))
    assert [name for name, value in terms.items() if value == 0] == ["scale_4", "scale_2", "scale_1"]
    for name, value in before.items():
        assert torch.equal(dict(model.named_buffers())[name], value), name
    model.enter(JOINTLY)
    assert gradients(model) == {"regression": True, "supervision": True}
    model.enter(SUPERVISION)
    outputs = model(torch.rand(2, 3, 64, 64))
    assert outputs.regressed == ()
    assert model.decode(outputs)[0].shape == (2, 16, 2)
    alone = small(regression=False)
    alone.enter(REGRESSION)
    assert gradients(alone)["supervision"]


def test_supervision_at_coarse_scales_reaches_what_is_below_them():
    """Without it, the lowest features learn from the finest maps alone."""
    coarse, fine = small(regression=False), small(regression=False, scales=1)
    for model, reached in ((coarse, True), (fine, False)):
        outputs = model(torch.rand(2, 3, 64, 64))
        outputs.scales[0].square().sum().backward()
        assert (model.merge_features[0].weight.grad is not None) is True
        assert (model.hourglasses[1].after[0].conv1.weight.grad is None) is reached


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"scales": 4}, "multi_scale: scales is 4, and there is one per pooling; give 3 at most"),
        ({"scales": 0}, "multi_scale: scales is 0; give a whole number of at least 1"),
        ({"alpha": -1.0}, "multi_scale: alpha is -1.0; give the structure-aware term's weight"),
        ({"norm": "l2"}, "multi_scale: norm is 'l2'; give squared, cells, map"),
        ({"combination": "mean"}, "multi_scale: combination is 'mean'; give sum, maximum"),
        ({"joints": 5}, r"multi_scale: 5 joints have no connections; give 16 \(mpii\), 14 \(lsp\), 11 \(flic\)"),
        ({"size": 36}, "multi_scale: size is 36, which 3 poolings at stride 4 do not divide"),
    ],
)
def test_settings_out_of_range(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(**settings)
    assert small(joints=5, alpha=0.0).settings["joints"] == 5


def test_every_skeleton_has_its_structure():
    def names(skeleton):
        return {" ".join(skeleton.joints[joint] for joint in dict.fromkeys(group)) for group in skeleton.structure}

    assert len(names(MPII)) == len(MPII.structure) == 14
    assert {"thorax head_top", "r_hip l_hip", "r_ankle r_knee r_hip", "l_elbow l_wrist"} < names(MPII)
    assert not any("pelvis" in group or "upper_neck" in group for group in names(MPII))
    assert "neck head_top" in names(LSP)
    assert LSP.structure == PASCAL.structure
    assert sorted(len(set(group)) for group in FLIC.structure) == [2, 2, 2, 2, 2, 3, 3]
    for joints in (14, 11):
        assert small(joints=joints).groups.shape[1] == 3


def test_profiles_have_the_papers_phases():
    for name in ("quick", "study", "paper"):
        plan = profile_of("multi_scale", name)
        assert plan.phases == (0.5, 0.75)
        assert plan.masking is not None
        # The rate starts anew in each phase.
        assert plan.schedule(0.499) < plan.schedule(0.55)
        assert plan.schedule(0.749) < plan.schedule(0.80)
