"""Way to a bucket: which server, with which credentials, and for how long a fault is waited out."""

import re
from dataclasses import dataclass
from typing import Final

from mmprep.errors import ConfigError

RETRY_FOR_S: Final = 120.0
_UNITS: Final = {"": 1, "s": 1, "min": 60, "m": 60, "h": 3600}


@dataclass(frozen=True, kw_only=True)
class Access:
    """Way to a bucket; a folder needs none.

    Attributes:
        endpoint: Address of a server that speaks the bucket's protocol; None takes it from the
            environment, or is the provider's.
        anonymous: Whether to use no credentials, as public buckets allow.
        retry_for_s: Seconds for which a request that may succeed later is repeated; 0 never
            repeats one.
    """

    endpoint: str | None = None
    anonymous: bool = False
    retry_for_s: float = RETRY_FOR_S

    def __post_init__(self) -> None:
        if self.retry_for_s < 0:
            raise ConfigError(f"retry_for_s is at least 0; got {self.retry_for_s}")


def seconds_of(text: str) -> float:
    """Number of seconds that a text such as ``120s`` or ``2m`` stands for.

    Example:
        >>> seconds_of("120s"), seconds_of("1.5m"), seconds_of("30")
        (120.0, 90.0, 30.0)

    Raises:
        ConfigError: It is no such text.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]*)", text.strip())
    if not match or match[2] not in _UNITS:
        raise ConfigError(f"{text!r} is no time such as 120s, 2m or 1h")
    return float(match[1]) * _UNITS[match[2]]
