"""What was read, counted."""

from dataclasses import dataclass, fields


@dataclass
class Traffic:
    """What was read from the store, and what the cache spared it.

    Attributes:
        requests: Reads that were asked for, those that failed and those that raced included.
        bytes: That arrived and were wanted.
        retries: Reads that were asked for again because one had failed or was wrong.
        hedged: Second requests that raced a slow first one.
        cache_hits: Members that came from the cache.
        cache_bytes: Of those members.
    """

    requests: int = 0
    bytes: int = 0
    retries: int = 0
    hedged: int = 0
    cache_hits: int = 0
    cache_bytes: int = 0

    def add(self, other: "Traffic") -> None:
        """Adds up."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
