"""Decides which reads are raced by a second request: Dean and Barroso, The Tail at Scale, 2013."""

from collections import deque
from typing import Final

# Hedging costs a request, so at most this share of the reads may be hedged, and only those that
# take longer than twice the 95th percentile of the last 256.
_HEDGED_SHARE: Final = 0.05
_HEDGE_QUANTILE: Final = 0.95
_HEDGE_FACTOR: Final = 2.0
_HEDGE_LEAST_S: Final = 0.005
_RECENT: Final = 256
# Reads between two computations of the percentile, which sorts.
_UPDATE_EVERY: Final = 32


class HedgeRule:
    """Decides from the durations of recent reads which reads are slow enough for a second request.

    Attributes:
        after_s: Seconds after which a read counts as slow; None until enough have been seen.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._seen = self._hedged = 0
        self.after_s: float | None = None

    def record(self, seconds: float) -> None:
        """Records the duration of a read that succeeded."""
        self._seen += 1
        self._recent.append(seconds)
        if self._seen % _UPDATE_EVERY == 0:
            slow = sorted(self._recent)[int(_HEDGE_QUANTILE * len(self._recent))]
            self.after_s = max(_HEDGE_LEAST_S, _HEDGE_FACTOR * slow)

    def may_hedge(self) -> bool:
        """Decides whether one more read may be hedged, and counts it if so."""
        if self._hedged + 1 > _HEDGED_SHARE * self._seen:
            return False
        self._hedged += 1
        return True
