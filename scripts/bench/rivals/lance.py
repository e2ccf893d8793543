"""LanceDB: a table with a row a clip, frames as a list of bytes, the spectrogram as a tensor."""

from collections.abc import Iterator
from typing import Any, ClassVar

import lancedb
import pyarrow as pa
import torch
from lancedb.permutation import Permutation
from lancedb.streaming import StreamingDataset
from torch.utils.data import DataLoader

from rivals.base import Batch, Clip, Rival, decode_clip, sound_array, to_batch, visits
from rivals.mapstyle import SampledLoader

# Rows of a batch while the table is written.
_ROWS = 16


class Lance(Rival):
    """Its streaming data set, whose threads decode, and a `Permutation` for a given order."""

    packages = ("lancedb", "pylance")
    remarks: ClassVar = {
        "default": "the random order",
        "scored": "Permutation behind torch's sampler",
    }

    def prepare(self) -> None:
        """Writes the table, and opens the loader of given orders."""
        clips = self.setting.clips()
        first = next(clips)
        self._shape = sound_array(first.sound).shape
        schema = _schema(sound_array(first.sound).size)
        database = lancedb.connect(str(self.setting.root / "lance"))
        self._table = database.create_table(
            "clips", pa.RecordBatchReader.from_batches(schema, _rows(first, clips, schema))
        )
        rows = Permutation.identity(self._table).with_format("arrow")
        # The library's threads do not survive a fork.
        self._scored = SampledLoader(
            rows,
            self.setting,
            collate_fn=_Collate(self._shape),
            multiprocessing_context="spawn" if self.setting.workers else None,
        )

    def epoch(self, order: str, epoch: int) -> Iterator[Batch]:
        """Yields the batches of the data set of this epoch."""
        if order == "scored":
            yield from self._scored.batches(visits(order, self.setting.samples, epoch))
            return
        dataset = StreamingDataset(
            self._table,
            shuffle_seed=0,
            epoch=epoch,
            read_batch_size=self.setting.batch_size,
            columns=["number", "sound"] if order == "audio" else None,
            transform=_Decode(self._shape),
            transform_parallelism=self.setting.workers,
        )
        for collated in DataLoader(dataset, self.setting.batch_size, num_workers=0):
            yield to_batch(collated)


class _Decode:
    """Makes samples of rows.

    Args:
        shape: Shape of the spectrograms.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __call__(self, rows: Any) -> list[list[Any]]:
        numbers = rows.column("number").to_pylist()
        sounds = rows.column("sound").flatten().to_numpy(zero_copy_only=True)
        samples: list[list[Any]] = [
            [number, torch.from_numpy(sound)]
            for number, sound in zip(numbers, sounds.reshape(-1, *self.shape), strict=True)
        ]
        if "frames" in rows.schema.names:
            for sample, frames in zip(samples, rows.column("frames"), strict=True):
                coded = [frame.as_buffer() for frame in frames.values]
                sample.append(decode_clip(sample[0], coded))
        return samples


class _Collate(_Decode):
    """Makes a batch of rows, in the process that read them."""

    def __call__(self, rows: Any) -> Any:
        return torch.utils.data.default_collate(super().__call__(rows))


def _schema(values: int) -> pa.Schema:
    return pa.schema(
        {
            "number": pa.int64(),
            "sound": pa.list_(pa.float16(), values),
            "frames": pa.list_(pa.binary()),
        }
    )


def _rows(first: Clip, others: Iterator[Clip], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    rows = [first]
    for clip in others:
        if len(rows) == _ROWS:
            yield _batch(rows, schema)
            rows = []
        rows.append(clip)
    yield _batch(rows, schema)


def _batch(rows: list[Clip], schema: pa.Schema) -> pa.RecordBatch:
    columns = {
        "number": [clip.number for clip in rows],
        "sound": [sound_array(clip.sound).reshape(-1) for clip in rows],
        "frames": [clip.frames for clip in rows],
    }
    return pa.RecordBatch.from_pydict(columns, schema)
