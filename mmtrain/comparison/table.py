"""The table of a comparison, as JSON and as markdown."""

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


def markdown(table: Mapping[str, Any]) -> str:
    """The table for readers, with shares in percent and notes below it."""
    text = _grid(heads(table), [cells(table, row) for row in table["rows"]])
    return "\n".join([*text, "", *_shares(table), *_notes(table)]) + "\n"


def heads(table: Mapping[str, Any]) -> list[str]:
    """Titles of the columns."""
    titles = [MEASURES[name].title for name in _measured(table)]
    return [
        "method",
        "seeds",
        "epochs x batch",
        *titles,
        *_modalities(table),
        *(f"probe of {modality}" for modality in _probed(table)),
        *_against(table),
        "s an epoch",
    ]


def cells(table: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    """Texts of a row, one for each of `heads`."""
    names, count = _measured(table), len(row["seeds"])
    texts = [_shown_cell(name, row.get(name), count) for name in names]
    for modality in _modalities(table):
        ((name, value),) = row["modalities"].get(modality, {names[0]: None}).items()
        texts.append(_shown_cell(name, value, count))
    for modality in _probed(table):
        probe = row.get("probes", {}).get(modality, {})
        texts.append(_cell(probe.get("accuracy"), count, 100))
    compared = [_difference(row.get("against"), names[0])] if _against(table) else []
    budget = f"{row['epochs']} x {row['batch_size']}"
    return [
        row["label"],
        str(count),
        budget,
        *texts,
        *compared,
        _cell(row["seconds_an_epoch"], count),
    ]


def _grid(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
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


def _probed(table: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(m for row in table["rows"] for m in row.get("probes", ())))


def _against(table: Mapping[str, Any]) -> list[str]:
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


def _shares(table: Mapping[str, Any]) -> list[str]:
    """What each modality adds to the accuracy, and the calibration, as a table of its own."""
    rows = [row for row in table["rows"] if len(row.get("shares", ())) > 1]
    if not rows:
        return []
    modalities = list(dict.fromkeys(m for row in rows for m in row["shares"]))
    titles = ["method", *(f"share of {m}" for m in modalities), "calibration error"]
    lines = []
    for row in rows:
        count = len(row["seeds"])
        values = [row["shares"].get(m) for m in modalities]
        lines.append([row["label"], *(_cell(v, count, 100) for v in (*values, row["calibration"]))])
    explained = (
        "Share of a modality: points that it adds to the accuracy over chance, averaged over the "
        "orders in which modalities may join (Shapley). Calibration error: mean gap between "
        "confidence and accuracy, in points (15 bins)."
    )
    return [*_grid(titles, lines), "", explained, ""]


def _measured(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Measures that some row of a table has; those of classification where none has any."""
    return shown(n for row in table["rows"] for n in row if row[n] is not None) or _NONE


def _shown_cell(name: str, value: Mapping[str, float] | None, count: int) -> str:
    measure = MEASURES[name]
    return _cell(value, count, measure.scale, measure.decimals)


def _cell(
    value: Mapping[str, float] | None, count: int, factor: float = 1, decimals: int = 2
) -> str:
    if value is None:
        return "-"
    deviation = f" ± {factor * value['std']:.{decimals}f}" if count > 1 else ""
    return f"{factor * value['mean']:.{decimals}f}{deviation}"


def _notes(table: Mapping[str, Any]) -> list[str]:
    rows = table["rows"]
    splits = ", ".join(dict.fromkeys(row["split"] for row in rows if row["split"])) or "nothing"
    seeds = ", ".join(map(str, table["seeds"]))
    names = _measured(table)
    plain = [MEASURES[name].title for name in names if not MEASURES[name].percent]
    unit = f"Percent, but for {' and '.join(plain)}," if plain else "Percent"
    notes = [
        f"{unit} on {splits} of {table['data']}, mean ± sample standard deviation over the seeds "
        f"{seeds}, of the epoch that was best on val. Below a modality: "
        f"{MEASURES[names[0]].title} of the method's own logits of it."
    ]
    if _probed(table):
        notes[0] += " Probe: accuracy of a new linear head on the frozen encoder."
    if _against(table):
        notes[0] += (
            " Differences are of single samples, paired by sample and seed, with an interval of "
            "95 % over seeds and samples; better and worse are said at an error rate of 5 % for "
            "all rows together (Holm)."
        )
    if table["earlier"]:
        notes += ["", f"From earlier commands in this folder: {', '.join(table['earlier'])}."]
    if chosen := [f"- {row['label']}: {row['setting']}" for row in rows if row["setting"]]:
        notes += ["", f"Settings chosen on val with seed {table['seeds'][0]}:", "", *chosen]
    if table["failed"]:
        failed = [f"- {each['run']}: {each['error']}" for each in table["failed"]]
        notes += ["", "Failed, and missing from the table or from its columns:", "", *failed]
    return notes


def _over_seeds(values: Sequence[float | None]) -> dict[str, float] | None:
    """Mean and deviation; None without a value, or where a seed has none that is defined."""
    known = [value for value in values if value is not None]
    return mean_and_std(known) if known and len(known) == len(values) else None
