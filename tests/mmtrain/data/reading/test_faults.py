"""Whatever the network does, an epoch is right, or stops and names the place; never shorter."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace

import pytest

from mmprep.errors import MmprepError, StoreError
from mmprep.storage import retries
from mmprep.storage.store import BucketStore
from mmtrain.curricula.uniform import Uniform
from mmtrain.data import OrderedStream, ShardedDataset, StreamOptions, View, open_dataset
from mmtrain.data.reading.bucket import BucketReader
from mmtrain.data.reading.hedging import HedgeRule
from mmtrain.data.reading.options import RetryPolicy
from mmtrain.data.reading.traffic import Traffic
from mmtrain.errors import ConfigError, DataError
from mmtrain.types import Batch
from tests.support import objectstore
from tests.support.faultproxy import Fault, FaultProxy
from tests.support.streammaker import same

pytestmark = pytest.mark.network
URL = f"s3://{objectstore.BUCKET}/farm"
BOTH = ("audio", "visual")
# A machine that is busy answers late: nobody waits for so long but for what never comes.
NEVER_S = 600.0
QUICK = RetryPolicy(backoff_s=0.002, deadline_s=NEVER_S)
IMPATIENT = RetryPolicy(backoff_s=0.002, deadline_s=0.5)
PASSING = ("short", "close", "reset", "stall", "flip", "500", "503", "429")


@pytest.fixture(scope="module")
def proxy(object_store: str) -> Iterator[FaultProxy]:
    with FaultProxy(object_store) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def distant(proxy: FaultProxy) -> Iterator[ShardedDataset]:
    """The shards of `farm` in a bucket behind the proxy."""
    # The first test of a process may have been one that left its faults there.
    proxy.clear()
    with open_dataset(URL, endpoint=proxy.address) as data:
        yield data


def begin_stream(data: ShardedDataset, options: StreamOptions, kind: str = "") -> OrderedStream:
    # Only where all bytes read are wanted is any wrong bit a wrong member.
    modalities = ("audio",) if kind == "flip" else BOTH
    stream = OrderedStream(data, modalities, 6, View(size=24), options=options)
    stream.begin(Uniform().visits(data.ids("train"), 0, 0), seed=0, epoch=0)
    return stream


def assert_right(batches: list[Batch], farm: ShardedDataset, kind: str = "") -> None:
    expected = begin_stream(farm, StreamOptions(workers=1), kind)
    assert all(same(one, other) for one, other in zip(batches, expected, strict=True))


def fault(kind: str, **options: object) -> Fault:
    wait = {"stall": NEVER_S, "429": 1.0}.get(kind, 0.0)
    return Fault(kind=kind, only=".tar", seconds=wait, **options)  # type: ignore[arg-type]


def read_once(data: ShardedDataset, options: StreamOptions) -> None:
    """Reads one range with a reader of its own."""
    store = data.store
    assert isinstance(store, BucketStore)
    with closing(BucketReader(store, options)) as reader:
        reader.read(data.index.shards[0], [(512, 600)], Traffic())


@pytest.mark.parametrize("kind", PASSING)
def test_a_fault_that_passes_changes_nothing(
    kind: str, proxy: FaultProxy, distant: ShardedDataset, farm: ShardedDataset
) -> None:
    proxy.clear()
    options = StreamOptions(retry=IMPATIENT if kind == "stall" else QUICK)
    stream = begin_stream(distant, options, kind)
    proxy.faults = (fault(kind, share=0.3, times=2),)
    batches = list(stream)
    assert proxy.made[kind] > 0
    assert stream.traffic.retries > 0
    assert_right(batches, farm, kind)


def test_many_faults_at_once_change_nothing(
    proxy: FaultProxy, distant: ShardedDataset, farm: ShardedDataset
) -> None:
    stream = begin_stream(distant, StreamOptions(retry=QUICK, hedge=False))
    proxy.clear()
    proxy.faults = tuple(fault(kind, share=0.4) for kind in PASSING if kind != "stall")
    batches = list(stream)
    assert len(proxy.made) > 3
    # The client may ask again without being seen when a connection breaks.
    assert stream.traffic.retries > 3
    assert stream.traffic.requests <= proxy.requests
    assert_right(batches, farm)


@pytest.mark.parametrize("kind", PASSING)
def test_a_fault_that_stays_stops_the_epoch_and_names_shard_and_sample(
    kind: str, proxy: FaultProxy, distant: ShardedDataset, farm: ShardedDataset
) -> None:
    proxy.clear()
    patience = RetryPolicy(
        backoff_s=0.002, deadline_s=0.1 if kind == "stall" else NEVER_S, give_up_s=0.2
    )
    proxy.faults = (fault(kind, share=0.3, times=None),)
    error = DataError if kind == "flip" else StoreError
    with pytest.raises(error, match=rf"{URL}/train/0000\d\d.tar.*sample '?train\d\d\d") as caught:
        # A stream reads a sample when it is made, which may be too slow as well.
        list(begin_stream(distant, StreamOptions(retry=patience), kind))
    assert "\n" not in str(caught.value)
    message = "does not fit its checksum" if kind == "flip" else r"Gave up after \d+ tr"
    assert re.search(message, str(caught.value))


@pytest.mark.parametrize(
    ("kind", "message"), [("403", "check the credentials"), ("404", "not found"), ("400", "400")]
)
def test_a_refusal_is_not_tried_again(
    kind: str, message: str, proxy: FaultProxy, distant: ShardedDataset
) -> None:
    proxy.clear()
    proxy.faults = (fault(kind, times=None),)
    with pytest.raises(StoreError, match=message) as caught:
        read_once(distant, StreamOptions(retry=RetryPolicy(backoff_s=60)))
    assert URL in str(caught.value)
    # Of this range, for requests of a stream that has stopped may still arrive.
    assert [n for name, n in proxy.asked.items() if name.endswith(" bytes=512-599")] == [1]


@pytest.mark.parametrize("kind", [kind for kind in PASSING if kind != "stall"])
def test_description_and_index_arrive_whatever_goes_wrong_once(
    kind: str, proxy: FaultProxy, farm: ShardedDataset
) -> None:
    proxy.clear()
    proxy.faults = (Fault(kind=kind, by_path=True),)
    with open_dataset(URL, endpoint=proxy.address) as data:
        assert data.description == farm.description
        assert (data.index.crc == farm.index.crc).all()
    assert proxy.made[kind] > 1


def test_a_description_that_stays_wrong_is_refused(proxy: FaultProxy) -> None:
    proxy.clear()
    proxy.faults = (Fault(kind="flip", times=None),)
    with pytest.raises(MmprepError, match=r"dataset\.json"):
        open_dataset(URL, endpoint=proxy.address)


def test_a_store_that_dies_stops_the_epoch_in_bounded_time(
    object_store: str,
) -> None:
    with FaultProxy(object_store) as proxy:
        data = open_dataset(URL, endpoint=proxy.address)
        patience = RetryPolicy(backoff_s=0.01, deadline_s=NEVER_S, give_up_s=0.5)
        stream = begin_stream(data, StreamOptions(retry=patience))
    with data:
        before = time.monotonic()
        with pytest.raises(StoreError, match=r"Gave up after \d+ tries .*--resume .*sample train"):
            list(stream)
        assert time.monotonic() - before < 60


def test_a_store_that_never_answers_stops_the_epoch_in_bounded_time(
    proxy: FaultProxy, distant: ShardedDataset
) -> None:
    proxy.clear()
    patience = RetryPolicy(backoff_s=0.01, deadline_s=0.2, give_up_s=0.5)
    proxy.faults = (fault("stall", times=None),)
    before = time.monotonic()
    with pytest.raises(
        StoreError, match=r"no answer in 0.2 s. Gave up after \d+ tr\w+ in \d+.\d s"
    ):
        list(begin_stream(distant, StreamOptions(retry=patience)))
    assert time.monotonic() - before < 60


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between tries, which alone make time pass."""
    pauses: list[float] = []

    def pause(seconds: float, act: Callable[[], None]) -> asyncio.Handle:
        pauses.append(seconds)
        return asyncio.get_running_loop().call_soon(act)

    monkeypatch.setattr("mmtrain.data.reading.requests._pause", pause)
    monkeypatch.setattr(retries, "time", SimpleNamespace(monotonic=lambda: sum(pauses)))
    return pauses


def test_pauses_double_up_to_5_s_and_are_shortened_at_random(
    proxy: FaultProxy, distant: ShardedDataset, pauses: list[float]
) -> None:
    proxy.clear()
    proxy.faults = (fault("503", times=None),)
    with pytest.raises(StoreError, match=r"Gave up after \d+ tries in \d+\.\d s"):
        read_once(distant, StreamOptions())
    # 0.2, 0.4, 0.8, 1.6 and 3.2 s, then 5 s, of which up to a half is taken.
    longest = [min(0.2 * 2**i, 5) for i in range(len(pauses))]
    assert all(top / 2 <= pause <= top for top, pause in zip(longest, pauses, strict=True))
    assert len({pause / top for top, pause in zip(longest, pauses, strict=True)}) == len(pauses)
    assert 110 < sum(pauses) <= 120


def test_an_outage_of_90_seconds_is_waited_out(
    proxy: FaultProxy, distant: ShardedDataset, pauses: list[float]
) -> None:
    class UpAfter90s(Fault):
        def hits(self, name: str, tries: int) -> bool:
            return sum(pauses) < 90 and super().hits(name, tries)

    proxy.clear()
    proxy.faults = (UpAfter90s(kind="503", times=None, only=".tar"),)
    read_once(distant, StreamOptions())
    assert sum(pauses) >= 90


def test_who_waits_for_a_read_is_let_go_when_reading_ends(
    proxy: FaultProxy, distant: ShardedDataset
) -> None:
    proxy.clear()
    proxy.faults = (fault("stall", times=None),)
    store = distant.store
    assert isinstance(store, BucketStore)
    reader = BucketReader(store, StreamOptions())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(reader.read, distant.index.shards[0], [(0, 99)], Traffic())
        while not proxy.made["stall"]:
            time.sleep(0.01)
        reader.close()
        with pytest.raises(StoreError, match="reading was ended"):
            waiting.result(timeout=60)
    with pytest.raises(StoreError, match="reading was ended"):
        reader.read(distant.index.shards[0], [(0, 99)], Traffic())


def test_a_stalled_read_is_overtaken_by_a_second_one(
    proxy: FaultProxy, distant: ShardedDataset
) -> None:
    proxy.clear()
    options = StreamOptions(retry=RetryPolicy(deadline_s=20), workers=1)
    stream = OrderedStream(distant, BOTH, 6, View(size=24), options=options)
    order = Uniform().visits(distant.ids("train").repeat(20), 0, 0)
    stream.begin(order, seed=0, epoch=0)
    batches = iter(stream)
    for _ in range(60):
        next(batches)
    # Only now is it known what is slow.
    proxy.faults = (Fault(kind="stall", only=".tar", seconds=NEVER_S, share=0.04),)
    rest = sum(int((~batch.filler).sum()) for batch in batches)
    assert rest == len(order) - 60 * 6
    assert 0 < stream.traffic.hedged <= 0.05 * stream.traffic.requests
    # A stalled read that no second one overtakes is made anew after its deadline. That happens
    # where slow reads have used up what may be raced.
    assert stream.traffic.retries < proxy.made["stall"]


def test_what_is_slow_is_twice_the_95th_percentile() -> None:
    rule = HedgeRule()
    for i in range(31):
        rule.record(0.001 * (i + 1), 1000)
    assert rule.after_s(1000) is None
    rule.record(0.032, 1000)
    # Of 1 to 32 ms in order, the one at 0.95 * 32 = 30, counted from 0, is 31 ms.
    assert rule.after_s(1000) == pytest.approx(0.062)


def test_a_read_is_slow_beside_those_of_a_like_size() -> None:
    rule = HedgeRule()
    for _ in range(32):
        rule.record(0.04, 700_000)
    assert rule.after_s(1_000_000) == pytest.approx(0.08)
    assert rule.after_s(4_000_000) is None
    for _ in range(32):
        rule.record(0.1, 4_000_000)
    assert rule.after_s(3_000_000) == pytest.approx(0.2)
    assert rule.after_s(700_000) == pytest.approx(0.08)


def test_one_read_in_twenty_may_be_raced() -> None:
    rule = HedgeRule()
    allowed = []
    for _ in range(60):
        allowed.append(rule.may_hedge())
        rule.record(0.01, 1000)
    assert [i for i, may in enumerate(allowed) if may] == [20, 40]


def test_racing_can_be_left_out(proxy: FaultProxy, distant: ShardedDataset) -> None:
    proxy.clear()
    proxy.latency_s = 0.001
    stream = begin_stream(distant, StreamOptions(hedge=False))
    list(stream)
    proxy.latency_s = 0.0
    assert stream.traffic.hedged == 0


def test_damaged_samples_may_be_skipped_and_are_counted(
    proxy: FaultProxy, distant: ShardedDataset, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.clear()
    stream = begin_stream(distant, StreamOptions(retry=QUICK, skip_damaged=True), "flip")
    proxy.faults = (fault("flip", share=0.3, times=None),)
    with caplog.at_level(logging.WARNING):
        batches = list(stream)
    fillers = sum(int(batch.filler.sum()) for batch in batches)
    visits = -(-23 // 6) * 6
    assert len(stream.skipped) > 0
    assert fillers == len(stream.skipped) + visits - 23
    assert all(key in caplog.text for key in stream.skipped)


def test_audio_alone_moves_the_bytes_of_audio(object_store: str, distant: ShardedDataset) -> None:
    # A proxy of its own, through which no request of another test still goes.
    with FaultProxy(object_store) as proxy, open_dataset(URL, endpoint=proxy.address) as data:
        stream = OrderedStream(
            data, ("audio",), 6, View(size=24), options=StreamOptions(hedge=False)
        )
        proxy.clear()
        stream.begin(Uniform().visits(data.ids("train"), 0, 0), seed=0, epoch=0)
        list(stream)
    index = distant.index
    sounds = [
        (index.shards[index.shard[row]], index.members(row)["spectrogram"][0])
        for row in data.ids("train")
    ]
    assert stream.traffic.bytes == sum(sound.size for _, sound in sounds)
    # Ranges and not bytes are compared, because the client may ask again without being seen when
    # a connection breaks.
    assert set(proxy.asked) == {
        f"/{objectstore.BUCKET}/farm/{shard} bytes={sound.offset}-{sound.offset + sound.size - 1}"
        for shard, sound in sounds
    }


@pytest.mark.parametrize("value", [{"give_up_s": -1}, {"deadline_s": 0}, {"backoff_s": -1.0}])
def test_impossible_retry_policies_are_refused(value: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(value))):
        RetryPolicy(**value)  # type: ignore[arg-type]
