"""Every method of the catalog conforms, and the checks notice a method that does not."""

from pathlib import Path

import pytest
import torch

from mmtrain.evaluation.conformance import (
    CHECKS,
    MODALITIES,
    Trials,
    check_method,
    is_unchanged_by_trials,
    trains_in_half_precision,
)
from mmtrain.methods.catalog import METHODS
from mmtrain.training import checkpoint
from mmtrain.training.checkpoint import CHECKPOINT
from mmtrain.training.parts import config_of
from tests.support.enginework import lines
from tests.support.rankwork import plan, said, together_in_turn

# One line for each class: the others of it have other values of its parameters.
CLASSES = [*{entry.target: entry.name for entry in reversed(METHODS.entries)}.values()][::-1]
GROUPS = [CLASSES[start::4] for start in range(4)]  # A process for each.
# All checks of every class with three modalities. The other lines of a class, and classes with two
# modalities, are spared those that retrain what the first of them has shown.
SHORT = tuple(
    check for check in CHECKS if check not in (is_unchanged_by_trials, trains_in_half_precision)
)
CASES = [
    *(
        pytest.param(name, MODALITIES[1], CHECKS if name in CLASSES else SHORT, id=f"{name}-three")
        for name in METHODS.names
    ),
    *(pytest.param(name, MODALITIES[0], SHORT, id=f"{name}-two") for name in CLASSES),
]


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    return Trials(tmp_path_factory.mktemp("conforming"))


# One test for all checks of a method, for they share its undisturbed run.
@pytest.mark.parametrize(("method", "modalities", "checks"), CASES)
def test_it_does_what_every_method_must(trials, method, modalities, checks):
    for check in checks:
        check(trials, method, modalities)


WRONG = """
from dataclasses import dataclass

import torch

from mmtrain.methods.base import Method


@dataclass(kw_only=True, eq=False)
class Method{name}(Method):
    '''Does ``{name}`` wrong.{help}'''

    strength: float = 1.0
    {body}
"""
HELP = """

    Args:
        strength: Weight of the loss.
    """
BODIES = {
    "Forgets": (
        "describes|no description of strength",
        "",
        "",
    ),
    "Remembers": (
        "resumed|differs",
        HELP,
        """
    def __post_init__(self):
        self.steps = 0

    def loss(self, run, out, batch):
        self.steps += 1
        return super().loss(run, out, batch) * (1 + self.steps)
""",
    ),
    "Leaves": (
        "optimizer|training does not change heads.audio",
        HELP,
        """
    def setup(self, run):
        run.adopt(run.model.add_heads())
""",
    ),
    "Adds": (
        "optimizer|training does not change loose",
        HELP,
        """
    def setup(self, run):
        run.model.loose = torch.nn.Parameter(torch.zeros(3))
""",
    ),
    "Swaps": (
        "predicts|logits are of ('visual', 'audio')",
        HELP,
        """
    def predict(self, model, batch):
        out = model(batch)
        logits = dict(reversed(out.logits.items()))
        return type(out)(fused=out.fused, logits=logits, features=out.features)
""",
    ),
    "Breaks": (
        "trains|ZeroDivisionError",
        HELP,
        """
    def loss(self, run, out, batch):
        return super().loss(run, out, batch) * (1 // 0)
""",
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_method_that_does_something_wrong_fails_the_check_of_it(tmp_path, name):
    expected, text, body = BODIES[name]
    sentence, _, message = expected.partition("|")
    path = tmp_path / "wrong.py"
    path.write_text(WRONG.format(name=name, help=text, body=body))

    outcomes = []
    for outcome in check_method(f"{path}:Method{name}"):
        outcomes.append(outcome)
        if sentence in outcome.check:
            break  # What is behind that check is as of every method.

    last = outcomes[-1]
    assert last.error is not None, list(map(str, outcomes))
    assert message in last.error


def test_teachers_are_trained_without_the_settings_of_the_method(tmp_path):
    trials = Trials(tmp_path, ("method.weight=3",))

    own = trials.config("umt", MODALITIES[0]).settings["method"]

    assert own["weight"] == 3
    assert [(c.method, c.modalities) for c in map(config_of, map(Path, own["teachers"]))] == [
        ("joint", (modality,)) for modality in MODALITIES[0]
    ]


# With three modalities, whose sums are the longer ones.
@pytest.mark.slow
@pytest.mark.parametrize("methods", GROUPS, ids=range(1, 5))
def test_two_ranks_come_to_what_one_comes_to(trials, tmp_path, methods):
    modalities = MODALITIES[1]
    configs = {method: trials.config(method, modalities) for method in methods}
    together_in_turn([plan(tmp_path / m, config, world=2) for m, config in configs.items()])
    apart = {}
    for method in methods:
        assert said(tmp_path / method, 0) == "done", method
        apart[method] = differences(trials.straight(method, modalities), tmp_path / method)
    assert not any(apart.values()), apart


def alike(one, two):
    """Whether tensors are equal up to rounding, or a thousandth of their size apart at most.

    Training may blow rounding up in a few entries; an epoch changes weights by a few hundredths.
    """
    if torch.allclose(one, two, rtol=1e-2, atol=2e-4):
        return True
    return bool((one - two).float().norm() <= 1e-3 * one.float().norm())


def differences(one, two):
    """Weights and measures that differ by more than floats do in sums of another order."""
    mine, theirs = (checkpoint.load(folder / CHECKPOINT)["model"] for folder in (one, two))
    wrong = [n for n, v in mine.items() if not alike(v, theirs[n])]
    for line, other in zip(lines(one), lines(two), strict=True):
        if line["train_loss"] != pytest.approx(other["train_loss"], rel=1e-3):
            wrong.append(f"loss of epoch {line['epoch']}")
        if line["logged"] != pytest.approx(other["logged"], rel=1e-2, abs=1e-3):
            wrong.append(f"logged in epoch {line['epoch']}")
    return wrong
