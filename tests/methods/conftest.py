import pytest
import torch
from shardmaker import Recipe, make_shards


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Tests run side by side; each has one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """12 samples to train on, 6 each in val and test, in three classes: audio, visual, flow."""
    folder = tmp_path_factory.mktemp("conforming")
    recipe = Recipe(samples=24, labels=("low", "mid", "high"), frames=1, size=(32, 32), columns=40)
    make_shards(folder, recipe)
    return folder
