import logging
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from mmprep.errors import StoreError
from mmtrain.curricula.uniform import Uniform
from mmtrain.data import (
    OrderedStream,
    SampleOrder,
    ShardedDataset,
    Share,
    StreamOptions,
    View,
    open_dataset,
)
from mmtrain.errors import ConfigError, DataError, UnknownName
from mmtrain.types import Batch
from tests.support.streammaker import FIELDS, SOUND, make_data, record_reads, same

VIEW = View(frames=3, size=24)
ALL = ("audio", "visual", "flow", "depth")


def begin_stream(
    farm: ShardedDataset,
    workers: int = 2,
    share: Share | None = None,
    *,
    modalities: tuple[str, ...] = ALL,
    epoch: int = 1,
) -> OrderedStream:
    options = StreamOptions(workers=workers)
    stream = OrderedStream(farm, modalities, 6, VIEW, share or Share(), options)
    stream.begin(Uniform().visits(farm.ids("train"), 0, epoch), seed=0, epoch=epoch)
    return stream


def test_a_batch_holds_what_the_contract_says(farm: ShardedDataset) -> None:
    batch = next(iter(begin_stream(farm)))

    assert {m: (tuple(x.shape), x.dtype) for m, x in batch.inputs.items()} == {
        "audio": ((6, 1, *SOUND), torch.float16),
        "visual": ((6, 3, 3, 24, 24), torch.uint8),
        "flow": ((6, 3, 2 * FIELDS, 24, 24), torch.uint8),
        "depth": ((6, 3, 1, 24, 24), torch.uint8),
    }
    assert batch.target.tolist() == [i % 3 for i in batch.ids.tolist()]
    assert not batch.filler.any()
    assert batch.shown == {}


def test_an_epoch_visits_each_sample_once_in_the_order_asked(farm: ShardedDataset) -> None:
    stream = begin_stream(farm)
    batches = list(stream)
    real = torch.cat([b.ids[~b.filler] for b in batches])

    assert real.tolist() == Uniform().visits(farm.ids("train"), 0, 1).ids.tolist()
    assert [int(b.filler.sum()) for b in batches] == [0, 0, 0, 1]
    assert len(batches) == stream.steps == 4


def test_sounds_and_frames_are_those_of_the_sample(farm: ShardedDataset) -> None:
    stream = OrderedStream(farm, ("audio", "visual"), 4, View(size=40).evaluation())
    stream.begin(SampleOrder(np.array([20, 3])), seed=0, epoch=0)
    batch = next(iter(stream))

    for row, sample in enumerate((20, 3)):
        sound = np.random.default_rng(sample).normal(size=SOUND).astype(np.float16)
        assert torch.equal(batch.inputs["audio"][row, 0], torch.from_numpy(sound))
        blue = batch.inputs["visual"][row, :, 2].float().mean(dim=(1, 2))
        assert blue.tolist() == pytest.approx([25, 105, 165], abs=3)  # frames 1, 5 and 8


def test_a_sample_that_comes_twice_in_a_batch_is_the_same_twice(farm: ShardedDataset) -> None:
    stream = OrderedStream(farm, ("audio", "visual"), 4, View(size=40).evaluation())
    stream.begin(SampleOrder(np.array([20, 3, 20, 4])), seed=0, epoch=0)
    batch = next(iter(stream))

    for rows in batch.inputs.values():
        assert torch.equal(rows[0], rows[2])
    sound = np.random.default_rng(20).normal(size=SOUND).astype(np.float16)
    assert torch.equal(batch.inputs["audio"][2, 0], torch.from_numpy(sound))


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(farm: ShardedDataset, workers: int) -> None:
    pairs = zip(begin_stream(farm, 2), begin_stream(farm, workers), strict=True)
    assert all(same(one, other) for one, other in pairs)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_ranks_share_the_batches_of_one(farm: ShardedDataset, ranks: int) -> None:
    shares = [Share(rank=rank, ranks=ranks) for rank in range(ranks)]
    parts = [list(begin_stream(farm, share=share)) for share in shares]

    for whole, *pieces in zip(begin_stream(farm), *parts, strict=True):
        rows = rows_by_id(pieces)
        assert rows.keys() == set(whole.ids[~whole.filler].tolist())
        for row, sample in enumerate(whole.ids.tolist()):
            piece, at = rows[sample]
            for modality, values in whole.inputs.items():
                assert torch.equal(piece.inputs[modality][at], values[row])


def rows_by_id(pieces: list[Batch]) -> dict[int, tuple[Batch, int]]:
    """Maps each sample to the batch and row that hold it; checks that it comes once."""
    rows: dict[int, tuple[Batch, int]] = {}
    for piece in pieces:
        for at in range(len(piece)):
            if not piece.filler[at]:
                assert int(piece.ids[at]) not in rows
                rows[int(piece.ids[at])] = piece, at
    return rows


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("done", [0, 1, 3, 4])
def test_resuming_gives_the_rest_bit_for_bit(farm: ShardedDataset, workers: int, done: int) -> None:
    straight, first = list(begin_stream(farm)), begin_stream(farm)
    for _ in islice(first, done):
        pass
    resumed = begin_stream(farm, workers)
    resumed.load_state_dict(first.state_dict())

    pairs = zip(straight[done:], resumed, strict=True)
    assert all(same(one, other) for one, other in pairs)


def test_resuming_on_other_ranks_gives_the_rest(farm: ShardedDataset) -> None:
    straight, first = list(begin_stream(farm)), begin_stream(farm, share=Share(rank=1, ranks=2))
    for _ in islice(first, 2):
        pass
    rest = []
    for rank in range(3):
        resumed = begin_stream(farm, share=Share(rank=rank, ranks=3))
        resumed.load_state_dict(first.state_dict())
        rest.append(list(resumed))

    for whole, *pieces in zip(straight[2:], *rest, strict=True):
        assert rows_by_id(pieces).keys() == set(whole.ids[~whole.filler].tolist())


def test_the_state_is_small_and_stands_behind_the_batch_in_use(farm: ShardedDataset) -> None:
    stream = begin_stream(farm)
    positions = []
    for _ in stream:
        state = stream.state_dict()
        positions.append(state["position"])
        assert len(str(state)) < 120
    assert positions == [6, 12, 18, 23]


def test_a_state_of_another_epoch_or_order_is_refused(farm: ShardedDataset) -> None:
    state = begin_stream(farm, epoch=1).state_dict()
    with pytest.raises(ConfigError, match="saved in seed 0, epoch 1"):
        begin_stream(farm, epoch=2).load_state_dict(state)
    other = begin_stream(farm)
    other.begin(SampleOrder(farm.ids("train")), seed=0, epoch=1)
    with pytest.raises(ConfigError, match="same data, seed, curriculum and scores"):
        other.load_state_dict(state)


def test_epochs_show_other_frames_and_crops(farm: ShardedDataset) -> None:
    order = SampleOrder(farm.ids("train"))
    batches = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        stream = begin_stream(farm)
        stream.begin(order, seed=seed, epoch=epoch)
        batches.append(next(iter(stream)))
    for one, other in pairwise(batches):
        assert torch.equal(one.ids, other.ids)
        assert torch.equal(one.inputs["audio"], other.inputs["audio"])
        assert not torch.equal(one.inputs["visual"], other.inputs["visual"])


def test_frames_of_a_clip_share_crop_and_flip(farm: ShardedDataset) -> None:
    # Red depends on the column, green on the row, and neither on the frame.
    for batch in begin_stream(farm, modalities=("visual", "depth")):
        frames = batch.inputs["visual"].float()
        assert (frames[:, 1:, :2] - frames[:, :1, :2]).abs().mean() < 4


def test_what_is_not_shown_is_zero_and_marked_as_hidden(farm: ShardedDataset) -> None:
    ids = farm.ids("train")
    mask = np.arange(len(ids)) % 2 == 0
    stream = begin_stream(farm, modalities=("audio", "visual"))
    stream.begin(SampleOrder(ids, {"visual": mask}), seed=0, epoch=0)
    for batch in stream:
        assert batch.shown.keys() == {"visual"}
        shown = batch.shown["visual"]
        assert shown.tolist() == [i % 2 == 0 for i in batch.ids.tolist()]
        assert not batch.inputs["visual"][~shown].any()
        assert batch.inputs["visual"][shown].flatten(1).any(dim=1).all()
        assert batch.inputs["audio"].flatten(1).any(dim=1).all()


def test_missing_modalities_are_named_before_anything_starts(tmp_path: Path) -> None:
    data = open_dataset(make_data(tmp_path, parts=("frames", "spectrogram")))
    with pytest.raises(
        ConfigError, match=r"no part 'flow' .* have audio \(spectrogram\), visual \(frames\)"
    ):
        OrderedStream(data, ("audio", "flow"), 6, VIEW)
    with pytest.raises(UnknownName, match="did you mean visual"):
        OrderedStream(data, ("visuals",), 6, VIEW)
    with pytest.raises(ConfigError, match="no modality asked for"):
        OrderedStream(data, (), 6, VIEW)


def test_impossible_requests_are_refused(farm: ShardedDataset) -> None:
    stream = OrderedStream(farm, ("audio",), 6, VIEW)
    with pytest.raises(ConfigError, match="call begin"):
        next(iter(stream))
    with pytest.raises(ConfigError, match="0 to 26"):
        stream.begin(SampleOrder(np.array([27])), seed=0, epoch=0)
    unseen = SampleOrder(np.array([1]), {"visual": np.ones(1, bool)})
    with pytest.raises(UnknownName, match="visual"):
        stream.begin(unseen, seed=0, epoch=0)
    with pytest.raises(ConfigError, match="at least 1 sample"):
        OrderedStream(farm, ("audio",), 0, VIEW)
    with pytest.raises(ConfigError, match="workers is at least 1"):
        StreamOptions(workers=0)
    with pytest.raises(UnknownName, match="did you mean train"):
        farm.ids("trian")


def damage(folder: Path, sample: int, part: str) -> ShardedDataset:
    """Makes a data set with one byte changed in the middle of the first member of ``part``."""
    data = open_dataset(make_data(folder))
    member = data.index.members(sample)[part][0]
    shard = folder / data.index.shards[data.index.shard[sample]]
    content = bytearray(shard.read_bytes())
    content[member.offset + member.size // 2] ^= 1
    shard.write_bytes(content)
    return data


@pytest.mark.parametrize("through", ["local", "store"])
def test_damage_stops_with_shard_and_sample(tmp_path: Path, through: str) -> None:
    data = damage(tmp_path, 7, "spectrogram")
    if through == "store":
        data = open_dataset(record_reads(tmp_path))
    with pytest.raises(DataError) as caught:
        list(begin_stream(data))
    message = str(caught.value)
    assert f"{tmp_path}/train/000001.tar: sample 'train007'" in message
    assert "train007.spectrogram.npy does not fit its checksum" in message


def test_damage_is_skipped_and_counted_when_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = damage(tmp_path, 7, "spectrogram")
    stream = OrderedStream(data, ALL, 6, VIEW, options=StreamOptions(skip_damaged=True))
    order = SampleOrder(data.ids("train"))
    with caplog.at_level(logging.WARNING):
        for epoch in range(2):
            stream.begin(order, seed=0, epoch=epoch)
            batches = list(stream)

    assert list(stream.skipped) == ["train007"]
    assert len(caplog.records) == 1
    assert batches[1].filler.tolist() == [False, True, False, False, False, False]
    assert not any(x[1].any() for x in batches[1].inputs.values())
    assert sum(int((~b.filler).sum()) for b in batches) == 22


def test_a_sample_without_frames_does_not_show_them(tmp_path: Path) -> None:
    data = open_dataset(make_data(tmp_path, frames={4: 0, 9: 2}))

    batches = list(begin_stream(data))

    for batch in batches:
        assert {*batch.shown} == {"visual", "flow", "depth"} & {*batch.inputs}
        lacks = batch.ids == 4
        for name, shown in batch.shown.items():
            assert torch.equal(shown, ~lacks)
            assert not batch.inputs[name][lacks].any()
        assert batch.inputs["audio"][lacks].flatten(1).any(1).all()
    assert any((batch.ids == 4).any() for batch in batches)


def test_a_shard_that_is_gone_stops_even_when_damage_is_skipped(tmp_path: Path) -> None:
    data = open_dataset(make_data(tmp_path))
    (tmp_path / "train/000002.tar").unlink()
    stream = OrderedStream(data, ALL, 6, VIEW, options=StreamOptions(skip_damaged=True))
    stream.begin(SampleOrder(data.ids("train")), seed=0, epoch=0)
    with pytest.raises(StoreError, match=r"train/000002\.tar"):
        list(stream)


def test_a_stream_that_is_left_early_stops_its_threads(farm: ShardedDataset) -> None:
    import threading

    batches = iter(begin_stream(farm))
    next(batches)
    assert any(t.name.startswith("mmtrain-stream") for t in threading.enumerate())
    batches.close()  # type: ignore[attr-defined]  # of the generator that it is
    assert not any(t.name.startswith("mmtrain-stream") for t in threading.enumerate())


def test_open_dataset_describes_the_shards(farm: ShardedDataset) -> None:
    assert farm.classes == ("bark", "meow", "moo")
    assert farm.splits == {"train": 23, "val": 4}
    assert farm.modalities == ("audio", "visual", "flow", "depth")
    assert farm.ids("val").tolist() == [23, 24, 25, 26]
    assert farm.targets[farm.ids("val")].tolist() == [2, 0, 1, 2]
    assert farm.key(24) == "val001"
    assert farm.parameters("flow") == {"fields": FIELDS}


def test_a_store_that_is_no_folder_is_read_through_a_copy_of_the_index(
    farm_folder: Path, farm: ShardedDataset
) -> None:
    with open_dataset(record_reads(farm_folder)) as data:
        assert np.array_equal(data.index.size, farm.index.size)
        pairs = zip(begin_stream(farm), begin_stream(data), strict=True)
        assert all(same(one, other) for one, other in pairs)


def test_what_is_no_data_set_is_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a build that has not finished"):
        open_dataset(tmp_path)
