"""The same seed gives the same numbers: again, alone and in a batch, after a resume, and on two threads.

Training is the exception to the last: sums over two threads come in another order, so that a run is the same again only
on as many (`Recipe`), and the ledger trains every run on one (`tests/ledger/test_measure.py`).
"""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from posebook.figures.dataset import Figures
from posebook.grouping.spectral import bootstrap_groups, mutual_information, spectral_groups
from posebook.ledger.runs import threads
from posebook.sample import Sample
from posebook.training.runs import Run
from toy import toy_run

WHO = torch.tensor([7, 0, 123_456, 7])


def same(one: Sample, other: Sample) -> bool:
    """Whether all tensors of two samples are the same to the bit."""
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(Sample)]
    tensors = [(a, b) for a, b in pairs if isinstance(a, torch.Tensor)]
    assert len(tensors) > 3
    return all(torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in tensors)


@pytest.mark.parametrize("options", [{}, {"people": 3}, {"difficulty": "plain", "occluded": 0.3}])
def test_rendered_people_are_the_same_again_alone_and_on_two_threads(options):
    with threads(1):
        batch = Figures("train", 64, seed=3, **options).batch(WHO)
        alone = [Figures("train", 64, seed=3, **options).batch(WHO[i : i + 1]) for i in range(len(WHO))]
    with threads(2):
        on_two = Figures("train", 64, seed=3, **options).batch(WHO)
    assert same(on_two, batch)
    assert same(Sample.cat(alone), batch)
    assert not same(Figures("train", 64, seed=4, **options).batch(WHO), batch)


class Stop(Exception):
    """Raised within a run."""


def stop(run: Run) -> None:
    if run.step == 5:
        raise Stop


def numbers(run: Run) -> dict[str, list[dict]]:
    """A run's history but for its seconds."""
    return {part: [{**row, "seconds": 0} for row in rows] for part, rows in run.history.items()}


@pytest.mark.parametrize("count", [1, 2])
def test_training_by_steps_is_the_same_again_and_after_a_resume_on_as_many_threads(tmp_path, count):
    with threads(count):
        runs = [toy_run(tmp_path / name, steps=10) for name in ("one", "other")]
        with pytest.raises(Stop):
            toy_run(tmp_path / "stopped", steps=10, callback=stop)
        runs.append(toy_run(tmp_path / "stopped", steps=10))
    (model, run), *others = runs
    assert len(run.history["training"]) == 2
    for again, other in others:
        assert numbers(other) == numbers(run)
        pairs = zip(again.state_dict().values(), model.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_groups_are_the_same_again_and_on_two_threads():
    poses = Figures("train", 32, difficulty="plain").batch(torch.arange(200))
    found = []
    for count in (1, 1, 2):
        with threads(count):
            information = mutual_information(poses.joints, poses.presence)
            groups = spectral_groups(information, seed=1)
            drawn = bootstrap_groups(poses.joints, poses.presence, draws=1, seed=1, reference=groups).draws
            found.append((information.tolist(), groups, drawn))
    assert found[0] == found[1] == found[2]
