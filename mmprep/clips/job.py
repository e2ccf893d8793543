"""Settings that all tasks of a build share, on whichever machine they run."""

from dataclasses import dataclass, replace
from typing import Final

from mmprep.config import PartsConfig
from mmprep.storage.access import RETRY_FOR_S, Access
from mmprep.storage.place import Raw

# Seconds of one core for one TV-L1 field of 341 x 256 pixels; time grows with the pixels.
_TVL1_S: Final = 1.0
# Times that the estimate of slow flow is granted: cores are shared, and wide pictures take longer.
_SPARE: Final = 4.0


def slow_flow_s(config: PartsConfig) -> float:
    """Seconds of one core that TV-L1 needs for one clip, about; 0 if it is not asked for."""
    if "flow" not in config.names or config.flow.algorithm != "tvl1":
        return 0.0
    pairs = config.flow.fields * max(1, round(config.clip_s * config.frames.fps))
    return pairs * _TVL1_S * (config.flow.short_side / 256) ** 2


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that a task needs besides its rows; small, and equal on every machine.

    Attributes:
        out: Folder or URL of the data set.
        endpoint: Address of an S3-compatible server that holds ``out`` and ``raw``; None takes it
            from the environment.
        raw: Folder with the clips, or URL of a bucket's prefix.
        config: Parts of each sample and their parameters.
        decoder: Decoder of the pictures, ``pyav`` or ``decord``.
        clip_timeout_s: Seconds after which the decoding of a clip is given up; the time that slow
            flow takes comes on top, see `limit_s`.
        anonymous: Whether the clips are read without credentials, as public buckets allow.
        retry_for_s: Seconds for which a request to a bucket that may succeed later is repeated.
    """

    out: str
    endpoint: str | None
    raw: Raw
    config: PartsConfig
    decoder: str = "pyav"
    clip_timeout_s: float = 60.0
    anonymous: bool = False
    retry_for_s: float = RETRY_FOR_S

    @property
    def out_access(self) -> Access:
        """Way to ``out``, which cannot be written without credentials."""
        return Access(endpoint=self.endpoint, retry_for_s=self.retry_for_s)

    @property
    def raw_access(self) -> Access:
        """Way to ``raw``."""
        return replace(self.out_access, anonymous=self.anonymous)

    @property
    def limit_s(self) -> float:
        """Seconds after which a clip is given up, with those that its flow may take."""
        return self.clip_timeout_s + _SPARE * slow_flow_s(self.config)
