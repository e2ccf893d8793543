"""The results side by side, and what the runs differ in."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mmtrain.config.run import CHOICES
from mmtrain.report.charts.lines import style
from mmtrain.report.markup import Cell, Markup, el, folded, note, section, table
from mmtrain.report.runs.groups import Group, Spread, differences, modalities_of
from mmtrain.report.runs.read import RunRecord
from mmtrain.report.runs.records import FUSED, MEASURES, Judged


class _Column(NamedTuple):
    """A column of numbers.

    Attributes:
        over: Title of the columns that belong together.
        title: Its own.
        pick: Of a run.
        scale: What is shown is so many times the value.
        decimals: Shown.
        ranked: The highest is shown in bold.
    """

    over: str
    title: str
    pick: Callable[[RunRecord], float | None]
    scale: float = 100
    decimals: int = 2
    ranked: bool = True


class _Row(NamedTuple):
    """Runs that a row is of, and its first cell."""

    head: Markup
    group: Group


def results(groups: Sequence[Group]) -> Markup:
    """One row a group; what its runs did one by one is folded away."""
    columns = _columns(groups)
    each = [
        _Row(_of_run(run, group), Group(label="", style=0, runs=(run,), config={}))
        for group in groups
        for run in group.runs
    ]
    said = (
        "Percent, at the epoch that was best on val; test was looked at once. "
        "A modality alone: accuracy by its own logits."
    )
    if len(each) > len(groups):
        said += " Mean ± standard deviation over the seeds that are finished."
    return section(
        "results",
        "Results",
        note(said),
        _wide(columns, [_Row(_of_group(group), group) for group in groups]),
        folded(f"All {len(each)} runs", _wide(columns, each)) if len(each) > 1 else None,
        _differing(groups),
    )


def _columns(groups: Sequence[Group]) -> list[_Column]:
    def judged(
        split: Callable[[RunRecord], Judged | None], head: str, measure: str
    ) -> Callable[[RunRecord], float | None]:
        def pick(run: RunRecord) -> float | None:
            said = split(run)
            found = None if said is None else said.head(head)
            return None if found is None else float(getattr(found, measure))

        return pick

    def test(run: RunRecord) -> Judged | None:
        return run.test

    def val(run: RunRecord) -> Judged | None:
        return run.val

    def of_split(name: str, split: Callable[[RunRecord], Judged | None]) -> list[_Column]:
        fused = [_Column(name, said, judged(split, FUSED, m)) for m, said in MEASURES.items()]
        own = [
            _Column(f"{name}, alone", m, judged(split, m, "accuracy"))
            for m in modalities_of(groups)
        ]
        return fused + own

    runs = [run for group in groups for run in group.runs]
    columns = of_split("test", test) if any(run.test for run in runs) else []
    columns += of_split("val", val) if any(run.val for run in runs) else []
    return [
        *columns,
        _Column("best", "epoch", lambda run: _counted(run.best), 1, 1, ranked=False),
        _Column("speed", "s/epoch", _seconds, 1, 1, ranked=False),
        _Column("speed", "samples/s", _speed, 1, 0, ranked=False),
    ]


def _counted(epoch: int | None) -> float | None:
    return None if epoch is None else epoch + 1


def _seconds(run: RunRecord) -> float:
    return Spread.of(epoch.seconds for epoch in run.epochs).mean


def _speed(run: RunRecord) -> float:
    seconds = sum(epoch.seconds for epoch in run.epochs)
    visits = sum(epoch.seconds * epoch.samples_per_s for epoch in run.epochs)
    return visits / seconds if seconds else float("nan")


def _wide(columns: Sequence[_Column], rows: Sequence[_Row]) -> Markup:
    """A table with titles over the titles."""
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
    found = [[row.group.spread(column.pick) for column in columns] for row in rows]
    best = [
        _highest([spreads[i].mean for spreads in found]) if column.ranked else ()
        for i, column in enumerate(columns)
    ]
    body = []
    for number, (row, spreads) in enumerate(zip(rows, found, strict=True)):
        cells: list[Cell] = []
        for i, (column, spread) in enumerate(zip(columns, spreads, strict=True)):
            mean, plus, std = spread.told(column.decimals, column.scale).partition(" ± ")
            text = el("b", mean) if number in best[i] else mean
            more = el("span", f"± {std}", class_="small") if plus else None
            cells.append(el("td", text, more, class_="n from" if i in begins else "n"))
        body.append(el("tr", el("td", row.head), *cells))
    head = (el("tr", el("th"), *above, class_="over"), el("tr", el("th"), *titles))
    return el("div", el("table", *head, *body, class_="wide"), class_="scroll")


def _highest(values: Sequence[float]) -> tuple[int, ...]:
    """Where the largest is; nowhere where there is nothing to compare, or all are the same."""
    there = {value for value in values if not np.isnan(value)}
    if len(there) < 2:
        return ()
    return tuple(i for i, value in enumerate(values) if value == max(there))


def _of_group(group: Group) -> Markup:
    config = group.first.config
    seeds = ", ".join(str(run.config.seed) for run in group.runs)
    many = f"{len(group.runs)} seeds ({seeds})" if len(group.runs) > 1 else f"seed {seeds}"
    open_ = [run for run in group.runs if run.result is None]
    return el(
        "span",
        el("i", class_=f"key {style(group.style)}"),
        el("strong", group.label),
        el("span", f"{' + '.join(config.modalities)}, {config.curriculum} order", class_="small"),
        el("span", many, class_="small"),
        *(el("span", _progress(run), class_="small") for run in open_),
    )


def _of_run(run: RunRecord, group: Group) -> Markup:
    said = [f"{group.label}, seed {run.config.seed}"]
    said += [_progress(run)] if run.result is None else []
    return el("span", run.name, *(el("span", line, class_="small") for line in said))


def _progress(run: RunRecord) -> str:
    return f"{run.name}: in progress, epoch {len(run.epochs)} of {run.config.epochs} done"


def _differing(groups: Sequence[Group]) -> Markup | None:
    found = differences(groups)
    if not found:
        return None
    rows: list[Sequence[Cell]] = []
    for choice in CHOICES:
        # What only some have is theirs by what was chosen; a line of each would hide the rest.
        prefix = f"settings.{choice}."
        own = {
            key: values for key, values in found.items() if key.startswith(prefix) and "-" in values
        }
        found = {key: values for key, values in found.items() if key not in own}
        told = [
            ", ".join(
                f"{key.removeprefix(prefix)} {values[i]}"
                for key, values in own.items()
                if values[i] != "-"
            )
            for i in range(len(groups))
        ]
        if own:
            rows.append((el("code", f"settings.{choice}"), *(text or "-" for text in told)))
    rows = [*((el("code", key), *values) for key, values in found.items()), *rows]
    head = ("", *(group.label for group in groups))
    return el(
        "div",
        el("h3", "What differs"),
        note("Everything else in their configs is the same, seeds apart."),
        table(head, rows, words=len(head)),
    )
