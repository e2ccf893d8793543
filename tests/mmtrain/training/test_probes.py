"""Probes during training: they change nothing, and their lines are those of an undisturbed run."""

import json

import pytest

from mmtrain import plugins
from mmtrain.errors import ConfigError, DataError, Interrupted
from mmtrain.evaluation.probe import probe
from mmtrain.methods.catalog import METHODS
from mmtrain.training.probes import PROBES, read_probes
from mmtrain.training.train import train
from tests.support.enginework import Stop, running, same, small
from tests.support.evalwork import NoVal
from tests.support.shardmaker import shards_of

ENCODER = """
from torch import nn

from mmtrain.models.encoders.base import Pictures


class Normed(Pictures):
    \'\'\'Has statistics of batches, and draws from torch's generator.\'\'\'

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width, self.stage_widths = 8, (8,)
        layers = nn.Conv2d(channels, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout()
        self.body = nn.Sequential(*layers)

    def blocks(self):
        return [self.body]
"""


@pytest.fixture(scope="module")
def config_of(shards, tmp_path_factory):
    """Makes the config of a run with batch normalisation, whose encoders and method draw."""
    path = tmp_path_factory.mktemp("encoder") / "normed.py"
    path.write_text(ENCODER)
    plain = {
        "method": "opm",
        "encoder": f"{path}:Normed",
        "modalities": ("visual", "flow"),
        "epochs": 3,
        "batch_size": 9,
        "settings": {},
    }
    with plugins.allowing():
        yield lambda every: small(shards, **plain, probe_every=every)


@pytest.fixture(scope="module")
def probed(config_of, tmp_path_factory):
    folder = tmp_path_factory.mktemp("probed") / "run"
    train(config_of(2), folder)
    return folder


def test_a_run_with_probes_is_the_run_without(probed, config_of, tmp_path):
    train(config_of(0), tmp_path / "plain")
    assert same(probed, tmp_path / "plain")
    assert not (tmp_path / "plain" / PROBES).exists()
    (line,) = read_probes(probed / PROBES)
    assert (line["epoch"], line["split"]) == (2, "val")
    assert list(line["accuracy"]) == ["visual", "flow"]


def test_they_are_those_of_the_command_for_the_same_weights(shards, tmp_path):
    train(small(shards, epochs=1, modalities=("audio", "visual"), probe_every=1), tmp_path / "run")
    (line,) = read_probes(tmp_path / "run" / PROBES)
    found = probe(tmp_path / "run", split="val")["modalities"]
    assert line["accuracy"] == {m: values["accuracy"] for m, values in found.items()}


def test_a_resumed_run_has_each_line_once(probed, config_of, tmp_path):
    config, stop = config_of(2), Stop(3)  # Of 2 steps an epoch: within the second.
    with running(config, tmp_path, METHODS.load("opm")(), stop) as run:
        stop.run = run
        with pytest.raises(Interrupted):
            run.method.fit(run)
    assert not (tmp_path / PROBES).exists()
    # As if a kill had come between the line of the second epoch and its checkpoint.
    (tmp_path / PROBES).write_text('{"epoch": 2, "split": "val", "accuracy": {"flow": 0}}\n{"epo')

    train(config, tmp_path, resume=True)

    assert same(probed, tmp_path)
    assert (tmp_path / PROBES).read_text() == (probed / PROBES).read_text()


def test_what_cannot_be_probed_is_refused(task_shards, tmp_path):
    with pytest.raises(ConfigError, match="probe_every needs one class for each sample"):
        train(small(task_shards("regression"), probe_every=1), tmp_path / "run")
    lacking = shards_of(tmp_path / "shards", NoVal, samples=12)
    with pytest.raises(ConfigError, match="no val split to measure probes on"):
        train(small(lacking, probe_every=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / PROBES).write_text(json.dumps({"epoch": 1}) + "\n")
    with pytest.raises(DataError, match="line 1"):
        read_probes(tmp_path / PROBES)
