import pytest

from mmtrain.training.train import train
from tests.support.enginework import small
from tests.support.shardmaker import shards_of


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """18 samples to train on, 9 each in val and test; every class is in every split."""
    return shards_of(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="session")
def other_shards(tmp_path_factory):
    """Other samples of the same kind."""
    return shards_of(tmp_path_factory.mktemp("others"), samples=40)


@pytest.fixture(scope="session")
def made(shards, tmp_path_factory):
    """Trains a run once a session: ``made(modalities, **changes)`` is its folder."""
    home, folders = tmp_path_factory.mktemp("runs"), {}

    def run(*modalities, **changes):
        key = (modalities, *changes.items())
        if key not in folders:
            folder = home / f"run{len(folders)}"
            config = small(shards, epochs=1, modalities=modalities, **changes)
            train(config, folder)
            folders[key] = folder
        return folders[key]

    return run
