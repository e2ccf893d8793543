"""Threads, memory, requests and cache of a stream; none of it changes the batches."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from mmprep.storage.access import RETRY_FOR_S
from mmtrain.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Deadlines and repetitions of reads from a bucket.

    Attributes:
        backoff_s: Pause before the second try; it doubles with every further one up to five
            seconds, and is shortened at random by up to a half so that not all come back at once.
        deadline_s: Time limit of one request, to its last byte.
        give_up_s: Time limit of one read, all tries and pauses together; 0 is one try.
    """

    backoff_s: float = 0.2
    deadline_s: float = 30.0
    give_up_s: float = RETRY_FOR_S

    def __post_init__(self) -> None:
        for name in ("backoff_s", "deadline_s"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is above 0; got {getattr(self, name)}")
        if self.give_up_s < 0:
            raise ConfigError(f"give_up_s is at least 0; got {self.give_up_s}")


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """Resources that a stream uses.

    Attributes:
        workers: Number of threads that decode; one a core by default.
        ahead: Number of batches that are made ahead of the one in use.
        requests: Number of reads at once from a bucket; a local disk is read by the threads that
            decode.
        hedge: Whether a read that takes much longer than others is raced by a second one; at most
            one read in 20 is.
        retry: Deadlines and repetitions of reads from a bucket.
        cache: Folder of this machine that keeps what a bucket gave; several processes may share it.
        cache_bytes: Largest size of that folder in bytes.
        skip_damaged: Whether a sample with damaged bytes becomes a filler, and is counted, in place
            of stopping the run.
        pin: Whether batches lie in page-locked memory, from which a GPU copies without waiting.
    """

    workers: int | None = None
    ahead: int = 2
    requests: int = 48
    hedge: bool = True
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    cache: Path | None = None
    cache_bytes: int = 20_000_000_000
    skip_damaged: bool = False
    pin: bool = False

    def __post_init__(self) -> None:
        for name in ("workers", "ahead", "requests", "cache_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is at least 1; got {value}")

    @property
    def decoders(self) -> int:
        """Number of threads that decode."""
        return self.workers or len(os.sched_getaffinity(0))
