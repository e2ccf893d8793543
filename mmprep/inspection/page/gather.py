"""What the page needs beyond description and index: a few records and failures, read at once."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from mmprep.errors import DataError
from mmprep.format import FAILURES
from mmprep.shards import Shards

_RECORDS: Final = 512
_EXAMPLES: Final = 3
# A bucket answers in tens of milliseconds; so many requests at once keep a page to seconds.
_AT_ONCE: Final = 16

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Glance:
    """What a random draw of the records says.

    Attributes:
        read: How many records were read.
        durations_s: Length of each clip that has one in its record.
        checks: Check to how many of the records it is true for.
        decoders: Decoder to how many of the clips it decoded.
    """

    read: int
    durations_s: Sequence[float]
    checks: Mapping[str, int]
    decoders: Mapping[str, int]


def drawn(shards: Shards, count: int, seed: int) -> list[int]:
    """``count`` different rows at random, in their order; all where there are not more."""
    total = len(shards.index)
    chosen = np.random.default_rng(seed).choice(total, min(count, total), replace=False)
    return sorted(int(row) for row in chosen)


def at_once(function: Callable[[int], T], rows: Iterable[int]) -> list[T]:
    """``function`` of each row, several at a time, in the order of ``rows``."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(function, rows))


def glance(shards: Shards, seed: int) -> Glance:
    """Reads at most 512 records, drawn at random."""
    records = at_once(shards.record, drawn(shards, _RECORDS, seed))
    checks: Counter[str] = Counter()
    for record in records:
        checks.update({name: bool(value) for name, value in (record.get("checks") or {}).items()})
    return Glance(
        read=len(records),
        durations_s=[record["duration_s"] for record in records if record.get("duration_s")],
        checks=dict(sorted(checks.items())),
        decoders=Counter(str(record["decoder"]) for record in records if record.get("decoder")),
    )


def examples(shards: Shards) -> dict[str, list[dict[str, Any]]]:
    """The first few failures of each cause; reads no further than it must.

    Raises:
        DataError: A line that is no JSON object; names it.
    """
    found: dict[str, list[dict[str, Any]]] = {cause: [] for cause in shards.dataset.failures}
    wanted = {cause: min(n, _EXAMPLES) for cause, n in shards.dataset.failures.items()}
    if not any(wanted.values()) or shards.store.size(FAILURES) is None:
        return found
    with shards.store.open(FAILURES) as file:
        for number, line in enumerate(file, 1):
            try:
                failure = json.loads(line)
                same = found.setdefault(failure["cause"], [])
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{shards.store.url}/{FAILURES}, line {number}: {error!r}"
                ) from error
            if len(same) < _EXAMPLES:
                same.append(failure)
            if all(len(found[cause]) >= n for cause, n in wanted.items()):
                break
    return found
