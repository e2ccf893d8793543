from functools import cache

import pytest

from mmtrain.evaluation.evaluate import evaluate
from mmtrain.evaluation.missing import Missing
from mmtrain.evaluation.tiny_shards import write_tiny_shards
from mmtrain.training.train import train
from tests.support.taskwork import tiny


@pytest.fixture(scope="session")
def task_shards(tmp_path_factory):
    """Makes tiny shards for a task, once."""

    @cache
    def made(task):
        return write_tiny_shards(tmp_path_factory.mktemp(task) / "shards", task=task)

    return made


@pytest.fixture(scope="session")
def task_run(task_shards, tmp_path_factory):
    """Makes a finished run of a task that was evaluated too, once; not to be written to."""

    @cache
    def made(task):
        folder = tmp_path_factory.mktemp("run") / task
        train(tiny(task_shards(task)), folder)
        evaluate(folder, missing=Missing(rates=({"audio": 0.5},), draws=2))
        return folder

    return made
