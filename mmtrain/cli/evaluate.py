"""The command `mmtrain eval`."""

import json
from pathlib import Path

import click

from mmtrain.cli.options import as_json, finished_run, moved_data, other_device, split


@click.command(
    "eval",
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
    help="Take the modality from this share of the samples, those joined by a comma together; "
    "repeat it for another setting.",
)
@click.option(
    "--draws",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="How often to draw which samples miss it.",
)
@click.option(
    "--missing-seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of these draws; the same samples for every run and share.",
)
@other_device
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
    """Judge the best weights of RUN on a split, by modality, by class, and with modalities missing.

    Writes RUN/eval-SPLIT.json.
    """
    from mmtrain.cli import tables
    from mmtrain.evaluation.evaluate import evaluate
    from mmtrain.evaluation.missing import Missing, parse_rates

    asked = Missing(rates=parse_rates(missing), draws=draws, seed=missing_seed)
    found = evaluate(run, split=split, missing=asked, data=data, device=device)
    if as_json:
        click.echo(json.dumps(found))
    else:
        tables.show(tables.evaluation(found))
