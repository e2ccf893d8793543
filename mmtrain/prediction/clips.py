"""Raw clips, prepared as those of training were, by the code of `mmprep build`."""

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Self

from mmprep.clips.job import Job
from mmprep.clips.outcome import Outcome, Sample
from mmprep.clips.pool import DecoderPool
from mmprep.config import AudioConfig, PartsConfig
from mmprep.failure import Failure
from mmprep.format import Payload
from mmprep.format.parts import PARTS
from mmprep.manifest import SOURCES, Row
from mmprep.shards import parse_parts
from mmprep.storage.access import Access
from mmprep.storage.place import Raw
from mmtrain.errors import ConfigError
from mmtrain.modalities import SEQUENCE, modality
from mmtrain.prediction.sources import RawClip
from mmtrain.training.data_facts import DataFacts

# Parts that a clip does without, by the cause for which it cannot become a sample with them.
_SPARED: Final = {
    "no-audio": frozenset({"spectrogram"}),
    "no-video": frozenset(n for n, part in PARTS.items() if part.kind == "image"),
}


class Prepared(NamedTuple):
    """A clip behind its preparation.

    Attributes:
        name: Name as the user knows it.
        payload: Files of each part that the clip has; None for a clip that failed.
        cause: Name of the cause of its failure.
        message: Observation on its failure.
    """

    name: str
    payload: Payload | None
    cause: str = ""
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """How raw clips are prepared; of no influence on the result.

    Attributes:
        access: Way to the buckets of clips.
        workers: Number of decoding processes; None is one a core.
        clip_timeout_s: Seconds after which a clip is given up.
    """

    access: Access = field(default_factory=Access)
    workers: int | None = None
    clip_timeout_s: float = 60.0


def preparation_of(
    facts: DataFacts, modalities: Sequence[str], texts: Mapping[str, str]
) -> PartsConfig:
    """Parameters by which clips are prepared as those of training were.

    Babble of other clips, which a data set may mix into the sound, is left out.

    Args:
        facts: Facts about the data of training.
        modalities: Modalities that are wanted of a clip.
        texts: Part to its text, the same for all clips.

    Raises:
        ConfigError: The parameters are not known, or none of the modalities can be made of a clip.
    """
    wanted = {modality(m).part for m in modalities}
    unmade = {modality(m).part for m in modalities if modality(m).kind == SEQUENCE}
    if "question" in wanted and "question" not in texts:
        raise ConfigError(
            "the run answers a question about a clip: give --text question=TEXT, or predict shards"
        )
    names = [name for name in facts.parts.get("names", ()) if name in wanted - unmade]
    if not names:
        raise ConfigError(
            f"{', '.join(modalities)} cannot be made of raw clips: they are features that were "
            "computed elsewhere. Predict shards, which hold them"
        )
    for name in names:
        if not {*PARTS[name].settings} <= {*facts.parts}:
            raise ConfigError(
                f"the parameters with which the {name} of {facts.name} were made are not known, "
                "for `mmprep build` did not make them; predict shards"
            )
    config = parse_parts(facts.parts, facts.name)
    return replace(config, names=tuple(names), audio=AudioConfig())


class Preparer:
    """Prepares raw clips in processes of their own, so that a hang or a crash costs one clip.

    Example:
        with Preparer(config, texts, options) as preparer:
            for prepared in preparer.prepare(clips): ...

    Args:
        config: Parameters, see `preparation_of`.
        texts: Part to its text, the same for all clips.
        options: Processes, and the way to buckets.
    """

    def __init__(
        self, config: PartsConfig, texts: Mapping[str, str], options: PrepareOptions
    ) -> None:
        self._config, self._texts, self._options = config, texts, options
        self._workers = options.workers or os.cpu_count() or 1
        self._pools: dict[tuple[Raw, tuple[str, ...]], DecoderPool] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]  # the three of a context

    def prepare(self, clips: Sequence[RawClip]) -> Iterator[Prepared]:
        """Yields the clips in their order, while others behind them are being prepared."""
        waiting: deque[tuple[RawClip, Row, Future[Outcome]]] = deque()
        for number, clip in enumerate(clips):
            row = self._row(clip, number)
            pool = self._pool(clip.raw, self._config.names, min(self._workers, len(clips)))
            waiting.append((clip, row, pool.submit(row)))
            if len(waiting) > 3 * self._workers:
                yield self._collected(*waiting.popleft())
        while waiting:
            yield self._collected(*waiting.popleft())

    def _collected(self, clip: RawClip, row: Row, future: Future[Outcome]) -> Prepared:
        outcome, names = future.result(), self._config.names
        while isinstance(outcome, Failure) and (spared := _SPARED.get(outcome.cause)):
            left = tuple(name for name in names if name not in spared)
            if left == names:
                break
            if not left:
                return Prepared(clip.name, None, outcome.cause, "neither pictures nor sound")
            # The clip lacks sound or pictures, and is predicted by what it has.
            rest = self._pool(clip.raw, left, 1).submit(row).result()
            if isinstance(rest, Failure) and rest.cause == "no-source":
                break  # A sound file without sound, say: the first failure names that.
            outcome, names = rest, left
        if isinstance(outcome, Sample):
            return Prepared(clip.name, outcome.payload)
        return Prepared(clip.name, None, outcome.cause, outcome.message)

    def _row(self, clip: RawClip, number: int) -> Row:
        texts = {name: text for name, text in self._texts.items() if name not in clip.sources}
        given = {*clip.sources, *texts}
        return Row(
            key=f"clip_{number}",
            label="",
            split="test",
            sources=clip.sources,
            texts=texts,
            lacking=tuple(kind for kind in SOURCES if kind not in given),
        )

    def _pool(self, raw: Raw, names: tuple[str, ...], workers: int) -> DecoderPool:
        if (raw, names) not in self._pools:
            access = self._options.access
            job = Job(
                out="",
                endpoint=access.endpoint,
                raw=raw,
                config=replace(self._config, names=names),
                clip_timeout_s=self._options.clip_timeout_s,
                anonymous=access.anonymous,
                retry_for_s=access.retry_for_s,
            )
            self._pools[raw, names] = self._stack.enter_context(DecoderPool(job, workers))
        return self._pools[raw, names]
