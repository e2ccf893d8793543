"""What a comparison writes when its runs are done: tables, figures, pages and the manifest."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mmprep.storage.redact import redacted
from mmtrain import files
from mmtrain.comparison.against import findings
from mmtrain.comparison.chance import chance_rows
from mmtrain.comparison.entrants import Contest
from mmtrain.comparison.figures.draw import draw_figures
from mmtrain.comparison.figures.request import FigureRequest
from mmtrain.comparison.figures.study_data import RowData, StudyData
from mmtrain.comparison.layouts import as_csv, as_latex, as_markdown
from mmtrain.comparison.manifest import StudyCommand, write_manifest
from mmtrain.comparison.page import study_page
from mmtrain.comparison.presentation import ALONE, ENSEMBLE
from mmtrain.comparison.provenance import facts_of
from mmtrain.comparison.table import Row, measures_of, row_json
from mmtrain.comparison.tuning import tuned_points
from mmtrain.evaluation.open_run import write_json
from mmtrain.report import write
from mmtrain.training.parts import shards_of

log = logging.getLogger(__name__)

# Files of the table beside table.json.
_LAYOUTS: Final = {"table.md": as_markdown, "table.csv": as_csv, "table.tex": as_latex}
PAGE: Final = "study.html"
FIGURES: Final = "figures"
# Name of the figure of the grid, which is drawn without being asked for.
TUNED: Final = "tuned"


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Results of the runs of a comparison.

    Attributes:
        rows: Rows with all of their results, those of earlier commands last.
        earlier: Labels of the latter.
        failed: ``run`` and ``error`` of each run that failed.
        measured: Label of a row to what was measured of it besides its results.
    """

    rows: Sequence[Row]
    earlier: Sequence[str] = ()
    failed: Sequence[Mapping[str, str]] = ()
    measured: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def write_outputs(
    contest: Contest, folder: Path, finished: Finished, command: StudyCommand
) -> dict[str, Any]:
    """Writes DIR/table.{json,md,csv,tex}, DIR/figures, DIR/manifest.json and the pages of DIR.

    Args:
        contest: The comparison.
        folder: Its folder, DIR.
        finished: Its results.
        command: The command, from its beginning on.

    Returns:
        The content of table.json.
    """
    table = _table(contest, folder, finished)
    rows = finished.rows
    baselines = {row.label: contest.baseline for row in rows} | dict(contest.baselines)
    table["figures"] = _figures(contest, folder, rows, table, baselines)
    write_json(folder / "table.json", table)
    for name, layout in _LAYOUTS.items():
        _write(folder / name, layout(table))
    place = {"place": redacted(contest.base.data), "root": table["facts"]["data root"]}
    manifest = write_manifest(folder, place, contest.shown.request, command.end())
    runs = [folder / row.label / f"seed-{seed}" for row in rows for seed in row.results]
    if runs:
        write(runs, folder / "report.html")
    _write(folder / PAGE, study_page(table, manifest, folder / FIGURES, has_report=bool(runs)))
    return table


def _table(contest: Contest, folder: Path, finished: Finished) -> dict[str, Any]:
    """The content of table.json, but for the figures."""
    rows = finished.rows
    shown = contest.shown
    described = [_described(row, rows, folder, shown.titles) for row in rows]
    splits = {row["split"] for row in described} - {None}
    found: dict[str, dict[str, Any]] = {}
    baselines = {row.label: contest.baseline for row in rows} | dict(contest.baselines)
    if len(splits) == 1 and len(rows) > 1:
        found = findings(rows, folder, next(iter(splits)), baselines, contest.base.data)
    seeds = list(dict.fromkeys((*contest.seeds, *(seed for r in rows for seed in r.results))))
    chance: list[dict[str, Any]] = []
    notes = []
    with shards_of(contest.base) as dataset:
        root = dataset.description.root
        if shown.chance and len(splits) == 1:
            chance, note = chance_rows(rows[0].config, dataset, next(iter(splits)))
            notes.append(note)
    more = ({**found.get(n, {}), **finished.measured.get(n, {})} for n in (r.label for r in rows))
    plain = [*chance, *({**row, **each} for row, each in zip(described, more, strict=True))]
    return {
        "title": shown.title,
        "source": shown.source,
        "differs": shown.differs,
        "data": contest.base.data,
        "baseline": contest.baseline,
        "seeds": seeds,
        "measures": list(measures_of(plain)),
        "show": list(shown.show),
        "rows": plain,
        "notes": notes,
        "earlier": list(finished.earlier),
        "failed": list(finished.failed),
        "facts": facts_of(contest.base.data, root, seeds),
    }


def _described(
    row: Row, rows: Sequence[Row], folder: Path, titles: Mapping[str, str]
) -> dict[str, Any]:
    """The row as plain values, with its name for readers, its control and its grid."""
    plain = row_json(row)
    if row.label in titles:
        plain["title"] = titles[row.label]
    several = max(len(each.config.modalities) for each in rows) > 1
    if several and row.config.method == "joint" and len(row.config.modalities) == 1:
        plain["control"] = ALONE
    if row.label == ENSEMBLE and row.config.method == "ume":
        plain["control"] = ENSEMBLE
    if tuned := tuned_points(folder / row.label, row.setting):
        plain["tuned"] = tuned
    return plain


def _figures(
    contest: Contest,
    folder: Path,
    rows: Sequence[Row],
    table: Mapping[str, Any],
    baselines: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Draws the figures, that of a grid of one or two parameters among them."""
    requests = [*contest.shown.figures]
    grid = {key for row in table["rows"] for each in row.get("tuned", ()) for key in each["values"]}
    if grid and len(grid) <= 2 and not any(_is_of_grid(request) for request in requests):
        options = {"of": "tune", "title": "Every point of the grid"}
        requests.append(FigureRequest(kind="sweep", name=TUNED, options=options))
    if not requests:
        return []
    by_label = {row.label: row for row in rows}
    data = StudyData(
        rows=tuple(
            _row_data(plain, by_label.get(plain["label"]), folder, contest.shown.values)
            for plain in table["rows"]
        ),
        table=table,
        baselines=baselines,
    )
    return draw_figures(requests, data, folder / FIGURES)


def _is_of_grid(request: FigureRequest) -> bool:
    return request.kind == "sweep" and request.options.get("of") != "rows"


def _row_data(
    plain: Mapping[str, Any], row: Row | None, folder: Path, values: Mapping[str, Mapping[str, Any]]
) -> RowData:
    if row is None:
        return RowData(plain=plain)
    runs = {seed: folder / row.label / f"seed-{seed}" for seed in row.results}
    return RowData(plain=plain, config=row.config, runs=runs, values=values.get(row.label, {}))


def _write(path: Path, text: str) -> None:
    files.replace(path, lambda file: file.write(text.encode()))
