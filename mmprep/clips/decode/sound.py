"""Decodes sound and places every frame at its time: gaps become silence, overlaps are cut."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from mmprep.clips.decode.bounds import MAX_SAMPLES
from mmprep.clips.decode.packets import AnyPacket
from mmprep.failure import ClipError

# Share of packets that may fail to decode.
_DAMAGE: Final = 0.1
# Containers round time stamps to milliseconds; a smaller deviation is no gap.
_TOLERANCE_S: Final = 0.004
# Vorbis has blocks of two lengths, which containers stamp by one end or the other.
_VORBIS_TOLERANCE_S: Final = 0.012
# A larger deviation is a gap at once. A smaller one must hold for some frames and some time: clips
# that were cut from live streams have stamps that are a frame off and come back.
_SURE_S: Final = 0.25
_HOLDS_FRAMES: Final = 4
_HOLDS_S: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Sound:
    """Sound of a clip.

    Attributes:
        wave: (samples,) mono, from the clip's start.
        start_s: Seconds from the clip's start to the first frame that decoded.
        bad: Number of packets that did not decode.
    """

    wave: NDArray[np.int16]
    start_s: float
    bad: int


def decode_sound(
    stream: AudioStream,
    packets: Sequence[AnyPacket],
    rate_hz: int,
    *,
    zero_s: float,
    length_s: float | None,
) -> Sound:
    """Decodes ``packets`` to mono sound.

    Args:
        stream: Stream of the packets.
        packets: Packets of the clip, and some before it.
        rate_hz: Sample rate of the result.
        zero_s: Time stamp of the clip's start in seconds.
        length_s: Seconds after which the sound is cut; None keeps all of it.

    Raises:
        ClipError: The cause is `unsupported-codec`, `too-large`, or `corrupt` if over a tenth of
            the packets does not decode.
    """
    vorbis = stream.codec_context.name.startswith("vorbis")
    samples = None if length_s is None else round(length_s * rate_hz)
    placer = _Placer(rate_hz, samples, _VORBIS_TOLERANCE_S if vorbis else _TOLERANCE_S)
    start_s: float | None = None
    bad = 0
    for frame in _decode(stream, packets):
        if frame is None:
            bad += 1
            placer.break_off()
            continue
        time_s = None if frame.time is None else frame.time - zero_s
        if start_s is None:
            start_s = time_s
        placer.add(frame, time_s)
    if bad > max(1, _DAMAGE * len(packets)):
        raise ClipError("audio", "corrupt", f"{bad} of {len(packets)} sound packets do not decode")
    return Sound(wave=placer.finish(), start_s=-zero_s if start_s is None else start_s, bad=bad)


def _decode(stream: AudioStream, packets: Sequence[AnyPacket]) -> Iterator[AudioFrame | None]:
    """Yields the frames of ``packets``, and None for each packet that does not decode."""
    for packet in [*packets, None]:
        try:
            yield from stream.codec_context.decode(packet)
        except av.error.DecoderNotFoundError as error:
            raise ClipError("audio", "unsupported-codec", "no decoder for the sound") from error
        except av.error.EOFError:
            return
        except av.FFmpegError:
            yield None


@dataclass
class _Run:
    """Frames without a gap between them, resampled as one stream.

    Attributes:
        start_s: Time of the first frame.
        shape: Format, layout and rate of the frames.
        resampler: Resampler of this run alone.
        frames_s: Seconds of the frames so far.
    """

    start_s: float
    shape: tuple[str, str, int]
    resampler: AudioResampler
    pieces: list[NDArray[np.int16]] = field(default_factory=list)
    frames_s: float = 0.0
    samples: int = 0

    @property
    def end_s(self) -> float:
        return self.start_s + self.samples / self.shape[2]

    def append(self, frame: AudioFrame) -> None:
        self.samples += frame.samples
        # The resampler gets one continuous stream; the run's start sets its time.
        frame.pts = None
        self.pieces += [f.to_ndarray()[0] for f in self.resampler.resample(frame)]

    def finish(self) -> NDArray[np.int16]:
        self.pieces += [f.to_ndarray()[0] for f in self.resampler.resample(None)]
        return np.concatenate(self.pieces) if self.pieces else np.zeros(0, np.int16)


def _shape(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


class _Placer:
    """Writes runs of frames into one wave, each at the time of its first frame."""

    def __init__(self, rate_hz: int, samples: int | None, tolerance_s: float) -> None:
        self._rate_hz, self._tolerance_s = rate_hz, tolerance_s
        self._samples = MAX_SAMPLES if samples is None else samples
        self._bounded = samples is None
        self._run: _Run | None = None
        self._placed: list[tuple[int, NDArray[np.int16]]] = []
        self._end = 0
        self._broken = False
        # Frames whose deviation from the run is not yet known to last, with their times.
        self._waiting: list[tuple[AudioFrame, float]] = []

    def break_off(self) -> None:
        """Notes that a packet before the next frame did not decode."""
        self._settle()
        self._broken = True

    def add(self, frame: AudioFrame, time_s: float | None) -> None:
        """Adds the next frame, which begins at ``time_s`` unless that is unknown."""
        if self._run is None:
            self._begin(frame, time_s or 0.0)
            return
        if _shape(frame) != self._run.shape:
            self._settle()
            end_s = self._run.end_s
            is_gap = time_s is not None and abs(time_s - end_s) > self._tolerance_s
            self._begin(frame, time_s if time_s is not None and is_gap else end_s)
            return
        if not self._waiting and self._continues(time_s):
            self._append(frame)
            return
        self._waiting.append((frame, self._expected_s() if time_s is None else time_s))
        self._place_waiting()

    def finish(self) -> NDArray[np.int16]:
        """Wave from the clip's start to the end of the last frame, or of the clip."""
        self._settle()
        self._close()
        wave = np.zeros(self._end, np.int16)
        for at, piece in self._placed:
            wave[at : at + len(piece)] = piece
        return wave

    def _continues(self, time_s: float | None) -> bool:
        """Whether a frame at ``time_s`` follows the run without a gap, as almost all do."""
        assert self._run is not None
        return time_s is None or abs(time_s - self._run.end_s) <= self._tolerance_s

    def _expected_s(self) -> float:
        """End of all frames so far, if the ones that wait lie where their stamps are."""
        assert self._run is not None
        if self._waiting:
            frame, time_s = self._waiting[-1]
            return time_s + frame.samples / frame.sample_rate
        return self._run.end_s

    def _place_waiting(self) -> None:
        """Appends the frames that continue the run, and begins a new run at a gap that lasts."""
        assert self._run is not None
        while self._waiting:
            gap_s = self._waiting[0][1] - self._run.end_s
            if abs(gap_s) <= self._tolerance_s:
                self._append(self._waiting.pop(0)[0])
            elif self._broken or abs(gap_s) > _SURE_S:
                self._begin(*self._waiting.pop(0))
            elif self._wanders(gap_s):
                self._append(self._waiting.pop(0)[0])
            elif self._lasts():
                self._begin(*self._waiting.pop(0))
            else:
                return

    def _wanders(self, gap_s: float) -> bool:
        """Whether a waiting frame's gap differs from ``gap_s``, that of the first."""
        assert self._run is not None
        end_s = self._run.end_s
        for frame, time_s in self._waiting:
            if abs(time_s - end_s - gap_s) > self._tolerance_s:
                return True
            end_s += frame.samples / frame.sample_rate
        return False

    def _lasts(self) -> bool:
        seconds = sum(frame.samples / frame.sample_rate for frame, _ in self._waiting)
        return len(self._waiting) >= _HOLDS_FRAMES and seconds >= _HOLDS_S

    def _settle(self) -> None:
        for frame, _ in self._waiting:
            self._append(frame)
        self._waiting.clear()

    def _append(self, frame: AudioFrame) -> None:
        assert self._run is not None
        self._broken = False
        self._run.append(frame)

    def _begin(self, frame: AudioFrame, start_s: float) -> None:
        self._close()
        # Frames of one second, because every frame costs a call and the stream's own are small.
        resampler = AudioResampler(
            format="s16", layout="mono", rate=self._rate_hz, frame_size=self._rate_hz
        )
        self._run = _Run(start_s=start_s, shape=_shape(frame), resampler=resampler)
        self._append(frame)

    def _close(self) -> None:
        if self._run is None:
            return
        piece, at = self._run.finish(), round(self._run.start_s * self._rate_hz)
        # What lies before the clip, or under the run before this one, is cut.
        if self._bounded and at + len(piece) > self._samples:
            raise ClipError("audio", "too-large", f"the sound lasts over {MAX_SAMPLES} samples")
        skipped = max(self._end - at, 0)
        piece, at = piece[skipped:], at + skipped
        piece = piece[: max(self._samples - at, 0)]
        if len(piece):
            self._placed.append((at, piece))
            self._end = at + len(piece)
        self._run = None
