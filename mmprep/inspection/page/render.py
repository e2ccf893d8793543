"""The page: its head, then one section below the other."""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources
from typing import Any, Final

from rich.filesize import decimal

from mmprep.html.markup import Markup, el, join
from mmprep.inspection.info import summarise
from mmprep.inspection.page import sections
from mmprep.inspection.page.gather import at_once, drawn, examples, glance
from mmprep.inspection.page.thumbs import Thumb, thumb
from mmprep.shards import Shards

# Nothing outside the page may load, whatever a label holds.
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render(shards: Shards, *, thumbnails: int = 24, seed: int = 0) -> str:
    """One HTML page about a finished data set, with pictures of some of its samples in it.

    Args:
        shards: The data set, on disk or in a bucket. At most 512 records are read for durations.
        thumbnails: Samples shown, drawn at random.
        seed: Of both draws: the same seed gives the same page.

    Raises:
        DataError: A sample that was read does not fit its checksum or does not decode.
    """
    summary = summarise(shards)
    shown = at_once(partial(thumb, shards), drawn(shards, thumbnails, seed))
    name = summary["name"]
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{name}: {summary['samples']:,} samples"),
        el("style", Markup(_style())),
    )
    seen = glance(shards, seed)
    body = el(
        "body",
        el(
            "main",
            _header(summary),
            sections.classes(summary),
            sections.durations(seen, summary["samples"]),
            sections.parts(summary),
            sections.checks(seen),
            sections.failures(summary["failures"], examples(shards)),
            _samples(shown, seed),
        ),
    )
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def _style() -> str:
    return (
        resources.files("mmprep.inspection.page").joinpath("page.css").read_text(encoding="utf-8")
    )


def _header(summary: Mapping[str, Any]) -> Markup:
    tiles = {
        "samples": f"{summary['samples']:,}",
        "classes": f"{len(summary['classes']):,}",
        "bytes": decimal(summary["bytes"]),
        "shards": f"{summary['shards']:,}",
        "clips without a sample": f"{summary['failed']:,}",
    }
    facts = {
        "splits": ", ".join(f"{name} {n:,}" for name, n in summary["splits"].items()),
        "modalities": ", ".join(summary["modalities"]),
        "seconds a clip": f"{summary['clip_s']:g}" if summary["clip_s"] else "",
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
        el("dl", *(el("div", el("dt", k), el("dd", v)) for k, v in tiles.items()), class_="tiles"),
        el("table", *(el("tr", *line) for line in (*lines, root))),
    )


def _samples(shown: Sequence[Thumb], seed: int) -> Markup:
    if not shown:
        return join()
    said = (
        f"{len(shown):,} drawn at random (seed {seed}): the picture in the middle, and the sound."
    )
    figures = el("div", *map(_figure, shown), class_="samples")
    return sections.section("Samples", el("p", said, class_="note"), figures)


def _figure(shown: Thumb) -> Markup:
    whose = f"of {shown.key}, {shown.label}"
    parts = [shown.split] + ([] if shown.duration_s is None else [f"{shown.duration_s:.2f} s"])
    style = "picture tiny" if shown.tiny else "picture"
    picture, sound = shown.picture, shown.sound
    return el(
        "figure",
        picture and el("img", src=picture, alt=f"{shown.part} {whose}", class_=style),
        sound and el("img", src=sound, alt=f"spectrogram {whose}", class_="sound"),
        el(
            "figcaption",
            el("strong", shown.label),
            " · ".join(parts),
            el("br"),
            el("code", shown.key),
        ),
    )
