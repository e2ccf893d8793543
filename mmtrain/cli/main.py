"""The command line of mmtrain: parses, calls the library and prints."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import click

from mmprep.cli.group import Group
from mmtrain.cli.catalogs import listing
from mmtrain.cli.compare import compare
from mmtrain.cli.embed import embed
from mmtrain.cli.evaluate import evaluate
from mmtrain.cli.export import export
from mmtrain.cli.landscape import landscape
from mmtrain.cli.options import allow_plugins, as_json, finished_run, moved_data, run_options
from mmtrain.cli.predict import predict
from mmtrain.cli.probe import probe
from mmtrain.cli.report import report
from mmtrain.cli.settings import settings as settings_command
from mmtrain.cli.study import figures, studies, study
from mmtrain.cli.watch import watch
from mmtrain.config.choices import CATALOGS
from mmtrain.names import canonical


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mmprep", prog_name="mmtrain")
def main() -> None:
    """Trains on shards made by mmprep, with methods that balance the modalities.

    Exit codes: 0 done, 1 a bug or failure, 2 a wrong request, 3 bad data.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


@main.command(
    epilog="\b\nExamples:\n"
    "  mmtrain train --data shards/keypad --encoder small-cnn --epochs 12 \\\n"
    "      --set view.size=64 --set view.frames=1 --out runs/joint\n"
    "  mmtrain train --out runs/joint --resume\n"
    "  mmtrain train --data shards/own --init exports/joint --set lr=0.001 --out runs/fine-tuned\n"
    "  mmtrain train --config runs/joint/config.json --out runs/joint-again"
)
@run_options()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the run, RUN. [default: with --config, one beside the old run; else none]",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the run in --out, or start it; with more --epochs also one that is finished.",
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The config.json of a run, which is started again from its beginning; options may change "
    "where it reads and computes, but not what.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print parameters, steps, time, memory and bytes, measured by a few steps; write nothing.",
)
@allow_plugins
@as_json
def train(
    settings: tuple[str, ...],
    out: Path | None,
    resume: bool,
    config: Path | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train on shards, then test the epoch that was best on val.

    Writes RUN: config.json, run.json (commands, versions, device), preparation.json (what `mmtrain
    predict` needs of the data), metrics.jsonl (one line per epoch), progress.json while it trains,
    checkpoint.pt, best.pt, ledger/, scores.h5 where the curriculum scores, probes.jsonl with
    --set probe_every=N and, at the end, result.json.
    """
    from mmtrain.cli import train
    from mmtrain.training.ranks import speaks

    given = {name: value for name, value in options.items() if value is not None}
    if dry_run:
        plan = train.run_dry(config, given, settings)
        click.echo(json.dumps(plan) if as_json else train.plan_text(plan))
        return
    if config is not None and resume:
        raise click.UsageError("--config starts a run again and --resume goes on with one")
    if config is not None:
        result = train.run_again(config, given, settings, out)
    elif out is None:
        raise click.UsageError("Missing option '--out'.")
    else:
        result = train.run_train(given, settings, out, resume)
    if speaks():
        click.echo(json.dumps(result) if as_json else train.summary(result))


@main.command(epilog="\b\nExamples:\n  mmtrain recipes\n  mmtrain recipes kinetics-sounds")
@click.argument("name", required=False)
@as_json
def recipes(name: str | None, as_json: bool) -> None:
    """List the recipes, or show one: the settings of the papers, each value with its source."""
    from mmtrain.config import recipes

    known = recipes.names()
    name = name and canonical(name, known)
    shown = known if name is None else (name,)
    rows = [{"name": each, "summary": recipes.title(each)} for each in shown]
    if as_json:
        text = {} if name is None else {"text": recipes.text(name)}
        click.echo(json.dumps({"recipes": [{**row, **text} for row in rows]}))
    elif name is not None:
        click.echo(recipes.text(name), nl=False)
    else:
        width = max(map(len, shown))
        click.echo("\n".join(f"{row['name']:{width}}  {row['summary']}" for row in rows))


@main.command(epilog="\b\nExample:\n  mmtrain audit runs/joint")
@finished_run
@moved_data
@allow_plugins
@as_json
@click.pass_context
def audit(ctx: click.Context, run: Path, data: str | None, as_json: bool) -> None:
    """Check from RUN's ledger that each epoch visited exactly the samples of its order.

    Writes nothing. Exit code 3 if an epoch did not.
    """
    from mmtrain.evaluation.audit import audit

    result = audit(run, data)
    click.echo(json.dumps(result.to_json()) if as_json else "\n".join(map(str, result.epochs)))
    if result.wrong:
        ctx.exit(3)


for _command in (
    *(evaluate, probe, predict, export, embed, landscape, compare, study, studies, figures),
    *(report, watch, settings_command),
):
    main.add_command(_command)
for _catalog in CATALOGS:
    main.add_command(listing(_catalog))
