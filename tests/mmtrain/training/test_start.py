"""Runs that start from the weights of another."""

import logging
import shutil

import pytest
import torch

from mmtrain.errors import ConfigError
from mmtrain.training import checkpoint
from mmtrain.training.assemble import assemble
from mmtrain.training.checkpoint import BEST
from mmtrain.training.parts import fitted, read_config, shards_of
from mmtrain.training.train import train
from tests.support.enginework import small
from tests.support.shardmaker import shards_of as make_shards


@pytest.fixture(scope="module")
def source(shards, tmp_path_factory):
    """A run of two modalities."""
    folder = tmp_path_factory.mktemp("source") / "run"
    train(small(shards, epochs=1, modalities=("audio", "visual"), seed=5), folder)
    return folder


def begun(config, folder):
    """Weights with which a run begins."""
    folder.mkdir()
    with shards_of(config) as dataset, assemble(fitted(config, dataset), dataset, folder) as run:
        return {name: value.clone() for name, value in run.model.state_dict().items()}


def of_part(state, part):
    return {name: value for name, value in state.items() if name.startswith(part)}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_all_of_an_alike_run_is_taken(shards, source, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    config = small(shards, modalities=("audio", "visual"), init=str(source))

    found = begun(config, tmp_path / "run")

    assert same(found, checkpoint.load(source / BEST)["model"])
    (line,) = [r.getMessage() for r in caplog.records if "--init" in r.getMessage()]
    assert line.startswith(f"--init {source}: taken: encoders.audio (")
    assert "fusion (" in line


def test_encoders_alone_where_classes_or_heads_differ(source, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    others = make_shards(tmp_path / "shards", labels=("here", "there", "where"))
    config = small(others, modalities=("visual", "flow"), method="multitask", init=str(source))

    found = begun(config, tmp_path / "run")

    saved = checkpoint.load(source / BEST)["model"]
    assert same(of_part(found, "encoders.visual"), of_part(saved, "encoders.visual"))
    assert not same(of_part(found, "fusion"), of_part(saved, "fusion"))
    text = caplog.text
    assert "taken: encoders.visual" in text
    assert "not taken: encoders.audio (this run has none), fusion (it is of other classes)" in text
    assert "from the seed: encoders.flow, fusion, heads.visual, heads.flow" in text


def test_nothing_that_fits_is_a_wrong_request_and_leaves_no_folder(shards, source, tmp_path):
    config = small(shards, modalities=("flow",), init=str(source))

    with pytest.raises(ConfigError, match=r"nothing of it fits this run: encoders\.audio"):
        train(config, tmp_path / "run")

    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="has no weights to start from"):
        train(small(shards, init=str(tmp_path)), tmp_path / "run")


class CtrlC:
    def step(self, *_): ...

    def epoch(self, line):
        raise KeyboardInterrupt


def test_a_run_that_goes_on_needs_its_beginning_no_more(shards, source, tmp_path):
    origin = tmp_path / "origin"
    shutil.copytree(source, origin)
    config = small(shards, modalities=("audio", "visual"), init=str(origin), epochs=2)
    straight = train(config, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "stopped", watch=CtrlC())
    kept = read_config(tmp_path / "stopped" / "config.json")
    assert (kept.init, len(kept.init_sha256)) == (str(origin), 64)
    shutil.rmtree(origin)

    resumed = train(kept, tmp_path / "stopped", resume=True)

    assert resumed["test"] == straight["test"]


def test_weights_that_have_changed_are_refused(shards, source, tmp_path):
    config = small(shards, modalities=("audio", "visual"), init=str(source), init_sha256="0" * 64)

    with pytest.raises(ConfigError, match="has changed since the config was made"):
        train(config, tmp_path / "run")
