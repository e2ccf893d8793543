"""Results side by side, and the settings: those in which runs differ and those that all share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from mmprep.html.charts import key
from mmprep.html.markup import Child, Markup, el, folded, note, section, table
from mmtrain.config.run import CHOICES
from mmtrain.report.charts.seeds import SeedRow, seed_marks
from mmtrain.report.runs.groups import (
    Group,
    Spread,
    common_settings,
    differences,
    measures_of,
    modalities_of,
    unimodal,
)
from mmtrain.report.runs.read import RunRecord
from mmtrain.report.runs.records import FUSED, SplitMeasures
from mmtrain.tasks.measures import MEASURES

# Settings that a reader looks for first; the others are folded away.
_MAIN: Final[tuple[str, ...]] = (
    *("data", "modalities", "method", "curriculum", "encoder", "fusion", "epochs", "batch_size"),
    *("optimizer.name", "optimizer.lr", "optimizer.weight_decay", "schedule.name"),
    *("view.frames", "view.size", "precision", "select"),
)


class _Column(NamedTuple):
    """A column of numbers.

    Attributes:
        over: Title above the columns that belong together.
        title: Title of the column itself.
        pick: Value of a run.
        scale: Factor on the value.
        decimals: Number of decimals.
    """

    over: str
    title: str
    pick: Callable[[RunRecord], float | None]
    scale: float = 100
    decimals: int = 2


class _Row(NamedTuple):
    """The first cell of a row, and the runs of the row."""

    head: Markup
    group: Group


def results(groups: Sequence[Group]) -> Markup:
    """Shows one row a group; rows of single runs are folded away."""
    columns = _columns(groups)
    each = [
        _Row(_of_run(run, group), Group(label="", style=0, runs=(run,), config={}))
        for group in groups
        for run in group.runs
    ]
    names = measures_of(groups)
    text = (
        f"{percent_of(names)} at the epoch that was best on val; test was evaluated once. Own "
        f"logits: {MEASURES[names[0]].title if names else 'accuracy'} of the run's prediction from "
        "that modality only."
    )
    if any(unimodal(group.first.config) for group in groups) and len(groups) > 1:
        text += " Rows named MODALITY-alone are unimodal models, trained on that modality only."
    if len(each) > len(groups):
        text += " Mean ± standard deviation over the finished seeds."
    return section(
        "Results",
        note(text),
        _wide(columns, [_Row(_of_group(group), group) for group in groups]),
        _seeds(groups),
        folded(f"All {len(each)} runs", _wide(columns, each)) if len(each) > 1 else None,
        anchor="results",
    )


def _seeds(groups: Sequence[Group]) -> Markup | None:
    """Draws the first measure of each seed, on test where it was tested; None for single runs."""
    names = measures_of(groups)
    if not names or all(len(group.runs) == 1 for group in groups):
        return None
    measure = MEASURES[names[0]]
    tested = any(run.test for group in groups for run in group.runs)
    rows = []
    for group in groups:
        splits = {run.config.seed: run.test if tested else run.val for run in group.runs}
        values = {seed: own.fused.value(names[0]) for seed, own in splits.items() if own}
        known = {s: measure.scale * v for s, v in values.items() if not np.isnan(v)}
        rows.append(SeedRow(group.label, group.style, known))
    split = "test" if tested else "val"
    return seed_marks(f"{measure.title}, {split}{measure.unit}, each seed, and their mean", rows)


def settings(groups: Sequence[Group]) -> Markup:
    """Shows the settings that differ between groups, and those that all groups share."""
    shared = common_settings(groups)
    first = {name: shared[name] for name in _MAIN if name in shared}
    rest = {name: value for name, value in shared.items() if name not in first}
    title = "Shared by all runs" if len(groups) > 1 else None
    return section(
        "Settings",
        _differing(groups),
        title and el("h3", title),
        _pairs(first),
        folded(f"{len(rest)} more settings", _pairs(rest)) if rest else None,
        anchor="settings",
    )


def _pairs(values: Mapping[str, str]) -> Markup:
    items = (el("li", el("code", name), el("b", value)) for name, value in values.items())
    return el("ul", *items, class_="columns")


def _columns(groups: Sequence[Group]) -> list[_Column]:
    def picker(
        split: Callable[[RunRecord], SplitMeasures | None], head: str, measure: str
    ) -> Callable[[RunRecord], float | None]:
        def pick(run: RunRecord) -> float | None:
            of_split = split(run)
            measures = None if of_split is None else of_split.head(head)
            return None if measures is None else measures.value(measure)

        return pick

    def test(run: RunRecord) -> SplitMeasures | None:
        return run.test

    def val(run: RunRecord) -> SplitMeasures | None:
        return run.val

    def of_split(name: str, split: Callable[[RunRecord], SplitMeasures | None]) -> list[_Column]:
        fused = [
            _column(name, MEASURES[m].title, m, picker(split, FUSED, m))
            for m in measures_of(groups)
        ]
        own = [
            _column(f"{name}, own logits", m, first, picker(split, m, first))
            for first in measures_of(groups)[:1]
            for m in modalities_of(groups)
        ]
        return fused + own

    runs = [run for group in groups for run in group.runs]
    columns = of_split("test", test) if any(run.test for run in runs) else []
    columns += of_split("val", val) if any(run.val for run in runs) else []
    return [
        *columns,
        _Column("best", "epoch", _best_epoch, 1, 1),
        _Column("speed", "s/epoch", _seconds, 1, 1),
        _Column("speed", "samples/s", _speed, 1, 0),
    ]


def percent_of(names: Sequence[str]) -> str:
    """Beginning of a note about the units of measures."""
    plain = [MEASURES[name].title for name in names if not MEASURES[name].percent]
    return f"Percent, but for {' and '.join(plain)}," if plain else "Percent,"


def _column(over: str, title: str, name: str, pick: Callable[[RunRecord], float | None]) -> _Column:
    """A column of the measure ``name``."""
    measure = MEASURES[name]
    return _Column(over, title, pick, measure.scale, measure.decimals)


def _best_epoch(run: RunRecord) -> float | None:
    """Number of the best epoch, counted from 1 as on all axes of the page."""
    return None if run.best is None else run.best + 1


def _seconds(run: RunRecord) -> float:
    return Spread.of(epoch.seconds for epoch in run.epochs).mean


def _speed(run: RunRecord) -> float:
    seconds = sum(epoch.seconds for epoch in run.epochs)
    visits = sum(epoch.seconds * epoch.samples_per_s for epoch in run.epochs)
    return visits / seconds if seconds else float("nan")


def _wide(columns: Sequence[_Column], rows: Sequence[_Row]) -> Markup:
    """Returns a table with two rows of titles, the upper one for columns that belong together.

    No cell is bold: the highest mean need not be a difference, which `compare` tests.
    """
    overs = [column.over for column in columns]
    begins = [i for i, over in enumerate(overs) if i == 0 or overs[i - 1] != over]
    ends = [*begins[1:], len(overs)]
    above = [
        el("th", overs[i], colspan=end - i, class_="from")
        for i, end in zip(begins, ends, strict=True)
    ]
    titles = [
        el("th", column.title, class_="n from" if i in begins else "n")
        for i, column in enumerate(columns)
    ]
    values = [[row.group.spread(column.pick) for column in columns] for row in rows]
    body = []
    for row, spreads in zip(rows, values, strict=True):
        cells: list[Child] = []
        for i, (column, spread) in enumerate(zip(columns, spreads, strict=True)):
            mean, plus, std = spread.text(column.decimals, column.scale).partition(" ± ")
            more = el("span", f"± {std}", class_="small") if plus else None
            cells.append(el("td", mean, more, class_="n from" if i in begins else "n"))
        body.append(el("tr", el("td", row.head), *cells))
    head = (el("tr", el("th"), *above, class_="over"), el("tr", el("th"), *titles))
    return el("div", el("table", *head, *body, class_="wide"), class_="scroll")


def _of_group(group: Group) -> Markup:
    config = group.first.config
    seeds = ", ".join(str(run.config.seed) for run in group.runs)
    many = f"{len(group.runs)} seeds ({seeds})" if len(group.runs) > 1 else f"seed {seeds}"
    ongoing = [run for run in group.runs if run.result is None]
    return el(
        "span",
        key(group.style),
        el("strong", group.label),
        el("span", f"{' + '.join(config.modalities)}, {config.curriculum} order", class_="small"),
        el("span", many, class_="small"),
        *(el("span", _progress(run), class_="small") for run in ongoing),
    )


def _of_run(run: RunRecord, group: Group) -> Markup:
    lines = [f"{group.label}, seed {run.config.seed}"]
    lines += [_progress(run)] if run.result is None else []
    return el("span", run.name, *(el("span", line, class_="small") for line in lines))


def _progress(run: RunRecord) -> str:
    return f"{run.name}: in progress, epoch {len(run.epochs)} of {run.config.epochs} done"


def _differing(groups: Sequence[Group]) -> Markup | None:
    different = differences(groups)
    if not different:
        return None
    rows: list[Sequence[Child]] = []
    for choice in CHOICES:
        # Parameters of one method are absent elsewhere. All of them in one row: with a row for
        # each, they would hide the settings that can be compared.
        prefix = f"settings.{choice}."
        own = {
            name: values
            for name, values in different.items()
            if name.startswith(prefix) and "-" in values
        }
        different = {name: values for name, values in different.items() if name not in own}
        texts = [
            ", ".join(
                f"{name.removeprefix(prefix)} {values[i]}"
                for name, values in own.items()
                if values[i] != "-"
            )
            for i in range(len(groups))
        ]
        if own:
            rows.append((el("code", f"settings.{choice}"), *(text or "-" for text in texts)))
    rows = [*((el("code", name), *values) for name, values in different.items()), *rows]
    head = ("", *(group.label for group in groups))
    return el("div", el("h3", "What differs, seeds apart"), table(head, rows, numbers=()))
