"""Copies clips packet by packet, with packets changed or left out, as recorders leave them."""

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from av.packet import Packet
from numpy.typing import NDArray

Change = Callable[[Packet], Packet | None]


def remux(source: Path, target: Path, change: Change, **options: str) -> Path:
    """Copies ``source`` to ``target``; ``change`` gives what is written for each packet."""
    with (
        av.open(str(source)) as old,
        av.open(str(target), "w", container_options=dict(options)) as new,
    ):
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
        for packet in old.demux():
            if packet.size and (changed := change(packet)) is not None:
                changed.stream = streams[packet.stream.index]
                new.mux(changed)
    return target


def interleave(source: Path, target: Path) -> Path:
    """Copies ``source`` with its packets in the order of their times, as recorders write them."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
        packets = [packet for packet in old.demux() if packet.size]
        for packet in sorted(packets, key=lambda p: float((p.dts or 0) * p.time_base)):
            packet.stream = streams[packet.stream.index]
            new.mux(packet)
    return target


def seconds(packet: Packet) -> float:
    """Presentation time of ``packet``."""
    assert packet.pts is not None
    return float(packet.pts * packet.time_base)


def garbled(packet: Packet) -> Packet:
    """A packet with the times of ``packet`` and bytes that no decoder takes."""
    copy = Packet(b"\xff" * packet.size)
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.time_base = packet.time_base
    return copy


def beeps(length_s: float, rate: int = 48_000) -> NDArray[np.int16]:
    """Sound with 40 ms of 1 kHz in the middle of every second."""
    t = np.arange(round(length_s * rate)) / rate
    on = np.abs(t % 1 - 0.5) < 0.02
    return (16_384 * np.sin(2 * np.pi * 1000 * t) * on).astype(np.int16)


def beep_times(wave: NDArray[np.float32], rate: int = 16_000) -> list[float]:
    """Middle of every beep in ``wave``, in seconds."""
    loud = np.flatnonzero(np.abs(wave) > 0.05)
    if not len(loud):
        return []
    groups = np.split(loud, np.flatnonzero(np.diff(loud) > rate // 5) + 1)
    return [round((group[0] + group[-1]) / 2 / rate, 4) for group in groups]


def write_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Writes ``a b c d`` of a display matrix into the first track of an MP4."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # version 0: nine numbers after 40 bytes
    a, b, c, d = (value << 16 for value in matrix)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path
