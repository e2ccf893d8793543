"""Makes one sample from one row of the manifest: its record and parts.

Each source is opened once. A new part gets its line in `mmprep.format.parts` and its maker in
`mmprep.clips.parts`; `SampleMaker.make` calls the maker.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mmprep.clips.arrays import Arrays
from mmprep.clips.decode import idx
from mmprep.clips.decode.bounds import check_scaled
from mmprep.clips.decode.clip import Clip
from mmprep.clips.decode.image_file import read_image
from mmprep.clips.decode.sniff import sniff
from mmprep.clips.decode.text_file import read_text_file
from mmprep.clips.outcome import Sample
from mmprep.clips.parts import flow as flows
from mmprep.clips.parts import frames as pictures
from mmprep.clips.parts import sequence as sequences
from mmprep.clips.parts import spectrogram as sounds
from mmprep.clips.parts import text as texts
from mmprep.clips.record import Record
from mmprep.clips.scaling import Scaler
from mmprep.clips.sources import sources
from mmprep.clips.span import check_listed_times, is_whole_video
from mmprep.clips.voices import VoiceMixer
from mmprep.config import WHOLE, PartsConfig
from mmprep.errors import DataError
from mmprep.failure import ClipError
from mmprep.format.parts import PARTS, RECORD
from mmprep.manifest import TEXTS, Row, Voice
from mmprep.storage.access import Access
from mmprep.storage.place import Raw

# Parts for which the video's pictures are decoded.
_PICTURE_PARTS: Final = {
    name for name, part in PARTS.items() if part.kind == "image" and "video" in part.made_from
}


class SampleMaker:
    """Makes the samples of one data set.

    Args:
        raw: Folder, or URL of a bucket's prefix, to which the sources of rows are relative.
        config: Parts of each sample and their parameters.
        decoder: Decoder of the pictures, ``pyav`` or ``decord``.
        access: Way to the bucket of ``raw``; by default the environment's.
        announce: Function that is called with each clip of a babble before it is decoded, and with
            None behind it.
    """

    def __init__(
        self,
        raw: Raw,
        config: PartsConfig,
        decoder: str = "pyav",
        access: Access | None = None,
        announce: Callable[[Voice | None], object] = lambda _: None,
    ) -> None:
        self._sources = sources(raw, access)
        self._arrays = Arrays(self._sources)
        self._config = config
        self._decoder = decoder
        self._voices = VoiceMixer(self._sources, config, announce)
        self._wants_sound = "spectrogram" in config.names
        self._wants_pictures = bool(_PICTURE_PARTS & set(config.names))
        self._flow = flows.FlowMaker(config.flow) if "flow" in config.names else None
        # Parallel work is one process a clip; threads inside would only compete for the cores.
        cv2.setNumThreads(1)
        if self._wants_sound:
            # Loads scipy, librosa or torch now, so that it does not count against the first clip.
            samples = max(config.spectrogram.rate_hz, config.spectrogram.window)
            sounds.spectrogram(np.zeros(samples, np.float32), config.spectrogram)

    def make(self, row: Row) -> Sample:
        """Makes the sample of ``row``.

        A part whose sources the row lacks, and may lack, has no members.

        Raises:
            ClipError: The clip cannot become a sample; carries stage and cause.
            StoreError: The bucket with the clips refuses.
        """
        record = Record(row)
        missing = [name for name in self._config.names if _may_be_missing(row, name)]
        parts: dict[str, list[bytes]] = {name: [] for name in missing}
        with ExitStack() as stack:
            parts |= self._media_parts(stack, record, row, set(missing))
        for name in (name for name in self._config.names if name not in missing):
            if name in TEXTS:
                parts[name] = self._texts(record, row, name)
            elif PARTS[name].settings == ("sequence",):
                parts[name] = [self._sequence(record, row, name)]
        if len(missing) == len(self._config.names):
            raise ClipError("parts", "no-source", f"the row has none of {', '.join(missing)}")
        if absent := [name for name in self._config.names if name not in parts]:
            raise ClipError("parts", "no-video", f"a still image gives no {absent[0]}")
        if self._config.frames.region != WHOLE and (parts.get("frames") or parts.get("depth")):
            record.note(region=self._config.frames.region)
        if missing:
            record.note(missing=missing)
        ordered = {name: parts[name] for name in self._config.names}
        return Sample(payload={RECORD: [record.to_json()], **ordered}, seconds=record.seconds)

    def _media_parts(
        self, stack: ExitStack, record: Record, row: Row, missing: Set[str]
    ) -> dict[str, list[bytes]]:
        """Parts of pictures and sound, except the ``missing`` ones."""
        parts: dict[str, list[bytes]] = {}
        pictures_wanted = bool(_PICTURE_PARTS & set(self._config.names) - missing)
        sound_wanted = self._wants_sound and "spectrogram" not in missing
        with record.stage("open"):
            video = self._open(stack, record, row, "video", pictures_wanted or sound_wanted)
            audio = self._open(stack, record, row, "audio", sound_wanted)
            depth = self._open(stack, record, row, "depth", "depth" in self._config.names)
        if "image" in row.sources and pictures_wanted:
            parts["frames"] = self._image(record, row.sources["image"])
        elif pictures_wanted:
            parts |= self._pictures(record, _require(video, "video", row))
        if "depth" in {*self._config.names} - missing:
            parts["depth"] = self._depth(record, _require(depth, "depth", row))
        if sound_wanted:
            parts["spectrogram"] = [self._spectrogram(record, row, audio or video)]
        if (main := video or depth or audio) is not None:
            record.add_clip(main)
        return parts

    def _texts(self, record: Record, row: Row, name: str) -> list[bytes]:
        """Members of a part of text: one, or one for each question."""
        config = self._config.text
        with record.stage("text"):
            if name == "question" and row.questions:
                return [texts.encode(question.text, config) for question in row.questions]
            if name in row.texts:
                return [texts.encode(row.texts[name], config)]
            source = _require_source(row, name)
            with self._sources.open(source) as path:
                return [texts.from_file(read_text_file(path), config)]

    def _sequence(self, record: Record, row: Row, name: str) -> bytes:
        source = _require_source(row, name)
        with record.stage("sequence"):
            values = self._arrays.read(source, _listed_span(row))
            try:
                features = sequences.sequence(values, self._config.sequence)
            except ClipError as error:
                # A sample may have three of them.
                raise ClipError(error.stage, error.cause, f"{source}: {error.message}") from error
            record.add_sequence(features)
            return sequences.npy(features.values)

    def _open(
        self, stack: ExitStack, record: Record, row: Row, kind: str, wanted: bool
    ) -> Clip | None:
        if not wanted or kind not in row.sources:
            return None
        path = stack.enter_context(self._sources.open(row.sources[kind]))
        sniff(path)
        start, end = row.start or 0.0, np.inf if row.end is None else row.end
        clip = stack.enter_context(self._clip(path, row, kind, start, end))
        if row.listed is None or not is_whole_video(clip, row.listed):
            return clip
        check_listed_times(clip, row.listed)
        record.add_listed_cut(*row.listed)
        return stack.enter_context(self._clip(path, row, kind, *row.listed))

    def _clip(self, path: Path, row: Row, kind: str, start: float, end: float) -> Clip:
        return Clip(
            path,
            start,
            min(start + self._config.clip_s, end),
            video=kind == "depth" or (kind == "video" and self._wants_pictures),
            audio=self._wants_sound
            and (kind == "audio" or (kind == "video" and "audio" not in row.sources)),
            decoder=self._decoder,
            name=row.sources[kind],
        )

    def _pictures(self, record: Record, clip: Clip) -> dict[str, list[bytes]]:
        config, count = self._config, len(clip.times)
        shown = _frame_indices(clip, config)
        runs = [
            flows.consecutive_indices(i, count, config.flow.fields) for i in shown if self._flow
        ]
        steps = [
            flows.consecutive_indices(i, count, 1) for i in shown if "difference" in config.names
        ]
        wanted = {*shown, *(i for step in steps for i in step)}
        moving = {i for run in runs for i in run}
        scaler = Scaler(clip, config.frames, config.flow, wanted, moving)
        with record.stage("video"):
            decoded = clip.convert_pictures(sorted(wanted | moving), scaler.scale)
        parts: dict[str, list[bytes]] = {}
        with record.stage("frames"):
            small = {i: p.frame for i, p in decoded.items() if p.frame is not None}
            parts["frames"] = [pictures.jpeg(small[i], config.frames.quality) for i in shown]
            parts["difference"] = [
                pictures.jpeg(pictures.difference(small[a], small[b]), config.frames.quality)
                for a, b in steps
            ]
            record.add_pictures(clip.times[shown].tolist(), [small[i] for i in shown])
        if self._flow is not None:
            with record.stage("flow"):
                grey = {i: p.grey for i, p in decoded.items() if p.grey is not None}
                parts["flow"] = [self._encode_flow(self._flow, grey, run) for run in runs]
        return parts

    def _encode_flow(
        self, maker: flows.FlowMaker, grey: Mapping[int, NDArray[np.uint8]], run: Sequence[int]
    ) -> bytes:
        height, width = grey[run[0]].shape
        # Before the fields are computed, which is slow.
        check_scaled(width, 2 * self._config.flow.fields * height)
        stack = maker.compute_stack([grey[i] for i in run])
        return pictures.jpeg(stack, self._config.flow.quality)

    def _depth(self, record: Record, clip: Clip) -> list[bytes]:
        config = self._config.frames
        shown = _frame_indices(clip, self._config)
        scaler = Scaler(clip, config, self._config.flow, set(), set())
        with record.stage("depth"):
            small = clip.convert_pictures(sorted(set(shown)), scaler.scale_depth)
            if not self._wants_pictures:
                record.add_pictures(clip.times[shown].tolist(), [small[i] for i in shown])
            return [pictures.jpeg(small[i], config.quality) for i in shown]

    def _image(self, record: Record, source: str) -> list[bytes]:
        name, _, number = source.partition("#")
        with self._sources.open(name) as path, record.stage("frames"):
            sniff(path)
            try:
                picture = idx.image(path, int(number)) if number else read_image(path)
            except (DataError, IndexError, ValueError) as error:
                # The message goes into `failures.jsonl`, which must not depend on the raw folder.
                message = str(error).replace(str(path), name)
                raise ClipError("video", "corrupt", message) from error
            picture = pictures.crop(picture, self._config.frames.edges)
            small = pictures.resize(picture, self._config.frames.short_side)
            record.add_pictures([0.0], [small])
            return [pictures.jpeg(small, self._config.frames.quality)]

    def _spectrogram(self, record: Record, row: Row, clip: Clip | None) -> bytes:
        config = self._config.spectrogram
        with record.stage("audio"):
            wave = np.zeros(0, np.float32)
            if clip is not None and clip.has_audio:
                wave = clip.sound(config.rate_hz)
            if not len(wave) and self._config.missing_audio == "fail":
                raise ClipError(
                    "audio", "no-audio", "no sound; --missing-audio silence makes it silence"
                )
            record.add_sound(wave, config.rate_hz, self._config.clip_s, clip)
            wave = self._voices.mix(record, row, wave)
        with record.stage("spectrogram"):
            samples = round(self._config.clip_s * config.rate_hz)
            return sounds.npy(sounds.spectrogram(sounds.fit_length(wave, samples), config))


def _frame_indices(clip: Clip, config: PartsConfig) -> list[int]:
    shortest_s = pictures.shortest_s(config.frames.fps, config.clip_s)
    if clip.duration_s < shortest_s - 1e-6:
        message = f"{clip.duration_s:.2f} s of pictures; a sample needs {shortest_s:g} s"
        raise ClipError("video", "too-short", message)
    at = pictures.frame_times(clip.duration_s, config.frames.fps, config.clip_s)
    return [int(i) for i in pictures.indices_on_display(clip.times, at)]


def _may_be_missing(row: Row, name: str) -> bool:
    """Whether the row lacks all sources of the part ``name``, and its data set allows that."""
    given = {*row.sources, *row.texts, *(["question"] if row.questions else [])}
    made_from = PARTS[name].made_from
    return not made_from & given and bool(made_from & set(row.lacking))


def _listed_span(row: Row) -> tuple[float, float] | None:
    """Seconds of the whole video between which the clip lies; None where the row has no times."""
    if row.listed is not None:
        return row.listed
    if row.start is None and row.end is None:
        return None
    return row.start or 0.0, np.inf if row.end is None else row.end


def _require_source(row: Row, kind: str) -> str:
    if kind not in row.sources:
        message = f"the row names no {kind}; a data set whose `optional` has it may lack it"
        raise ClipError("open", "no-source", message)
    return row.sources[kind]


def _require(clip: Clip | None, kind: str, row: Row) -> Clip:
    if clip is None:
        raise ClipError("open", "no-video", f"{row.source}: the row names no {kind}")
    return clip
