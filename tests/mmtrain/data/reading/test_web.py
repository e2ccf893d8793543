"""Streams from a web server, whose reads no thread waits for."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mmprep.storage.store import BucketStore
from mmtrain.curricula.uniform import Uniform
from mmtrain.data import OrderedStream, ShardedDataset, StreamOptions, View, open_dataset
from mmtrain.data.reading.bucket import BucketReader, Order
from mmtrain.data.reading.traffic import Traffic
from tests.support.streammaker import same
from tests.support.webserver import serving

BOTH = ("audio", "visual")


@pytest.fixture(scope="module")
def address(farm_folder: Path) -> Iterator[str]:
    with serving(farm_folder) as address:
        yield f"{address}/"


@pytest.fixture(scope="module")
def distant(address: str) -> Iterator[ShardedDataset]:
    with open_dataset(address) as data:
        yield data


@pytest.fixture
def reader(distant: ShardedDataset) -> Iterator[BucketReader]:
    assert isinstance(distant.store, BucketStore)
    with closing(BucketReader(distant.store, StreamOptions())) as reader:
        yield reader


def begin_stream(data: ShardedDataset, options: StreamOptions) -> OrderedStream:
    stream = OrderedStream(data, BOTH, 6, View(size=24), options=options)
    stream.begin(Uniform().visits(data.ids("train"), 0, 0), seed=0, epoch=0)
    return stream


@pytest.mark.parametrize("workers", [1, 3])
def test_what_the_cache_has_is_not_asked_for(
    workers: int, tmp_path: Path, distant: ShardedDataset, farm: ShardedDataset
) -> None:
    options = StreamOptions(workers=workers, cache=tmp_path, hedge=False)
    for requests in (True, False):
        stream = begin_stream(distant, options)
        pairs = zip(begin_stream(farm, StreamOptions()), stream, strict=True)
        assert all(same(one, other) for one, other in pairs)
        assert (stream.traffic.requests > 0) == requests
        # A sound and three frames of each sample.
        assert stream.traffic.cache_hits == (0 if requests else 4 * 23)


def test_fewer_requests_than_reads_at_once_change_nothing(
    distant: ShardedDataset, farm: ShardedDataset
) -> None:
    pairs = zip(
        begin_stream(farm, StreamOptions()),
        begin_stream(distant, StreamOptions(requests=1, ahead=3)),
        strict=True,
    )
    assert all(same(one, other) for one, other in pairs)


def test_orders_are_answered_each_in_the_order_of_its_ranges(
    reader: BucketReader, distant: ShardedDataset, farm: ShardedDataset
) -> None:
    first, second = distant.index.shards[:2]
    ranges = [[(512, 600), (9, 9), (0, 99), (5, 2000)], [], [(7, 8)]]
    traffic = [Traffic() for _ in ranges]
    orders = [Order(*each) for each in zip((first, first, second), ranges, traffic, strict=True)]
    for order, answer in zip(orders, reader.begin(orders), strict=True):
        expected = [farm.store.read(order.shard, *each) for each in order.ranges]
        assert [data.tobytes() for data in answer.result(timeout=60)] == expected
    assert [each.requests for each in traffic] == [3, 0, 1]
    assert [each.bytes for each in traffic] == [88 + 99 + 1995, 0, 1]


def test_bytes_are_let_go_without_the_garbage_collector(
    reader: BucketReader, distant: ShardedDataset
) -> None:
    gc.disable()
    try:
        [data] = reader.read(distant.index.shards[0], [(0, 99)], Traffic())
        held = weakref.ref(data)
        # One more round through the thread of the requests, which has let go of the first by then.
        reader.read(distant.index.shards[0], [(0, 99)], Traffic())
        del data
        assert held() is None
    finally:
        gc.enable()


def test_streams_of_a_bucket_share_a_client(distant: ShardedDataset) -> None:
    assert isinstance(distant.store, BucketStore)
    assert distant.store.client() is distant.store.client()


def test_an_index_of_many_chunks_arrives_whole(
    address: str, farm_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmtrain.data.dataset._CHUNK", 1000)
    assert (farm_folder / "index.h5").stat().st_size > 10 * 1000
    with open_dataset(address) as data:
        # Its hash has been compared with that of the description.
        assert len(data) > 0
