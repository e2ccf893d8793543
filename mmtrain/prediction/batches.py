"""Batches to predict: of raw clips that were prepared, and of samples in shards."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import NamedTuple

import numpy as np

from mmprep.clips.parts import sequence, spectrogram
from mmprep.format import Payload
from mmprep.storage.access import Access
from mmtrain.config.run import TrainConfig
from mmtrain.data import OrderedStream, SampleOrder, StreamOptions, View, open_dataset
from mmtrain.data.batches.buffer import BatchBuffer
from mmtrain.data.batches.decode import Decoder, PartSource
from mmtrain.data.reading.local import Bytes
from mmtrain.data.reading.options import RetryPolicy
from mmtrain.errors import ConfigError, DataError
from mmtrain.modalities import SEQUENCE, SPECTROGRAM, load, modality
from mmtrain.prediction.clips import Prepared
from mmtrain.training.data_facts import DataFacts, InputFacts
from mmtrain.training.feed import without_fillers
from mmtrain.types import Batch


class ClipFailure(NamedTuple):
    """A clip that could not be predicted.

    Attributes:
        clip: Name of the clip.
        cause: Name of the cause, see `mmprep.failure.CAUSES`.
        message: Observation in one sentence.
    """

    clip: str
    cause: str
    message: str


class NamedBatch(NamedTuple):
    """A batch with the names of its clips.

    Attributes:
        names: Name of each row.
        batch: Batch; None where none of the clips became a row.
        failures: Clips that are not in it.
    """

    names: list[str]
    batch: Batch | None
    failures: list[ClipFailure]


def evaluation_view(config: TrainConfig) -> View:
    """View in which a run is evaluated."""
    return View(**asdict(config.view)).evaluation()


def decoders_of(
    config: TrainConfig, facts: DataFacts, modalities: Sequence[str]
) -> dict[str, Decoder]:
    """Modality to the decoder of its rows, of the shapes that inputs had in training."""
    return {
        name: load(modality(name).decoder)(
            PartSource(
                part=modality(name).part,
                place=facts.name,
                view=evaluation_view(config),
                checked=True,
                parameters=dict(facts.parts.get(modality(name).part, {})),
                examples=partial(_example, name, facts.inputs[name]),
            )
        )
        for name in modalities
    }


def clip_batch(
    clips: Sequence[Prepared], decoders: Mapping[str, Decoder], view: View
) -> NamedBatch:
    """Makes one batch of prepared clips.

    Args:
        clips: Clips, of which some may have failed.
        decoders: Modality to the decoder of its rows.
        view: Frames and crop of pictures.
    """
    failures = [ClipFailure(c.name, c.cause, c.message) for c in clips if c.payload is None]
    whole = [(clip.name, clip.payload) for clip in clips if clip.payload is not None]
    if not whole:
        return NamedBatch([], None, failures)
    shown = {
        m: np.array([bool(payload.get(d.part)) for _, payload in whole])
        for m, d in decoders.items()
    }
    filler = np.zeros(len(whole), np.bool_)
    buffer = BatchBuffer(decoders, view.draws(0, 0, 0, len(whole)), filler, shown)
    for row, (name, payload) in enumerate(whole):
        try:
            _fill_row(buffer, row, payload)
        except DataError as error:
            failures.append(ClipFailure(name, "corrupt", str(error)))
            buffer.clear_row(row)
    if filler.all():
        return NamedBatch([], None, failures)
    zeros = np.zeros(len(whole), np.int64)
    batch = without_fillers(buffer.to_batch(zeros, zeros))
    names = [name for (name, _), lost in zip(whole, filler, strict=True) if not lost]
    return NamedBatch(names, batch, failures)


def shard_batches(
    place: str, config: TrainConfig, modalities: Sequence[str], split: str, access: Access
) -> Iterator[NamedBatch]:
    """Yields the samples of a split, in the order of the shards; damaged ones are failures.

    Args:
        place: Folder or address of the shards.
        config: Config of the run.
        modalities: Modalities that are read.
        split: Name of the split.
        access: Way to the bucket.

    Raises:
        ConfigError: There is no such data set or modality, or the split is empty.
    """
    with open_dataset(
        place,
        endpoint=access.endpoint,
        anonymous=access.anonymous,
        retry_for_s=access.retry_for_s,
    ) as dataset:
        options = StreamOptions(
            workers=config.workers,
            retry=RetryPolicy(give_up_s=access.retry_for_s),
            skip_damaged=True,
        )
        ids = dataset.ids(split)
        if not len(ids):
            raise ConfigError(f"{dataset.store.url}: the split {split} has no sample")
        view = evaluation_view(config)
        stream = OrderedStream(dataset, modalities, config.batch_size, view, options=options)
        stream.begin(SampleOrder(ids), seed=0, epoch=0)
        for batch in stream:
            real = without_fillers(batch)
            if not bool(real.filler.all()):
                names = [dataset.key(sample) for sample in real.ids.tolist()]
                yield NamedBatch(names, real, [])
        skipped = [ClipFailure(key, "corrupt", why) for key, why in stream.skipped.items()]
        yield NamedBatch([], None, skipped)


def _fill_row(buffer: BatchBuffer, row: int, payload: Payload) -> None:
    counts = {part: len(members) for part, members in payload.items()}
    for part, chosen in buffer.members(row, counts).items():
        for place, number in enumerate(chosen):
            data = np.frombuffer(payload[part][number], np.uint8)
            try:
                buffer.decode(row, part, place, data)
            except DataError as error:
                raise DataError(f"its {part} {error}") from error


def _example(name: str, facts: InputFacts) -> Generator[Bytes, None, None]:
    """Member of the shape that training saw, from which a decoder takes its own."""
    kind = modality(name).kind
    if kind == SPECTROGRAM:
        yield _bytes(spectrogram.npy(np.zeros(facts.shape[1:], np.float16)))
    elif kind == SEQUENCE:
        yield _bytes(sequence.npy(np.zeros((1, facts.size), np.float32)))


def _bytes(data: bytes) -> Bytes:
    return np.frombuffer(data, np.uint8)
