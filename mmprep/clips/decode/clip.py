"""A source opened once: packets first, so that times are known before anything is decoded.

Frames are chosen by presentation time from the packets' time stamps; then only the groups of
pictures that hold a chosen frame are decoded, and of those the pictures that nothing refers to
are skipped unless they are chosen. The frames are those of a full decode, for two thirds of its
time where a stream has such pictures.

One clock: second 0 is the start of the container's presentation (or ``start`` of the row), for
pictures and sound alike. AVI stores no presentation times; there frames are evenly spaced.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from io import FileIO
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from mmprep.failure import ClipError

AnyPacket: TypeAlias = "Packet[Any]"

# A chosen frame that does not decode may be replaced by a neighbour this near.
_SUBSTITUTE_S: Final = 0.5
# Later sound than this is moved to its time by silence; less is the usual offset of an encoder, and
# silence in its place would be a black stripe in every other spectrogram.
_LATE_S: Final = 0.1
# Before this, reading from the beginning is as quick as seeking, and always exact.
_SEEK_S: Final = 30.0
_DAMAGE: Final = 0.1
_COVER: Final = Disposition.attached_pic


class Clip:
    """One media file, or the span ``[start, end)`` of it.

    Args:
        path: The file.
        start: Seconds from the file's beginning where the clip starts; 0 by default.
        end: Seconds where it ends; the end of the file by default.
        video: Whether pictures are wanted.
        audio: Whether sound is wanted.
        decoder: ``pyav``, or ``decord`` for pictures where its times can be trusted.
        name: What the file is called; ``path`` by default. Its suffix tells some formats apart.

    Attributes:
        times: (n,) seconds of every picture from the clip's start, ascending; empty without video.
        fps: Average frame rate; 0 without video.
        duration_s: Length of the pictures, or of the sound where there are none.
        source_duration_s: Length of the whole file, as its header says.
        damaged: Packets that did not decode so far.
        decoder: What decoded the pictures.

    Raises:
        ClipError: `not-media`, `unsupported-codec`, `no-video`, `truncated`.
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
        self.damaged = 0
        self.rotation = 0
        self._sound_start_s = 0.0
        self._resources = ExitStack()
        self._open(name or str(path))
        try:
            self._video = self._select_video() if video else None
            self._audio = self._select_audio() if audio else None
            self._packets: dict[int, list[AnyPacket]] = {}
            self._broke_off = self._read_packets()
            self._compute_times()
        except BaseException:
            self._resources.close()
            raise

    def _open(self, name: str) -> None:
        file: str | FileIO = str(self._path)
        if Path(name).suffix != self._path.suffix:
            file = self._resources.enter_context(FileIO(self._path))
            file.name = name
        try:
            self._container: InputContainer = av.open(file, "r", metadata_errors="replace")
            self._resources.callback(self._container.close)
        except av.FFmpegError as error:
            self._resources.close()
            message = f"no known container ({error.strerror})"
            raise ClipError("open", "not-media", message) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    @property
    def sound_facts(self) -> dict[str, object]:
        """Codec, rate, channels, start and length of the sound as the file has it, once decoded."""
        assert self._audio is not None
        context = self._audio.codec_context
        return {
            "codec": context.name,
            "rate_hz": context.sample_rate,
            "channels": context.channels,
            "start_s": round(self._sound_start_s, 4),
            "duration_s": round(self._sound_end_s() - self._start, 4),
        }

    @property
    def has_audio(self) -> bool:
        """Whether there is a sound stream with something in it."""
        return self._audio is not None and bool(self._packets[self._audio.index])

    def pictures(self, wanted: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        """RGB pictures (H, W, 3), upright, by their index in ``times``.

        Raises:
            ClipError: `unsupported-codec`, `corrupt` or `truncated`.
        """
        if self.decoder == "decord" and (by_decord := self._decode_with_decord(wanted)) is not None:
            return by_decord
        self.decoder = "pyav"
        if not self._has_stamps:
            found = self._decode_counted(set(wanted))
        else:
            stamps = {self._stamps[i]: i for i in wanted}
            found = {stamps[pts]: rgb for pts, rgb in self._decode_stamped(set(stamps))}
        for index in set(wanted) - set(found):
            found[index] = self._decode_neighbour(index)
        return found

    def sound(self, rate_hz: int) -> NDArray[np.float32]:
        """Mono sound (samples,) in [-1, 1] from the clip's start to its end.

        Raises:
            ClipError: `unsupported-codec`, or `corrupt` where over a tenth does not decode.
        """
        assert self._audio is not None
        packets = self._packets[self._audio.index]
        # A second at a time: the stream's own frames are small, and each has its price.
        resampler = AudioResampler(format="s16", layout="mono", rate=rate_hz, frame_size=rate_hz)
        pieces: list[NDArray[np.int16]] = []
        first: float | None = None
        bad = 0
        for packet in [*packets, None]:
            try:
                for frame in self._audio.codec_context.decode(packet):
                    if first is None:
                        first = frame.time
                    frame.pts = None
                    pieces += [f.to_ndarray()[0] for f in resampler.resample(frame)]
            except av.error.DecoderNotFoundError as error:
                raise ClipError("audio", "unsupported-codec", "no decoder for the sound") from error
            except av.FFmpegError:
                bad += 1
        self.damaged += bad
        if bad > max(1, _DAMAGE * len(packets)):
            raise ClipError(
                "audio", "corrupt", f"{bad} of {len(packets)} sound packets do not decode"
            )
        pieces += [f.to_ndarray()[0] for f in resampler.resample(None)]
        wave = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
        return self._align_sound(wave, first, rate_hz).astype(np.float32) / np.float32(32768)

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
        if isinstance(stream, AudioStream) and stream.codec_context is None:
            raise ClipError("open", "unsupported-codec", "no decoder for the sound")
        return stream if isinstance(stream, AudioStream) else None

    def _read_packets(self) -> bool:
        """Reads the packets of the span; returns whether the file broke off."""
        streams = [s for s in (self._video, self._audio) if s is not None]
        self._packets = {s.index: [] for s in streams}
        self._origin = (self._container.start_time or 0) / av.time_base
        self.source_duration_s = (self._container.duration or 0) / av.time_base
        if self._start > _SEEK_S:
            self._container.seek(int((self._start + self._origin) * av.time_base))
        # In ticks: to compare fractions costs more than to read the packet.
        stops = {s.index: self._last_tick(s) for s in streams}
        ended: set[int] = set()
        try:
            for packet in self._container.demux(streams):
                stamp = packet.dts if packet.dts is not None else packet.pts
                index = packet.stream.index
                if packet.size and index not in ended:
                    self._packets[index].append(packet)
                if stamp is not None and stamp > stops[index]:
                    ended.add(index)
                    if len(ended) == len(streams):
                        return False
        except av.FFmpegError:
            return True
        return False

    def _last_tick(self, stream: VideoStream | AudioStream) -> float:
        """The time stamp in ``stream`` from which on nothing is wanted."""
        if self._end is None or stream.time_base is None:
            return math.inf
        return math.floor(Fraction(self._end + self._origin + 1.0) / stream.time_base)

    def _compute_times(self) -> None:
        """Finds the time of every picture."""
        self.times: NDArray[np.float64] = np.zeros(0)
        self.fps = 0.0
        if self._video is None:
            self.duration_s = self._sound_end_s()
            return
        packets = self._packets[self._video.index]
        shown = [p for p in packets if not p.is_discard]
        if not shown:
            raise ClipError("open", "no-video", "the picture stream has no packets")
        rate = self._video.average_rate or self._video.guessed_rate
        self.fps = float(rate or 0)
        # Where AVI says more than an order, its demuxer made it up.
        self._has_stamps = "avi" not in self._container.format.name
        self._has_stamps = self._has_stamps and all(p.pts is not None for p in shown)
        last_s = 1 / self.fps if self.fps else 0.04
        if self._has_stamps:
            base = float(self._video.time_base or 0)
            self._stamps = sorted({p.pts for p in shown if p.pts is not None})
            times = np.array(self._stamps, np.float64) * base - self._origin
            last = max(shown, key=lambda p: p.pts or 0)
            last_s = float(last.duration * base) if last.duration else last_s
        else:
            self.fps = self.fps or 25.0
            times = np.arange(len(shown)) / self.fps
        end = min(float(times[-1]) + last_s, self._end or np.inf)
        # The picture on display when the clip starts may have begun before.
        self._first = max(int(np.searchsorted(times, self._start + 1e-6, side="right")) - 1, 0)
        stop = int(np.searchsorted(times, end - 1e-6))
        if stop <= self._first or end <= self._start:
            raise ClipError("open", "too-short", f"no picture from {self._start:g} s on")
        self.times = times[self._first : stop] - self._start
        if self._has_stamps:
            self._stamps = self._stamps[self._first : stop]
        self.duration_s = end - self._start
        self._check_length(end)

    def _check_length(self, end: float) -> None:
        """Refuses a file that ends well before its header says, within the span that is wanted."""
        assert self._video is not None
        header = self._video.duration
        if header is not None and self._video.time_base is not None:
            promised = float(header * self._video.time_base)
        else:
            promised = (self._container.duration or 0) / av.time_base
            end = max(end, self._sound_end_s())
        promised = min(promised, self._end or promised)
        if end < promised - max(0.5, _DAMAGE * (promised - self._start)):
            raise ClipError(
                "open", "truncated", f"ends at {end:.2f} s, its header says {promised:.2f} s"
            )
        if self._broke_off and end < (self._end or np.inf):
            self.damaged += 1

    def _sound_end_s(self) -> float:
        packets = self._packets[self._audio.index] if self._audio is not None else []
        ends = [
            float((p.pts + (p.duration or 0)) * p.time_base)
            for p in packets[-4:]
            if p.pts is not None and p.time_base is not None
        ]
        return max(ends, default=0.0) - self._origin

    def _decode(
        self, packets: Sequence[AnyPacket], chosen: set[int] | None
    ) -> Iterator[VideoFrame]:
        """Frames in presentation order; what is neither ``chosen`` nor referred to is skipped."""
        assert self._video is not None
        context = self._video.codec_context
        for packet in [*packets, None]:
            if chosen is not None and packet is not None:
                context.skip_frame = "DEFAULT" if packet.pts in chosen else "NONREF"
            try:
                yield from context.decode(packet)
            except av.error.DecoderNotFoundError as error:
                raise ClipError(
                    "video", "unsupported-codec", "no decoder for the pictures"
                ) from error
            except av.error.EOFError:
                break
            except av.FFmpegError:
                self.damaged += 1
        context.skip_frame = "DEFAULT"
        context.flush_buffers()

    def _decode_with_decord(self, wanted: Sequence[int]) -> dict[int, NDArray[np.uint8]] | None:
        from mmprep.clips.decode import decord_reader

        if not self._has_stamps:
            return None
        stamps_s = self.times + self._start + self._origin
        return decord_reader.pictures(self._path, stamps_s, self._first, wanted)

    def _decode_stamped(self, chosen: set[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        assert self._video is not None
        for run in _runs_to_decode(self._packets[self._video.index], chosen):
            for frame in self._decode(run, chosen):
                if frame.pts in chosen:
                    yield frame.pts, self._to_upright_rgb(frame)

    def _decode_counted(self, wanted: set[int]) -> dict[int, NDArray[np.uint8]]:
        assert self._video is not None
        numbered = enumerate(self._decode(self._packets[self._video.index], None), -self._first)
        return {
            number: self._to_upright_rgb(frame) for number, frame in numbered if number in wanted
        }

    def _decode_neighbour(self, index: int) -> NDArray[np.uint8]:
        """The nearest picture that does decode, for one that does not."""
        assert self._video is not None
        best: tuple[float, VideoFrame] | None = None
        last = -np.inf
        numbered = enumerate(self._decode(self._packets[self._video.index], None), -self._first)
        for number, frame in numbered:
            time = (
                number / self.fps
                if not self._has_stamps
                else (frame.time or 0) - self._origin - self._start
            )
            last = max(last, time)
            off = abs(time - self.times[index])
            if off <= _SUBSTITUTE_S and (best is None or off < best[0]):
                best = off, frame
        if best is None:
            cause = "truncated" if last < self.times[index] else "corrupt"
            raise ClipError("video", cause, f"nothing decodes near {self.times[index]:.2f} s")
        self.damaged += 1
        return self._to_upright_rgb(best[1])

    def _to_upright_rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        self.rotation = frame.rotation
        picture: NDArray[np.uint8] = frame.to_ndarray(format="rgb24", threads=1).view(np.uint8)
        return np.rot90(picture, round(frame.rotation / 90) % 4)

    def _align_sound(
        self, wave: NDArray[np.int16], first: float | None, rate_hz: int
    ) -> NDArray[np.int16]:
        """Moves sound that starts early or late onto the clip's clock, and cuts it at the end."""
        offset = self._sound_start_s = (first or 0.0) - self._origin - self._start
        if offset < 0:
            wave = wave[round(-offset * rate_hz) :]
        elif offset > _LATE_S:
            wave = np.concatenate([np.zeros(round(offset * rate_hz), np.int16), wave])
        return wave if self._end is None else wave[: round((self._end - self._start) * rate_hz)]


def _runs_to_decode(packets: Sequence[AnyPacket], chosen: set[int]) -> Iterator[list[AnyPacket]]:
    """Stretches of whole groups of pictures that must be decoded to see the chosen frames.

    A group's first pictures may refer to the group before it, so that one is decoded too.
    """
    groups: list[list[AnyPacket]] = []
    for packet in packets:
        if packet.is_keyframe or not groups:
            groups.append([])
        groups[-1].append(packet)
    holds = [any(packet.pts in chosen for packet in group) for group in groups]
    run: list[AnyPacket] = []
    for group, here, after in zip(groups, holds, [*holds[1:], False], strict=True):
        if here or after:
            run += group
        elif run:
            yield run
            run = []
    if run:
        yield run
