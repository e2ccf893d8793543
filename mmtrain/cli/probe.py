"""The command `mmtrain probe`."""

import json
from pathlib import Path

import click

from mmtrain.cli.options import as_json, finished_run, moved_data, other_device, split


@click.command(
    epilog="\b\nExample:\n"
    "  mmtrain probe runs/joint --alone runs/audio-alone --alone runs/visual-alone"
)
@finished_run
@moved_data
@split
@click.option(
    "--alone",
    multiple=True,
    metavar="RUN",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A run of one modality on the same data, to hold beside it; repeatable.",
)
@other_device
@as_json
def probe(
    run: Path,
    data: str | None,
    split: str,
    alone: tuple[Path, ...],
    device: str | None,
    as_json: bool,
) -> None:
    """Freeze each encoder of RUN and fit a fresh linear head: how good did training leave it?

    The head is fitted on train and its strength chosen on val. Writes RUN/probe-SPLIT.json.
    """
    from mmtrain.cli import tables
    from mmtrain.evaluation.probe import probe

    found = probe(run, split=split, alone=alone, data=data, device=device)
    if as_json:
        click.echo(json.dumps(found))
    else:
        tables.show(tables.probes(found))
