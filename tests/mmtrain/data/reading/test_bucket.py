"""Streams from a real object store on this machine."""

import multiprocessing
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest

from mmtrain.curricula.uniform import Uniform
from mmtrain.data import OrderedStream, ShardedDataset, StreamOptions, View, open_dataset
from mmtrain.errors import ConfigError
from tests.support import objectstore
from tests.support.streammaker import same

pytestmark = pytest.mark.network
ALL = ("audio", "visual", "flow", "depth")


@pytest.fixture(scope="module")
def bucket(object_store: str) -> Iterator[ShardedDataset]:
    """The same shards as `farm`, in a bucket."""
    with open_dataset(f"s3://{objectstore.BUCKET}/farm", endpoint=object_store) as data:
        yield data


def begin_stream(data: ShardedDataset, modalities: tuple[str, ...] = ALL) -> OrderedStream:
    stream = OrderedStream(data, modalities, 6, View(size=24), options=StreamOptions(hedge=False))
    stream.begin(Uniform().visits(data.ids("train"), 0, 0), seed=0, epoch=0)
    return stream


def test_a_bucket_gives_what_a_folder_gives(bucket: ShardedDataset, farm: ShardedDataset) -> None:
    pairs = zip(begin_stream(farm), begin_stream(bucket), strict=True)
    assert all(same(one, other) for one, other in pairs)


def test_only_the_bytes_asked_for_leave_the_bucket(bucket: ShardedDataset) -> None:
    stream = begin_stream(bucket, ("audio",))
    list(stream)
    sounds = [bucket.index.members(row)["spectrogram"][0] for row in bucket.ids("train")]
    assert stream.traffic.bytes == sum(member.size for member in sounds)
    assert stream.traffic.requests == len(sounds)
    assert stream.traffic.retries == stream.traffic.hedged == stream.traffic.cache_hits == 0


def iterate(end: Connection, stream: OrderedStream) -> None:
    """Sends the message of the error that iterating raises."""
    try:
        list(stream)
    except ConfigError as error:
        end.send(str(error))


def test_a_forked_process_is_refused_instead_of_hanging(bucket: ShardedDataset) -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=iterate, args=(theirs, begin_stream(bucket)))
    with warnings.catch_warnings():
        # The point of the test: threads of the bucket's client are not there in the child.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    assert ours.poll(60)
    assert "cannot be used in a forked process" in ours.recv()
    process.join()
