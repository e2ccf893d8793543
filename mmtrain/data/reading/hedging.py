"""Decides which reads are raced by a second request: Dean and Barroso, The Tail at Scale, 2013."""

from collections import deque
from typing import Final

# Hedging costs a request, so at most this share of the reads may be hedged, and only those that
# take longer than twice the 95th percentile of the last 256 of a like size.
_HEDGED_SHARE: Final = 0.05
_HEDGE_QUANTILE: Final = 0.95
_HEDGE_FACTOR: Final = 2.0
_HEDGE_LEAST_S: Final = 0.005
_RECENT: Final = 256
# Reads between two computations of the percentile, which sorts.
_UPDATE_EVERY: Final = 32


class HedgeRule:
    """Decides from the durations of recent reads which reads are slow enough for a second request.

    Reads are compared with those of a like size: the first of an epoch are small.
    """

    def __init__(self) -> None:
        self._durations: dict[int, _Durations] = {}
        self._seen = self._hedged = 0

    def after_s(self, size: int) -> float | None:
        """Seconds after which a read of ``size`` bytes is slow; None if too few are known."""
        known = self._durations.get(_class_of(size))
        return known.slow_s if known else None

    def record(self, seconds: float, size: int) -> None:
        """Records the duration of a read of ``size`` bytes that succeeded."""
        self._seen += 1
        self._durations.setdefault(_class_of(size), _Durations()).add(seconds)

    def may_hedge(self) -> bool:
        """Decides whether one more read may be hedged, and counts it if so."""
        if self._hedged + 1 > _HEDGED_SHARE * self._seen:
            return False
        self._hedged += 1
        return True


class _Durations:
    """Durations of the latest reads of one class, and when one is slow."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._seen = 0
        self.slow_s: float | None = None

    def add(self, seconds: float) -> None:
        self._seen += 1
        self._recent.append(seconds)
        if self._seen % _UPDATE_EVERY == 0:
            slow = sorted(self._recent)[int(_HEDGE_QUANTILE * len(self._recent))]
            self.slow_s = max(_HEDGE_LEAST_S, _HEDGE_FACTOR * slow)


def _class_of(size: int) -> int:
    """Class of sizes, each of which begins at four times the bytes of the one before."""
    return size.bit_length() // 2
