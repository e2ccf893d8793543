import pytest

from tests.support.shardmaker import Recipe, make_shards


@pytest.fixture(scope="session")
def lopsided(tmp_path_factory):
    """4 samples to train on, of two classes; val and test have two others."""
    folder = tmp_path_factory.mktemp("lopsided")
    make_shards(folder, Recipe(frames=1, size=(32, 32), columns=40))
    return folder
