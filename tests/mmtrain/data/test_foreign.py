import io
import json
import tarfile
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from mmprep.format import INDEX
from mmprep.storage.store import LocalStore
from mmtrain.data import ForeignStream, OrderedStream, SampleOrder, Share, StreamOptions, View
from mmtrain.data.dataset import ShardedDataset
from mmtrain.data.foreign import Layout
from mmtrain.errors import ConfigError, DataError, UnknownName
from tests.support.streammaker import (
    SOUND,
    array_bytes,
    encode_jpeg,
    make_data,
    picture,
    put,
    record_reads,
    same,
)

VIEW = View(frames=3, size=24)
ALL = ("audio", "visual", "flow", "depth")
FARM = Layout(classes=("bark", "meow", "moo"), flow_fields=2)


def without_index(folder: Path) -> Path:
    make_data(folder)
    (folder / INDEX).unlink()
    (folder / "dataset.json").unlink()
    for path in (folder / "val").iterdir():
        path.unlink()
    return folder


def foreign_shard(path: Path, samples: list[dict[str, bytes]]) -> None:
    """Writes a shard as other tools do: with folders, extra files, and numbers in ``cls``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number, sample in enumerate(samples):
            for suffix, data in sample.items():
                info = tarfile.TarInfo(f"clips/{number:04}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    put(path, buffer.getvalue())


def foreign_sample(number: int) -> dict[str, bytes]:
    sound = np.full(SOUND, number, np.float32)
    return {
        "cls": str(number % 3).encode(),
        "JPG": encode_jpeg(picture(number, 0)),
        "npy": array_bytes(sound),
        "txt": b"not asked for",
    }


def test_shards_of_mmprep_give_what_they_give_with_their_index(
    tmp_path: Path, farm: ShardedDataset
) -> None:
    foreign = ForeignStream(LocalStore(without_index(tmp_path)), ALL, 6, VIEW, FARM)
    foreign.begin(seed=5, epoch=2)
    ordered = OrderedStream(farm, ALL, 6, VIEW)
    ordered.begin(SampleOrder(farm.ids("train")), seed=5, epoch=2)

    assert all(same(one, other) for one, other in zip(ordered, foreign, strict=True))


def test_shards_of_other_tools(tmp_path: Path) -> None:
    for shard in range(3):
        samples = [foreign_sample(4 * shard + i) for i in range(4)]
        foreign_shard(tmp_path / f"clips-{shard}.tar", samples)
    store = record_reads(tmp_path)
    stream = ForeignStream(store, ("audio", "visual"), 5, View(frames=2, size=40).evaluation())
    batches = list(stream)

    assert torch.cat([b.ids[~b.filler] for b in batches]).tolist() == list(range(12))
    assert [b.target.tolist() for b in batches[:2]] == [[0, 1, 2, 0, 1], [2, 0, 1, 2, 0]]
    assert batches[1].inputs["audio"][:, 0, 0, 0].tolist() == [5, 6, 7, 8, 9]
    assert batches[0].inputs["audio"].dtype == torch.float16
    assert batches[0].inputs["visual"].shape == (5, 2, 3, 40, 40)
    assert batches[2].filler.tolist() == [False, False, True, True, True]


def test_resuming_and_ranks(tmp_path: Path) -> None:
    store = LocalStore(without_index(tmp_path))
    straight = list(ForeignStream(store, ALL, 6, VIEW, FARM))
    first = ForeignStream(store, ALL, 6, VIEW, FARM)
    for _ in islice(first, 2):
        pass
    for rank in range(2):
        resumed = ForeignStream(store, ALL, 6, VIEW, FARM, StreamOptions(workers=1))
        resumed.share = Share(rank=rank, ranks=2)
        resumed.load_state_dict(first.state_dict())
        for whole, part in zip(straight[2:], resumed, strict=True):
            assert torch.equal(part.ids, whole.ids[rank::2])
            assert torch.equal(part.inputs["visual"], whole.inputs["visual"][rank::2])


def test_members_that_are_missing_are_named(tmp_path: Path) -> None:
    foreign_shard(tmp_path / "a.tar", [foreign_sample(0)])
    with pytest.raises(ConfigError, match=r"a.tar: sample 'clips/0000': .*'flow'.* has cls"):
        next(iter(ForeignStream(LocalStore(tmp_path), ("flow",), 2, VIEW)))
    with pytest.raises(UnknownName, match="did you mean visual"):
        ForeignStream(LocalStore(tmp_path), ("visul",), 2, VIEW)
    with pytest.raises(ConfigError, match=r"no \.tar files"):
        ForeignStream(LocalStore(tmp_path / "none"), ("visual",), 2, VIEW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"JPG": b"\xff\xd8 no picture"}, "is no JPEG"),
        ({"cls": b"cat"}, "has no label"),
        ({"npy": array_bytes(np.zeros((2, 2), np.float16))}, "has shape"),
    ],
)
def test_damaged_samples_stop_or_are_skipped(
    tmp_path: Path, change: dict[str, bytes], message: str
) -> None:
    foreign_shard(tmp_path / "a.tar", [foreign_sample(0), {**foreign_sample(1), **change}])
    with pytest.raises(DataError, match=f"a.tar: sample 'clips/0001' {message}"):
        list(ForeignStream(LocalStore(tmp_path), ("audio", "visual"), 2, VIEW))

    options = StreamOptions(skip_damaged=True)
    stream = ForeignStream(LocalStore(tmp_path), ("audio", "visual"), 2, VIEW, options=options)
    assert [b.filler.tolist() for b in stream] == [[False, True]]
    assert message in stream.skipped["clips/0001"]


def test_a_damaged_shard_stops_or_is_passed_over(tmp_path: Path) -> None:
    for name in "ab":
        foreign_shard(tmp_path / f"{name}.tar", [foreign_sample(i) for i in range(3)])
    whole = (tmp_path / "a.tar").read_bytes()
    put(tmp_path / "a.tar", whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.tar: damaged"):
        list(ForeignStream(LocalStore(tmp_path), ("audio",), 2, VIEW))

    options = StreamOptions(skip_damaged=True)
    stream = ForeignStream(LocalStore(tmp_path), ("audio",), 2, VIEW, options=options)
    real = sum(int((~batch.filler).sum()) for batch in stream)
    assert 3 < real < 6


def test_labels_by_name_need_the_classes(tmp_path: Path) -> None:
    sample = {"json": json.dumps({"label": "moo"}).encode(), "jpg": encode_jpeg(picture(0, 0))}
    foreign_shard(tmp_path / "a.tar", [sample])
    with pytest.raises(DataError, match="0 classes"):
        list(ForeignStream(LocalStore(tmp_path), ("visual",), 1, VIEW))
    batch = next(iter(ForeignStream(LocalStore(tmp_path), ("visual",), 1, VIEW, FARM)))
    assert batch.target.tolist() == [2]
