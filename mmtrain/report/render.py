"""The page of runs: a header, then one section below the other."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from mmprep.html.markup import Child, Markup, document, el, join, tiles
from mmtrain import files
from mmtrain.report.runs.groups import Group, group_runs, measures_of
from mmtrain.report.runs.read import RunRecord, read_runs
from mmtrain.report.sections import curves, evaluations, results
from mmtrain.report.sections.by_noise import by_noise
from mmtrain.report.sections.curriculum import curricula
from mmtrain.report.sections.gaps import gaps
from mmtrain.report.sections.origins import origins
from mmtrain.tasks.measures import MEASURES, rank

_PARTS: Final = {
    "results": "Results",
    "settings": "Settings",
    "curves": "Curves",
    "gaps": "Gaps",
    "classes": "Classes",
    "noise": "Noise",
    "probes": "Encoders",
    "method": "Method",
    "speed": "Throughput",
    "curriculum": "Curriculum",
    "origins": "How it was made",
}


def write(runs: Sequence[Path], html: Path, data: str | None = None) -> None:
    """Writes an HTML page about the runs, which loads nothing from anywhere.

    Args:
        runs: Folders of runs; a run in progress is shown as far as it is.
        html: File to write. It is replaced in one step, so a reader never sees half a page.
        data: Place of the shards, for pictures of samples, if it is no longer that of the config.

    Raises:
        ConfigError: A folder holds no run.
        DataError: A file of a run is damaged; the message names it.
    """
    page = report_page(read_runs(runs), data)
    html.parent.mkdir(parents=True, exist_ok=True)
    files.replace(html, lambda file: file.write(page.encode()))


def report_page(records: Sequence[RunRecord], data: str | None = None) -> str:
    """Returns the HTML page about the runs ``records``; see `write`."""
    groups = group_runs(records)
    title = _title(records, groups)
    gap, noise = gaps(groups), by_noise(groups, data)
    absent = {anchor for anchor, part in (("gaps", gap), ("noise", noise)) if part is None}
    parts = {anchor: name for anchor, name in _PARTS.items() if anchor not in absent}
    return document(
        title,
        _header(title, records, groups, parts),
        results.results(groups),
        results.settings(groups),
        curves.measures(groups),
        gap,
        evaluations.evaluations(groups),
        noise,
        evaluations.probes(groups),
        curves.logged_quantities(groups),
        curves.speed(groups),
        curricula(groups, data),
        origins(groups, data),
    )


def _title(records: Sequence[RunRecord], groups: Sequence[Group]) -> str:
    if len(records) == 1:
        return f"{groups[0].label}: {records[0].name}"
    *others, last = (group.label for group in groups)
    if len(groups) <= 3:
        return f"{', '.join(others)} and {last}" if others else f"{last}, {len(records)} seeds"
    seeds = f" in {len(records)} runs" if len(records) > len(groups) else ""
    return f"Comparison of {len(groups)} configurations{seeds}"


def _header(
    title: str, records: Sequence[RunRecord], groups: Sequence[Group], parts: Mapping[str, str]
) -> Markup:
    places = dict.fromkeys(record.config.data for record in records)
    seconds = sum(epoch.seconds for record in records for epoch in record.epochs)
    numbers: dict[str, Child] = {
        "runs": _count(records),
        "epochs": f"{sum(len(record.epochs) for record in records):,}",
        "training time": _duration(seconds),
        **_best(groups),
    }
    return el(
        "header",
        el("h1", title),
        el("p", "Trained on ", _codes(list(places)), class_="lead"),
        tiles(numbers.items()),
        el("nav", *(el("a", name, href=f"#{anchor}") for anchor, name in parts.items())),
    )


def _count(records: Sequence[RunRecord]) -> Markup:
    ongoing = sum(record.result is None for record in records)
    remark = el("span", f"{ongoing} in progress", class_="small") if ongoing else None
    return el("span", f"{len(records):,}", remark)


def _best(groups: Sequence[Group]) -> dict[str, Child]:
    """Measure of the group that is best on val, on test where it was tested, under its title.

    Test has no part in the choice: the best of several test measures would be too good.
    """
    names = measures_of(groups)
    if not names:
        return {}
    name, measure = names[0], MEASURES[names[0]]

    def on_val(run: RunRecord) -> float | None:
        return None if run.val is None else run.val.fused.value(name)

    def on_test(run: RunRecord) -> float | None:
        return None if run.test is None else run.test.fused.value(name)

    by_val = [(group.spread(on_val), group) for group in groups]
    known = [(val, group) for val, group in by_val if val.known]
    if not known:
        return {}
    val, group = max(known, key=lambda pair: rank(name, pair[0].mean))
    test = group.spread(on_test)
    label = el("span", group.label, class_="small") if len(groups) > 1 else None
    choice = " of the best on val" if len(groups) > 1 else ""
    split, value = ("test", test) if test.known else ("val", val)
    text = value.text(measure.decimals, measure.scale) + (" %" if measure.percent else "")
    return {f"{split} {measure.title}{choice}": el("span", text, label)}


def _codes(places: Sequence[str]) -> Markup:
    codes: list[Child] = []
    for place in places:
        codes += [", "] if codes else []
        codes.append(el("code", place))
    return join(*codes)


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{minutes:.1f} min" if minutes >= 1 else f"{seconds:.1f} s"
