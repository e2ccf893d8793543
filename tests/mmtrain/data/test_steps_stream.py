"""Texts and sequences in streams, and samples that lack them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mmprep.storage.store import LocalStore
from mmtrain.curricula.uniform import Uniform
from mmtrain.data import (
    ForeignStream,
    OrderedStream,
    SampleOrder,
    ShardedDataset,
    Share,
    StreamOptions,
    View,
    open_dataset,
)
from mmtrain.data.foreign import Layout
from mmtrain.errors import ConfigError, DataError
from tests.support.streammaker import CLASSES, FEATURES, make_data, record_reads, same, speech, text

VIEW = View(frames=2, size=16, length=12, steps=5)
PARTS = ("frames", "text", "speech")
ALL = ("visual", "text", "speech")
LACKING = {2: ("text",), 7: ("text", "speech"), 11: ("frames",)}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    return open_dataset(make_data(tmp_path_factory.mktemp("library"), parts=PARTS))


@pytest.fixture(scope="module")
def patchy(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    """The same, but three samples lack something."""
    folder = tmp_path_factory.mktemp("patchy")
    return open_dataset(make_data(folder, parts=PARTS, lacking=LACKING))


def stream_of(
    data: ShardedDataset,
    modalities: tuple[str, ...] = ALL,
    share: Share | None = None,
    workers: int = 2,
) -> OrderedStream:
    stream = OrderedStream(
        data, modalities, 6, VIEW, share or Share(), StreamOptions(workers=workers)
    )
    stream.begin(Uniform().visits(data.ids("train"), 0, 1), seed=0, epoch=1)
    return stream


def test_a_text_is_its_bytes_plus_one_then_padding(library: ShardedDataset) -> None:
    for batch in stream_of(library, ("text",)):
        assert batch.inputs["text"].shape == (len(batch), 12)
        assert batch.inputs["text"].dtype == torch.int64
        for row, sample in zip(batch.inputs["text"].tolist(), batch.ids.tolist(), strict=True):
            coded = [byte + 1 for byte in text(sample).encode()[:12]]
            assert row == coded + [0] * (12 - len(coded))
        assert batch.shown == {}


def test_a_sequence_ends_in_a_channel_that_is_one_at_real_steps(library: ShardedDataset) -> None:
    for batch in stream_of(library, ("speech",)):
        rows = batch.inputs["speech"]
        assert rows.shape == (len(batch), 5, FEATURES + 1)
        assert rows.dtype == torch.float32
        for row, sample in zip(rows, batch.ids.tolist(), strict=True):
            own = torch.from_numpy(speech(sample).astype(np.float32))[:5]
            assert torch.equal(row[: len(own), :-1], own)
            assert row[:, -1].tolist() == [1.0] * len(own) + [0.0] * (5 - len(own))
            assert not row[len(own) :].any()


def test_a_sample_that_lacks_a_modality_is_blank_there_and_does_not_show_it(
    patchy: ShardedDataset,
) -> None:
    part_of = {"visual": "frames", "text": "text", "speech": "speech"}
    batches = list(stream_of(patchy))

    for batch in batches:
        assert {*batch.shown} == {*ALL}
        for name, part in part_of.items():
            lacks = torch.tensor([part in LACKING.get(i, ()) for i in batch.ids.tolist()])
            assert torch.equal(batch.shown[name], ~lacks)
            assert not batch.inputs[name][lacks].any()
    assert not any(batch.filler[:-1].any() for batch in batches)
    complete = list(stream_of(patchy, ("visual",)))
    assert {*complete[0].shown} == {"visual"}


def test_what_a_curriculum_hides_and_what_is_lacking_are_both_hidden(
    patchy: ShardedDataset,
) -> None:
    ids = patchy.ids("train")
    stream = OrderedStream(patchy, ALL, 6, VIEW)
    stream.begin(SampleOrder(ids, {"text": ids % 2 == 1}), seed=0, epoch=0)

    for batch in stream:
        expected = (batch.ids % 2 == 1) & (batch.ids != 2) & (batch.ids != 7)
        assert torch.equal(batch.shown["text"], expected)
        assert not batch.inputs["text"][~expected].any()


def test_hidden_texts_are_not_read(library: ShardedDataset, tmp_path: Path) -> None:
    store = record_reads(make_data(tmp_path, parts=PARTS))
    data = open_dataset(store)
    ids = data.ids("train")
    stream = OrderedStream(data, ("text",), 6, VIEW)
    stream.begin(SampleOrder(ids, {"text": np.zeros(len(ids), bool)}), seed=0, epoch=0)

    assert not any(batch.inputs["text"].any() for batch in stream)
    assert not store.reads


def test_threads_ranks_and_a_new_start_do_not_change_the_batches(patchy: ShardedDataset) -> None:
    whole = list(stream_of(patchy))

    assert all(same(a, b) for a, b in zip(whole, stream_of(patchy, workers=4), strict=True))
    ranks = [list(stream_of(patchy, share=Share(rank=r, ranks=2))) for r in range(2)]
    for batch, *parts in zip(whole, *ranks, strict=True):
        for name, rows in batch.inputs.items():
            # Visits go to the ranks in turn.
            assert torch.equal(rows[::2], parts[0].inputs[name])
            assert torch.equal(rows[1::2], parts[1].inputs[name])
            assert torch.equal(batch.shown[name][::2], parts[0].shown[name])
    stopped = stream_of(patchy)
    batches = iter(stopped)
    next(batches), next(batches)
    again = stream_of(patchy)
    again.load_state_dict(stopped.state_dict())
    assert all(same(a, b) for a, b in zip(whole[2:], again, strict=True))


def overwrite(data: ShardedDataset, sample: int, part: str, new: bytes) -> None:
    """Replaces the first bytes of a member, which then fits its checksum no more."""
    index = data.index
    member = index.members(sample)[part][0]
    assert isinstance(data.store, LocalStore)
    with (data.store.root / index.shards[index.shard[sample]]).open("r+b") as file:
        file.seek(member.offset)
        file.write(new)


def test_a_text_that_was_changed_is_damage_and_names_its_sample(tmp_path: Path) -> None:
    data = open_dataset(make_data(tmp_path, parts=PARTS))
    overwrite(data, 1, "text", b"X")

    with pytest.raises(DataError, match=r"sample 'train001': train001\.text\.txt does not fit"):
        list(stream_of(data, ("text",)))


def without_index(folder: Path) -> Path:
    make_data(folder, parts=PARTS, lacking=LACKING)
    for name in ("index.h5", "dataset.json"):
        (folder / name).unlink()
    for path in (folder / "val").iterdir():
        path.unlink()
    return folder


def test_shards_without_an_index_give_the_same(tmp_path: Path, patchy: ShardedDataset) -> None:
    layout = Layout(classes=CLASSES, optional=ALL)
    foreign = ForeignStream(LocalStore(without_index(tmp_path)), ALL, 6, VIEW, layout)
    foreign.begin(seed=5, epoch=2)
    ordered = OrderedStream(patchy, ALL, 6, VIEW)
    ordered.begin(SampleOrder(patchy.ids("train")), seed=5, epoch=2)

    assert all(same(one, other) for one, other in zip(ordered, foreign, strict=True))


def test_without_an_index_a_lack_is_damage_unless_the_layout_allows_it(tmp_path: Path) -> None:
    store = LocalStore(without_index(tmp_path))

    with pytest.raises(DataError, match="sample 'train002' has no text"):
        list(ForeignStream(store, ("text",), 6, VIEW, Layout(classes=CLASSES)))
    first = Layout(classes=CLASSES, optional=("speech",))
    assert len(list(ForeignStream(store, ("speech",), 6, VIEW, first))) == 4


def test_captions_of_other_tools_are_texts_and_sequences_are_no_sound(tmp_path: Path) -> None:
    from tests.mmtrain.data.test_foreign import foreign_sample, foreign_shard
    from tests.support.streammaker import array_bytes

    samples = [foreign_sample(i) | {"speech.npy": array_bytes(speech(i))} for i in range(3)]
    foreign_shard(tmp_path / "clips.tar", samples)

    names = ("audio", "text", "speech")
    (batch,) = ForeignStream(LocalStore(tmp_path), names, 3, VIEW, Layout(classes=CLASSES))

    coded = [byte + 1 for byte in b"not asked for"[:12]]
    assert batch.inputs["text"].tolist() == [coded] * 3
    assert batch.inputs["audio"][:, 0, 0, 0].tolist() == [0, 1, 2]
    assert batch.inputs["speech"][1, :2, :-1].tolist() == speech(1).astype(float).tolist()


def test_lengths_are_at_least_one() -> None:
    with pytest.raises(ConfigError, match="length and steps are at least 1; got 0, 5"):
        View(length=0, steps=5)
