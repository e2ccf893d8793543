import pytest
from shardmaker import Recipe, make_shards


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """18 samples to train on, of three classes, with sound, frames and flow."""
    folder = tmp_path_factory.mktemp("shards")
    recipe = Recipe(samples=36, labels=("low", "mid", "high"), frames=2, size=(32, 32), columns=40)
    make_shards(folder, recipe)
    return folder
