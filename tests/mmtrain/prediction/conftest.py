from dataclasses import replace

import pytest

from mmtrain.training.train import train
from tests.support.builds import BOTH, plan_of, rows_of, run, write_raw
from tests.support.enginework import small


@pytest.fixture(scope="session")
def raw(tmp_path_factory):
    """Twelve clips of a second, each with a tone of its own."""
    return write_raw(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="session")
def built(raw, tmp_path_factory):
    """Shards that a build has made of them."""
    out = tmp_path_factory.mktemp("built") / "shards"
    run(plan_of(raw, rows_of(), parts=replace(BOTH, clip_s=1.0)), out, workers=1)
    return out


@pytest.fixture(scope="session")
def trained(built, tmp_path_factory):
    """A run on these shards."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(small(built, epochs=1, modalities=("audio", "visual")), folder)
    return folder
