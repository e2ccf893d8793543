"""Every method and curriculum with every task: it trains, or it refuses by name at setup."""

import math

import pytest
import torch

from mmtrain.curricula.catalog import CURRICULA
from mmtrain.errors import ConfigError
from mmtrain.evaluation.conformance import Trials
from mmtrain.methods.catalog import METHODS
from mmtrain.training.assemble import assemble
from mmtrain.training.parts import fitted, shards_of
from tests.support.enginework import lines

MODALITIES = ("audio", "flow")
# Their equations are of one softmax for each sample, or of its class.
OF_CLASSES = {"di-mml", "domfn", "pmr", "pmr-hard", "relearning", "tmc", "etmc"}
# Their equations have a probability, an entropy or hits.
OF_DECISIONS = {
    *("ogm", "ogm-ge", "ogm-star", "opm", "opm+ogm", "amss", "amss+", "aug", "igm", "igm-nosam"),
    *("iprm", "agm", "mla", "mla-released", "mslr", "reconboost", "reconboost-released", "cggm"),
    *("cml", "inforeg", "arl", "mlb", "g2d", "ume"),
    *("bss-h", "bss-l", "smv", "remix"),  # By their curricula.
}
REFUSING = {"regression": OF_CLASSES | OF_DECISIONS, "localisation": OF_CLASSES}
# Tasks whose logits and targets are those of classification, which the conformance suite covers.
ALIKE = {"binary": ("ogm", "pmr", "smv"), "answers": ("tmc", "cggm", "bss-l")}
CASES = [
    *((task, method) for task in REFUSING for method in METHODS.names),
    *((task, method) for task, methods in ALIKE.items() for method in methods),
]
SCORING = {
    "regression": {"bss-h", "bss-l", "smv", "remix"},
    "localisation": set(),
}


@pytest.fixture(scope="module")
def trials_of(tmp_path_factory):
    made = {}

    def trials(task):
        if task not in made:
            made[task] = Trials(tmp_path_factory.mktemp(task), task=task)
        return made[task]

    return trials


def trained(trials, config):
    """The folder of a run, after it has trained and has moved weights."""
    folder = trials.folder()
    folder.mkdir()
    with shards_of(config) as dataset, assemble(fitted(config, dataset), dataset, folder) as run:
        before = [p.detach().clone() for p in run.model.parameters()]
        run.method.fit(run)
        after = [*run.model.parameters()][: len(before)]
        assert all(bool(p.isfinite().all()) for p in after)
        assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    return folder


@pytest.mark.parametrize(("task", "method"), CASES)
def test_a_method_trains_on_a_task_or_refuses_it_by_name(trials_of, task, method):
    trials = trials_of(task)
    config = trials.config(method, MODALITIES)

    if method in REFUSING.get(task, ()):
        with pytest.raises(ConfigError, match=rf"^[\w+-]+ needs .* the task {task} has none"):
            trained(trials, config)
    else:
        for line in lines(trained(trials, config)):
            assert math.isfinite(line["train_loss"])
            assert math.isfinite(line["val"]["loss"])


@pytest.mark.parametrize("task", SCORING)
@pytest.mark.parametrize("curriculum", CURRICULA.names)
def test_a_curriculum_orders_a_task_or_refuses_it_by_name(trials_of, task, curriculum):
    trials = trials_of(task)
    config = trials.config("joint", MODALITIES, curriculum=curriculum)
    if curriculum in ("smv", "remix"):
        config = config.changed({"curriculum.warm_up": 1})

    if curriculum in SCORING[task]:
        with pytest.raises(ConfigError, match=rf"^{curriculum} needs .* the task {task} has none"):
            trained(trials, config)
    else:
        assert all(math.isfinite(line["train_loss"]) for line in lines(trained(trials, config)))


@pytest.mark.parametrize(
    ("method", "setting"),
    [
        ("mla", "method.inference=mean"),
        ("mslr", "method.strategy=keep"),
        ("ume", "method.average=logits"),
        ("bss-l", "curriculum.criteria=features,loss"),
    ],
)
def test_a_setting_without_probabilities_is_taken_with_scores(trials_of, method, setting):
    trials = trials_of("regression")
    name, value = setting.split("=")
    config = trials.config(method, MODALITIES).changed({name: value})

    assert all(math.isfinite(line["val"]["mae"]) for line in lines(trained(trials, config)))


@pytest.mark.parametrize(
    ("method", "setting"),
    [("lfm-h", "method.align=js"), ("multitask", "method.inference=sum")],
)
def test_a_setting_that_needs_probabilities_is_refused_with_scores(trials_of, method, setting):
    trials = trials_of("regression")
    name, value = setting.split("=")
    config = trials.config(method, MODALITIES).changed({name: value})

    with pytest.raises(ConfigError, match=f"{method} needs probabilities of classes"):
        trained(trials, config)
