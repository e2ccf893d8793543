"""The command `mmtrain probe`."""

import json
from pathlib import Path

import click

from mmprep.cli.group import Command
from mmtrain.cli.options import (
    allow_plugins,
    as_json,
    finished_run,
    moved_data,
    other_device,
    split,
)


@click.command(
    cls=Command,
    epilog="\b\nExample:\n"
    "  mmtrain probe runs/joint --alone runs/audio-alone --alone runs/visual-alone",
)
@finished_run
@moved_data
@split
@click.option(
    "--alone",
    multiple=True,
    metavar="RUN",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Run of a single modality on the same data, to compare with; repeatable.",
)
@other_device
@allow_plugins
@as_json
def probe(
    run: Path,
    data: str | None,
    split: str,
    alone: tuple[Path, ...],
    device: str | None,
    as_json: bool,
) -> None:
    """Measure each encoder of RUN by a fresh linear head on its frozen features.

    The head is fitted on train, its L2 strength is chosen on val. Writes RUN/probe-SPLIT.json.
    """
    from mmtrain.cli import tables
    from mmtrain.evaluation.probe import probe

    report = probe(run, split=split, alone=alone, data=data, device=device)
    if as_json:
        click.echo(json.dumps(report))
    else:
        tables.show(tables.probes(report))
