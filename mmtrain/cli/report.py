"""The command `mmtrain report`."""

import json
from pathlib import Path

import click

from mmtrain.cli.options import as_json, moved_data
from mmtrain.errors import ConfigError


@click.command(
    epilog="\b\nExamples:\n"
    "  mmtrain report runs/joint runs/ogm --html report.html\n"
    "  mmtrain report runs/*/seed-* --html report.html --tensorboard events"
)
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    metavar="RUN...",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="The page to write.")
@click.option(
    "--tensorboard",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the same numbers as TensorBoard's event files.",
)
@moved_data
@as_json
def report(
    runs: tuple[Path, ...],
    html: Path | None,
    tensorboard: Path | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Put runs on one page: results, curves, classes, what method and curriculum did.

    Writes --html, a page that loads nothing from anywhere, and event files under --tensorboard.
    Runs that differ in the seed alone are one row. A run in progress is shown as far as it is.
    """
    if html is None and tensorboard is None:
        raise ConfigError("nothing to write: give --html FILE, --tensorboard DIR, or both")
    written: dict[str, str] = {}
    if tensorboard is not None:
        from mmtrain.report.tensorboard import export

        export(runs, tensorboard)
        written["tensorboard"] = str(tensorboard)
    if html is not None:
        from mmtrain.report import write

        write(runs, html, data)
        written["html"] = str(html)
    found = {"runs": [str(run) for run in runs], **written}
    click.echo(json.dumps(found) if as_json else "\n".join(written.values()))
