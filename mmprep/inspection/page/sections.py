"""Sections of the page: one for each question that somebody who gets the data set will ask."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from rich.filesize import decimal

from mmprep.failure import CAUSES
from mmprep.html.markup import Markup, el, join
from mmprep.inspection.info import parameters
from mmprep.inspection.page import charts
from mmprep.inspection.page.gather import Glance

# Beyond so many classes a bar a line is too long to be seen at a glance.
_LISTED: Final = 40


def section(title: str, *content: Markup | None) -> Markup:
    """One section under its title."""
    return el("section", el("h2", title), *content)


def classes(summary: Mapping[str, Any]) -> Markup:
    """How many samples each class has, by split."""
    ranked = dict(sorted(summary["classes"].items(), key=lambda item: -sum(item[1].values())))
    if not ranked:
        return join()
    splits = list(summary["splits"])
    sums = [sum(by.values()) for by in ranked.values()]
    said = (
        f"{len(sums):,} classes; the largest has {sums[0]:,} samples, the smallest {sums[-1]:,}, "
        f"half of them {int(np.median(sums)):,} or more."
    )
    caption = f"Samples of each class by split: {said}"
    few = len(ranked) <= _LISTED
    chart = charts.rows(ranked, caption) if few else charts.ranked(ranked, caption)
    return section(
        "Samples by class",
        el("p", said, class_="note"),
        charts.legend(splits),
        chart,
        None if few else _all_classes(ranked, splits),
    )


def _all_classes(ranked: Mapping[str, Mapping[str, int]], splits: Sequence[str]) -> Markup:
    items = (
        el("li", el("span", name), el("b", " / ".join(f"{n:,}" for n in by.values())))
        for name, by in sorted(ranked.items())
    )
    return el(
        "details",
        el("summary", f"All {len(ranked):,} classes ({' / '.join(splits)})"),
        el("ul", *items, class_="columns"),
    )


def durations(seen: Glance, samples: int) -> Markup:
    """How long the clips are, as far as their records were read."""
    values = seen.durations_s
    if not values:
        return join()
    which = (
        "all" if seen.read == samples else f"{seen.read:,} of the {samples:,} records, at random"
    )
    low, middle, high = np.percentile(values, (0, 50, 100))
    said = f"Shortest {low:.2f} s, median {middle:.2f} s, longest {high:.2f} s (read: {which})."
    return section(
        "Duration of the clips",
        el("p", said, class_="note"),
        charts.histogram(values, "s", f"Histogram of durations. {said}"),
    )


def parts(summary: Mapping[str, Any]) -> Markup:
    """How many bytes each part takes, and how it was made."""
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
    head = ("part", "members", "bytes", "a sample", "share", "parameters")
    return section("Bytes by part", _table(head, rows, numbers=(1, 2, 3)))


def checks(seen: Glance) -> Markup:
    """What the checks found in the records that were read."""
    if not seen.checks:
        return join()
    rows = (
        (name.replace("_", " "), f"{count:,}", f"{100 * count / seen.read:.1f} %")
        for name, count in seen.checks.items()
    )
    by = ", ".join(f"{name} {count:,}" for name, count in sorted(seen.decoders.items()))
    said = f"In the {seen.read:,} records that were read." + (f" Decoded by: {by}." if by else "")
    table = _table(("check", "true for", "share"), rows, numbers=(1, 2))
    return section("What was noticed", el("p", said, class_="note"), table)


def failures(causes: Mapping[str, int], found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Markup:
    """Which clips gave no sample, and why."""
    if not causes:
        return section("Clips without a sample", el("p", "None.", class_="note"))
    rows = (
        (cause, f"{count:,}", CAUSES.get(cause, ""), _lines(found.get(cause, ())))
        for cause, count in sorted(causes.items(), key=lambda item: -item[1])
    )
    head = ("cause", "clips", "meaning", "for example")
    return section("Clips without a sample", _table(head, rows, numbers=(1,)))


def _lines(failures: Sequence[Mapping[str, Any]]) -> Markup:
    lines = (
        el("li", el("code", str(failure.get("source", ""))), f" {failure.get('message', '')}")
        for failure in failures
    )
    return el("ul", *lines)


def _table(
    head: Sequence[str], rows: Iterable[tuple[str | Markup, ...]], numbers: Sequence[int]
) -> Markup:
    kind = ["n" if i in numbers else None for i in range(len(head))]
    title = (el("th", name, scope="col", class_=k) for name, k in zip(head, kind, strict=True))
    body = (
        el("tr", *(el("td", cell, class_=k) for cell, k in zip(row, kind, strict=True)))
        for row in rows
    )
    narrow = "narrow" if len(head) < 4 else None
    return el("div", el("table", el("tr", *title), *body, class_=narrow), class_="scroll")
