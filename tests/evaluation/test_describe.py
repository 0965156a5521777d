from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from posebook.cli import main
from posebook.evaluation.describe import describe, table
from posebook.papers import create


class Toy(nn.Module):
    """A convolution, a depthwise one, two outputs at once, a part in a list that is not called, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = {"joints": 3, "size": 8}
        self.linear = nn.Linear(6, 5)
        self.convolution = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False)
        self.several = nn.ModuleDict({"pair": Pair(), "unused": nn.Conv2d(1, 1, 1)})
        self.norm = nn.BatchNorm2d(6)

    def forward(self, images):
        x = self.norm(self.depthwise(self.convolution(images)))
        first, second = self.several["pair"](x)
        return self.linear((first + second).mean((2, 3)))


class Pair(nn.Module):
    def forward(self, x):
        return x, 2 * x


def test_parts_counted_by_hand():
    description = describe(Toy())
    parts = {part["name"]: part for part in description["parts"]}
    # In the order of the calls; what was not called comes last.
    assert list(parts) == ["convolution", "depthwise", "norm", "several.pair", "linear", "several.unused"]
    # 4 x 4 outputs of 6 channels, each from 3 x 3 x 3 inputs; a depthwise output from the 5 x 5 of its own channel.
    assert parts["convolution"]["macs"] == 4 * 4 * 6 * 3 * 3 * 3
    assert parts["depthwise"]["macs"] == 4 * 4 * 6 * 5 * 5
    assert parts["linear"]["macs"] == 6 * 5
    assert parts["norm"]["macs"] == 0
    assert parts["convolution"]["parameters"] == 6 * 3 * 9 + 6
    assert parts["depthwise"]["parameters"] == 6 * 25
    assert parts["convolution"]["output"] == [1, 6, 4, 4]
    assert parts["several.pair"]["output"] == [[1, 6, 4, 4], [1, 6, 4, 4]]
    assert parts["several.unused"] == {
        "name": "several.unused", "kind": "Conv2d", "output": None, "parameters": 2, "macs": 0,
    }  # fmt: skip
    assert description["macs"] == sum(part["macs"] for part in parts.values())
    # Linear, convolution, depthwise, two numbers a channel of the norm, the unused convolution.
    assert description["parameters"] == 35 + 168 + 150 + 12 + 2


def test_the_model_is_left_as_it_was():
    model = Toy()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert describe(model) == describe(model)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    describe(model.eval())
    assert not model.training


def test_numbers_and_shapes_alone_give_the_same():
    settings = {"size": 32, "features": 16, "depth": 2, "stacks": 2}
    with torch.device("meta"):
        shapes = create("hourglass", **settings)
    assert describe(shapes) == describe(create("hourglass", **settings))


def test_table_has_a_row_a_part_and_the_totals():
    description = describe(Toy())
    text = table(description)
    assert "joints=3 size=8" in text
    assert "1x6x4x4, 1x6x4x4" in text
    assert text.splitlines()[-1].split() == ["total", "Toy", "367", f"{description['macs']:,}"]
    assert len({len(line) for line in text.splitlines()[2:]}) == 1


def run(*arguments: str):
    return CliRunner().invoke(main, ["describe", *arguments])


def test_command_prints_json_of_newells_network():
    result = run("hourglass", "--set", "stacks=8", "--set", "features=256", "--json")
    assert result.exit_code == 0
    description = json.loads(result.output)
    assert 25e6 < description["parameters"] < 27e6
    assert description["macs"] == sum(part["macs"] for part in description["parts"])
    assert description["settings"]["stacks"] == 8
    assert sum(part["name"].startswith("hourglasses.") for part in description["parts"]) == 8


def test_command_prints_a_table():
    result = run("hourglass", "--set", "size=64", "--set", "depth=2")
    assert result.exit_code == 0
    assert "1x256x16x16" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hourglas"], "no model is called 'hourglas'"),
        (["hourglass", "--set", "stack=2"], "no setting 'stack'"),
        (["hourglass", "--set", "stacks=two"], "give a whole number"),
        (["hourglass", "--set", "stacks"], "write it as name=value"),
        (["hourglass", "--set", "size=200"], "multiple of 64"),
    ],
)
def test_command_says_what_is_wrong_in_a_sentence(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert len(result.output.strip().splitlines()) == 1
