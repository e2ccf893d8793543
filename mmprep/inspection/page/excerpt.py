"""A few records and failures of a data set, read several at a time."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from mmprep.format import FAILURES
from mmprep.format.damage import naming_damage
from mmprep.format.fields import parse_json
from mmprep.shards import Shards

_RECORDS: Final = 512
_EXAMPLES: Final = 3
# A bucket answers in tens of milliseconds; so many requests at once keep a page to seconds.
_THREADS: Final = 16

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RecordSummary:
    """Statistics of some records, drawn at random.

    Attributes:
        read: Number of records that were read.
        durations_s: Length in seconds of each clip whose record has one.
        checks: Check to the number of records for which it is true.
        decoders: Decoder to the number of clips that it decoded.
    """

    read: int
    durations_s: Sequence[float]
    checks: Mapping[str, int]
    decoders: Mapping[str, int]


def draw_rows(shards: Shards, count: int, seed: int) -> list[int]:
    """Draws ``count`` different rows of the index, in ascending order; all if there are fewer."""
    total = len(shards.index)
    chosen = np.random.default_rng(seed).choice(total, min(count, total), replace=False)
    return sorted(int(row) for row in chosen)


def map_rows(function: Callable[[int], T], rows: Iterable[int]) -> list[T]:
    """Calls ``function`` with each row in several threads; results are in the order of ``rows``."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(function, rows))


def summarise_records(shards: Shards, seed: int) -> RecordSummary:
    """Reads at most 512 records, drawn at random, and counts what they contain."""
    records = map_rows(shards.record, draw_rows(shards, _RECORDS, seed))
    checks: Counter[str] = Counter()
    for record in records:
        checks.update({name: bool(value) for name, value in (record.get("checks") or {}).items()})
    return RecordSummary(
        read=len(records),
        durations_s=[record["duration_s"] for record in records if record.get("duration_s")],
        checks=dict(sorted(checks.items())),
        decoders=Counter(str(record["decoder"]) for record in records if record.get("decoder")),
    )


def failure_examples(shards: Shards) -> dict[str, list[dict[str, Any]]]:
    """Returns the first few failures of each cause; stops reading when it has them.

    Raises:
        DataError: A line is no JSON object; the message names it.
    """
    by_cause: dict[str, list[dict[str, Any]]] = {cause: [] for cause in shards.dataset.failures}
    wanted = {cause: min(n, _EXAMPLES) for cause, n in shards.dataset.failures.items()}
    if not any(wanted.values()) or shards.store.size(FAILURES) is None:
        return by_cause
    with shards.store.open(FAILURES) as file:
        for number, line in enumerate(file, 1):
            place = f"{shards.store.url}/{FAILURES}, line {number}"
            with naming_damage(place, "run `mmprep verify`"):
                failure = {**parse_json(line)}
                same = by_cause.setdefault(str(failure["cause"]), [])
            if len(same) < _EXAMPLES:
                same.append(failure)
            if all(len(by_cause[cause]) >= n for cause, n in wanted.items()):
                break
    return by_cause
