"""The commands `mmtrain study` and `mmtrain studies`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from mmprep.cli.group import Command, listed
from mmtrain.cli.compare import shown
from mmtrain.cli.engines import engine_options, print_dry_run, where_of
from mmtrain.cli.options import (
    as_json,
    missing_modalities,
    noisy_modalities,
    probed_encoders,
    run_options,
)


@click.command(
    cls=Command,
    epilog="\b\nExamples:\n"
    "  mmtrain study ogm-fusions --data shards/crema-d --recipe crema-d --out studies/fusions\n"
    "  mmtrain study my.toml --data shards/keypad --jobs 4 --seeds 0-2 --out studies/mine\n"
    "  mmtrain study studies/mine --again --out studies/mine-again",
)
@click.argument("name", metavar="NAME|FILE.toml|DIR")
@click.option(
    "--again",
    is_flag=True,
    help="Repeat the study in the folder DIR from its own records, on the same data, in a new "
    "folder; options may change where it reads and computes, but not what.",
)
@click.option(
    "--seeds",
    multiple=True,
    callback=listed,
    metavar="NUMBERS",
    help="Random seeds, such as 0,1,2 or 0-2; repeatable. [default: the study's]",
)
@engine_options
@probed_encoders
@missing_modalities
@noisy_modalities
@run_options("method", "curriculum", "fusion", "seed")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the study, DIR. [default: with --again, one beside the old; else none]",
)
@as_json
@click.pass_context
def study(
    ctx: click.Context,
    /,
    name: str,
    again: bool,
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Make the table that a study describes: one of `mmtrain studies`, or a file of your own.

    Writes DIR: study.toml, a copy of what was asked; a folder of runs for each row; the table
    (table.md, .csv, .tex and .json) and the study's figures, all on the page study.html; curves of
    all runs in report.html; and manifest.json (versions, machine, seconds). Killed, the same
    command goes on.
    """
    from mmtrain.cli import train
    from mmtrain.comparison import study as studies
    from mmtrain.comparison.evaluations import Evaluations

    where = where_of(options)
    evaluations = Evaluations.of(*(options.pop(name) for name in ("probe", "missing", "noise")))
    given = {key: value for key, value in options.items() if value not in (None, ())}
    if again:
        out = out or train.free_name(Path(name))
        table = train.repeat_study(Path(name), given, out, where, evaluations)
    elif out is None:
        raise click.UsageError("Missing option '--out'.")
    else:
        asked = studies.read(name)
        asked = replace(asked, evaluations=asked.evaluations.with_more(evaluations))
        seeds, settings = given.pop("seeds", ()), given.pop("settings", ())
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


@click.command(
    cls=Command, epilog="\b\nExamples:\n  mmtrain figures\n  mmtrain figures discrepancy"
)
@click.argument("name", required=False)
@as_json
def figures(name: str | None, as_json: bool) -> None:
    """List the kinds of figures that a study file may ask for, or show the options of one.

    A study file asks for one by a table [[figures]] with its kind and options; it is drawn when the
    runs are done.
    """
    from mmtrain.comparison.figures.catalog import FIGURES
    from mmtrain.comparison.figures.request import COMMON
    from mmtrain.errors import UnknownName

    if name is not None and name not in FIGURES:
        raise UnknownName("kind of a figure", name, FIGURES)
    kinds = [*FIGURES.values()] if name is None else [FIGURES[name]]
    if as_json:
        options = [{option.name: option.text for option in kind.options} for kind in kinds]
        rows = [
            {"name": kind.name, "summary": kind.summary, "options": own}
            for kind, own in zip(kinds, options, strict=True)
        ]
        click.echo(json.dumps({"figures": rows}))
        return
    width = max(len(kind.name) for kind in kinds)
    lines = [f"{kind.name:{width}}  {kind.summary}" for kind in kinds]
    if name is not None:
        lines += [f"  {option.name}: {option.text}" for option in (*COMMON, *kinds[0].options)]
    click.echo("\n".join(lines))


def _described(study: Any) -> dict[str, Any]:
    return {
        "title": study.title,
        "source": study.source,
        "needs": study.needs,
        "differs": study.differs,
        "rows": len(study.rows),
    }
