"""The command `mmtrain eval`."""

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
    "eval",
    cls=Command,
    epilog="\b\nExamples:\n"
    "  mmtrain eval runs/joint\n"
    "  mmtrain eval runs/joint --missing audio=0.3 --missing audio=0.1,visual=0.2",
)
@finished_run
@moved_data
@split
@click.option(
    "--missing",
    multiple=True,
    metavar="MODALITY=SHARE,...",
    help="Share of the samples that lose the modality; without =SHARE all of them. A comma joins "
    "modalities that are missing together; repeatable, for further settings.",
)
@click.option(
    "--draws",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Number of random draws of the samples that lose it.",
)
@click.option(
    "--missing-seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of these draws, which are the same for every run.",
)
@other_device
@allow_plugins
@as_json
def evaluate(
    run: Path,
    data: str | None,
    split: str,
    missing: tuple[str, ...],
    draws: int,
    missing_seed: int,
    device: str | None,
    as_json: bool,
) -> None:
    """Measure the best weights of RUN on a split: by modality, by class, with modalities missing.

    Writes RUN/eval-SPLIT.json.
    """
    from mmtrain.cli import tables
    from mmtrain.evaluation.evaluate import evaluate
    from mmtrain.evaluation.missing import Missing, parse_rates

    settings = Missing(rates=parse_rates(missing), draws=draws, seed=missing_seed)
    report = evaluate(run, split=split, missing=settings, data=data, device=device)
    if as_json:
        click.echo(json.dumps(report))
    else:
        tables.show(tables.evaluation(report))
