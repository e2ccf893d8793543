"""Decodes a media file that is opened once: its packets first, then the pictures that are chosen.

The packets give the time of every frame before anything is decoded. Frames are chosen by those
times; then only the groups of pictures that hold a chosen frame are decoded, and within a group
the pictures to which no other refers are skipped unless they are chosen. The result equals that of
a full decode, in two thirds of its time for streams that have such pictures.

Pictures and sound share one clock: second 0 is the start of the container's presentation, or
``start`` of the row. AVI stores no presentation times; its frames are taken as evenly spaced.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self, TypeVar

import av
import numpy as np
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from mmprep.clips.decode.clock import avi_slots, delay_hole, is_whole_avi
from mmprep.clips.decode.opening import open_container
from mmprep.clips.decode.packets import AnyPacket
from mmprep.clips.decode.pictures import PictureDecoder, Timeline
from mmprep.clips.decode.reading import Span, read_span
from mmprep.clips.decode.sound import decode_sound
from mmprep.failure import ClipError

T = TypeVar("T")

# Share of the promised length that may be absent.
_ABSENT: Final = 0.1
# Pixel ratios nearer to 1 come from scaling to whole pixels, and mean square ones.
_ROUNDING: Final = 0.01
# Seconds of sound before the first picture that are an encoder's priming.
_PRIMING_S: Final = 0.1
# Music files carry their cover as a picture stream, which is no video.
_COVER: Final = Disposition.attached_pic


class Clip:
    """One media file, or the span ``[start, end)`` of it.

    Args:
        path: Path of the file.
        start: Seconds from the file's beginning to the clip's start; None is 0.
        end: Seconds from the file's beginning to the clip's end; None is the end of the file.
        video: Whether pictures are wanted.
        audio: Whether sound is wanted.
        decoder: Decoder of the pictures: ``pyav``, or ``decord`` if its times prove right.
        name: Original name of the file, by default ``path``; FFmpeg tells some formats apart by
            its suffix.

    Attributes:
        times: (n,) seconds of every picture from the clip's start, ascending; empty without video.
        fps: Average frame rate; 0 without video.
        duration_s: Length of the pictures in seconds, or of the sound if there are none.
        source_duration_s: Length of the whole file in seconds, according to its header.
        decoder: Name of the decoder that gave the pictures.

    Raises:
        ClipError: The cause is `not-media`, `playlist`, `encrypted`, `unsupported-codec`,
            `no-video`, `truncated` or `too-large`.
    """

    def __init__(
        self,
        path: Path,
        start: float | None,
        end: float | None,
        *,
        video: bool,
        audio: bool,
        decoder: str = "pyav",
        name: str | None = None,
    ) -> None:
        self._path = path
        self.decoder = decoder
        self._start, self._end = start or 0.0, end
        self._damaged = 0
        self._sound_start_s = 0.0
        self._resources = ExitStack()
        try:
            self._container = open_container(path, name or str(path), self._resources)
            self._video = self._select_video() if video else None
            self._audio = self._select_audio() if audio else None
            self._origin = self._find_origin()
            self.source_duration_s = (self._container.duration or 0) / av.time_base
            self._span = self._read_span()
            self._compute_times()
        except BaseException:
            self._resources.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    @property
    def damaged(self) -> int:
        """Number of packets that did not decode so far."""
        return self._damaged + (self._pictures.damaged if self._pictures is not None else 0)

    @property
    def rotation(self) -> int:
        """Rotation of the pictures in degrees, which `pictures` undoes."""
        return self._pictures.rotation if self._pictures is not None else 0

    @property
    def mirrored(self) -> bool:
        """Whether the pictures are stored as in a mirror, which `pictures` undoes."""
        return self._pictures is not None and self._pictures.orientation.mirrored

    @property
    def pixel_ratio(self) -> float:
        """Width of a pixel of the picture decoded last, divided by its height."""
        if self._video is None or self._pictures is None:
            return 1.0
        stored = float(self._video.sample_aspect_ratio or 1) or 1.0
        if abs(stored - 1) < _ROUNDING:
            return 1.0
        return self._pictures.orientation.pixel_ratio(stored)

    @property
    def sound_facts(self) -> dict[str, object]:
        """Codec, rate, channels, start and length of the clip's sound; call `sound` first."""
        assert self._audio is not None
        context = self._audio.codec_context
        return {
            "codec": context.name,
            "rate_hz": context.sample_rate,
            "channels": context.channels,
            "start_s": round(self._sound_start_s, 4),
            "duration_s": round(self._sound_length_s(), 4),
        }

    @property
    def has_audio(self) -> bool:
        """Whether the file has a sound stream that is not empty."""
        return self._audio is not None and bool(self._packets(self._audio))

    def pictures(self, wanted: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        """Decodes the pictures ``wanted`` at full size, see `convert_pictures`.

        Returns:
            Index to upright RGB picture (H, W, 3).
        """
        return self.convert_pictures(wanted, lambda _, picture: picture)

    def convert_pictures(
        self, wanted: Sequence[int], convert: Callable[[int, NDArray[np.uint8]], T]
    ) -> dict[int, T]:
        """Decodes the pictures ``wanted``, which are indices in ``times``.

        Args:
            wanted: Indices of pictures.
            convert: Function of the index and the upright RGB picture (H, W, 3). It is called for
                one picture after the other, since full-size pictures are too large to be held.

        Returns:
            Index to the result of ``convert``.

        Raises:
            ClipError: The cause is `unsupported-codec`, `corrupt`, `truncated` or `too-large`.
        """
        assert self._pictures is not None
        if self.decoder == "decord":
            by_decord = self._decode_with_decord(wanted, convert)
            if by_decord is not None:
                return by_decord
        self.decoder = "pyav"
        return self._pictures.decode(wanted, convert)

    def sound(self, rate_hz: int) -> NDArray[np.float32]:
        """Decodes the sound from the clip's start to its end: mono (samples,) in [-1, 1].

        Raises:
            ClipError: The cause is `unsupported-codec`, `too-large`, or `corrupt` if over a tenth
                of the packets does not decode.
        """
        assert self._audio is not None
        sound = decode_sound(
            self._audio,
            self._packets(self._audio),
            rate_hz,
            zero_s=self._origin + self._start,
            length_s=None if self._end is None else self._end - self._start,
        )
        self._damaged += sound.bad
        self._sound_start_s = sound.start_s
        return sound.wave.astype(np.float32) / np.float32(32768)

    def _select_video(self) -> VideoStream:
        stream = self._container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.disposition & _COVER:
            raise ClipError("open", "no-video", "the file has no picture stream")
        if stream.codec_context is None:
            raise ClipError("open", "unsupported-codec", "no decoder for the pictures")
        stream.thread_type = "NONE"
        return stream

    def _select_audio(self) -> AudioStream | None:
        stream = self._container.streams.best("audio")
        return stream if isinstance(stream, AudioStream) else None

    def _find_origin(self) -> float:
        """Time stamp of second 0: the start of the container's presentation."""
        origin = (self._container.start_time or 0) / av.time_base
        pictures = self._container.streams.best("video")
        if self._is_stream_format and pictures is not None and pictures.start_time is not None:
            # These formats cannot say that their first frame of sound only primes the decoder.
            first = float(pictures.start_time * (pictures.time_base or 0))
            if origin < first <= origin + _PRIMING_S:
                return first
        return origin

    @property
    def _is_stream_format(self) -> bool:
        """Whether the file is an MPEG stream, whose parts may have clocks of their own."""
        return self._container.format.name in ("mpegts", "mpeg")

    def _read_span(self) -> Span:
        if self._audio is not None and self._audio.codec_context is None:
            raise ClipError("open", "unsupported-codec", "no decoder for the sound")
        return read_span(
            self._container,
            [s for s in (self._video, self._audio) if s is not None],
            start_s=self._start + self._origin if self._start else 0.0,
            end_s=None if self._end is None else self._end + self._origin,
            measured=self._select_measured(),
        )

    def _select_measured(self) -> VideoStream | AudioStream | None:
        """Stream that is not wanted, and yet must be read to know the times of the one that is."""
        if self._video is None and self._is_stream_format:
            # Where the clock restarts, the pictures set the time of the sound.
            pictures = self._container.streams.best("video")
            return pictures if isinstance(pictures, VideoStream) else None
        if self._video is None or self._audio is not None:
            return None
        # Some containers give one length for all streams; whether the pictures break off is then
        # known only with the end of the sound.
        one_length = self._video.duration is None or "matroska" in self._container.format.name
        return self._select_audio() if one_length else None

    def _packets(self, stream: VideoStream | AudioStream) -> list[AnyPacket]:
        return self._span.streams[stream.index].packets

    def _compute_times(self) -> None:
        """Computes the time of every picture, and the clip's length."""
        self.times: NDArray[np.float64] = np.zeros(0)
        self.fps = 0.0
        self._pictures: PictureDecoder | None = None
        if self._video is None:
            self.duration_s = self._sound_length_s()
            return
        shown = [p for p in self._packets(self._video) if not p.is_discard]
        if not shown:
            raise ClipError("open", "no-video", "the picture stream has no packets")
        rate = self._video.average_rate or self._video.guessed_rate
        self.fps = float(rate or 0)
        # AVI stores only an order of frames; the stamps of its packets are made up by the demuxer.
        self._is_avi = "avi" in self._container.format.name
        has_stamps = not self._is_avi and all(p.pts is not None for p in shown)
        stamps: list[int] | None = None
        last_s = 1 / self.fps if self.fps else 0.04
        if has_stamps:
            base = float(self._video.time_base or 0)
            stamps = sorted({p.pts for p in shown if p.pts is not None})
            times = np.array(stamps, np.float64) * base - self._origin
            last = max(shown, key=lambda p: p.pts or 0)
            last_s = float(last.duration * base) if last.duration else last_s
        else:
            self.fps = self.fps or 25.0
            times = np.array(self._count_intervals(shown), np.float64) / self.fps
        shown_end = self._check_length(float(times[-1]) + last_s, lone=len(times) == 1)
        end = min(shown_end, self._end or np.inf)
        # The picture on display at the clip's start may have begun before it.
        first = max(int(np.searchsorted(times, self._start + 1e-6, side="right")) - 1, 0)
        stop = int(np.searchsorted(times, end - 1e-6))
        if stop <= first or end <= self._start:
            raise ClipError("open", "too-short", f"no picture from {self._start:g} s on")
        self.times = times[first:stop] - self._start
        self.duration_s = end - self._start
        timeline = Timeline(
            times=self.times,
            first=first,
            stamps=None if stamps is None else stamps[first:stop],
            zero_s=self._origin + self._start,
        )
        held = self._span.streams[self._video.index]
        self._pictures = PictureDecoder(self._video, held.packets, timeline, pruned=held.pruned)

    def _count_intervals(self, shown: Sequence[AnyPacket]) -> list[int]:
        """Number of the frame interval in which each picture of a file without times appears."""
        assert self._video is not None
        chunks = [p.dts for p in shown if p.dts is not None]
        if not self._is_avi or len(set(chunks)) < len(shown):
            return list(range(len(shown)))
        for packet in shown:
            packet.pts = packet.dts
        hole = delay_hole(self._span.streams[self._video.index].first_chunks)
        return avi_slots(chunks, self._video.codec_context.reorder_depth, hole)

    def _check_length(self, end: float, *, lone: bool) -> float:
        """Returns the end of the last picture, which stays on display if none follows.

        Args:
            end: End of the last picture by its own length.
            lone: Whether it is the only one.

        Raises:
            ClipError: The cause is `truncated`: the span ends well before the length that the
                header promises.
        """
        assert self._video is not None
        header = self._video.duration
        sound_end = self._sound_end_s()
        reached = end
        if header is not None and self._video.time_base is not None:
            promised = float(header * self._video.time_base)
        else:
            promised = (self._container.duration or 0) / av.time_base
            reached = max(end, sound_end)
        promised = min(promised, self._end or promised)
        margin = max(0.5, _ABSENT * (promised - self._start))
        if reached < promised - margin:
            if lone and sound_end >= promised - margin:
                return sound_end
            if self._is_avi and not self._span.broke_off and is_whole_avi(self._path):
                return promised
            raise ClipError(
                "open", "truncated", f"ends at {reached:.2f} s, its header says {promised:.2f} s"
            )
        if self._span.broke_off and end < (self._end or np.inf):
            self._damaged += 1
        return end

    def _sound_end_s(self) -> float:
        ends = [h.end_s for h in self._span.streams.values() if isinstance(h.stream, AudioStream)]
        return max((end for end in ends if np.isfinite(end)), default=0.0) - self._origin

    def _sound_length_s(self) -> float:
        # Packets are read a little beyond the end of a span.
        end = np.inf if self._end is None else self._end
        return min(self._sound_end_s(), end) - self._start

    def _decode_with_decord(
        self, wanted: Sequence[int], convert: Callable[[int, NDArray[np.uint8]], T]
    ) -> dict[int, T] | None:
        from mmprep.clips.decode import decord_reader

        assert self._pictures is not None
        timeline = self._pictures.timeline
        if timeline.stamps is None:
            return None
        stamps_s = self.times + timeline.zero_s
        return decord_reader.pictures(self._path, stamps_s, timeline.first, wanted, convert)
