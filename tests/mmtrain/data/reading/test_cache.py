"""The local cache: the reads that it saves, its bound, and the faults that it survives."""

import errno
import fcntl
import logging
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mmtrain.curricula.uniform import Uniform
from mmtrain.data import OrderedStream, ShardedDataset, StreamOptions, View, open_dataset
from mmtrain.data.reading.cache import Cache
from mmtrain.errors import ConfigError
from mmtrain.types import Batch
from tests.support.streammaker import RecordingStore, record_reads, same

BOTH = ("audio", "visual")
PLENTY = 1 << 20
SMALL = 90_000  # of the 700 kB of all members
FOREIGN = {
    "notes.txt": b"mine",
    "0123456789abcdef-0123456789ab.table": b"not a table",
    "0123456789abcdef-0123456789ab.pack": bytes(5000),
}


@pytest.fixture
def distant(farm_folder: Path) -> ShardedDataset:
    """The shards of `farm` in a store that is no local disk, and that records its reads."""
    return open_dataset(record_reads(farm_folder))


def begin_stream(
    data: ShardedDataset, folder: Path, limit: int = PLENTY, modalities: tuple[str, ...] = BOTH
) -> OrderedStream:
    """Makes a stream as a new run would, with a data set and a cache of its own."""
    options = StreamOptions(workers=2, cache=folder, cache_bytes=limit)
    return OrderedStream(open_dataset(data.store), modalities, 6, View(size=24), options=options)


def epoch(stream: OrderedStream, number: int = 0) -> list[Batch]:
    data = stream.dataset
    stream.begin(Uniform().visits(data.ids("train"), 0, number), seed=0, epoch=number)
    return list(stream)


def reads_of(data: ShardedDataset) -> list[tuple[str, int, int]]:
    assert isinstance(data.store, RecordingStore)
    return data.store.reads


def assert_right(batches: list[Batch], farm: ShardedDataset, number: int = 0) -> None:
    expected = epoch(OrderedStream(farm, BOTH, 6, View(size=24)), number)
    assert all(same(one, other) for one, other in zip(batches, expected, strict=True))


def size_of(folder: Path) -> int:
    with (folder / "mmtrain-cache.lock").open() as lock:
        # Nobody makes or removes a pack meanwhile.
        fcntl.flock(lock, fcntl.LOCK_EX)
        return sum(path.stat().st_size for path in folder.iterdir())


def packs_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.pack"))


def test_what_was_read_is_not_read_again(
    tmp_path: Path, distant: ShardedDataset, farm: ShardedDataset
) -> None:
    stream = begin_stream(distant, tmp_path)
    assert_right(epoch(stream), farm)
    reads_of(distant).clear()
    assert_right(epoch(stream), farm)
    assert reads_of(distant) == []
    # A sound and three frames of each sample.
    assert stream.traffic.cache_hits == 4 * 23


def test_another_run_finds_what_one_has_left(
    tmp_path: Path, distant: ShardedDataset, farm: ShardedDataset
) -> None:
    epoch(begin_stream(distant, tmp_path))
    stream = begin_stream(distant, tmp_path)
    reads_of(distant).clear()
    assert_right(epoch(stream), farm)
    assert reads_of(distant) == []


@pytest.mark.parametrize("gap", [0, 1 << 16])
def test_other_frames_of_a_clip_are_read_until_all_are_here(
    gap: int, tmp_path: Path, distant: ShardedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmtrain.data.reading.members._GAP_BUCKET", gap)
    stream = begin_stream(distant, tmp_path, modalities=("visual",))
    reads_of(distant).clear()
    needed = []
    for number in range(30):
        before = len(reads_of(distant))
        epoch(stream, number)
        needed.append(len(reads_of(distant)) - before)
    # Each of the three frames is one of three or four; with a gap, those between come along.
    assert needed[0] > 2 * needed[2] if gap else needed[0] > needed[2]
    assert needed[-1] == 0
    if not gap:
        assert len({*reads_of(distant)}) == len(reads_of(distant)) <= 230


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_of_a_cache_that_is_too_small_its_share_is_hit(
    share: float, tmp_path: Path, distant: ShardedDataset, farm: ShardedDataset
) -> None:
    stream = begin_stream(distant, tmp_path / "whole", modalities=("audio",))
    epoch(stream)
    index = distant.index
    sizes = [index.members(row)["spectrogram"][0].size for row in distant.ids("train")]
    limit = int(share * sum(sizes))
    stream = begin_stream(distant, tmp_path / "small", limit, modalities=("audio",))
    for number in range(4):
        stream.traffic.cache_hits = 0
        epoch(stream, number)
        assert size_of(tmp_path / "small") <= limit
    # Of the least recently used it would be share ** 2 / 2.
    assert stream.traffic.cache_hits >= 0.5 * share * 23


@pytest.mark.parametrize("suffix", ["pack", "table"])
def test_damage_is_noticed_and_read_anew(
    suffix: str, tmp_path: Path, distant: ShardedDataset, farm: ShardedDataset
) -> None:
    epoch(begin_stream(distant, tmp_path))
    for path in tmp_path.glob(f"*.{suffix}"):
        content = bytearray(path.read_bytes())
        content[20:] = (byte ^ 0x55 for byte in content[20:])
        path.write_bytes(content)
    stream = begin_stream(distant, tmp_path)
    reads_of(distant).clear()
    assert_right(epoch(stream), farm)
    assert len(reads_of(distant)) > 0
    assert stream.traffic.cache_hits < 4
    reads_of(distant).clear()
    assert_right(epoch(stream), farm)
    assert reads_of(distant) == []


def test_two_streams_of_a_run_share_what_they_keep(
    tmp_path: Path, distant: ShardedDataset, farm: ShardedDataset
) -> None:
    training = begin_stream(distant, tmp_path)
    epoch(training)
    other = OrderedStream(training.dataset, BOTH, 6, View(size=24), options=training.options)
    reads_of(distant).clear()
    assert_right(epoch(other), farm)
    assert reads_of(distant) == []
    assert len(packs_of(tmp_path)) == 1


def test_packs_that_are_gone_are_read_anew(
    tmp_path: Path, distant: ShardedDataset, farm: ShardedDataset
) -> None:
    stream = begin_stream(distant, tmp_path)
    epoch(stream)
    for path in tmp_path.iterdir():
        path.unlink()
    assert_right(epoch(stream), farm)
    assert_right(epoch(begin_stream(distant, tmp_path)), farm)


def test_what_somebody_else_wrote_stays(tmp_path: Path, distant: ShardedDataset) -> None:
    for name, content in FOREIGN.items():
        (tmp_path / name).write_bytes(content)
    for limit in (PLENTY, 20_000, 8_000):
        epoch(begin_stream(distant, tmp_path, limit))
    assert {name: (tmp_path / name).read_bytes() for name in FOREIGN} == FOREIGN


# The cache alone, with members of the shards as they lie on disk


def cache(folder: Path, farm: ShardedDataset, limit: int = PLENTY, root: str = "a") -> Cache:
    opened = Cache(folder, limit, root * 64, farm.index)
    opened.begin()
    return opened


def assert_sound(opened: Cache, members: dict[int, np.ndarray], least: int) -> None:
    looked_up = {number: opened.get(number) for number in members}
    hits = {number: data for number, data in looked_up.items() if data is not None}
    assert len(hits) >= least
    assert all(np.array_equal(data, members[number]) for number, data in hits.items())


def test_members_come_back_as_they_were(
    tmp_path: Path, farm: ShardedDataset, members: dict[int, np.ndarray]
) -> None:
    opened = cache(tmp_path, farm, 1 << 24)
    for number, data in members.items():
        opened.put(number, data)
        opened.put(number, data)
    assert_sound(opened, members, len(members))
    assert_sound(cache(tmp_path, farm, 1 << 24), members, len(members))
    assert sum(path.stat().st_size for path in tmp_path.glob("*.table")) == 16 * (1 + len(members))


def test_another_data_set_gives_way_the_longest_unused_first(
    tmp_path: Path, farm: ShardedDataset, members: dict[int, np.ndarray]
) -> None:
    limit = 40_000
    old = cache(tmp_path, farm, limit, "a")
    for number, data in members.items():
        old.put(number, data)
    tables = sorted(tmp_path.glob("*.table"))
    assert len(tables) == 3
    del old
    for age, table in enumerate(tables):
        os.utime(table, (1000 - age, 1000 - age))
    new = cache(tmp_path, farm, limit, "b")
    new.put(0, members[0])
    assert sorted(tmp_path.glob("a*.table")) == tables[:2]
    for number, data in members.items():
        new.put(number, data)
    assert list(tmp_path.glob("a*")) == []
    assert size_of(tmp_path) <= limit


def test_a_pack_in_use_by_another_data_set_stays(
    tmp_path: Path, farm: ShardedDataset, members: dict[int, np.ndarray]
) -> None:
    limit = 40_000
    old = cache(tmp_path, farm, limit, "a")
    for number, data in members.items():
        old.put(number, data)
    new = cache(tmp_path, farm, limit, "b")
    old.begin()
    assert_sound(old, members, 10)
    new.put(0, members[0])
    assert new.get(0) is None
    assert len(packs_of(tmp_path)) == 3


def test_two_caches_see_what_each_other_keeps(
    tmp_path: Path, farm: ShardedDataset, members: dict[int, np.ndarray]
) -> None:
    one, other = cache(tmp_path, farm), cache(tmp_path, farm)
    one.put(3, members[3])
    other.put(4, members[4])
    assert one.get(4) is None
    one.begin()
    other.begin()
    assert_sound(one, {n: members[n] for n in (3, 4)}, 2)
    assert_sound(other, {n: members[n] for n in (3, 4)}, 2)
    assert len(packs_of(tmp_path)) == 2


def test_a_pack_that_was_left_is_filled_further(
    tmp_path: Path, farm: ShardedDataset, members: dict[int, np.ndarray]
) -> None:
    for number in range(6):
        cache(tmp_path, farm).put(number, members[number])
    assert len(packs_of(tmp_path)) == 1
    assert_sound(cache(tmp_path, farm), {n: members[n] for n in range(6)}, 6)


@pytest.mark.parametrize("left", [1, 15])
def test_half_an_entry_of_a_killed_writer_is_written_over(
    left: int, tmp_path: Path, farm: ShardedDataset, members: dict[int, np.ndarray]
) -> None:
    cache(tmp_path, farm).put(0, members[0])
    [table] = tmp_path.glob("*.table")
    with table.open("ab") as file:
        file.write(bytes(left))
    for number in (1, 2):
        cache(tmp_path, farm).put(number, members[number])
    assert_sound(cache(tmp_path, farm), {n: members[n] for n in range(3)}, 3)


def test_a_full_disk_ends_the_keeping_with_one_warning(
    tmp_path: Path,
    farm: ShardedDataset,
    distant: ShardedDataset,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    stream = begin_stream(distant, tmp_path)
    with caplog.at_level(logging.WARNING):
        assert_right(epoch(stream), farm)
        assert_right(epoch(stream), farm)
    assert caplog.messages == [
        f"--cache {tmp_path}: No space left on device; nothing more is kept there"
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["mmtrain-cache.lock"]


class SeenLock:
    """A lock that tells when somebody waits for it."""

    def __init__(self) -> None:
        self._lock, self.awaited = threading.Lock(), threading.Event()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.awaited.set()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_who_waited_while_the_disk_failed_does_not_try_it_again(
    tmp_path: Path,
    farm: ShardedDataset,
    members: dict[int, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries, lock = [], SeenLock()

    def full(*_: int) -> None:
        tries.append(lock.awaited.wait(timeout=60))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    held = cache(tmp_path, farm)
    monkeypatch.setattr(held, "_lock", lock)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda number: held.put(number, members[number]), (1, 2)))
    assert tries == [True]


def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path, farm: ShardedDataset) -> None:
    (tmp_path / "file").write_text("a file")
    for place in ("file", "file/below"):
        with pytest.raises(ConfigError, match=f"--cache {tmp_path}/{place}: .*leave --cache out"):
            cache(tmp_path / place, farm)


def test_a_stream_with_a_cache_can_be_sent_to_another_process(
    tmp_path: Path, distant: ShardedDataset, farm: ShardedDataset
) -> None:
    stream = begin_stream(distant, tmp_path)
    epoch(stream)
    assert_right(epoch(pickle.loads(pickle.dumps(stream))), farm)
