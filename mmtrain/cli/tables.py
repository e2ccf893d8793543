"""Tables of evaluations and probes on a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from mmprep.cli.group import counted
from mmtrain.names import short_names
from mmtrain.tasks.measures import MEASURES, shown

_PROBED: Final = ("accuracy", "map", "macro_f1")
# With more classes than this a matrix is wider than a terminal.
_MATRIX: Final = 12
_CLASSES: Final = 40
_PAIRS: Final = 10
_COLUMNS: Final = 7


def show(parts: Iterable[str | Table]) -> None:
    """Prints texts and tables to stdout, with a blank line between two of them."""
    # Names of classes may hold brackets, which rich would take for markup.
    console = Console(markup=False, highlight=False, emoji=False)
    for i, part in enumerate(parts):
        if i:
            console.print()
        # A path that is broken over two lines cannot be copied.
        console.print(part, soft_wrap=isinstance(part, str))


def evaluation(report: Mapping[str, Any]) -> list[str | Table]:
    """Title and tables of a report of `mmtrain.evaluation.evaluate.evaluate`."""
    epoch, samples = report["best_epoch"] + 1, counted(report["samples"], "sample")
    title = f"{report['run']}: {report['method']}, epoch {epoch}, {samples} of {report['split']}"
    parts: list[str | Table] = [title + _skipped(report), _fused(report)]
    parts += [_settings(report, kind) for kind in ("missing", "noise") if report.get(kind)]
    if "groups" in report:
        parts.append(_groups(report))
    if "segments" in report:
        parts.append(_segments(report))
    if "by_class" in report:
        parts.append(_by_class(report))
        parts.append(_matrix(report) if len(report["classes"]) <= _MATRIX else _pairs(report))
    return parts


def evaluations(reports: Sequence[Mapping[str, Any]]) -> list[str | Table]:
    """One table of the reports of several runs, and where the rest of them is."""
    if not reports:
        return []
    measures = shown(name for report in reports for name in report)
    modalities = list(dict.fromkeys(m for report in reports for m in report["modalities"]))
    first = measures[0]
    rows = []
    for report, name in zip(reports, _run_names(reports), strict=True):
        own = (report["modalities"].get(m, {}).get(first) for m in modalities)
        values = [*(report.get(measure) for measure in measures), *own]
        rows.append([name, *map(_number, values)])
    table = _rows([f"{reports[0]['split']} split", *map(_name, measures), *modalities], rows)
    title = f"Below a modality: {_name(first)} of the run's own logits of it."
    settings = sum(len(report[kind]) for report in reports for kind in ("missing", "noise"))
    if settings:
        title += (
            f" The {counted(settings, 'setting')} with missing modalities and noise are in the "
            "files of the runs; `mmtrain report` draws them."
        )
    return [table, title]


def probes_of_all(reports: Sequence[Mapping[str, Any]]) -> list[str | Table]:
    """One table of the probes of several runs."""
    if not reports:
        return []
    rows = []
    for report, name in zip(reports, _run_names(reports), strict=True):
        for modality, values in report["modalities"].items():
            alone = values["alone"] or {}
            row = [*(_number(values[each]) for each in (*_PROBED, "own_accuracy"))]
            row += [_number(alone.get("accuracy")), _signed(alone.get("gap"))]
            rows.append([name, modality, *row])
    columns = ["modality", *map(_name, _PROBED), "own", "alone", "gap"]
    return [_rows([f"probes on {reports[0]['split']}", *columns], rows)]


def _run_names(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ends of the runs' folders, for a table has no room for whole paths."""
    return short_names([Path(report["run"]) for report in reports])


def probes(report: Mapping[str, Any]) -> list[str | Table]:
    """Title and table of a report of `mmtrain.evaluation.probe.probe`."""
    by_modality = report["modalities"]
    table = _table("probe", *map(_name, _PROBED), "strength", "own accuracy")
    partners = any(values["alone"] for values in by_modality.values())
    if partners:
        table.add_column("alone", justify="right")
        table.add_column("gap", justify="right")
    for modality, values in by_modality.items():
        alone = values["alone"] or {}
        row = [*(_number(values[name]) for name in _PROBED), f"{values['strength']:g}"]
        row.append(_number(values["own_accuracy"]))
        if partners:
            row += [_number(alone.get("accuracy")), _signed(alone.get("gap"))]
        table.add_row(modality, *row)
    chosen = "chosen on val"
    if report["strength_from"] == "fixed":
        chosen = "fixed, for there is no val split to choose it on"
    title = f"{report['run']}: {report['method']}, linear probes on {report['split']}"
    return [f"{title}; strength {chosen}{_skipped(report)}", table]


def _skipped(report: Mapping[str, Any]) -> str:
    count = report["skipped"]
    return f"; {counted(count, 'damaged sample')} left out" if count else ""


def _fused(report: Mapping[str, Any]) -> Table:
    measures, ahead = (*shown(report), "loss"), report["discrepancy"]
    columns = ["", *map(_name, measures), *(["discrepancy"] if ahead else [])]
    rows = [["fused", *(_number(report[name]) for name in measures), *([""] if ahead else [])]]
    for modality, values in report["modalities"].items():
        rho = [_number(ahead[modality])] if ahead else []
        rows.append([modality, *(_number(values[name]) for name in measures), *rho])
    return _narrow(columns, rows)


def _settings(report: Mapping[str, Any], kind: str) -> Table:
    """Table of the settings of ``missing`` modalities, or of ``noise`` on them."""
    settings = report[kind]
    measures = shown(name for setting in settings for name in setting)
    rows = []
    for setting in settings:
        if kind == "missing":
            texts = [f"{m} {100 * rate:g}%" for m, rate in setting["rates"].items()]
        else:
            texts = [f"{m} {level:g}" for m, level in setting["levels"].items()]
        cells = [_with_deviation(setting.get(name), setting["draws"]) for name in measures]
        rows.append([", ".join(texts), str(setting["draws"]), *cells])
    return _narrow([kind, "draws", *map(_name, measures)], rows)


def _narrow(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Table that is turned on its side where it has more columns than a terminal has room for."""
    if len(columns) > _COLUMNS:
        columns, *rows = [list(line) for line in zip(columns, *rows, strict=True)]
    return _rows(columns, rows)


def _rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = _table(*columns)
    for row in rows:
        table.add_row(*row)
    return table


def _groups(report: Mapping[str, Any]) -> Table:
    """Table of the accuracy by group, of the fused logits and of each modality's own."""
    modalities = report["modalities"]
    table = _table("group", "samples", "accuracy", *modalities)
    for name, values in report["groups"].items():
        own = (_number(each["groups"][name]["accuracy"]) for each in modalities.values())
        table.add_row(name, str(values["count"]), _number(values["accuracy"]), *own)
    return table


def _segments(report: Mapping[str, Any]) -> Table:
    """Table of the accuracy at each place of a sample."""
    table = _table("segment", *(str(i + 1) for i in range(len(report["segments"]))))
    table.add_row("accuracy", *map(_number, report["segments"]))
    return table


def _by_class(report: Mapping[str, Any]) -> Table:
    classes, title = report["by_class"], "class"
    if len(classes) > _CLASSES:
        present = [each for each in classes if each["count"]]
        classes = sorted(present, key=lambda each: each["accuracy"])[: _CLASSES // 2]
        title = f"class (the worst {len(classes)})"
    counts = "segments" if "segments" in report else "samples"
    table = _table(title, counts, "accuracy", "AP", "F1")
    for each in classes:
        numbers = (_number(each[name]) for name in ("accuracy", "ap", "f1"))
        table.add_row(each["name"], str(each["count"]), *numbers)
    return table


def _matrix(report: Mapping[str, Any]) -> Table:
    names = [str(i) for i in range(len(report["classes"]))]
    table = _table("true \\ predicted", *names)
    for i, (name, row) in enumerate(zip(report["classes"], report["confusion"], strict=True)):
        table.add_row(f"{i} {name}", *(str(count) if count else "." for count in row))
    return table


def _pairs(report: Mapping[str, Any]) -> Table:
    """Table of the most frequent confusions; the whole matrix is in the file."""
    wrong = np.array(report["confusion"])
    np.fill_diagonal(wrong, 0)
    table = _table("true", "samples", "predicted instead")
    for pair in np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS].tolist():
        true, predicted = divmod(pair, len(wrong))
        if count := int(wrong[true, predicted]):
            table.add_row(report["classes"][true], str(count), report["classes"][predicted])
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _name(measure: str) -> str:
    return MEASURES[measure].title if measure in MEASURES else measure


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _with_deviation(spread: Mapping[str, float] | None, count: int) -> str:
    if spread is None:
        return _number(None)
    return _number(spread["mean"]) + (f" ± {_number(spread['std'])}" if count > 1 else "")
