"""Counts of requests and bytes."""

from dataclasses import dataclass, fields


@dataclass
class Traffic:
    """Counts of what was read from the store, and of what came from the cache instead.

    Attributes:
        requests: Number of reads, those that failed and those that raced included.
        bytes: Number of bytes that were wanted and came from the store.
        retries: Number of reads that were repeated because one had failed or was damaged.
        hedged: Number of second requests that raced a slow first one.
        cache_hits: Number of members that came from the cache.
        cache_bytes: Number of bytes of those members.
    """

    requests: int = 0
    bytes: int = 0
    retries: int = 0
    hedged: int = 0
    cache_hits: int = 0
    cache_bytes: int = 0

    def add(self, other: "Traffic") -> None:
        """Adds the counts of ``other`` to these."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
