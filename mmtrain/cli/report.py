"""The command `mmtrain report`."""

import json
from pathlib import Path

import click

from mmprep.cli.group import Command
from mmtrain.cli.options import as_json, moved_data, several_runs
from mmtrain.errors import ConfigError


@click.command(
    cls=Command,
    epilog="\b\nExamples:\n"
    "  mmtrain report runs/joint runs/ogm --html report.html\n"
    "  mmtrain report runs/comparison --html report.html --tensorboard events",
)
@several_runs
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="File of the page to write."
)
@click.option(
    "--tensorboard",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the same numbers as event files of TensorBoard.",
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
    """Show runs on one page: results, curves, classes, logged values of method and curriculum.

    RUN is the folder of a run, or one with finished runs below it, such as that of a comparison.
    Writes --html, a single file that needs no network, and event files under --tensorboard. Runs
    that differ in the seed alone share a row. A run in progress is shown as far as it has come.
    """
    from mmtrain.evaluation.many import runs_in

    if html is None and tensorboard is None:
        raise ConfigError("nothing to write: give --html FILE, --tensorboard DIR, or both")
    folders = runs_in(runs)
    written: dict[str, str] = {}
    if tensorboard is not None:
        from mmtrain.report.tensorboard import export

        export(folders, tensorboard)
        written["tensorboard"] = str(tensorboard)
    if html is not None:
        from mmtrain.report import write

        write(folders, html, data)
        written["html"] = str(html)
    result = {"runs": [str(run) for run in folders], **written}
    click.echo(json.dumps(result) if as_json else "\n".join(written.values()))
