from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from posebook.figures.dataset import Figures
from posebook.papers import create, profile_of
from posebook.papers.look_into_person.network import SCALES, JPPNet, SSJPPNet, views
from posebook.training.loop import train
from posebook.training.recipe import Recipe

SMALL = {"size": 64, "depth": 14, "width": 4, "features": 8, "pooled": False}

# Table 7 of the paper: module, name, kernel size, channels. ASPP's kernels are DeepLab's.
TABLE_7 = """
part     conv-1  3 512
part     conv-2  3 256
joint    conv-1  3 512
joint    conv-2  3 512
joint    conv-3  3 256
joint    conv-4  3 256
joint    conv-5  3 256
joint    conv-6  3 256
joint    conv-7  1 512
joint    conv-8  1 16
pose     remap-1 1 128
pose     remap-2 1 128
pose     conv-1  3 512
pose     conv-2  5 256
pose     conv-3  7 256
pose     conv-4  9 256
pose     conv-5  1 256
pose     conv-6  1 16
parsing  remap-1 1 128
parsing  remap-2 1 128
parsing  conv-1  3 512
parsing  conv-2  5 256
parsing  conv-3  7 256
parsing  conv-4  9 256
parsing  conv-5  1 256
parsing  ASPP    3 20
"""


def small(network: str = "look_into_person", **changes) -> nn.Module:
    torch.manual_seed(0)
    return create(network, **SMALL | changes)


def batch(count: int = 2):
    return Figures("train", 64).batch(torch.arange(count))


def test_every_layer_of_table_7():
    rows = [row.split() for row in TABLE_7.strip().splitlines()]
    for norm in (False, True):
        with torch.device("meta"):
            network = JPPNet(norm=norm)
        refinements = {"pose": network.refine_pose, "parsing": network.refine_parsing}
        for module in ("part", "joint", *refinements):
            wanted = [(int(side), int(channels)) for name, _, side, channels in rows if name == module]
            for part in refinements.get(module, [getattr(network, module, None)]):
                found = [m for m in part.modules() if isinstance(m, nn.Conv2d)]
                sizes = [(m.kernel_size[0], m.out_channels) for m in found]
                if module == "parsing":  # the four branches are one layer
                    assert [m.dilation[0] for m in found[-4:]] == [6, 12, 18, 24]
                    assert set(sizes[-4:]) == {wanted[-1]}
                    sizes[-4:] = [wanted[-1]]
                assert sizes == wanted, module
        # What comes in: Res-5, Res-4, and 512 channels of remapped maps and context.
        inputs = {"part": 2048, "joint": 1024}
        assert all(_first(getattr(network, name)).in_channels == value for name, value in inputs.items())
        assert all(_first(part.context).in_channels == 512 for parts in refinements.values() for part in parts)
        assert len(network.refine_pose) == len(network.refine_parsing) == 2


def _first(module: nn.Module) -> nn.Conv2d:
    return next(part for part in module.modules() if isinstance(part, nn.Conv2d))


def test_outputs_have_every_stage_and_scale():
    outputs = small(refinements=2, scales=3)(batch().images)
    assert outputs.maps.shape == (2, 3, 3, 16, 16, 16)
    assert outputs.parsing.shape == (2, 3, 3, 20, 16, 16)
    alone = small(tasks="pose", refinements=0, scales=1)(batch().images)
    assert alone.parsing is None
    assert alone.maps.shape == (2, 1, 1, 16, 16, 16)
    assert small(tasks="parsing", refinements=0)(batch().images).maps is None
    assert small(pooled=True)(batch().images).maps.shape[-1] == 8


def test_scales_share_all_weights():
    one, three = small(scales=1), small(scales=3)
    assert [p.shape for p in one.parameters()] == [p.shape for p in three.parameters()]
    one.load_state_dict(three.state_dict())
    images = batch().images
    one, three = one.eval(), three.eval()
    torch.testing.assert_close(three(images).maps[:, :, :1], one(images).maps)
    # Each further scale is what the network makes of the smaller image.
    for place, scale in enumerate(SCALES):
        view = views(images, 3)[place]
        assert view.shape[-1] == round(64 * scale)
    half = one(views(images, 2)[1]).maps[:, :, 0]
    again = three(images).maps[:, :, 1]
    assert half.shape[-1] == 8
    pooled = nn.functional.adaptive_avg_pool2d(again.flatten(0, 1), 8).unflatten(0, (2, -1))
    assert torch.corrcoef(torch.stack([half.flatten(), pooled.flatten()]))[0, 1] > 0.9


@pytest.mark.parametrize("merge", ["maximum", "mean"])
def test_scales_are_merged(merge):
    network = small(merge=merge, scales=2).eval()
    outputs = network(batch().images)
    last = outputs.maps[:, -1]
    expected = last.amax(1) if merge == "maximum" else last.mean(1)
    torch.testing.assert_close(network.maps(outputs), expected)


def test_the_loss_supervises_every_stage_and_scale_and_what_they_merge_to():
    network, people = small(scales=2, refinements=1), batch()
    outputs = network(people.images)
    supervised = network._supervised(outputs.maps)
    assert len(supervised) == 2 * 3
    loss, terms = network.loss(outputs, people)
    torch.testing.assert_close(loss, terms["pose"] + terms["parsing"])
    single = small(scales=1, refinements=1)
    assert len(single._supervised(single(people.images).maps)) == 2
    # beta weighs the joints.
    network.settings["beta"] = 0.0
    torch.testing.assert_close(network.loss(outputs, people)[0], terms["parsing"])
    network.zero_grad()
    network.loss(outputs, people)[0].backward()
    assert all(p.grad is None or not p.grad.any() for p in network.refine_pose[0].last.parameters())


def test_a_refinement_sees_both_tasks_and_its_own_context():
    refinement = small(refinements=1).eval().refine_pose[0]
    inputs = [torch.rand(1, channels, 16, 16) for channels in (16, 20, 8)]
    before = refinement(*inputs)[0]
    for place in range(3):
        changed = [some + 1 if k == place else some for k, some in enumerate(inputs)]
        assert not torch.equal(refinement(*changed)[0], before)


def test_phases_train_part_labels_and_then_everything():
    network, people = small(), batch()
    network.enter(0)
    network.train()
    loss, terms = network.loss(network(people.images), people)
    assert terms["pose"] == 0
    torch.testing.assert_close(loss, terms["parsing"])
    loss.backward()
    assert all(p.grad is None for p in network.joint.parameters())
    network.eval()
    assert network(people.images).maps is not None
    network.enter(1)
    network.train()
    assert network.loss(network(people.images), people)[1]["pose"] > 0


def test_decoding_and_labels():
    network, people = small(refinements=1).eval(), batch()
    outputs = network(people.images)
    joints, confidence = network.decode(outputs)
    assert joints.shape == (2, 16, 2)
    assert confidence.shape == (2, 16)
    probabilities = network.probabilities(outputs)
    assert probabilities.shape == (2, 20, 64, 64)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 64, 64))
    assert network.labels(outputs).equal(probabilities.argmax(1))
    parsing, pose = small(tasks="parsing", refinements=0), small(tasks="pose", refinements=0)
    with pytest.raises(ValueError, match="parses alone"):
        parsing.decode(parsing(people.images))
    with pytest.raises(ValueError, match="finds joints alone"):
        pose.labels(pose(people.images))
    assert (parsing.finds_joints, parsing.parses) == (False, True)
    assert (pose.finds_joints, pose.parses) == (True, False)


def test_checkpointing_changes_no_gradient():
    people = batch()
    gradients = []
    for checkpointing in (False, True):
        network = small(checkpointing=checkpointing).train()
        network.loss(network(people.images), people)[0].backward()
        gradients.append([p.grad for p in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("look_into_person", {"tasks": "parsing", "refinements": 1}, "a refinement needs both tasks"),
        ("look_into_person", {"size": 66}, "size is 66; give a multiple of 4"),
        ("look_into_person", {"depth": 18}, "depth is 18; give 14, 26, 50, 101"),
        ("look_into_person", {"merge": "sum"}, "merge is 'sum'; give maximum, mean"),
        ("look_into_person", {"scales": 4}, "scales is 4; give 1, 2, 3"),
        ("look_into_person", {"features": 7}, "features is 7; give an even number"),
        ("look_into_person", {"beta": -1.0}, "beta is -1.0"),
        ("look_into_person_parsing", {"structure": "hard"}, "structure is 'hard'; give none, weight, soft"),
        ("look_into_person_parsing", {"parts": 5}, "5 part labels are no set's: there are 20 and 7"),
    ],
)
def test_settings_that_cannot_be(name, settings, said):
    with pytest.raises(ValueError, match=said):
        small(name, **settings)


def test_attention_weighs_the_scales_in_every_cell():
    network = small("look_into_person_parsing", scales=3).eval()
    outputs = network(batch().images)
    assert outputs.parsing.shape == (2, 3, 20, 16, 16)
    torch.testing.assert_close(outputs.attention.sum(1), torch.ones(2, 16, 16))
    one = outputs._replace(attention=torch.eye(3)[1].view(1, 3, 1, 1).expand(2, 3, 16, 16))
    torch.testing.assert_close(network.merged(one), outputs.parsing[:, 1])
    assert network.labels(outputs).shape == (2, 64, 64)


def test_the_structure_sensitive_loss_comes_in_the_second_phase():
    people = batch()
    network = small("look_into_person_parsing", scales=2).train()
    outputs = network(people.images)
    loss, terms = network.loss(outputs, people)
    assert terms.keys() == {"parsing", "structure", "scales"}
    torch.testing.assert_close(loss, terms["parsing"] + terms["scales"])
    network.enter(0)
    assert network.loss(outputs, people)[1]["structure"] == 0
    network.enter(1)
    base = copy.deepcopy(network)
    base.settings["structure"] = "none"
    assert base.loss(outputs, people)[1].keys() == {"parsing", "scales"}
    people.parsing = None
    with pytest.raises(ValueError, match="learns part labels, and this set has none"):
        network.loss(outputs, people)


def test_pascals_parts_have_regions_too():
    network = small("look_into_person_parsing", parts=7, scales=1)
    people = batch()
    people.parsing = people.parsing % 7
    loss, _ = network.loss(network(people.images), people)
    assert loss.isfinite()
    assert network.regions.shape == (4, 7)


def test_the_papers_settings():
    plan, alone = profile_of("look_into_person", "paper"), profile_of("look_into_person_parsing", "paper")
    assert (plan.size, alone.size) == (384, 320)
    assert (plan.phases, alone.phases) == ((0.5,), (0.6,))
    assert plan.recipe.steps == 60 * 30462 // plan.recipe.batch_size
    assert alone.recipe.steps == 50 * 30462 // alone.recipe.batch_size
    assert plan.test_scales == (0.5, 0.75, 1.25)
    with torch.device("meta"):
        network = plan.network(**plan.settings, size=plan.size)
        assert isinstance(alone.network(**alone.settings, size=alone.size), SSJPPNet)
    assert len(network.refine_pose) == 2


@pytest.mark.parametrize("name", ["look_into_person", "look_into_person_parsing"])
def test_a_row_of_the_history_may_span_phases(name):
    recipe = Recipe(steps=4, batch_size=2, learning_rate=1e-3, bf16=False, log_every=4)
    run = train(small(name, scales=1), Figures("train", 64), recipe, phases=(0.5,), progress=False)
    (row,) = run.history["training"]
    assert row["pose" if name == "look_into_person" else "structure"] > 0
