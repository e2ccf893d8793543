"""Predictions as a table on a terminal, or as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from mmprep.cli.group import counted
from mmprep.printable import printable


def text_of(report: Mapping[str, Any], top: int) -> str:
    """A title and a table of one line a clip.

    The clip stands at the end of its line, so that a long path is never broken.

    Args:
        report: Report of `mmtrain.prediction.predict.predict`.
        top: Number of classes a clip.
    """
    rows, modalities = report["predictions"], report["modalities"]
    title = f"{report['run']}: {report['method']}, {counted(len(rows), 'clip')}"
    if report["failures"]:
        title += f"; {len(report['failures'])} failed"
    if not rows:
        return title
    table = [["prediction", *modalities, "decided", "clip"]]
    for row in rows:
        own = (_cell(row["modalities"].get(m), top) for m in modalities)
        table.append([_cell(row, top), *own, row["decided"], printable(row["clip"])])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    )
    return "\n".join([title, "", *lines])


def csv_of(report: Mapping[str, Any], top: int) -> str:
    """Text of a CSV file of one line a clip.

    Columns are the clip, its prediction and probability (of ``--top`` classes), or its score or
    segments; the modality that decided and those that are missing; and of each modality its own.

    Args:
        report: Report of `mmtrain.prediction.predict.predict`.
        top: Number of classes a clip.
    """
    rows = [_line(row, report["modalities"], top) for row in report["predictions"]]
    file = io.StringIO()
    if rows:
        writer = csv.DictWriter(file, [*rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file.getvalue()


def _cell(answer: Mapping[str, Any] | None, top: int) -> str:
    """Text of a prediction; of a modality that is missing, a dash."""
    if answer is None:
        return "-"
    if "score" in answer:
        return f"{answer['score']:.3f}"
    if "segments" in answer:
        names = [printable(each["prediction"]) for each in answer["segments"]]
        runs = ((name, len([*run])) for name, run in groupby(names))
        return ", ".join(f"{name} x{count}" if count > 1 else name for name, count in runs)
    listed = [*answer["probabilities"].items()][:top]
    return ", ".join(f"{printable(name)} {probability:.3f}" for name, probability in listed)


def _line(row: Mapping[str, Any], modalities: Sequence[str], top: int) -> dict[str, Any]:
    fields = {
        "clip": row["clip"],
        **_columns(row, "", top),
        "decided": row["decided"],
        "missing": " ".join(row["missing"]),
    }
    # Every row has the same columns, also where a modality is missing.
    names = _columns(row, "", 1)
    for name in modalities:
        own = row["modalities"].get(name)
        blank = {f"{name}_{column}": "" for column in names}
        fields |= blank if own is None else _columns(own, f"{name}_", 1)
    return fields


def _columns(answer: Mapping[str, Any], prefix: str, top: int) -> dict[str, Any]:
    if "score" in answer:
        return {f"{prefix}score": answer["score"]}
    if "segments" in answer:
        return {f"{prefix}segments": " ".join(s["prediction"] for s in answer["segments"])}
    columns: dict[str, Any] = {}
    for number, (name, probability) in enumerate([*answer["probabilities"].items()][:top], 1):
        mark = "" if number == 1 else f"_{number}"
        columns |= {f"{prefix}prediction{mark}": name, f"{prefix}probability{mark}": probability}
    return columns
