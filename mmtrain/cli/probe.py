"""The command `mmtrain probe`."""

from pathlib import Path
from typing import Any

import click

from mmprep.cli.group import Command
from mmtrain.cli.options import (
    allow_plugins,
    as_json,
    force,
    moved_data,
    other_device,
    several_runs,
    split,
)
from mmtrain.cli.results import show_measurements


@click.command(
    cls=Command,
    epilog="\b\nExamples:\n"
    "  mmtrain probe runs/joint --alone runs/audio-alone --alone runs/visual-alone\n"
    "  mmtrain probe runs/comparison",
)
@several_runs
@moved_data
@split
@click.option(
    "--alone",
    multiple=True,
    metavar="RUN",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Run of a single modality on the same data, to compare with; repeatable. [default: for "
    "the folder of a comparison, its runs MODALITY-alone with the same seed]",
)
@force
@other_device
@allow_plugins
@as_json
@click.pass_context
def probe(
    ctx: click.Context,
    /,
    runs: tuple[Path, ...],
    alone: tuple[Path, ...],
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure each encoder of runs by a fresh linear head on its frozen features.

    RUN is the folder of a run, of which the best weights are measured, or one with finished runs
    below it, such as that of a comparison. The head is fitted on train, its L2 strength is chosen
    on val. Writes RUN/probe-SPLIT.json.
    """
    from mmtrain.cli import tables
    from mmtrain.comparison.evaluations import probe_all

    measured = probe_all(runs, alone, reuse=not force, **options)
    show_measurements(ctx, measured, tables.probes, tables.probes_of_all, as_json)
