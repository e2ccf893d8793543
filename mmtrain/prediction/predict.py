"""Predicts clips with a trained run: raw files, folders, buckets, or samples in shards."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.modalities import TOKENS, modality
from mmtrain.names import MODALITY_ALIASES, canonical
from mmtrain.prediction.batches import (
    ClipFailure,
    NamedBatch,
    clip_batch,
    decoders_of,
    evaluation_view,
    shard_batches,
)
from mmtrain.prediction.clips import PrepareOptions, Preparer, preparation_of
from mmtrain.prediction.opening import open_trained
from mmtrain.prediction.predictor import Predictor, predictor_of
from mmtrain.prediction.records import records, require_top
from mmtrain.prediction.sources import find_clips, is_data_set

log = logging.getLogger(__name__)

# Clips that wait in memory for one another.
_BATCH: Final = 16


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Choices of a prediction of clips.

    Attributes:
        split: Split of data sets in shards.
        without: Modalities that are taken away from all clips.
        texts: Part (text, target or question) to its text, the same for all raw clips.
        top: Number of classes that are listed; None lists all.
        device: Device to compute on; None is that of training.
        data: Place of the shards of a run of an older version.
        preparation: How raw clips are prepared; its way to buckets is that to shards, too.
    """

    split: str = "test"
    without: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    top: int | None = None
    device: str | None = None
    data: str | None = None
    preparation: PrepareOptions = field(default_factory=PrepareOptions)


_DEFAULTS: Final = PredictOptions()


def predict(
    folder: str | Path, clips: Sequence[str], options: PredictOptions = _DEFAULTS
) -> dict[str, Any]:
    """Predicts clips with the best weights of a run, or with an export.

    Args:
        folder: Folder of the run or the export.
        clips: Files, folders and addresses of raw clips, and data sets in shards.
        options: Choices of the prediction.

    Returns:
        ``run``, ``method``, ``task``, ``classes``, ``modalities``, ``predictions`` with a mapping
        for each clip (see `mmtrain.prediction.records`), and ``failures`` with ``clip``, ``cause``
        and ``message`` of each clip that could not be predicted.

    Raises:
        ConfigError: The request does not fit the run, or a place holds no clip.
        DataError: A file of the run is damaged.
    """
    trained = open_trained(Path(folder), options.data)
    predictor = predictor_of(trained, options.device or trained.config.device)
    require_top(predictor, options.top)
    wanted = _wanted(predictor, options)
    predictions: list[dict[str, Any]] = []
    failures: list[ClipFailure] = []
    for batch in _batches(predictor, clips, wanted, options):
        failed = [*batch.failures]
        if batch.batch is not None:
            prediction = predictor.predict(batch.batch)
            rows = records(predictor, prediction, batch.names, options.top)
            finite = prediction.logits.isfinite().all(1).tolist()
            predictions += [row for row, whole in zip(rows, finite, strict=True) if whole]
            failed += [
                ClipFailure(name, "not-finite", "the model gives no number for it")
                for name, whole in zip(batch.names, finite, strict=True)
                if not whole
            ]
        for failure in failed:
            log.warning("%s: %s: %s", *failure)
        failures += failed
    return {
        "run": str(folder),
        "method": predictor.config.method,
        "task": predictor.task.name,
        "classes": list(predictor.classes),
        "modalities": list(predictor.modalities),
        "predictions": predictions,
        "failures": [failure._asdict() for failure in failures],
    }


def _wanted(predictor: Predictor, options: PredictOptions) -> tuple[str, ...]:
    """Modalities that are read.

    Raises:
        UnknownName: One to be left out, or a part of the texts, is not of this run.
        ConfigError: None would be left.
    """
    names = [canonical(m, predictor.modalities, MODALITY_ALIASES) for m in options.without]
    for name in names:
        if name not in predictor.modalities:
            raise UnknownName("modality of this run", name, predictor.modalities)
    texts = [m for m in predictor.modalities if modality(m).kind == TOKENS]
    for name in options.texts:
        if name not in texts:
            raise UnknownName("text of this run", name, texts)
    wanted = tuple(m for m in predictor.modalities if m not in names)
    if not wanted:
        raise ConfigError(f"--without {','.join(names)} leaves nothing to predict by")
    return wanted


def _batches(
    predictor: Predictor, places: Sequence[str], wanted: Sequence[str], options: PredictOptions
) -> Iterator[NamedBatch]:
    access, config = options.preparation.access, predictor.config
    shards = [place for place in places if is_data_set(place, access)]
    raw = [place for place in places if place not in shards]
    for place in shards:
        yield from shard_batches(place, config, wanted, options.split, access)
    if not raw:
        return
    parts = preparation_of(predictor.facts, wanted, options.texts)
    clips = find_clips(raw, "text" in wanted, access)
    decoders = decoders_of(config, predictor.facts, wanted)
    with Preparer(parts, options.texts, options.preparation) as preparer:
        prepared = preparer.prepare(clips)
        while several := [*islice(prepared, _BATCH)]:
            yield clip_batch(several, decoders, evaluation_view(config))
