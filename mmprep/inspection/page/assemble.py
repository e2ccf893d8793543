"""The page of a data set: a header, then one section below the other."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rich.filesize import decimal

from mmprep.html.markup import Markup, document, el, join, note, section, tiles
from mmprep.inspection.info import summarise
from mmprep.inspection.page import sections
from mmprep.inspection.page.excerpt import (
    draw_rows,
    failure_examples,
    map_rows,
    summarise_records,
)
from mmprep.inspection.page.thumbs import Thumb, thumb
from mmprep.printable import counted
from mmprep.shards import Shards


def data_set_page(shards: Shards, *, thumbnails: int = 24, seed: int = 0) -> str:
    """Returns an HTML page about a finished data set, with pictures of some of its samples.

    Args:
        shards: Data set on disk or in a bucket. At most 512 records are read for durations.
        thumbnails: Number of samples shown, drawn at random.
        seed: Seed of both random draws; the same seed gives the same page.

    Raises:
        DataError: A sample that was read does not match its checksum or cannot be decoded.
    """
    summary = summarise(shards)
    thumbs = map_rows(partial(thumb, shards), draw_rows(shards, thumbnails, seed))
    records = summarise_records(shards, seed)
    return document(
        f"{summary['name']}: {counted(summary['samples'], 'sample')}",
        _header(summary),
        sections.classes(summary),
        sections.durations(records, summary["samples"]),
        sections.parts(summary),
        sections.checks(records),
        sections.failures(summary, failure_examples(shards)),
        _samples(thumbs, seed),
    )


def _header(summary: Mapping[str, Any]) -> Markup:
    numbers = {
        "samples": f"{summary['samples']:,}",
        "classes": f"{len(summary['classes']):,}",
        "bytes": decimal(summary["bytes"]),
        "shards": f"{summary['shards']:,}",
        "clips that failed": f"{sum(summary['broken'].values()):,}",
        "never downloaded": f"{summary['absent']:,}",
    }
    facts = {
        "splits": ", ".join(f"{name} {n:,}" for name, n in summary["splits"].items()),
        "modalities": ", ".join(summary["modalities"]),
        "seconds per clip": f"{summary['clip_s']:g}" if summary["clip_s"] else "",
        "licence": summary["licence"],
        "made by": ", ".join(f"{name} {v}" for name, v in summary["made_by"].items()),
    }
    lines = [
        (el("th", name, scope="row"), el("td", value)) for name, value in facts.items() if value
    ]
    root = (el("th", "root hash", scope="row"), el("td", el("code", summary["root"])))
    return el(
        "header",
        el("h1", summary["name"]),
        el("p", summary["title"], class_="lead"),
        tiles(numbers.items()),
        el("table", *(el("tr", *line) for line in (*lines, root)), class_="facts"),
    )


def _samples(thumbs: Sequence[Thumb], seed: int) -> Markup:
    if not thumbs:
        return join()
    text = (
        f"{len(thumbs):,} samples, drawn at random (seed {seed}): the picture from the middle of "
        "the clip, and its spectrogram."
    )
    return section("Samples", note(text), el("div", *map(_figure, thumbs), class_="samples"))


def _figure(shown: Thumb) -> Markup:
    whose = f"of {shown.key}, {shown.label}"
    facts = [shown.split] + ([] if shown.duration_s is None else [f"{shown.duration_s:.2f} s"])
    look = "picture tiny" if shown.tiny else "picture"
    picture, sound = shown.picture, shown.sound
    return el(
        "figure",
        picture and el("img", src=picture, alt=f"{shown.part} {whose}", class_=look),
        sound and el("img", src=sound, alt=f"spectrogram {whose}", class_="sound"),
        el(
            "figcaption",
            el("strong", shown.label),
            " · ".join(facts),
            el("br"),
            el("code", shown.key),
        ),
    )
