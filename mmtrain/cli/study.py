"""The commands `mmtrain study` and `mmtrain studies`."""

import json
from pathlib import Path
from typing import Any

import click

from mmprep.cli.group import Command, listed
from mmtrain.cli.compare import shown
from mmtrain.cli.engines import engine_options, print_dry_run, where_of
from mmtrain.cli.options import as_json, run_options


@click.command(
    cls=Command,
    epilog="\b\nExamples:\n"
    "  mmtrain study ogm-fusions --data shards/crema-d --recipe crema-d --out studies/fusions\n"
    "  mmtrain study my.toml --data shards/keypad --jobs 4 --seeds 0-2 --out studies/mine",
)
@click.argument("name", metavar="NAME|FILE.toml")
@click.option(
    "--seeds",
    multiple=True,
    callback=listed,
    metavar="NUMBERS",
    help="Random seeds, such as 0,1,2 or 0-2; repeatable. [default: the study's]",
)
@engine_options
@run_options("method", "curriculum", "fusion", "seed")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the study, DIR.",
)
@as_json
@click.pass_context
def study(ctx: click.Context, /, name: str, out: Path, as_json: bool, **options: Any) -> None:
    """Make the table that a study describes: one of `mmtrain studies`, or a file of your own.

    Writes DIR: study.toml, a copy of what was asked; a folder of runs for each row; the table
    (table.md, .csv, .tex and .json); and report.html. Killed, the same command goes on.
    """
    from mmtrain.cli import train
    from mmtrain.comparison import study as studies

    where = where_of(options)
    asked = studies.read(name)
    seeds, settings = options.pop("seeds") or (), options.pop("settings") or ()
    given = {key: value for key, value in options.items() if value is not None}
    table = train.run_study(given, asked, studies.text(name), seeds, settings, out, where)
    if where.dry_run:
        print_dry_run(table, where, as_json)
    else:
        shown(ctx, table, out, as_json)


@click.command(
    cls=Command, epilog="\b\nExamples:\n  mmtrain studies\n  mmtrain studies ogm-fusions"
)
@click.argument("name", required=False)
@as_json
def studies(name: str | None, as_json: bool) -> None:
    """List the studies, each a table of a paper, or show the file of one."""
    from mmtrain.comparison import study as known

    if name is not None:
        text = known.text(name)
        click.echo(json.dumps({"name": name, "text": text}) if as_json else text.rstrip())
        return
    rows = [{"name": each, **_described(known.read(each))} for each in known.names()]
    if as_json:
        click.echo(json.dumps({"studies": rows}))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        click.echo(f"{row['name']:{width}}  {row['title']} [{row['source']}]")


def _described(study: Any) -> dict[str, Any]:
    return {
        "title": study.title,
        "source": study.source,
        "needs": study.needs,
        "differs": study.differs,
        "rows": len(study.rows),
    }
