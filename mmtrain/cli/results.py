"""Results of commands that measure several runs: on stdout, and as exit code."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

if TYPE_CHECKING:
    from rich.table import Table

    from mmtrain.evaluation.many import Measurements

Parts: TypeAlias = "list[str | Table]"


def show_measurements(
    ctx: click.Context,
    measured: "Measurements",
    of_one: Callable[[Mapping[str, Any]], Parts],
    of_all: Callable[[Sequence[Mapping[str, Any]]], Parts],
    as_json: bool,
) -> None:
    """Prints tables of all measured runs, or JSON, and exits with 1 if a run failed.

    Args:
        ctx: Context of the command.
        measured: Reports and failures.
        of_one: Function that makes the tables of a run that was asked for by its own folder.
        of_all: Function that makes those of several runs.
        as_json: Whether to print JSON.
    """
    from mmtrain.cli.tables import show

    plain = measured.reports[0] if measured.single else _plain(measured)
    if as_json:
        click.echo(json.dumps(plain))
    else:
        show(of_one(plain) if measured.single else of_all(measured.reports))
    if measured.failed:
        ctx.exit(1)


def show_picture(
    ctx: click.Context, picture: Path, measured: "Measurements", as_json: bool
) -> None:
    """Prints the place of a picture of runs, or JSON, and exits with 1 if a run failed.

    Args:
        ctx: Context of the command.
        picture: Place of the picture.
        measured: Reports and failures.
        as_json: Whether to print JSON.
    """
    click.echo(json.dumps({"png": str(picture), **_plain(measured)}) if as_json else picture)
    if measured.failed:
        ctx.exit(1)


def _plain(measured: "Measurements") -> dict[str, Any]:
    return {"runs": measured.reports, "failed": measured.failed}
