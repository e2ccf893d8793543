"""The simulator: its bounds, its counts, and its cache beside the real one."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from epochmodel import Epoch, Training, jobs_of, simulate
from simulate_epoch import PARTS, Part, main, write_synthetic
from storemodel import CacheModel, StoreModel

from mmprep.format import Index, crc32c, write_index
from mmtrain.curricula.uniform import Uniform
from mmtrain.data import SampleOrder, StreamOptions
from mmtrain.data.reading.cache import Cache

SAMPLES, BATCH, SHARD = 640, 32, 100
SHOWN = {part.name: part.shown for part in PARTS}
CALM = StreamOptions(workers=2, hedge=False)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    path = tmp_path_factory.mktemp("synthetic") / "index.h5"
    write_synthetic(path, SAMPLES, PARTS, SHARD)
    return Index.open(path)


@pytest.fixture(scope="module")
def order() -> SampleOrder:
    return Uniform().visits(np.arange(SAMPLES), 0, 0)


def epoch(
    index: Index,
    order: SampleOrder,
    *,
    ranks: int = 1,
    step_s: float = 0.0,
    decode_s: float = 0.0,
    loading: StreamOptions = CALM,
    **store: float,
) -> Epoch:
    training = Training(
        shown=SHOWN,
        batch_size=BATCH,
        ranks=ranks,
        simulated=ranks,
        step_s=step_s,
        decode_s=decode_s,
        plan_s=0.0,
        loading=loading,
    )
    return simulate(index, order, training, StoreModel(**store))


def planned_reads(index: Index, order: SampleOrder, ranks: int) -> list[int]:
    training = Training(shown=SHOWN, batch_size=BATCH, ranks=ranks)
    return [
        span.end - span.begin
        for start in range(0, len(order), BATCH)
        for rank in range(ranks)
        for job in jobs_of(index, order, start, training, rank, 0)[1]
        for span in job.spans
    ]


def test_a_store_without_delay_leaves_the_steps(index: Index, order: SampleOrder) -> None:
    done = epoch(index, order, step_s=0.1)
    # 20 batches of 32.
    assert done.seconds == pytest.approx(20 * 0.1)
    assert done.waited_s == 0
    assert done.visits == SAMPLES


def test_decoding_takes_two_threads_half_as_long_as_one(index: Index, order: SampleOrder) -> None:
    # 640 samples of 10 ms on two threads; the last job of the epoch may find one of them idle.
    assert epoch(index, order, decode_s=0.01).seconds == pytest.approx(3.2, abs=0.02)


def test_requests_and_bytes_wait_for_what_they_must(index: Index, order: SampleOrder) -> None:
    reads = planned_reads(index, order, 1)
    slow = epoch(index, order, rate=1000.0)
    assert slow.seconds == pytest.approx(len(reads) / 1000)
    narrow = epoch(index, order, total=1e8)
    assert narrow.seconds == pytest.approx(sum(reads) / 1e8)


def test_one_read_at_a_time_takes_its_latency_every_time(index: Index, order: SampleOrder) -> None:
    alone = StreamOptions(workers=2, hedge=False, requests=1)
    reads = planned_reads(index, order, 1)
    done = epoch(index, order, loading=alone, latency_s=0.02)
    assert done.seconds == pytest.approx(0.02 * len(reads))
    assert done.waited_s == pytest.approx(done.seconds)


@pytest.mark.parametrize("ranks", [1, 3])
def test_requests_and_bytes_are_those_of_the_planner(
    index: Index, order: SampleOrder, ranks: int
) -> None:
    reads = planned_reads(index, order, ranks)
    done = epoch(index, order, ranks=ranks, latency_s=0.02, latency_p99_s=0.2)
    assert (done.traffic.requests, done.traffic.bytes) == (len(reads), sum(reads))
    assert done.visits == SAMPLES


def test_errors_cost_as_many_retries_as_a_coin_says(index: Index, order: SampleOrder) -> None:
    share = 0.2
    done = epoch(index, order, latency_s=0.01, errors=share)
    reads = len(planned_reads(index, order, 1))
    # Tries until the first success are geometric: r / (1 - r) in vain, variance r / (1 - r)^2.
    mean, deviation = share / (1 - share), np.sqrt(share / reads) / (1 - share)
    assert done.traffic.retries / reads == pytest.approx(mean, abs=4 * deviation)
    assert done.traffic.requests == reads + done.traffic.retries
    assert done.given_up == 0


def test_slow_reads_are_raced_at_most_one_in_twenty(index: Index, order: SampleOrder) -> None:
    tail = {"latency_s": 0.02, "latency_p99_s": 0.5}
    raced = epoch(index, order, loading=StreamOptions(workers=2), **tail)
    assert 0 < raced.traffic.hedged <= 0.05 * raced.traffic.requests
    assert raced.seconds < epoch(index, order, **tail).seconds


def test_the_model_of_the_cache_keeps_what_the_cache_keeps(index: Index, tmp_path: Path) -> None:
    limit, zeros = 60_000_000, bytes(int(index.size.max()))
    sums = [crc32c(zeros[:size]) for size in index.size.tolist()]
    index = replace(index, crc=np.array(sums, np.uint32))
    real, model = Cache(tmp_path, limit, "0" * 64, index), CacheModel(limit, index)
    drawn, hits, kept = np.random.default_rng(0), 0, set()
    for turn in range(12):
        time.sleep(0.02)  # The system stamps files by a clock that lags.
        real.begin()
        model.begin()
        # What is wanted moves on, so that packs fall out of use and give way.
        for number in drawn.integers(turn * 300, turn * 300 + 900, 300).tolist():
            here = model.get(number)
            assert (real.get(number) is not None) == here
            hits += here
            real.put(number, np.frombuffer(zeros[: int(index.size[number])], np.uint8))
            model.put(number)
            if model.get(number):
                kept.add(number)
    # Which of the packs out of use go first may differ: the real one notes their use every 5 s.
    assert len(list(tmp_path.glob("*.pack"))) == len(model._packs)
    assert hits
    assert sum(map(model.get, kept)) < len(kept)


def test_the_synthetic_index_is_one_that_mmprep_would_write(index: Index, tmp_path: Path) -> None:
    rows = (
        (entry, int(index.label[i]), 0, int(index.shard[i]))
        for i, entry in enumerate(index.entries(np.arange(len(index))))
    )
    names = {name: getattr(index, name) for name in ("classes", "splits", "shards", "parts")}
    (tmp_path / "index.h5").write_bytes(write_index(rows, **names))
    written = Index.open(tmp_path / "index.h5")
    for name in ("key", "label", "split", "shard", "start", "first", "counts", "size", "crc"):
        assert np.array_equal(getattr(written, name), getattr(index, name)), name
    # Samples of a shard lie end to end.
    assert index.extent(0) == (0, int(index.start[1]))
    assert index.start[SHARD] == 0


def test_three_parts_and_a_scored_order(capsys: pytest.CaptureFixture[str]) -> None:
    parts = ["--part", "frames:5:9000:3", "--part", "flow:5:8000:2", "--part", "depth:1:700:1"]
    main(["--samples", "900", "--curriculum", "bss-l", "--ranks", "4", "--epochs", "2", *parts,
          "--ranks-a-machine", "2", "--visits", "200", "--cache-gb", "1", "--json"])  # fmt: skip
    made = json.loads(capsys.readouterr().out)
    first, second = made["epochs"]
    assert made["shards"] == 2
    assert made["simulated_ranks"] == 2
    # 900 visits of at least one read, out of 200 or so: the scale is right to a fifth.
    assert first["requests"] > 900 * 0.8
    assert first["cache_hits"] == 0 < second["cache_hits"]


@pytest.mark.parametrize("text", ["frames:3", "frames:3:100:4", "frames:3:0:1", "frames:a:b:c"])
def test_a_wrong_part_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--samples", "10", "--part", text])
    assert "SHOWN" in capsys.readouterr().err


def test_a_part_is_read_from_its_text() -> None:
    assert Part.parse("frames:10:19000:3") == PARTS[0]
