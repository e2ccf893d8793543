"""What evaluations and probes look like on a terminal."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

_MEASURES: Final = ("accuracy", "map", "macro_f1", "loss")
_TITLES: Final = {"map": "mAP", "macro_f1": "macro-F1"}
# More than this and a matrix is wider than a terminal.
_MATRIX: Final = 12
_CLASSES: Final = 40
_PAIRS: Final = 10


def show(parts: Iterable[str | Table]) -> None:
    """Prints to stdout, a blank line between two parts."""
    # Names of classes are not markup.
    console = Console(markup=False, highlight=False, emoji=False)
    for i, part in enumerate(parts):
        if i:
            console.print()
        # A path that is broken over two lines cannot be copied.
        console.print(part, soft_wrap=isinstance(part, str))


def evaluation(found: Mapping[str, Any]) -> list[str | Table]:
    """What `mmtrain.evaluation.evaluate.evaluate` found."""
    epoch, samples = found["best_epoch"] + 1, found["samples"]
    title = f"{found['run']}: {found['method']}, epoch {epoch}, {samples:,} samples of "
    parts: list[str | Table] = [title + found["split"], _fused(found)]
    if found["missing"]:
        parts.append(_missing(found))
    parts.append(_by_class(found))
    parts.append(_matrix(found) if len(found["classes"]) <= _MATRIX else _pairs(found))
    return parts


def probes(found: Mapping[str, Any]) -> list[str | Table]:
    """What `mmtrain.evaluation.probe.probe` found."""
    by_modality = found["modalities"]
    table = _table("probe", *map(_name, _MEASURES[:3]), "strength", "own accuracy")
    partners = any(said["alone"] for said in by_modality.values())
    if partners:
        table.add_column("alone", justify="right")
        table.add_column("gap", justify="right")
    for modality, said in by_modality.items():
        alone = said["alone"] or {}
        row = [*(_number(said[name]) for name in _MEASURES[:3]), f"{said['strength']:g}"]
        row.append(_number(said["own_accuracy"]))
        if partners:
            row += [_number(alone.get("accuracy")), _signed(alone.get("gap"))]
        table.add_row(modality, *row)
    chosen = "chosen on val"
    if found["strength_from"] == "fixed":
        chosen = "fixed, for there is no val split to choose it on"
    title = f"{found['run']}: {found['method']}, linear probes on {found['split']}"
    return [f"{title}; strength {chosen}", table]


def _fused(found: Mapping[str, Any]) -> Table:
    table = _table("", *map(_name, _MEASURES), "discrepancy")
    table.add_row("fused", *(_number(found[name]) for name in _MEASURES), "")
    for modality, said in found["modalities"].items():
        rho = _number(found["discrepancy"][modality])
        table.add_row(modality, *(_number(said[name]) for name in _MEASURES), rho)
    return table


def _missing(found: Mapping[str, Any]) -> Table:
    table = _table("missing", "draws", *map(_name, _MEASURES[:3]))
    for said in found["missing"]:
        rates = ", ".join(f"{m} {100 * rate:g}%" for m, rate in said["rates"].items())
        cells = [_with_deviation(said[name], said["draws"]) for name in _MEASURES[:3]]
        table.add_row(rates, str(said["draws"]), *cells)
    return table


def _by_class(found: Mapping[str, Any]) -> Table:
    classes, title = found["by_class"], "class"
    if len(classes) > _CLASSES:
        present = [each for each in classes if each["count"]]
        classes = sorted(present, key=lambda each: each["accuracy"])[: _CLASSES // 2]
        title = f"class (the worst {len(classes)})"
    table = _table(title, "samples", "accuracy", "AP", "F1")
    for each in classes:
        numbers = (_number(each[name]) for name in ("accuracy", "ap", "f1"))
        table.add_row(each["name"], str(each["count"]), *numbers)
    return table


def _matrix(found: Mapping[str, Any]) -> Table:
    names = [str(i) for i in range(len(found["classes"]))]
    table = _table("true \\ predicted", *names)
    for i, (name, row) in enumerate(zip(found["classes"], found["confusion"], strict=True)):
        table.add_row(f"{i} {name}", *(str(count) if count else "." for count in row))
    return table


def _pairs(found: Mapping[str, Any]) -> Table:
    """The most frequent confusions; the whole matrix is in the file."""
    wrong = np.array(found["confusion"])
    np.fill_diagonal(wrong, 0)
    table = _table("true", "samples", "predicted instead")
    for pair in np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS].tolist():
        true, predicted = divmod(pair, len(wrong))
        if count := int(wrong[true, predicted]):
            table.add_row(found["classes"][true], str(count), found["classes"][predicted])
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _name(measure: str) -> str:
    return _TITLES.get(measure, measure)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _with_deviation(spread: Mapping[str, float], count: int) -> str:
    return _number(spread["mean"]) + (f" ± {_number(spread['std'])}" if count > 1 else "")
