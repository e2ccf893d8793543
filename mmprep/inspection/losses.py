"""Classes and splits of which most clips gave no sample: a data set that lacks them misleads."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mmprep.format import FAILURES
from mmprep.format.damage import naming_damage
from mmprep.format.fields import parse_json
from mmprep.shards import Shards

# Cause of the clips that were never downloaded; all other failures are of files that are there.
ABSENT: Final = "missing"
# Share of its clips below which a class or split counts as lost.
_KEPT: Final = 0.5
_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A class or a split that lost most of its clips.

    Attributes:
        kind: ``class`` or ``split``.
        name: Name of the class or split.
        samples: Number of its samples.
        listed: Number of its clips in the lists.
    """

    kind: str
    name: str
    samples: int
    listed: int


def losses(
    samples: Mapping[tuple[str, str], int], lost: Mapping[tuple[str, str], int]
) -> list[Loss]:
    """Returns splits, then classes, that keep less than half of their clips.

    Args:
        samples: Number of samples by label and split.
        lost: Number of clips without a sample by label and split.
    """
    found = []
    for kind, place in (("split", 1), ("class", 0)):
        kept, gone = _totals(samples, place), _totals(lost, place)
        # Clips with questions have no class of their own.
        for name in sorted(filter(None, gone)):
            if kept[name] < _KEPT * (kept[name] + gone[name]):
                listed = kept[name] + gone[name]
                found.append(Loss(kind=kind, name=name, samples=kept[name], listed=listed))
    return found


def losses_of(shards: Shards) -> list[Loss]:
    """Losses of a finished data set, from its counts and its list of failures.

    Raises:
        DataError: A line of the list is malformed; the message names it.
    """
    dataset = shards.dataset
    samples = {
        (label, split): count
        for split, info in dataset.splits.items()
        for label, count in info.classes.items()
    }
    if "questions" in dataset.additions:
        # Failed clips are counted, so clips are counted here too, and not their questions.
        clips = Counter[tuple[str, str]]()
        for shard in dataset.shards:
            clips["", shard.name.partition("/")[0]] += shard.samples
        samples = dict(clips)
    if not any(dataset.failures.values()) or shards.store.size(FAILURES) is None:
        return []
    lost: Counter[tuple[str, str]] = Counter()
    with shards.store.open(FAILURES) as file:
        for number, line in enumerate(file, 1):
            with naming_damage(f"{shards.store.url}/{FAILURES}, line {number}"):
                failure = parse_json(line)
                lost[str(failure.get("label")), str(failure.get("split"))] += 1
    return losses(samples, lost)


def loss_lines(found: Iterable[Loss]) -> list[str]:
    """Texts of losses, such as ``class dog: 1 of 52 clips``; of many classes, the first few."""
    lines = [
        f"{loss.kind} {loss.name}: {loss.samples:,} of {loss.listed:,} clips" for loss in found
    ]
    hidden = len(lines) - _SHOWN
    return lines if hidden <= 1 else [*lines[:_SHOWN], f"and {hidden:,} more"]


def _totals(counts: Mapping[tuple[str, str], int], place: int) -> Counter[str]:
    totals: Counter[str] = Counter()
    for pair, count in counts.items():
        totals[pair[place]] += count
    return totals
