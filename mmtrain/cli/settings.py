"""The command `mmtrain settings`."""

import json

import click

from mmprep.cli.group import Command
from mmtrain.cli.names import CATALOGS, name_in
from mmtrain.cli.options import as_json


@click.command(
    cls=Command,
    epilog="\b\nExamples:\n"
    "  mmtrain settings\n"
    "  mmtrain settings --method ogm-ge --curriculum bss-l",
)
@as_json
def settings(as_json: bool, **chosen: str | None) -> None:
    """List what --set takes: name, type, default, range and meaning.

    Parameters of a method, curriculum, fusion or encoder are listed too where it is named.
    """
    from mmtrain.config.described import settings as known

    rows = known({choice: name for choice, name in chosen.items() if name is not None})
    if as_json:
        click.echo(json.dumps({"settings": [row._asdict() for row in rows]}, default=str))
        return
    for row in rows:
        default = "none" if row.default in (None, ()) else row.default
        facts = "; ".join(filter(None, (row.type, row.allowed)))
        click.echo(f"{row.name} = {default}{f'  ({facts})' if facts else ''}")
        click.echo(f"    {row.help}")


settings.params[:0] = [
    click.Option(
        [f"--{choice}"],
        metavar="NAME",
        callback=name_in(catalog.names),
        help=f"List the parameters of this {choice}, too.",
    )
    for choice, catalog in CATALOGS.items()
]
