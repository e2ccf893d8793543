"""The command `mmtrain embed`."""

import csv
import io
from pathlib import Path
from typing import Any

import click

from mmprep.cli.group import Command
from mmtrain.cli.options import (
    allow_plugins,
    as_json,
    figure_file,
    moved_data,
    other_device,
    several_runs,
    split,
)
from mmtrain.cli.results import show_picture


@click.command(
    cls=Command,
    epilog="\b\nExamples:\n"
    "  mmtrain embed runs/joint runs/ogm --png features.png\n"
    "  mmtrain embed runs/joint --split val --limit 300 --png features.pdf --csv points.csv",
)
@several_runs
@figure_file
@click.option(
    "--csv",
    "table",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the points: run, part, key, class, x, y.",
)
@moved_data
@split
@click.option(
    "--limit",
    type=click.IntRange(5),
    default=1000,
    show_default=True,
    help="Largest number of samples; of more, as many are drawn, the same for all runs.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of that draw, and of t-SNE.",
)
@other_device
@allow_plugins
@as_json
@click.pass_context
def embed(
    ctx: click.Context,
    /,
    runs: tuple[Path, ...],
    png: Path,
    table: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Draw features of runs in the plane (t-SNE) by class, and their singular values beside.

    RUN is the folder of a run, or one with finished runs below it. A row of the picture is a run:
    features of all modalities next to each other (fused), those of each, and the spectrum of all,
    whose effective rank is the number of directions that the features fill. Writes --png and --csv.
    """
    from mmtrain import files
    from mmtrain.evaluation.drawing import require_format
    from mmtrain.evaluation.embed import embed, rows_of
    from mmtrain.evaluation.embed_figure import draw_embeddings
    from mmtrain.evaluation.many import runs_in

    require_format(png)
    measured = embed(runs_in(runs), **options)
    if measured.reports:
        draw_embeddings(measured.reports, png)
    if table is not None:
        text = io.StringIO()
        rows = csv.DictWriter(text, ("run", "part", "key", "class", "x", "y"), lineterminator="\n")
        rows.writeheader()
        rows.writerows(rows_of(measured.reports))
        files.replace(table, lambda file: file.write(text.getvalue().encode()))
    show_picture(ctx, png, measured, as_json)
