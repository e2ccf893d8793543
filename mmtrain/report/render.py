"""The page: its head, then one section below the other."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from mmtrain import files
from mmtrain.report.markup import Cell, Markup, el
from mmtrain.report.runs.groups import Group, Spread, grouped
from mmtrain.report.runs.read import RunRecord, gather
from mmtrain.report.sections import curves, evaluations, results
from mmtrain.report.sections.curriculum import curricula

# Nothing outside the page may load, whatever a name of a class holds.
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_PARTS: Final = {
    "results": "Results",
    "curves": "Curves",
    "classes": "Classes",
    "probes": "Encoders",
    "method": "Method",
    "speed": "Throughput",
    "curriculum": "Curriculum",
}


def write(runs: Sequence[Path], html: Path, data: str | None = None) -> None:
    """Writes one HTML page about the runs, which loads nothing from anywhere.

    Args:
        runs: Folders; a run that is in progress is shown as far as it is.
        html: The page. There is the old one or the new one, never a half.
        data: Where the shards are, for pictures of samples, if they have moved.

    Raises:
        ConfigError: A folder holds no run.
        DataError: A file of a run is damaged; names it.
    """
    page = render(gather(runs), data)
    html.parent.mkdir(parents=True, exist_ok=True)
    files.replace(html, lambda file: file.write(page.encode()))


def render(records: Sequence[RunRecord], data: str | None = None) -> str:
    """The page's text."""
    groups = grouped(records)
    title = _title(records, groups)
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", title),
        el("style", Markup(resources.files("mmtrain.report").joinpath("page.css").read_text())),
    )
    sections = (
        results.results(groups),
        curves.measures(groups),
        evaluations.evaluations(groups),
        evaluations.probes(groups),
        curves.logged(groups),
        curves.speed(groups),
        curricula(groups, data),
    )
    body = el("body", el("main", _header(title, records, groups), *sections))
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def _title(records: Sequence[RunRecord], groups: Sequence[Group]) -> str:
    if len(records) == 1:
        return f"{groups[0].label}: {records[0].name}"
    labels = [group.label for group in groups]
    return ", ".join(labels) if len(labels) <= 3 else f"{len(records)} runs of {len(labels)} kinds"


def _header(title: str, records: Sequence[RunRecord], groups: Sequence[Group]) -> Markup:
    places = dict.fromkeys(record.config.data for record in records)
    seconds = sum(epoch.seconds for record in records for epoch in record.epochs)
    tiles: dict[str, Cell] = {
        "runs": _runs(records),
        "epochs": f"{sum(len(record.epochs) for record in records):,}",
        "training time": _duration(seconds),
    }
    for split in ("test", "val"):
        found = _best(groups, split)
        if found is not None:
            tiles[f"best accuracy, {split}"] = found
            break
    return el(
        "header",
        el("h1", title),
        el("p", "Trained on ", *_listed(places), class_="lead"),
        el("dl", *(el("div", el("dt", k), el("dd", v)) for k, v in tiles.items()), class_="tiles"),
        el("nav", *(el("a", name, href=f"#{anchor}") for anchor, name in _PARTS.items())),
    )


def _runs(records: Sequence[RunRecord]) -> Markup:
    ongoing = sum(record.result is None for record in records)
    said = f"{ongoing} in progress" if ongoing else None
    return el("span", f"{len(records):,}", said and el("span", said, class_="small"))


def _best(groups: Sequence[Group], split: str) -> Markup | None:
    """The highest mean accuracy, and whose it is."""

    def accuracy(run: RunRecord) -> float | None:
        said = run.test if split == "test" else run.val
        return None if said is None else said.fused.accuracy

    found: list[tuple[Spread, Group]] = [(group.spread(accuracy), group) for group in groups]
    there = [(spread, group) for spread, group in found if spread.known]
    if not there:
        return None
    spread, group = max(there, key=lambda each: each[0].mean)
    whose = el("span", group.label, class_="small") if len(groups) > 1 else None
    return el("span", f"{spread.told(2, 100)} %", whose)


def _listed(places: Sequence[str] | dict[str, None]) -> list[Cell]:
    found: list[Cell] = []
    for place in places:
        found += [", "] if found else []
        found.append(el("code", place))
    return found


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{minutes:.1f} min" if minutes >= 1 else f"{seconds:.1f} s"
