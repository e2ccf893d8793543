"""The command `mmtrain watch`."""

import json
from pathlib import Path

import click

from mmprep.cli.group import Command
from mmtrain.cli.options import as_json, finished_run


@click.command(
    cls=Command,
    epilog="\b\nExamples:\n"
    "  mmtrain watch runs/joint\n"
    "  mmtrain watch runs/comparison --once --json",
)
@finished_run
@click.option("--once", is_flag=True, help="Print where the runs stand, and end.")
@click.option(
    "--every",
    type=click.FloatRange(0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds between two looks.",
)
@as_json
def watch(run: Path, once: bool, every: float, as_json: bool) -> None:
    """Follow RUN, or all runs of a comparison, from another terminal.

    Shows epoch, losses, the first measure fused and by modality, rate and time left, and ends when
    no run is left that runs. Reads files only, so the run may be on another machine that shares the
    folder. A run that was stopped or killed, or that failed, is named as such.
    """
    from rich.console import Console

    from mmtrain.cli.following import follow, plain_table
    from mmtrain.report.status import statuses

    if not once:
        follow(run, every, Console(stderr=True) if as_json else Console())
    seen = statuses(run)
    if as_json:
        click.echo(json.dumps({"runs": [status.to_json() for status in seen]}))
    elif once:
        Console().print(plain_table(seen))
