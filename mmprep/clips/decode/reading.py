"""Reads the packets of a span of a file, and no more of the file than that needs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from mmprep.clips.decode.clock import Clock, common_offsets_s
from mmprep.clips.decode.packets import AnyPacket
from mmprep.failure import ClipError

# Starts before this second are reached by reading from the beginning, which is as quick as seeking
# there, and always exact.
_SEEK_S: Final = 30.0
# Formats that index their packets. In others a seek may land behind the picture that is needed, or
# loses count of the time.
_INDEXED: Final = ("mov", "matroska")
# Sound before the start, from which the decoder of the sound gets its state.
_LEAD_S: Final = 0.5
# Packets of sound that hold more than that.
_LEAD_PACKETS: Final = 256
# Streams are interleaved within this many seconds: one that is silent for longer has ended. Files
# whose writer put one stream behind the other are known by a stream that has not begun.
_INTERLEAVE_S: Final = 5.0


@dataclass
class StreamPackets:
    """Packets of one stream of the span.

    Attributes:
        stream: Stream that they belong to.
        clock: Clock of the stream.
        kept: Whether the packets are kept; otherwise only clock and end are known.
        packets: Packets in the order of decoding.
        parts: Number of the part of the clock of each packet.
        first_chunks: Stamps of the first two packets of the file.
        pruned: Whether packets before the span were dropped.
        end_s: End of the last packet, on the file's clock.
        ended: Whether no more of the stream is wanted.
    """

    stream: VideoStream | AudioStream
    clock: Clock
    kept: bool = True
    packets: list[AnyPacket] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    first_chunks: list[int] = field(default_factory=list)
    pruned: bool = False
    end_s: float = -math.inf
    ended: bool = False
    _keys: list[int] = field(default_factory=list)

    def add(self, packet: AnyPacket, stamp_s: float | None, start_s: float) -> None:
        """Keeps ``packet``, and drops what lies before ``start_s`` and is not needed."""
        if packet.pts is not None:
            end = (packet.pts + (packet.duration or 0)) * self.clock.tick_s
            self.end_s = max(self.end_s, end + self.clock.offsets_s[-1])
        if len(self.first_chunks) < 2 and packet.dts is not None:
            self.first_chunks.append(packet.dts)
        if not self.kept:
            return
        if start_s > 0 and stamp_s is not None and stamp_s <= start_s:
            self._drop_early(packet, stamp_s, start_s)
        self.packets.append(packet)
        self.parts.append(self.clock.part)

    def _drop_early(self, packet: AnyPacket, stamp_s: float, start_s: float) -> None:
        first = 0
        if isinstance(self.stream, VideoStream):
            if packet.is_keyframe:
                # The first pictures of a group may refer to the group before it.
                self._keys = [*self._keys[-1:], len(self.packets)]
                first = self._keys[0]
                self._keys = [key - first for key in self._keys]
        elif stamp_s < start_s - _LEAD_S and len(self.packets) > 2 * _LEAD_PACKETS:
            first = len(self.packets) - _LEAD_PACKETS
        if first:
            self.pruned = True
            del self.packets[:first], self.parts[:first]


@dataclass(frozen=True, kw_only=True)
class Span:
    """Packets of a span of a file.

    Attributes:
        streams: Packets by the index of their stream.
        broke_off: Whether the file broke off while it was read.
    """

    streams: dict[int, StreamPackets]
    broke_off: bool


def read_span(
    container: InputContainer,
    streams: Sequence[VideoStream | AudioStream],
    *,
    start_s: float,
    end_s: float | None,
    measured: VideoStream | AudioStream | None = None,
) -> Span:
    """Reads the packets between two times of the file's clock.

    Args:
        container: File to read.
        streams: Streams to keep, pictures first.
        start_s: Time from which packets are wanted.
        end_s: Time up to which packets are wanted; None is the end of the file.
        measured: Stream of which only the times are wanted.

    Raises:
        ClipError: The cause is `encrypted`.
    """
    if start_s <= _SEEK_S:
        return _read(container, streams, measured, 0.0, end_s)
    if container.format.name.startswith(_INDEXED):
        try:
            container.seek(int((start_s - _LEAD_S) * av.time_base))
            span = _read(container, streams, measured, 0.0, end_s)
            if _reaches_back(span, start_s):
                return span
            container.seek(0)
        except av.FFmpegError:
            container.seek(0)
    return _read(container, streams, measured, start_s, end_s)


def _reaches_back(span: Span, start_s: float) -> bool:
    """Whether the first picture of ``span`` that can be decoded has begun at ``start_s``."""
    for held in span.streams.values():
        if isinstance(held.stream, VideoStream):
            stamps = (p.pts for p in held.packets if p.is_keyframe and p.pts is not None)
            first = min(stamps, default=None)
            return first is not None and first * float(held.stream.time_base or 0) <= start_s + 1e-6
    return True


def _read(
    container: InputContainer,
    streams: Sequence[VideoStream | AudioStream],
    measured: VideoStream | AudioStream | None,
    start_s: float,
    end_s: float | None,
) -> Span:
    table = {s.index: StreamPackets(s, Clock(float(s.time_base or 0))) for s in streams}
    if measured is not None:
        clock = Clock(float(measured.time_base or 0))
        table[measured.index] = StreamPackets(measured, clock, kept=False)
    if not table:
        return Span(streams={}, broke_off=False)
    # A second to spare, because packets come in the order of decoding.
    stop_s = math.inf if end_s is None else end_s + 1.0
    indexed = container.format.name.startswith("mov")
    broke_off = False
    try:
        for packet in container.demux([held.stream for held in table.values()]):
            held = table[packet.stream.index]
            stamp = packet.dts if packet.dts is not None else packet.pts
            if not packet.size:
                continue
            if held.kept and not held.packets and packet.has_sidedata("encryption_info"):
                raise ClipError("open", "encrypted", "the streams are encrypted (DRM)")
            stamp_s = None if stamp is None else held.clock.unwrap_s(stamp, packet.duration or 0)
            if not held.ended:
                held.add(packet, stamp_s, start_s)
            if stamp_s is not None and stamp_s > stop_s:
                held.ended = True
                late_s = stamp_s - stop_s
                if all(_has_ended(h, late_s, indexed=indexed) for h in table.values()):
                    break
    except av.FFmpegError:
        broke_off = True
    # The pictures' clock comes first: gaps in them are rarer than in sound.
    _put_on_one_clock(sorted(table.values(), key=lambda h: isinstance(h.stream, AudioStream)))
    return Span(streams=table, broke_off=broke_off)


def _has_ended(held: StreamPackets, late_s: float, *, indexed: bool) -> bool:
    """Whether no packet of the stream is wanted any more.

    Args:
        held: Packets of the stream so far.
        late_s: Seconds by which another stream has passed the end of what is wanted.
        indexed: Whether an index puts the packets of all streams in the order of their times, and
            tells how long each stream is.
    """
    if held.ended or not held.kept:
        return True
    if late_s > _INTERLEAVE_S and (held.packets or indexed):
        return True
    if not indexed or held.stream.duration is None:
        return False
    tick_s = float(held.stream.time_base or 0)
    header_end_s = ((held.stream.start_time or 0) + held.stream.duration) * tick_s
    return held.end_s >= header_end_s - tick_s


def _put_on_one_clock(table: Sequence[StreamPackets]) -> None:
    """Adds to every packet's stamps the offset of the part of the clock in which it lies."""
    offsets_s = common_offsets_s([held.clock for held in table])
    if len(offsets_s) == 1:
        return
    for held in table:
        tick_s = float(held.stream.time_base or 1)
        shift_s = offsets_s[held.clock.part] - held.clock.offsets_s[-1]
        held.end_s += shift_s
        for packet, part in zip(held.packets, held.parts, strict=True):
            ticks = round(offsets_s[part] / tick_s)
            if packet.pts is not None:
                packet.pts += ticks
            if packet.dts is not None:
                packet.dts += ticks
