from pathlib import Path

import pytest
from streammaker import make_data

from mmtrain.data import ShardedDataset, open_dataset


@pytest.fixture(scope="session")
def farm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 training samples in shards of 5, with sound, frames, flow and depth. Read only."""
    return make_data(tmp_path_factory.mktemp("farm"))


@pytest.fixture(scope="session")
def farm(farm_folder: Path) -> ShardedDataset:
    return open_dataset(farm_folder)
