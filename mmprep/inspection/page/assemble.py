"""The page of a data set: a header, then one section below the other."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from rich.filesize import decimal

from mmprep.html.markup import Markup, document, el, join, note, section, shorten, tiles
from mmprep.inspection.info import summarise
from mmprep.inspection.page import sections
from mmprep.inspection.page.excerpt import (
    draw_rows,
    failure_examples,
    map_rows,
    summarise_records,
)
from mmprep.inspection.page.thumbs import Thumb, thumb
from mmprep.inspection.picture.segments import Run
from mmprep.inspection.picture.view import Asked
from mmprep.printable import counted
from mmprep.shards import Shards

# Questions that are shown of one clip.
_QUESTIONS: Final = 4


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
    text = f"{len(thumbs):,} samples, drawn at random (seed {seed}): {_contents(thumbs)}."
    return section("Samples", note(text), el("div", *map(_figure, thumbs), class_="samples"))


def _contents(thumbs: Sequence[Thumb]) -> str:
    """Names of what the samples show, as a list in words."""
    names = [
        "the picture from the middle of the clip" if any(t.picture for t in thumbs) else "",
        "its spectrogram" if any(t.sound for t in thumbs) else "",
        *dict.fromkeys(f"the {part}" for t in thumbs for part in (*t.texts, *t.sequences)),
        "the questions about it" if any(t.questions for t in thumbs) else "",
        "the classes of its segments" if any(t.segments for t in thumbs) else "",
    ]
    *most, last = [name for name in names if name] or ["their labels"]
    return f"{', '.join(most)} and {last}" if most else last


def _words(part: str, text: str, *, several: bool) -> Markup:
    """A text in the direction of its first letter, under the name of its part if it has company."""
    name = el("span", part, class_="small") if several else None
    return el("div", name, el("div", text.strip() or "(no letters)", dir="auto"), class_="words")


def _questions(questions: Sequence[Asked]) -> Markup:
    """Questions with their answers, the sample's own in bold, and how many more there are."""
    first = sorted(questions, key=lambda asked: not asked.own)[:_QUESTIONS]
    lines = [
        el(
            "li",
            el("b" if asked.own else "span", shorten(asked.text, 140), dir="auto"),
            f" → {asked.answer}",
        )
        for asked in questions
        if asked in first
    ]
    more = len(questions) - len(lines)
    return el("ul", *lines, el("li", f"and {more:,} more") if more else None, class_="words")


def _strip(runs: Sequence[Run], whose: str) -> Markup:
    boxes = (
        el("i", style=f"flex:{run.count};background:{run.colour}", title=f"{run.name}: {run.count}")
        for run in runs
    )
    colours = {run.name: run.colour for run in runs}
    names = (
        el("span", el("i", style=f"background:{colour}"), name) for name, colour in colours.items()
    )
    strip = el("div", *boxes, class_="segments", role="img", aria_label=f"segments {whose}")
    return join(strip, el("div", *names, class_="words names"))


def _figure(shown: Thumb) -> Markup:
    whose = f"of {shown.key}, {shown.label}"
    facts = [shown.split] + ([] if shown.duration_s is None else [f"{shown.duration_s:.2f} s"])
    facts += [] if shown.score is None else [f"target {shown.score:g}"]
    facts += [f"lacks {name}" for name in shown.missing]
    look = "picture tiny" if shown.tiny else "picture"
    picture, sound = shown.picture, shown.sound
    return el(
        "figure",
        picture and el("img", src=picture, alt=f"{shown.part} {whose}", class_=look),
        sound and el("img", src=sound, alt=f"spectrogram {whose}", class_="sound"),
        *(
            el("img", src=address, alt=f"{part} {whose}", title=part, class_="sound")
            for part, address in shown.sequences.items()
        ),
        _strip(shown.segments, whose) if shown.segments else None,
        *(_words(part, text, several=len(shown.texts) > 1) for part, text in shown.texts.items()),
        _questions(shown.questions) if shown.questions else None,
        el(
            "figcaption",
            el("strong", shown.label),
            " · ".join(facts),
            el("br"),
            el("code", shown.key),
        ),
    )
