"""Repairs of time: clocks that restart, and AVI files, which store an order instead of times."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

# Decoding times only grow; one that falls by more than this many seconds begins a new clock.
_BACK_S: Final = 0.5
# Empty chunks behind the first picture of an AVI that stand for the encoder's delay.
_DELAY_SLOTS: Final = 2


class Clock:
    """Time stamps of one stream, made to grow where the file's clock restarts.

    Two recordings that were joined bring two clocks. Each part of the stream that has a clock of
    its own is numbered; `offsets_s` holds what must be added to the stamps of each part.

    Attributes:
        tick_s: Seconds of one tick of the stream.
        offsets_s: Seconds to add to the stamps of each part.
    """

    def __init__(self, tick_s: float) -> None:
        self.tick_s = tick_s
        self._last: int | None = None
        self._next = 0
        self.offsets_s = [0.0]

    @property
    def part(self) -> int:
        """Number of the part of the last packet."""
        return len(self.offsets_s) - 1

    def unwrap_s(self, stamp: int, duration: int) -> float:
        """Seconds of the next packet's ``stamp``, on a clock that never restarts."""
        if self._last is not None and (self._last - stamp) * self.tick_s > _BACK_S:
            self.offsets_s.append(self.offsets_s[-1] + (self._next - stamp) * self.tick_s)
        self._last, self._next = stamp, stamp + duration
        return stamp * self.tick_s + self.offsets_s[-1]


def common_offsets_s(clocks: Sequence[Clock]) -> list[float]:
    """Offsets for all streams of a file, so that each part keeps pictures and sound in step.

    Args:
        clocks: Clocks of the streams; the first that has a part sets its offset.
    """
    parts = max(len(clock.offsets_s) for clock in clocks)
    return [
        next(clock.offsets_s[part] for clock in clocks if part < len(clock.offsets_s))
        for part in range(parts)
    ]


def avi_slots(chunks: Sequence[int], delay: int, hole: int) -> list[int]:
    """Number of the frame interval in which each picture of an AVI appears, in display order.

    An AVI has one chunk for each interval; an empty one leaves the picture before on display. The
    decoder gives a picture when it reads the chunk that is ``delay`` behind it.

    Args:
        chunks: Numbers of the chunks that hold a picture, ascending.
        delay: Number of pictures that the decoder holds back.
        hole: Number of empty chunks behind the first picture, see `delay_hole`.
    """
    last = len(chunks) - 1
    slots: list[int] = []
    for number in range(len(chunks)):
        source = number + delay
        beyond = max(source - last, 0)
        chunk = chunks[min(source, last)] + beyond
        slot = chunk - delay - (hole if chunk > hole else 0)
        slots.append(max(slot, slots[-1] + 1 if slots else 0))
    return slots


def delay_hole(chunks: Sequence[int]) -> int:
    """Number of empty chunks behind the first of ``chunks`` that an encoder's delay left there."""
    if len(chunks) < 2:
        return 0
    hole = chunks[1] - chunks[0] - 1
    return hole if hole <= _DELAY_SLOTS else 0


def is_whole_avi(path: Path) -> bool:
    """Whether the file at ``path`` is as long as its RIFF header says."""
    with path.open("rb") as file:
        head = file.read(8)
        file.seek(0, 2)
        return file.tell() >= int.from_bytes(head[4:8], "little") + 8
