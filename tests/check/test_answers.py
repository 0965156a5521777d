"""Answers not given, right ones, and what is said of wrong ones."""

from __future__ import annotations

import pytest
import torch

from posebook.check.answers import WrongAnswer, compare, exercise, require


@exercise
def double(answer, of=2):
    compare(answer, [2.0 * of, 0.0], "look at the factor again")
    return "twice as much"


def test_what_is_not_answered_yet_is_no_mistake(capsys):
    double(None)
    assert capsys.readouterr().out == "Not answered yet.\n"


def test_a_right_answer_is_said_to_be_right(capsys):
    double((6, 0), of=3)
    assert capsys.readouterr().out == "Right: twice as much\n"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (torch.tensor([4.0]), r"the shape is \(1,\), where \(2,\) is wanted"),
        ((5.0, 0.0), "look at the factor again"),
        ((float("nan"), 0.0), "not numbers"),
        ((float("inf"), 0.0), "look at the factor again"),
        ("four", "not str"),
        (lambda of: 2 * of, "not function"),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(answer, sentence):
    with pytest.raises(WrongAnswer, match=sentence):
        double(answer)


def test_a_notebook_shows_the_sentence_alone():
    with pytest.raises(WrongAnswer) as caught:
        require(False, "mind the stride")
    assert caught.value._render_traceback_() == ["Not yet: mind the stride"]


def test_values_that_are_missing_where_they_should_be_are_right():
    compare(torch.tensor([1.0, float("nan")]), [1.0, float("nan")], "never said")


@exercise
def of_two(answer):
    require(answer(torch.randn(2).abs()) is not None, "it gives nothing")
    return "something"


def test_an_answer_of_another_kind_is_wrong_and_says_why():
    with pytest.raises(WrongAnswer, match="ends with TypeError: 'int' object is not callable"):
        of_two(3)


def test_a_check_leaves_the_random_numbers_that_follow_as_they_are():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    of_two(lambda values: values)
    assert torch.equal(torch.rand(3), expected)
