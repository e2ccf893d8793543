"""Runs of other tasks than classification: targets in batches, measures, selection, overrides."""

import json

import numpy as np
import pytest
import torch

from mmtrain.config.request import Request
from mmtrain.data import open_dataset
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.evaluation.probe import probe
from mmtrain.tasks.binary import Binary
from mmtrain.tasks.localisation import Localisation
from mmtrain.training.assemble import assemble
from mmtrain.training.best import is_better
from mmtrain.training.feed import split_held_out
from mmtrain.training.parts import fitted, shards_of, task_of
from mmtrain.training.train import train
from tests.support.enginework import first, lines
from tests.support.taskwork import tiny


def first_batch(config, folder):
    folder.mkdir()
    with shards_of(config) as dataset, assemble(fitted(config, dataset), dataset, folder) as run:
        return first(run), run.task, run.classes


@pytest.mark.parametrize(
    ("task", "shape", "kind"),
    [
        ("classification", (4,), torch.int64),
        ("binary", (4,), torch.int64),
        ("answers", (4,), torch.int64),
        ("regression", (4,), torch.float32),
        ("localisation", (4, 4), torch.int64),
    ],
)
def test_batches_have_the_targets_of_the_data_sets_task(task_shards, tmp_path, task, shape, kind):
    config = tiny(task_shards(task))

    batch, made, _ = first_batch(config, tmp_path / "run")

    assert made.name == task
    assert (batch.target.shape, batch.target.dtype) == (shape, kind)
    with open_dataset(config.data) as dataset:
        expected = made.targets(dataset.annotations.of(batch.ids.numpy()))
    assert np.array_equal(batch.target.numpy(), expected)


def test_scores_are_learnt_as_classes_or_signs_where_the_config_asks(task_shards, tmp_path):
    shards = task_shards("regression")

    signs, task, classes = first_batch(tiny(shards, task="binary"), tmp_path / "a")
    assert isinstance(task, Binary)
    assert classes == ("negative", "nonnegative")
    with open_dataset(shards) as dataset:
        scores = dataset.target[signs.ids.numpy(), 0]
    assert signs.target.tolist() == (scores >= 0).astype(int).tolist()

    labels, task, classes = first_batch(tiny(shards, task="classification"), tmp_path / "b")
    assert (task.outputs, classes) == (3, ("low", "mid", "high"))
    assert labels.target.dtype == torch.int64


def test_a_task_that_the_data_do_not_allow_is_refused(task_shards, tmp_path):
    for task, message in {
        "regression": "the task regression learns a score; the data have none",
        "localisation": "a class for each segment",
        "answers": "the samples have no group",
    }.items():
        config = tiny(task_shards("classification"), task=task)
        with pytest.raises(ConfigError, match=message):
            train(config, tmp_path / "run")
    with pytest.raises(UnknownName, match="no task 'regresion'; did you mean regression"):
        train(tiny(task_shards("classification"), task="regresion"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_epoch_of_the_lowest_error_is_the_best(task_run):
    folder = task_run("regression")
    result = json.loads((folder / "result.json").read_text())
    errors = [line["val"]["mae"] for line in lines(folder)]

    assert json.loads((folder / "config.json").read_text())["select"] == "mae"
    assert result["task"] == "regression"
    assert result["best_epoch"] == int(np.argmin(errors))
    assert result["val"]["mae"] == min(errors)
    assert not any(name.startswith("rho.") for name in result["test"])


def test_less_is_better_where_a_measure_falls_and_undefined_is_worst():
    old = {"epoch": 0, "val": {"mae": 0.5, "corr": None, "loss": 0.5}}

    assert is_better({"mae": 0.4, "loss": 0.4}, old, "mae")
    assert not is_better({"mae": 0.6, "loss": 0.6}, old, "mae")
    assert is_better({"corr": -0.9, "loss": 0.6}, old, "corr")
    assert not is_better({"corr": None, "loss": 0.5}, old, "corr")


def test_a_measure_of_another_task_cannot_choose_the_epoch(task_shards):
    with open_dataset(task_shards("regression")) as dataset:
        assert fitted(tiny(task_shards("regression"), select="corr"), dataset).select == "corr"
        with pytest.raises(UnknownName, match="no measure of regression 'map'"):
            fitted(tiny(task_shards("regression"), select="map"), dataset)


def test_segments_stand_beside_background_alone(task_run):
    result = json.loads((task_run("localisation") / "result.json").read_text())

    # Half of the samples have two segments of background of four, half have one; see tiny_shards.
    assert result["test"]["background"] == pytest.approx(
        result["test"]["modalities"]["audio"]["background"]
    )
    assert 0.25 <= result["test"]["background"] <= 0.5
    assert result["test"]["rho.audio"] > 0


def test_an_evaluation_shows_what_its_task_has(task_run):
    def evaluated(task):
        return json.loads((task_run(task) / "eval-test.json").read_text())

    scores, segments, answers = map(evaluated, ("regression", "localisation", "answers"))
    assert len(scores["scatter"]["true"]) == scores["samples"] == 6
    assert scores["discrepancy"] == {}
    assert "confusion" not in scores
    assert scores["missing"][0]["mae"]["mean"] > 0
    assert len(segments["segments"]) == 4
    assert np.sum(segments["confusion"]) == 4 * segments["samples"]
    assert set(answers["groups"]) == {"Audio Counting", "Visual Location"}
    assert sum(line["count"] for line in answers["groups"].values()) == answers["samples"]
    assert answers["modalities"]["flow"]["groups"].keys() == answers["groups"].keys()


def test_a_probe_is_refused_without_classes(task_run):
    with pytest.raises(ConfigError, match=r"probe needs one class for each sample.*regression"):
        probe(task_run("regression"))


def test_a_teacher_of_another_task_is_refused(task_shards, task_run, tmp_path):
    shards = task_shards("regression")
    teacher = tmp_path / "teacher"
    train(tiny(shards, task="binary", modalities=("audio",), epochs=1), teacher)
    given = {"settings": {"encoder": {"width": 64}, "method": {"teachers": (str(teacher),)}}}

    with pytest.raises(ConfigError, match="was trained for binary; a teacher of regression"):
        train(tiny(shards, method="umt", **given), tmp_path / "run")


def test_held_out_samples_are_spread_over_the_tasks_classes(task_shards):
    config = tiny(task_shards("regression"), task="binary")
    with open_dataset(config.data) as dataset:
        task = task_of(config, dataset)
        labels = task.labels(dataset.annotations)
        _, held = split_held_out(dataset, labels, 6, seed=0)
        share = labels[dataset.ids("train")].mean()

    assert labels[held].sum() == pytest.approx(6 * share, abs=1)


def test_localisation_needs_no_class_of_every_sample(task_shards, tmp_path):
    _, task, classes = first_batch(tiny(task_shards("localisation")), tmp_path / "run")

    assert isinstance(task, Localisation)
    assert task.outputs == 4 * len(classes) == 16


OWN = """
from dataclasses import dataclass
from typing import ClassVar

from mmtrain.tasks.regression import Regression


@dataclass(frozen=True)
class Squared(Regression):
    '''Squared difference: ``(f - y)^2``.'''

    name: ClassVar[str] = "squared"

    def losses(self, logits, target):
        return (logits[:, 0] - target).square()
"""


def test_a_task_of_ones_own_is_a_file_and_a_class(task_shards, tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    base = tiny(task_shards("regression"), epochs=1)
    config = Request(settings=(f"task={file}:Squared",)).config(base)

    result = train(config, tmp_path / "run")

    assert result["task"] == "squared"
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert saved["task"] == f"{file}:Squared"
    assert list(saved["plugins"]) == [str(file)]


def test_a_task_is_chosen_by_set(task_shards):
    config = Request(settings=("task=binary",)).config(tiny(task_shards("regression")))

    with open_dataset(config.data) as dataset:
        assert task_of(fitted(config, dataset), dataset).name == "binary"
