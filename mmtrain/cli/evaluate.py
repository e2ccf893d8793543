"""The command `mmtrain eval`."""

from pathlib import Path
from typing import Any

import click

from mmprep.cli.group import Command
from mmtrain.cli.options import (
    allow_plugins,
    as_json,
    force,
    missing_modalities,
    moved_data,
    noisy_modalities,
    other_device,
    several_runs,
    split,
)
from mmtrain.cli.results import show_measurements


@click.command(
    "eval",
    cls=Command,
    epilog="\b\nExamples:\n"
    "  mmtrain eval runs/joint\n"
    "  mmtrain eval runs/joint --missing audio=0.3 --missing audio=0.1,visual=0:0.3:0.1\n"
    "  mmtrain eval runs/joint runs/ogm --noise audio=0:1:0.1\n"
    "  mmtrain eval runs/comparison --missing audio=0:1:0.1 --draws 3",
)
@several_runs
@moved_data
@split
@missing_modalities
@noisy_modalities
@click.option(
    "--draws",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Number of random draws of the samples that lose a modality, and of the noise.",
)
@click.option(
    "--missing-seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the draws of missing modalities, which are the same for every run.",
)
@click.option(
    "--noise-seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the draws of noise, which are the same for every run.",
)
@force
@other_device
@allow_plugins
@as_json
@click.pass_context
def evaluate(
    ctx: click.Context,
    /,
    runs: tuple[Path, ...],
    missing: tuple[str, ...],
    noise: tuple[str, ...],
    draws: int,
    missing_seed: int,
    noise_seed: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure runs on a split: by modality, by class, with modalities missing or noisy.

    RUN is the folder of a run, of which the best weights are measured, or one with finished runs
    below it, such as that of a comparison. Writes RUN/eval-SPLIT.json, which keeps the settings
    that were measured before.
    """
    from mmtrain.cli import tables
    from mmtrain.evaluation.missing import Missing, parse_rates
    from mmtrain.evaluation.noise import Noise, parse_levels
    from mmtrain.evaluation.robustness import evaluate_all

    rates = Missing(rates=parse_rates(missing), draws=draws, seed=missing_seed)
    levels = Noise(levels=parse_levels(noise), draws=draws, seed=noise_seed)
    options["reuse"] = not options.pop("force")
    measured = evaluate_all(runs, rates, levels, **options)
    show_measurements(ctx, measured, tables.evaluation, tables.evaluations, as_json)
