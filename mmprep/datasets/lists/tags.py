"""Lists of ids and their labels, where ``data/ID.jpg`` and ``data/ID.txt`` are a sample (MVSA).

Two forms: ``guid,tag``, and the data set's own ``ID<TAB>text,image`` with a label by the text and
one by the picture. Of two labels the one that is not neutral counts; a sample with both positive
and negative is left out, as in the papers.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mmprep.datasets.lists.listed import Lists, files, option
from mmprep.datasets.lists.text import line_error, lines
from mmprep.datasets.spec import Spec
from mmprep.manifest import Listed, safe_key
from mmprep.splits import SHARES, pick

log = logging.getLogger(__name__)

_NEUTRAL: Final = "neutral"
# Tags of samples that their authors keep for a contest.
_UNKNOWN: Final = ("", "null")


def read(lists: Lists, spec: Spec) -> list[Listed]:
    """Reads the labelled samples; the split of each is drawn by a hash of its id.

    Raises:
        ConfigError: The list is missing.
        DataError: A malformed line, or a label that is no class.
    """
    path = lists.need(files(spec, "all"), spec)
    shares = spec.lists.get("shares", SHARES)
    seed = option(spec, "seed", 0.0)
    clips: list[Listed] = []
    left_out: Counter[str] = Counter()
    for name, tags in _rows(path, spec):
        label = _joint_label(tags)
        if label not in spec.classes:
            left_out[label] += 1
            continue
        clips.append(
            Listed(
                key=safe_key(name),
                label=label,
                split=pick(name, shares, seed),
                names=dict.fromkeys(spec.sources, (f"data/{name}", name)),
            )
        )
    if left_out:
        log.info(
            "%s: %d samples are left out: %s",
            *(spec.name, left_out.total()),
            ", ".join(f"{count} {reason}" for reason, count in left_out.items()),
        )
    return clips


def _rows(path: Path, spec: Spec) -> Iterator[tuple[str, list[str]]]:
    """Yields the id and the one or two tags of each line."""
    for nth, (line, text) in enumerate(lines(path)):
        name, *tags = (field.strip() for field in re.split(r"[,\t]", text))
        if nth == 0 and name.lower() in ("id", "guid"):
            continue
        known = {*spec.classes, *_UNKNOWN}
        if not name.isdecimal() or len(tags) not in (1, 2) or not known.issuperset(tags):
            raise line_error(path, line, text, f"expected an id, then {', '.join(spec.classes)}")
        yield name, tags


def _joint_label(tags: list[str]) -> str:
    """Label of a sample, or the reason why it has none."""
    if any(tag in _UNKNOWN for tag in tags):
        return "without a label"
    telling = {tag for tag in tags if tag != _NEUTRAL}
    if len(telling) > 1:
        return "with opposite labels"
    return telling.pop() if telling else _NEUTRAL
