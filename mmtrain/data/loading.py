"""How hard the stream works. None of it changes what the batches hold."""

import os
from dataclasses import dataclass

from mmtrain.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How batches are made.

    Attributes:
        workers: Threads that decode; one a core by default.
        ahead: Batches that are made ahead of the one in use.
        requests: Reads at once from a bucket; a local disk is read by the threads that decode.
        skip_damaged: A sample whose bytes are damaged becomes a filler, and is counted, in place of
            stopping the run.
        pin: Batches lie in memory from which a GPU copies without waiting.
    """

    workers: int | None = None
    ahead: int = 2
    requests: int = 48
    skip_damaged: bool = False
    pin: bool = False

    def __post_init__(self) -> None:
        for name in ("workers", "ahead", "requests"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is at least 1; got {value}")

    @property
    def decoders(self) -> int:
        """Threads that decode."""
        return self.workers or len(os.sched_getaffinity(0))
