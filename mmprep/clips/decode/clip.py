"""Decodes a media file that is opened once: its packets first, then the pictures that are chosen.

The packets give the time of every frame before anything is decoded. Frames are chosen by those
times; then only the groups of pictures that hold a chosen frame are decoded, and within a group
the pictures to which no other refers are skipped unless they are chosen. The result equals that of
a full decode, in two thirds of its time for streams that have such pictures.

Pictures and sound share one clock: second 0 is the start of the container's presentation, or
``start`` of the row. AVI stores no presentation times; its frames are taken as evenly spaced.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from io import FileIO
from pathlib import Path
from typing import Final, Self

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from mmprep.clips.decode.packets import AnyPacket, runs_to_decode
from mmprep.failure import ClipError

# Seconds within which a neighbour may replace a chosen frame that does not decode.
_SUBSTITUTE_S: Final = 0.5
# Sound that starts later than this is moved to its time by leading silence. A smaller delay is the
# usual offset of an encoder, and silence for it would put a black stripe into many spectrograms.
_LATE_S: Final = 0.1
# Starts before this second are reached by reading from the beginning, which is as quick as seeking
# there, and always exact.
_SEEK_S: Final = 30.0
# Share of packets that may fail to decode, and of the promised length that may be absent.
_DAMAGE: Final = 0.1
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
        damaged: Number of packets that did not decode so far.
        decoder: Name of the decoder that gave the pictures.
        rotation: Rotation of the pictures in degrees, which `pictures` undoes.

    Raises:
        ClipError: The cause is `not-media`, `unsupported-codec`, `no-video` or `truncated`.
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
        """Codec, rate, channels, start and length of the file's sound; call `sound` first."""
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
        """Whether the file has a sound stream that is not empty."""
        return self._audio is not None and bool(self._packets[self._audio.index])

    def pictures(self, wanted: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        """Decodes the pictures ``wanted``, which are indices in ``times``.

        Returns:
            Index to upright RGB picture (H, W, 3).

        Raises:
            ClipError: The cause is `unsupported-codec`, `corrupt` or `truncated`.
        """
        if self.decoder == "decord" and (by_decord := self._decode_with_decord(wanted)) is not None:
            return by_decord
        self.decoder = "pyav"
        if not self._has_stamps:
            decoded = self._decode_counted(set(wanted))
        else:
            stamps = {self._stamps[i]: i for i in wanted}
            decoded = {stamps[pts]: rgb for pts, rgb in self._decode_stamped(set(stamps))}
        for index in set(wanted) - set(decoded):
            decoded[index] = self._decode_neighbour(index)
        return decoded

    def sound(self, rate_hz: int) -> NDArray[np.float32]:
        """Decodes the sound from the clip's start to its end: mono (samples,) in [-1, 1].

        Raises:
            ClipError: The cause is `unsupported-codec`, or `corrupt` if over a tenth of the packets
                does not decode.
        """
        assert self._audio is not None
        packets = self._packets[self._audio.index]
        # Frames of one second, because every frame costs a call and the stream's own are small.
        resampler = AudioResampler(format="s16", layout="mono", rate=rate_hz, frame_size=rate_hz)
        pieces: list[NDArray[np.int16]] = []
        first: float | None = None
        bad = 0
        for packet in [*packets, None]:
            try:
                for frame in self._audio.codec_context.decode(packet):
                    if first is None:
                        first = frame.time
                    # The resampler gets one continuous stream; `_align_sound` sets its time.
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
        """Reads the packets of the span; returns whether the file breaks off."""
        streams = [s for s in (self._video, self._audio) if s is not None]
        self._packets = {s.index: [] for s in streams}
        self._origin = (self._container.start_time or 0) / av.time_base
        self.source_duration_s = (self._container.duration or 0) / av.time_base
        if self._start > _SEEK_S:
            self._container.seek(int((self._start + self._origin) * av.time_base))
        # In ticks of each stream: comparing fractions costs more than reading a packet.
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
        """Time stamp of ``stream`` behind which no packet is wanted, with a second to spare."""
        if self._end is None or stream.time_base is None:
            return math.inf
        return math.floor(Fraction(self._end + self._origin + 1.0) / stream.time_base)

    def _compute_times(self) -> None:
        """Computes the time of every picture, and the clip's length."""
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
        # AVI stores only an order of frames; the stamps of its packets are made up by the demuxer.
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
        # The picture on display at the clip's start may have begun before it.
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
        """Raises `ClipError` if the span ends well before the length that the header promises."""
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
        """Yields frames in presentation order.

        Args:
            packets: Packets of whole groups of pictures.
            chosen: Stamps of the wanted frames; frames that are neither wanted nor referred to by
                others are skipped. None decodes all.
        """
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
        for run in runs_to_decode(self._packets[self._video.index], chosen):
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
        """Decodes the picture nearest to ``times[index]``, which itself does not decode."""
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
            gap_s = abs(time - self.times[index])
            if gap_s <= _SUBSTITUTE_S and (best is None or gap_s < best[0]):
                best = gap_s, frame
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
        """Shifts sound that starts early or late to the clip's clock, and cuts it at the end."""
        offset = self._sound_start_s = (first or 0.0) - self._origin - self._start
        if offset < 0:
            wave = wave[round(-offset * rate_hz) :]
        elif offset > _LATE_S:
            wave = np.concatenate([np.zeros(round(offset * rate_hz), np.int16), wave])
        return wave if self._end is None else wave[: round((self._end - self._start) * rate_hz)]
