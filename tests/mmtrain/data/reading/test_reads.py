from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from mmprep.format import Index
from mmprep.storage.store import LocalStore
from mmtrain.curricula.uniform import Uniform
from mmtrain.data import OrderedStream, SampleOrder, ShardedDataset, View, open_dataset
from mmtrain.data.reading.local import LocalReader
from mmtrain.data.reading.members import plan_bucket
from mmtrain.data.reading.options import StreamOptions
from mmtrain.data.reading.plan import Visit, plan
from tests.support.streammaker import FRAMES, RecordingStore, make_data, record_reads

VIEW = View(frames=3, size=16)
ALL = {"frames": range(FRAMES), "spectrogram": [0], "flow": range(FRAMES), "depth": range(FRAMES)}


def part_bytes(index: Index, part: str) -> set[tuple[str, int]]:
    """Shard and offset of every byte of every member of ``part``."""
    return {
        (index.shards[index.shard[row]], byte)
        for row in range(len(index))
        for member in index.members(row)[part]
        for byte in range(member.offset, member.offset + member.size)
    }


def bytes_read(store: RecordingStore) -> set[tuple[str, int]]:
    return {(path, byte) for path, begin, end in store.reads for byte in range(begin, end)}


def run(folder: Path, modalities: tuple[str, ...], order: SampleOrder) -> RecordingStore:
    store = record_reads(folder)
    stream = OrderedStream(open_dataset(store), modalities, 4, VIEW)
    store.reads.clear()
    stream.begin(order, seed=0, epoch=0)
    for _ in stream:
        pass
    assert stream.traffic.bytes == sum(end - begin for _, begin, end in store.reads)
    assert stream.traffic.requests == len(store.reads)
    return store


@pytest.mark.parametrize("shuffled", [True, False])
def test_only_the_parts_asked_for_are_read(
    farm_folder: Path, farm: ShardedDataset, shuffled: bool
) -> None:
    ids = farm.ids("train")
    order = Uniform().visits(ids, 0, 0) if shuffled else SampleOrder(ids)
    sounds = part_bytes(farm.index, "spectrogram")
    train = {byte for byte in sounds if byte[0].startswith("train")}

    assert bytes_read(run(farm_folder, ("audio",), order)) == train
    for modality, part in (("visual", "frames"), ("depth", "depth"), ("flow", "flow")):
        touched = bytes_read(run(farm_folder, (modality,), order))
        for other in {"frames", "spectrogram", "flow", "depth"} - {part}:
            assert not touched & part_bytes(farm.index, other), (modality, other)


def test_three_frames_of_ten_are_read_as_three_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmtrain.data.reading.members._GAP_BUCKET", 0)
    make_data(tmp_path, parts=("frames",))
    store = record_reads(tmp_path)
    stream = OrderedStream(open_dataset(store), ("visual",), 1, VIEW.evaluation())
    stream.begin(SampleOrder(np.array([3])), seed=0, epoch=0)
    list(stream)

    members = stream.dataset.index.members(3)["frames"]
    wanted = [(members[k].offset, members[k].offset + members[k].size) for k in (1, 5, 8)]
    assert sorted((begin, end) for _, begin, end in store.reads) == wanted


def test_a_visit_reads_only_what_it_shows(farm_folder: Path, farm: ShardedDataset) -> None:
    ids = farm.ids("train")
    shown = {"audio": np.arange(len(ids)) % 3 == 0, "visual": np.arange(len(ids)) % 3 != 0}
    touched = bytes_read(run(farm_folder, ("audio", "visual"), SampleOrder(ids, shown)))

    for row, (audio, visual) in enumerate(zip(shown["audio"], shown["visual"], strict=True)):
        members = farm.index.members(row)
        shard = farm.index.shards[farm.index.shard[row]]
        assert ((shard, members["spectrogram"][0].offset) in touched) == audio
        assert any((shard, m.offset) in touched for m in members["frames"]) == visual


@pytest.mark.parametrize("gap", [0, 4096, 1 << 30])
def test_hidden_parts_are_not_read_over(farm: ShardedDataset, gap: int) -> None:
    visits = [Visit(row, {"frames": [2, 7], "flow": [0]}) for row in range(5)]
    hidden = part_bytes(farm.index, "spectrogram") | part_bytes(farm.index, "depth")
    for job in plan(farm.index, visits, gap):
        read = {(job.shard, byte) for span in job.spans for byte in range(span.begin, span.end)}
        assert not read & hidden


def test_frames_that_were_not_chosen_are_read_over_up_to_the_next_part(
    farm: ShardedDataset,
) -> None:
    visits = [Visit(row, {"frames": [2, 7], "spectrogram": [0]}) for row in (2, 3)]
    begin = farm.index.members(2)["frames"][2].offset
    sound = farm.index.members(2)["spectrogram"][0]
    assert [len(job.spans) for job in plan(farm.index, visits, 0)] == [3, 3]
    first, second = (job.spans for job in plan(farm.index, visits, 1 << 30))
    assert [(span.begin, span.end) for span in first] == [(begin, sound.offset + sound.size)]
    assert len(second) == 1  # Flow and depth of sample 2 lie before it, which nobody shows.


def test_unchosen_frames_join_neighbours_whose_last_part_is_wanted(tmp_path: Path) -> None:
    make_data(tmp_path, parts=("frames", "spectrogram"))
    index = open_dataset(tmp_path).index
    visits = [Visit(row, {"frames": [2, 7], "spectrogram": [0]}) for row in (2, 3)]

    [job] = plan(index, visits, 1 << 30)
    [span] = job.spans

    sound = index.members(3)["spectrogram"][0]
    assert (span.begin, span.end) == (
        index.members(2)["frames"][2].offset,
        sound.offset + sound.size,
    )
    # Who hears sample 3 but does not see it reads none of its frames.
    jobs = plan(index, [visits[0], Visit(3, {"spectrogram": [0]})], 1 << 30)
    assert [len(job.spans) for job in jobs] == [1, 1]


def test_neighbours_are_read_at_once_across_samples_but_not_across_shards(
    farm: ShardedDataset,
) -> None:
    # Samples 3 and 4 end the first shard, 5 and 6 begin the second: two jobs of one read each.
    jobs = plan(farm.index, [Visit(row, ALL) for row in (5, 3, 6, 4)], 4096)

    assert [job.shard for job in jobs] == ["train/000001.tar", "train/000000.tar"]
    assert [len(job.spans) for job in jobs] == [1, 1]
    first, last = farm.index.members(3)["frames"][0], farm.index.members(4)["depth"][-1]
    (span,) = jobs[1].spans
    assert (span.begin, span.end) == (first.offset, last.offset + last.size)


def test_every_wanted_byte_lies_in_its_span_and_repeated_visits_are_read_once(
    farm: ShardedDataset,
) -> None:
    visits = [Visit(row, {"frames": [1, 4], "spectrogram": [0]}) for row in (9, 2, 9, 9, 17)]
    jobs = plan(farm.index, visits, 0)
    pieces = [(span, piece) for job in jobs for span in job.spans for piece in span.pieces]

    assert len(pieces) == 15
    assert sum(len(job.spans) for job in jobs) == 9
    by_job = [sorted({piece.visit for piece in job.pieces}) for job in jobs]
    assert by_job == [[0, 2, 3], [1], [4]]
    for span, piece in pieces:
        member = farm.index.members(piece.sample)[piece.part][piece.ordinal]
        assert (piece.begin, piece.end) == (member.offset, member.offset + member.size)
        assert piece.crc == member.crc
        assert span.begin <= piece.begin
        assert piece.end <= span.end


def test_neighbours_are_read_by_larger_jobs_as_long_as_there_are_enough(
    farm: ShardedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = [Visit(row, ALL) for row in range(20)]
    size = sum(job.bytes for job in plan(farm.index, visits, 4096)) // 20
    monkeypatch.setattr("mmtrain.data.reading.plan._JOB_BYTES", size // 2)
    monkeypatch.setattr("mmtrain.data.reading.plan._MOST_JOB_BYTES", 3 * size)

    counts = [len(plan(farm.index, visits, 4096, jobs)) for jobs in (None, 100, 8, 4)]
    assert counts[0] == counts[1] == 20
    assert 8 <= counts[2] < 20
    assert 4 <= counts[3] < counts[2]
    for jobs in (100, 8, 4):
        pieces = [p for job in plan(farm.index, visits, 4096, jobs) for p in job.pieces]
        assert sorted(pieces) == sorted(
            p for job in plan(farm.index, visits, 4096) for p in job.pieces
        )


def test_the_batch_that_is_waited_for_is_read_by_more_requests_than_those_behind_it(
    farm: ShardedDataset,
) -> None:
    visits = [Visit(row, ALL) for row in range(20)]
    counts = [
        len(plan_bucket(farm.index, visits, StreamOptions(workers=2, requests=n), awaited=awaited))
        for n in (48, 6, 1)
        for awaited in (True, False)
    ]
    shards = len(set(farm.index.shard[:20].tolist()))
    assert counts[0] == 20
    assert 6 <= counts[2] < 20
    assert counts[1::2] == [shards] * 3
    assert counts[4] == shards


def test_a_visit_that_shows_nothing_reads_nothing(farm: ShardedDataset) -> None:
    assert plan(farm.index, [Visit(1, {}), Visit(2, {})], 4096) == []


def test_threads_that_open_a_shard_at_once_all_read_it(farm_folder: Path) -> None:
    whole = np.fromfile(farm_folder / "train/000000.tar", np.uint8)
    for _ in range(20):
        reader, start = LocalReader(LocalStore(farm_folder)), Barrier(8)

        def read(begin: int, reader: LocalReader = reader, start: Barrier = start) -> bool:
            start.wait()
            data = reader.read("train/000000.tar", begin, begin + 999)
            return np.array_equal(data, whole[begin : begin + 999])

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(8)))
