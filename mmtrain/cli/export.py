"""The command `mmtrain export`."""

import json
from pathlib import Path
from typing import Any

import click

from mmprep.cli.group import Command
from mmtrain.cli.options import allow_plugins, as_json, finished_run, moved_data


@click.command(
    "export",
    cls=Command,
    epilog="\b\nExamples:\n"
    "  mmtrain export runs/joint --out exports/joint\n"
    "  mmtrain export runs/joint --out exports/joint --onnx\n"
    "  mmtrain train --data shards/own --init exports/joint --out runs/fine-tuned",
)
@finished_run
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the export, DIR; new or empty.",
)
@click.option(
    "--program/--no-program",
    "programs",
    default=True,
    help="Write the program of torch.export, which takes a while for a large model. "
    "[default: --program]",
)
@click.option("--onnx", is_flag=True, help="Write the program as ONNX too; needs the extra onnx.")
@moved_data
@allow_plugins
@as_json
@click.pass_context
def export(
    ctx: click.Context,
    run: Path,
    out: Path,
    programs: bool,
    onnx: bool,
    data: str | None,
    as_json: bool,
) -> None:
    """Export the best weights of RUN, with all that predicting needs, to a folder.

    Writes DIR, whole or not at all: model.safetensors, config.json, preparation.json (classes, and
    how clips are prepared), README.md (the model's card), model.pt2 (a program of torch.export) and
    model.onnx. A model that cannot become a program is named on stderr; its weights are written.
    `mmtrain.load`, `mmtrain predict` and `mmtrain train --init` take DIR. Exit code 1 if --onnx was
    asked for and could not be made.
    """
    from mmtrain.prediction.export import export

    report: dict[str, Any] = export(run, out, programs=programs, onnx=onnx, data=data)
    if as_json:
        click.echo(json.dumps(report))
    else:
        width = max(map(len, report["files"]))
        click.echo(f"{run} -> {out}")
        for name, size in report["files"].items():
            click.echo(f"  {name:{width}}  {size:,} bytes")
    if onnx and "model.onnx" in report["refused"]:
        ctx.exit(1)
