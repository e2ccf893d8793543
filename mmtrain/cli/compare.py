"""The command `mmtrain compare`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from mmprep.cli.group import Command, listed
from mmtrain.cli.engines import engine_options, print_dry_run, where_of
from mmtrain.cli.names import CATALOGS, names_in
from mmtrain.cli.options import allow_plugins, as_json, run_options
from mmtrain.config.recipes import BUDGETS
from mmtrain.config.run import TrainConfig


@click.command(
    cls=Command,
    epilog="\b\nExamples:\n"
    "  mmtrain compare --data shards/keypad --methods joint,multitask --seeds 0,1,2 --alone \\\n"
    "      --encoder small-cnn --epochs 8 --set view.size=64 --out runs/keypad\n"
    "  mmtrain compare --data shards/ks --methods joint,multitask --tune lr=0.1,0.01,0.001 \\\n"
    "      --set-for multitask:unimodal=0.5 --out runs/ks",
)
@click.option(
    "--methods",
    required=True,
    multiple=True,
    callback=names_in(CATALOGS["method"].names),
    metavar="NAMES",
    help="Methods of `mmtrain methods`, such as joint,ogm-ge; repeatable.",
)
@click.option(
    "--curriculum",
    "curricula",
    multiple=True,
    default=[TrainConfig.curriculum],
    show_default=True,
    callback=names_in(CATALOGS["curriculum"].names),
    metavar="NAMES",
    help="Curricula of `mmtrain curricula`, each combined with every method; repeatable.",
)
@click.option(
    "--seeds",
    multiple=True,
    default=["0"],
    show_default=True,
    callback=listed,
    metavar="NUMBERS",
    help="Random seeds, with one run each, such as 0,1,2 or 0-2; repeatable.",
)
@click.option("--alone/--no-alone", help="Also train `joint` on each single modality.")
@click.option(
    "--tune",
    multiple=True,
    metavar="KEY=V1,V2,...",
    help="Values to try with the first seed; each method takes those that are best on val. "
    "Repeatable: the grid is the product.",
)
@click.option(
    "--baseline",
    default="joint",
    show_default=True,
    metavar="NAME",
    help="Row of the table with which every other is compared, sample by sample.",
)
@click.option(
    "--budget",
    type=click.Choice(BUDGETS),
    default=BUDGETS[0],
    show_default=True,
    help="Epochs, batch, rate and view: the same for all, or each method's own in the recipe.",
)
@engine_options
@run_options("method", "curriculum", "seed")
@click.option(
    "--set-for",
    "settings_for",
    multiple=True,
    metavar="METHOD:KEY=VALUE",
    help="Parameter for one method alone, as --set; repeatable.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the comparison, DIR.",
)
@allow_plugins
@as_json
@click.pass_context
def compare(ctx: click.Context, /, out: Path, as_json: bool, **options: Any) -> None:
    """Train methods in the same way, each with every seed, and put the results in one table.

    Writes DIR: LABEL/seed-N, one run each, then the table (table.md, .csv, .tex and .json) and
    report.html, which cover all finished runs in DIR. Finished runs are kept and unfinished ones go
    on. Exit code 1 if a run failed; the others go on.
    """
    from mmtrain.cli import train

    where = where_of(options)
    names = (
        *("methods", "curricula", "seeds", "alone", "tune", "baseline", "budget"),
        *("settings", "settings_for"),
    )
    entrants = {name: options.pop(name) for name in names}
    given = {name: value for name, value in options.items() if value is not None}
    table = train.run_compare(given, entrants, out, where)
    if where.dry_run:
        print_dry_run(table, where, as_json)
    else:
        shown(ctx, table, out, as_json)


def shown(ctx: click.Context, table: Mapping[str, Any], out: Path, as_json: bool) -> None:
    """Prints a table, and ends with 1 if a run failed."""
    click.echo(json.dumps(table) if as_json else (out / "table.md").read_text("utf-8").rstrip())
    if table["failed"]:
        ctx.exit(1)
