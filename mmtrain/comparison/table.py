"""The table of a comparison: its rows as plain values, and the texts of its cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mmtrain.config.run import TrainConfig
from mmtrain.metrics import mean_and_std
from mmtrain.tasks.measures import MEASURES, shown

# Columns where nothing was measured.
_NONE: Final = ("accuracy", "map", "macro_f1")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Results of one entrant.

    Attributes:
        label: Name of the entrant.
        config: Config of its runs, the seed apart.
        setting: Setting that tuning chose, as text; None if nothing was tuned.
        results: Seed to the content of RUN/result.json, for the runs that are finished.
    """

    label: str
    config: TrainConfig
    setting: str | None
    results: Mapping[int, Mapping[str, Any]]


def row_json(row: Row) -> dict[str, Any]:
    """The row as plain values: means and standard deviations over seeds, None without a result.

    ``split`` is the split that was measured: test, or val where there is no test, or None where
    there is neither.
    """
    results = list(row.results.values())
    splits = [s for s in ("test", "val") if results and all(r[s] for r in results)]
    measured = [result[splits[0]] for result in results] if splits else []
    names = shown(measured[0]) if measured else _NONE
    return {
        "label": row.label,
        "method": row.config.method,
        "curriculum": row.config.curriculum,
        "setting": row.setting,
        "epochs": row.config.epochs,
        "batch_size": row.config.batch_size,
        "seeds": list(row.results),
        "runs": [result["run"] for result in results],
        "split": splits[0] if splits else None,
        **{name: _over_seeds([values[name] for values in measured]) for name in names},
        "modalities": {
            m: {names[0]: _over_seeds([v["modalities"][m][names[0]] for v in measured])}
            for m in row.config.modalities
        },
        "seconds_an_epoch": _over_seeds([r["train_seconds"] / r["epochs"] for r in results]),
    }


def heads(table: Mapping[str, Any]) -> list[str]:
    """Titles of the columns."""
    titles = [MEASURES[name].title for name in measured(table)]
    return [
        "method",
        "seeds",
        "epochs x batch",
        *titles,
        *_modalities(table),
        *(f"probe of {modality}" for modality in probed(table)),
        *compared_with(table),
        "s an epoch",
    ]


def cells(table: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    """Texts of a row, one for each of `heads`."""
    names, count = measured(table), len(row["seeds"])
    texts = [_shown_cell(name, row.get(name), count) for name in names]
    for modality in _modalities(table):
        name, value = next(iter(row["modalities"].get(modality, {names[0]: None}).items()))
        texts.append(_shown_cell(name, value, count))
    for modality in probed(table):
        probe = row.get("probes", {}).get(modality, {})
        texts.append(cell(probe.get("accuracy"), count, 100))
    compared = (
        [_difference(row.get("against"), all_measures(table)[0])] if compared_with(table) else []
    )
    budget = f"{row['epochs']} x {row['batch_size']}" if row["epochs"] else "-"
    return [
        row.get("title", row["label"]),
        str(count) if row["epochs"] else "-",
        budget,
        *texts,
        *compared,
        cell(row["seconds_an_epoch"], count),
    ]


def grid_lines(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown; columns after the first are to the right."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    marks = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]
        for line in (titles, marks, *rows)
    ]
    return [f"| {' | '.join(texts)} |" for texts in padded]


def _modalities(table: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(m for row in table["rows"] for m in row["modalities"]))


def probed(table: Mapping[str, Any]) -> list[str]:
    """Modalities whose encoders were probed."""
    return list(dict.fromkeys(m for row in table["rows"] for m in row.get("probes", ())))


def compared_with(table: Mapping[str, Any]) -> list[str]:
    """Title of the column of differences; none where nothing was compared."""
    compared = any("against" in row for row in table["rows"])
    return [f"against {table['baseline']}"] if compared else []


def _difference(against: Mapping[str, Any] | None, name: str) -> str:
    """Difference with its interval, and the verdict."""
    if against is None:
        return "-"
    measure = MEASURES[name]
    mean, low, high = (measure.scale * against[end] for end in ("mean", "low", "high"))
    d = measure.decimals - 1
    return f"{mean:+.{d}f} [{low:+.{d}f}, {high:+.{d}f}] {against['verdict']}"


def measures_of(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Measures that some row has, the one that stands for the task first."""
    return shown(name for row in rows for name in row if row[name] is not None)


def all_measures(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Measures of a table's rows; those of classification where none has any."""
    return measures_of(table["rows"]) or _NONE


def measured(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Measures with a column: those that are asked for, or all."""
    asked = shown(table.get("show", ()))
    return asked or all_measures(table)


def measure_cell(name: str, value: float | None) -> tuple[str, str]:
    """Title of a measure, and a single value of it as text."""
    measure = MEASURES[name]
    spread = None if value is None else {"mean": value, "std": 0.0}
    return measure.title, cell(spread, 1, measure.scale, measure.decimals)


def _shown_cell(name: str, value: Mapping[str, float] | None, count: int) -> str:
    measure = MEASURES[name]
    return cell(value, count, measure.scale, measure.decimals)


def cell(
    value: Mapping[str, float] | None, count: int, factor: float = 1, decimals: int = 2
) -> str:
    """Mean and deviation as text, or the mean of a single seed alone.

    Args:
        value: ``mean`` and ``std``; None where nothing was measured.
        count: Number of seeds.
        factor: Factor on both.
        decimals: Decimals of both.
    """
    if value is None:
        return "-"
    deviation = f" ± {factor * value['std']:.{decimals}f}" if count > 1 else ""
    return f"{factor * value['mean']:.{decimals}f}{deviation}"


def _over_seeds(values: Sequence[float | None]) -> dict[str, float] | None:
    """Mean and deviation; None without a value, or where a seed has none that is defined."""
    known = [value for value in values if value is not None]
    return mean_and_std(known) if known and len(known) == len(values) else None
