"""The command `mmtrain compare`."""

import json
from pathlib import Path
from typing import Any

import click

from mmtrain.cli.options import as_json, run_options
from mmtrain.config.run import TrainConfig


@click.command(
    epilog="\b\nExamples:\n"
    "  mmtrain compare --data shards/keypad --methods joint,multitask --seeds 0,1,2 --alone \\\n"
    "      --encoder small-cnn --epochs 8 --set view.size=64 --out runs/keypad\n"
    "  mmtrain compare --data shards/ks --methods joint,multitask --tune lr=0.1,0.01,0.001 \\\n"
    "      --set-for multitask:unimodal=0.5 --out runs/ks"
)
@click.option("--methods", required=True, metavar="NAMES", help="Names of `mmtrain methods`.")
@click.option(
    "--curriculum",
    "curricula",
    default=TrainConfig.curriculum,
    show_default=True,
    metavar="NAMES",
    help="Names of `mmtrain curricula`; every method goes with each.",
)
@click.option(
    "--seeds",
    default="0",
    show_default=True,
    metavar="NUMBERS",
    help="One run each; such as 0,1,2.",
)
@click.option("--alone/--no-alone", help="Train `joint` on each single modality, too.")
@click.option(
    "--tune",
    multiple=True,
    metavar="KEY=V1,V2,...",
    help="Try these values, with the first seed, and take what is best on val for each method; "
    "repeatable, the grid is the product.",
)
@run_options("method", "curriculum", "seed")
@click.option(
    "--set-for",
    "settings_for",
    multiple=True,
    metavar="METHOD:KEY=VALUE",
    help="As --set, for one method; repeatable.",
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder: DIR."
)
@as_json
@click.pass_context
def compare(ctx: click.Context, /, out: Path, as_json: bool, **options: Any) -> None:
    """Train methods alike, each with every seed, and put what comes out in one table.

    Writes DIR: LABEL/seed-N, a run each, then table.json, table.md and report.html. What is
    finished there is kept and what is not goes on. Exit code 1 if a run failed; the others go on.
    """
    from mmtrain.cli import train

    who = {name: _parted(options.pop(name)) for name in ("methods", "curricula", "seeds")}
    who |= {name: options.pop(name) for name in ("alone", "tune", "settings", "settings_for")}
    given = {name: value for name, value in options.items() if value is not None}
    found = train.run_compare(given, who, out)
    click.echo(json.dumps(found) if as_json else (out / "table.md").read_text("utf-8").rstrip())
    if found["failed"]:
        ctx.exit(1)


def _parted(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
