"""Sections of the page of a data set, one for each question that a user of the data may ask."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from rich.filesize import decimal

from mmprep.failure import CAUSES
from mmprep.html.charts import swatches
from mmprep.html.markup import Markup, el, folded, join, note, section, table
from mmprep.inspection.info import parameters
from mmprep.inspection.losses import ABSENT, Loss, loss_lines
from mmprep.inspection.page import charts
from mmprep.inspection.page.excerpt import RecordSummary

# With more classes, a bar on a line of its own each makes a list too long to take in at a glance.
_LISTED: Final = 40
_CHECKS: Final[Mapping[str, str]] = {
    "black": "every frame is almost black",
    "damaged": "part of the source could not be decoded; the rest was used",
    "duration_mismatch": "sound and picture, or the file and the listed clip, differ in length",
    "frozen": "all frames are almost the same",
    "clipped": "values of features were too large for their type, and were cut to its largest",
    "nonfinite": "values of features were infinite or no numbers; they are 0 now",
    "looped": "the sound is shorter than the clip and is repeated to fill it",
    "no_audio": "the source has no sound; silence stands in for it",
    "whole_video": "the file is a whole video; the clip was cut out at its listed times",
    "silent": "there is sound, but it is too quiet to be heard",
}


def classes(summary: Mapping[str, Any]) -> Markup:
    """Shows how many samples each class has, by split."""
    ranked = dict(sorted(summary["classes"].items(), key=lambda item: -sum(item[1].values())))
    if not ranked:
        return join()
    splits = list(summary["splits"])
    sums = [sum(by.values()) for by in ranked.values()]
    text = (
        f"{len(sums):,} classes; the largest has {sums[0]:,} samples, the smallest {sums[-1]:,}, "
        f"half of them {int(np.median(sums)):,} or more."
    )
    few = len(ranked) <= _LISTED
    return section(
        "Samples by class",
        note(text),
        swatches(splits),
        charts.rows(ranked) if few else charts.ranked(ranked),
        None if few else _all_classes(ranked, splits),
    )


def _all_classes(ranked: Mapping[str, Mapping[str, int]], splits: Sequence[str]) -> Markup:
    items = (
        el("li", el("span", name), el("b", " / ".join(f"{n:,}" for n in by.values())))
        for name, by in sorted(ranked.items())
    )
    title = f"All {len(ranked):,} classes ({' / '.join(splits)})"
    return folded(title, el("ul", *items, class_="columns"))


def durations(records: RecordSummary, samples: int) -> Markup:
    """Shows how long the clips are, as far as their records were read."""
    values = records.durations_s
    if not values:
        return join()
    low, middle, high = np.percentile(values, (0, 50, 100))
    which = (
        "all"
        if records.read == samples
        else f"{records.read:,} of the {samples:,} records, at random"
    )
    text = f"Shortest {low:.2f} s, median {middle:.2f} s, longest {high:.2f} s (read: {which})."
    return section(
        "Duration of the clips",
        note(text),
        el("div", charts.histogram("clips by duration", values, "s"), class_="grid"),
    )


def parts(summary: Mapping[str, Any]) -> Markup:
    """Shows how many bytes each part takes, and how it was made."""
    whole = sum(part["bytes"] for part in summary["parts"].values())
    rows = (
        (
            name,
            f"{part['members']:,}",
            decimal(part["bytes"]),
            decimal(round(part["bytes"] / max(1, summary["samples"]))),
            charts.share(part["bytes"], whole),
            parameters(part["parameters"]) or ("the record" if name == "json" else ""),
        )
        for name, part in summary["parts"].items()
    )
    head = ("part", "members", "bytes", "per sample", "share", "parameters")
    return section("Bytes by part", table(head, rows, numbers=(1, 2, 3)))


def checks(records: RecordSummary) -> Markup:
    """Shows for how many clips each check is true, and what that means."""
    if not records.checks:
        return join()
    rows = (
        (
            name.replace("_", " "),
            f"{count:,}",
            f"{100 * count / records.read:.1f} %",
            _CHECKS.get(name, ""),
        )
        for name, count in records.checks.items()
    )
    decoders = ", ".join(f"{name} {count:,}" for name, count in sorted(records.decoders.items()))
    text = f"Checks of the {records.read:,} records that were read."
    text += f" Decoded by: {decoders}." if decoders else ""
    head = ("check", "clips", "share", "meaning")
    return section("Unusual clips", note(text), table(head, rows, numbers=(1, 2)))


def failures(
    summary: Mapping[str, Any], examples: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Markup:
    """Shows how many clips gave no sample, and why; those never downloaded apart.

    Args:
        summary: Result of `mmprep.inspection.info.summarise`.
        examples: Cause to some of its lines of failures.jsonl.
    """
    lost = loss_lines(Loss(**loss) for loss in summary["losses"])
    return join(
        section("Lost most of their clips", el("ul", *(el("li", line) for line in lost)))
        if lost
        else None,
        _causes("Clips that failed", summary["broken"], examples),
        _causes("Clips that were never downloaded", {ABSENT: summary["absent"]}, examples)
        if summary["absent"]
        else None,
    )


def _causes(
    title: str,
    causes: Mapping[str, int],
    examples: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Markup:
    if not causes:
        return section(title, note("None."))
    rows = (
        (cause, f"{count:,}", CAUSES.get(cause, ""), _examples(examples.get(cause, ())))
        for cause, count in sorted(causes.items(), key=lambda item: -item[1])
    )
    head = ("cause", "clips", "meaning", "for example")
    return section(title, table(head, rows, numbers=(1,)))


def _examples(failures: Sequence[Mapping[str, Any]]) -> Markup:
    lines = (
        el("li", el("code", str(failure.get("source", ""))), f" {failure.get('message', '')}")
        for failure in failures
    )
    return el("ul", *lines)
