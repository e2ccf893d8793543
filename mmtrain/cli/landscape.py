"""The command `mmtrain landscape`."""

from pathlib import Path
from typing import Any

import click

from mmprep.cli.group import Command
from mmtrain.cli.options import (
    allow_plugins,
    as_json,
    figure_file,
    force,
    moved_data,
    other_device,
    several_runs,
)
from mmtrain.cli.results import show_picture


@click.command(
    cls=Command,
    epilog="\b\nExamples:\n"
    "  mmtrain landscape runs/joint runs/igm --png landscape.png\n"
    "  mmtrain landscape runs/joint --axes 2 --points 15 --limit 200 --png surface.png",
)
@several_runs
@figure_file
@moved_data
@click.option(
    "--split", default="val", show_default=True, metavar="NAME", help="Name of the split."
)
@click.option(
    "--axes",
    type=click.IntRange(1, 2),
    default=1,
    show_default=True,
    help="Number of directions: a line through the weights, or a plane.",
)
@click.option(
    "--points",
    type=click.IntRange(3),
    default=21,
    show_default=True,
    help="Odd number of points along each direction.",
)
@click.option(
    "--extent",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Distance of the last point; at 1 each filter has moved by its own norm.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    help="Largest number of samples; of more, as many are drawn, the same for all runs.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the directions, which are the same for runs of one architecture.",
)
@force
@other_device
@allow_plugins
@as_json
@click.pass_context
def landscape(
    ctx: click.Context,
    /,
    runs: tuple[Path, ...],
    png: Path,
    split: str,
    data: str | None,
    device: str | None,
    force: bool,
    as_json: bool,
    **grid: Any,
) -> None:
    """Draw the loss around the trained weights, along filter-normalised random directions.

    Li et al., NeurIPS 2018: each filter of a direction is as long as that of the weights; biases
    and normalisation stay as they are, running statistics too. RUN is the folder of a run, or one
    with finished runs below it. Logs what it costs before it computes. Writes --png, and the losses
    in RUN/landscape-SPLIT.json, which are read again where nothing has changed.
    """
    from mmtrain.evaluation.drawing import require_format
    from mmtrain.evaluation.landscape import Grid, landscape
    from mmtrain.evaluation.landscape_figure import draw_landscapes
    from mmtrain.evaluation.many import runs_in

    require_format(png)
    measured = landscape(
        runs_in(runs), Grid(**grid), split=split, data=data, device=device, reuse=not force
    )
    if measured.reports:
        draw_landscapes(measured.reports, png)
    show_picture(ctx, png, measured, as_json)
