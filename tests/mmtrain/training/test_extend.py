"""More epochs on a finished run."""

import json
from dataclasses import replace

import pytest

from mmtrain.config.run import ScheduleConfig
from mmtrain.errors import ConfigError
from mmtrain.methods.catalog import METHODS
from mmtrain.training.extend import is_longer, plans_by_total, reopen
from mmtrain.training.train import RESULT, train
from tests.support.enginework import same
from tests.support.taskwork import tiny


def short(shards, **changes):
    given = {"epochs": 1, "modalities": ("audio",), "batch_size": 6}
    return tiny(shards, **(given | changes))


@pytest.fixture(scope="module")
def finished(task_shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("extend") / "run"
    train(short(task_shards("classification")), folder)
    return folder


def test_a_run_with_more_epochs_is_the_run_that_had_them_from_the_start(
    task_shards, finished, tmp_path
):
    shards = task_shards("classification")
    (finished / "eval-test.json").write_text("{}")
    longer = train(short(shards, epochs=2), finished, resume=True)
    straight = train(short(shards, epochs=2), tmp_path / "straight")
    assert same(finished, tmp_path / "straight")
    assert (longer["epochs"], longer["test"]) == (2, straight["test"])
    assert json.loads((finished / "config.json").read_text())["epochs"] == 2
    assert not (finished / "eval-test.json").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schedule": ScheduleConfig(name="cosine")}, "its cosine has brought the rate to 0 over"),
        ({"method": "dropout-annealed"}, "the method dropout-annealed plans by the number"),
    ],
)
def test_what_depends_on_the_total_is_refused_by_name(task_shards, tmp_path, changes, reason):
    config = short(task_shards("classification"), **changes)
    (tmp_path / RESULT).touch()
    with pytest.raises(ConfigError, match=reason):
        reopen(tmp_path, config, replace(config, epochs=3))
    assert (tmp_path / RESULT).exists()


def test_methods_that_plan_are_known_by_their_code():
    plan = {name for name in METHODS.names if plans_by_total(METHODS.target(name))}
    assert {"di-mml", "g2d", "igm", "dropout-annealed", "g-blend"} <= plan
    assert not plan & {"joint", "ogm-ge", "multitask", "pmr", "agm"}


def test_fewer_epochs_are_another_run_and_so_is_another_rate(task_shards):
    config = short(task_shards("classification"), epochs=2)
    assert is_longer(config, replace(config, epochs=3))
    assert not is_longer(config, replace(config, epochs=1))
    assert not is_longer(config, replace(config, epochs=3, batch_size=5))
