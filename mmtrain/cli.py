"""The command line of mmtrain: it parses, calls the library and prints."""

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from mmprep.errors import MmprepError
from mmtrain.catalog import CATALOGS, Catalog, Entry, Explanation
from mmtrain.errors import MmtrainError

as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as one JSON object on stdout."
)


class _Group(click.Group):
    """Turns our errors into a message and an exit code, and Ctrl-C into one line."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (MmtrainError, MmprepError) as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("Stopped. The same command goes on from here.", err=True)
            ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mmprep", prog_name="mmtrain")
def main() -> None:
    """Trains on shards made by mmprep, with methods that balance the modalities.

    Exit codes: 0 done, 1 a bug or failure, 2 a wrong request, 3 bad data.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


def _listing(catalog: Catalog[object]) -> click.Command:
    """The command that lists ``catalog``, or explains one entry of it."""
    text = (
        f"List the {catalog.plural}, or explain one: its paper, equation and parameters.\n\n"
        f"Names: {', '.join(catalog.names)}."
    )
    example = f"\b\nExamples:\n  mmtrain {catalog.plural}\n  mmtrain {catalog.plural} "

    @click.command(catalog.plural, help=text, epilog=example + catalog.names[0])
    @click.argument("name", required=False)
    @as_json
    def command(name: str | None, as_json: bool) -> None:
        if name is not None:
            found = catalog.explain(name)
            _print(catalog, [_plain(found)], as_json, _told(found))
        else:
            width = max(map(len, catalog.names))
            lines = [f"{e.name:{width}}  {e.summary} [{e.paper}]" for e in catalog.entries]
            _print(catalog, [_line(e) for e in catalog.entries], as_json, "\n".join(lines))

    return command


def _print(
    catalog: Catalog[object], rows: Sequence[Mapping[str, object]], as_json: bool, text: str
) -> None:
    click.echo(json.dumps({catalog.plural: rows}, default=str) if as_json else text)


def _line(entry: Entry) -> dict[str, object]:
    return {"name": entry.name, "paper": entry.paper, "summary": entry.summary}


def _plain(found: Explanation) -> dict[str, object]:
    return {
        **_line(found.entry),
        "text": found.text,
        "parameters": [parameter._asdict() for parameter in found.parameters],
    }


def _told(found: Explanation) -> str:
    lines = [f"{found.entry.name} [{found.entry.paper}]", "", found.text]
    if found.parameters:
        lines += ["", "Parameters:"]
        lines += [f"  {p.name} = {p.default}\n      {p.help}" for p in found.parameters]
    return "\n".join(lines)


for _catalog in CATALOGS:
    main.add_command(_listing(_catalog))
