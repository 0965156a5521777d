from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

from posebook.cli import main
from posebook.papers import create
from posebook.papers.part_groups.network import Branches, PartGroups
from posebook.skeleton import GROUPINGS, LSP, MPII
from toy import people

SMALL = {"joints": 16, "size": 32, "stacks": 2, "features": 16, "depth": 2, "width": 8}


def small(**changes) -> PartGroups:
    torch.manual_seed(0)
    return create("part_groups", **SMALL | changes)


def parameters(**settings) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in create("part_groups", **settings).parameters())


def test_parameters_are_those_of_table_6():
    ours, deep = parameters(stacks=8), parameters(stacks=8, variant="deep_baseline")
    assert ours == pytest.approx(26.69e6, rel=0.005)
    assert deep == pytest.approx(27.22e6, rel=0.005)
    assert deep - ours == pytest.approx(0.53e6, abs=0.05e6)


@pytest.mark.parametrize(("settings", "million"), [([], 26.69), (["--set", "variant=deep_baseline"], 27.22)])
def test_the_command_describes_them(settings, million):
    done = CliRunner().invoke(main, ["describe", "part_groups", "--set", "stacks=8", *settings, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["parameters"] == pytest.approx(million * 1e6, rel=0.005)


def test_each_stack_of_the_baseline_is_lighter_than_a_pbn_and_that_than_a_deep_baseline():
    baseline, pbn, deep = (parameters(stacks=3, variant=v) for v in ("baseline", "branches", "deep_baseline"))
    assert baseline < pbn < deep


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"stacks": 1}, {"variant": "baseline"}, {"variant": "deep_baseline"}, {"groups": "each"},
        {"groups": "overlapping"}, {"blocks": 3}, {"propagate": "specific"}, {"joints": 14}, {"size": 64, "depth": 3},
        {"groups": "one"}, {"joints": 14, "groups": "overlapping", "propagate": "specific"},
    ],
)  # fmt: skip
def test_every_variant_gives_maps_and_learns_with_all_its_weights(changes):
    model = small(**changes)
    settings = model.settings
    batch = people(2, settings["size"], settings["joints"])
    outputs = model(batch.images)
    assert outputs.shape == (2, settings["stacks"], settings["joints"], settings["size"] // 4, settings["size"] // 4)
    loss, terms = model.loss(outputs, batch)
    assert list(terms) == [f"stack_{number}" for number in range(1, settings["stacks"] + 1)]
    torch.testing.assert_close(loss, sum(terms.values()))
    loss.backward()
    still = [name for name, p in model.named_parameters() if p.dim() > 1 and not p.grad.abs().max() > 0]
    assert still == []
    joints, confidence = model.decode(outputs)
    assert joints.shape == (2, settings["joints"], 2)
    assert confidence.shape == (2, settings["joints"])


@pytest.mark.parametrize("skeleton", [MPII, LSP])
@pytest.mark.parametrize("name", GROUPINGS)
def test_groupings_hold_every_joint(name, skeleton):
    groups = skeleton.groups(name)
    assert sorted({joint for group in groups for joint in group}) == list(range(len(skeleton)))
    assert all(groups)
    mirrored = sorted(sorted(skeleton.mirror[joint] for joint in group) for group in groups)
    assert mirrored == sorted(sorted(group) for group in groups)


def test_groupings_have_as_many_groups_as_their_names_say():
    counts = {"one": 1, "two": 2, "five": 5, "six": 6, "eight": 8, "each": 16, "body": 6, "overlapping": 5}
    assert {name: len(MPII.groups(name)) for name in GROUPINGS} == counts


def test_only_the_shoulders_are_in_two_groups_when_they_overlap():
    members = sorted(joint for group in MPII.groups("overlapping") for joint in group)
    twice = [MPII.joints[joint] for joint in sorted(set(members)) if members.count(joint) == 2]
    assert twice == ["r_shoulder", "l_shoulder"]


def test_maps_come_back_in_the_order_of_the_joints():
    groups = [[2, 0], [3], [1, 4]]
    layer = Branches(8, groups, 5, 4, 1).eval()
    shared = torch.rand(2, 8, 6, 6)
    specific, maps = layer(shared)
    assert specific.shape == (2, 12, 6, 6)
    for branch, group in zip(layer.branches, groups, strict=True):
        own = branch(shared)[1]
        for place, joint in enumerate(group):
            torch.testing.assert_close(maps[:, joint], own[:, place])


def test_a_joint_of_two_groups_has_the_mean_of_its_maps():
    layer = Branches(8, [[0, 1], [1, 2]], 3, 4, 1).eval()
    shared = torch.rand(2, 8, 6, 6)
    first, second = (branch(shared)[1] for branch in layer.branches)
    expected = torch.stack([first[:, 0], (first[:, 1] + second[:, 0]) / 2, second[:, 1]], 1)
    torch.testing.assert_close(layer(shared)[1], expected)


def test_branches_learn_from_their_own_joints_alone():
    model, batch = small(stacks=1), people(2, 32, 16)
    legs = torch.zeros(16)
    legs[MPII.groups("five")[0]] = 1
    batch.presence.mul_(legs.to(torch.uint8))
    model.loss(model(batch.images), batch)[0].backward()
    moved = [any(p.grad.abs().max() > 0 for p in branch.parameters()) for branch in model.to_maps[0].branches]
    assert moved == [True, False, False, False, False]


def test_joints_that_are_left_out_are_not_learnt():
    batch = people(2, 32, 16)
    model = small(leave_out="r_ankle l_ankle", variant="baseline")
    outputs = model(batch.images)
    outputs.retain_grad()
    model.loss(outputs, batch)[0].backward()
    untouched = (outputs.grad.abs().sum((0, 1, 3, 4)) == 0).nonzero().flatten().tolist()
    assert untouched == [MPII.index("r_ankle"), MPII.index("l_ankle")]


def test_specific_propagation_changes_what_the_next_stack_sees():
    shared, specific = small(), small(propagate="specific")
    assert shared.merge_features[0].in_channels == 16
    assert specific.merge_features[0].in_channels == 5 * 8


def test_groups_can_be_spelt_out():
    text = ", ".join(" ".join(MPII.joints[joint] for joint in group) for group in MPII.groups("five"))
    model = small(groups=text)
    assert model.groups == MPII.groups("five")
    again = create("part_groups", **json.loads(json.dumps(model.settings)))
    again.load_state_dict(model.state_dict())
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(again.eval()(images), model.eval()(images))


def test_it_learns_a_few_images_by_heart():
    batch = people(4, 32, 16)
    model = small(stacks=1, features=32)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        loss, _ = model.loss(model(batch.images), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    joints, _ = model.decode(model(batch.images).detach())
    assert (joints - batch.joints).norm(dim=-1).median() < 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 100}, "size is 100.*multiple of 16"),
        ({"stacks": 0}, "stacks is 0"),
        ({"width": 7}, "width 7; give a multiple of 4 and an even one"),
        ({"blocks": 0}, "blocks is 0"),
        ({"variant": "deep"}, "variant is 'deep'; give branches, baseline, deep_baseline"),
        ({"propagate": "all"}, "propagate is 'all'; give shared, specific"),
        ({"propagate": "specific", "variant": "baseline"}, "a baseline has no specific features"),
        ({"groups": "seven"}, "groups is 'seven'; give one, two, five"),
        ({"groups": "r_wrist r_elbow, l_wrist"}, "r_ankle, r_knee.* in none; put every joint in a group"),
        ({"groups": "r_wrist r_elbo"}, "mpii has no joint 'r_elbo'"),
        ({"leave_out": "ankles"}, "mpii has no joint 'ankles'"),
        ({"joints": 11}, "11 joints have no names to group by; give 16"),
        ({"sigma": 0.0}, r"sigma is 0\.0"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)
