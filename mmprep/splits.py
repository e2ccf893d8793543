"""Splits drawn by hashes of names, so that a clip's split does not depend on other clips."""

import hashlib
from collections.abc import Mapping
from typing import Final

# Shares of the splits where neither lists nor folders name any.
SHARES: Final[Mapping[str, float]] = {"train": 0.8, "val": 0.1, "test": 0.1}


def hash_share(name: str, seed: float) -> float:
    """A number in [0, 1) that depends on ``name`` and ``seed`` only."""
    digest = hashlib.sha256(f"{seed:g}:{name}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def pick(name: str, shares: Mapping[str, float] = SHARES, seed: float = 0.0) -> str:
    """Returns the split of ``name``, which does not depend on other names.

    Example:
        >>> pick("cat/a.mp4", {"train": 0.8, "val": 0.1, "test": 0.1}, seed=0)
        'train'
    """
    place = hash_share(name, seed) * sum(shares.values())
    for split, share in shares.items():
        place -= share
        if place < 0:
            return split
    return next(split for split in shares if shares[split])  # Only rounding leads here.
