"""The command line of mmprep: parses options and hands them to `mmprep.cli.actions`.

Modules that load numpy, PyAV or the like are imported inside the commands, so that `--help` is
immediate.
"""

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmprep.cli.group import Group, listed
from mmprep.cli.index import index
from mmprep.cli.options import (
    access_options,
    as_json,
    clip_timeout,
    make_request,
    raw_place,
    request_options,
    workers,
)
from mmprep.errors import ConfigError
from mmprep.format.parts import PARTS
from mmprep.printable import PrintableFormatter
from mmprep.version import VERSION

if TYPE_CHECKING:
    from mmprep.storage.access import Access
    from mmprep.storage.place import Raw

_PUBLIC = "Read a public bucket without credentials."


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="mmprep")
def main() -> None:
    """Turns raw videos into WebDataset shards: frames, spectrograms and optical flow.

    Exit codes: 0 done, 1 a bug or failure, 2 a wrong request, 3 bad data.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


@main.command(epilog="\b\nExample:\n  mmprep datasets")
@as_json
def datasets(as_json: bool) -> None:
    """List the data sets that `build --dataset` knows."""
    from mmprep.cli import actions

    actions.run_datasets(as_json)


@main.command(
    epilog="\b\nExample:\n  mmprep manifest --dataset ave --annotations AVE --raw AVE --out ave.csv"
)
@request_options
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV file to write.",
)
@as_json
def manifest(
    dataset: str | None,
    variant: str | None,
    raw: "Raw | None",
    annotations: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    """Write the CSV of a data set's clips that are in --raw: one row a clip.

    Values are written as they are: a spreadsheet program takes a label that begins with =, +, - or
    @ for a formula, so import lists of strangers there as text.
    """
    from mmprep.cli import actions

    request = make_request(dataset=dataset, variant=variant, raw=raw, annotations=annotations)
    actions.run_manifest(request, out, as_json)


@main.command(
    epilog="\b\nExamples:\n"
    "  mmprep build --dataset keypad --out shards/keypad\n"
    "  mmprep build --dataset kinetics-sounds --raw videos --annotations lists --out shards/ks\n"
    "  mmprep build --manifest clips.csv --raw videos --out s3://bucket/clips\n"
    "  mmprep build --manifest clips.csv --raw s3://bucket/raw --out s3://bucket/clips --engine ray"
)
@request_options
@click.option(
    "--manifest",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CSV file of clips (label, split, video ...) in place of official lists.",
)
@click.option("--out", required=True, metavar="DIR_OR_URL", help="Folder, or s3://bucket/prefix.")
@click.option(
    "--parts",
    multiple=True,
    callback=listed,
    metavar="NAMES",
    help=f"Parts to make, repeatable or separated by commas: any of {', '.join(PARTS)}. "
    "[default: those of the data set]",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Value of one parameter, such as frames.short_side=128 or spectrogram.recipe=fbank; of "
    "clips that are generated, such as clips.noise=3 of keypad. Repeatable.",
)
@click.option(
    "--missing-audio",
    type=click.Choice(["fail", "silence"]),
    help="Treatment of clips without sound. [default: that of the data set]",
)
@workers
@click.option(
    "--engine",
    default="local",
    show_default=True,
    help="Engine that runs the tasks: local, ray or slurm. Any continues the build of another.",
)
@click.option(
    "--ray-address",
    metavar="HOST:PORT",
    help="Address of the cluster for --engine ray. [default: RAY_ADDRESS, or that of this node]",
)
@click.option(
    "--slurm",
    multiple=True,
    metavar="KEY=VALUE",
    help="Parameter of the jobs of --engine slurm, such as partition=cpu or timeout_min=60; "
    "repeatable.",
)
@click.option(
    "--shard-size",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    help="Largest number of clips in a shard.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="Number of clips to take, spread over all splits and classes. [default: all]",
)
@click.option(
    "--max-failed",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Share of clips that may fail before the build stops.",
)
@clip_timeout
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of the order of samples."
)
@click.option(
    "--decoder",
    type=click.Choice(["pyav", "decord"]),
    default="pyav",
    show_default=True,
    help="Decoder of the pictures; decord is used only for clips whose times it gets right.",
)
@access_options("Read the clips of a public bucket without credentials.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the plan, with bytes, time and memory estimated from a few clips; write nothing.",
)
@click.option("--force", is_flag=True, help="Remove an earlier build at --out and start over.")
@click.option(
    "--extend",
    is_flag=True,
    help="Add the clips that arrived after the build at --out, as new shards.",
)
@click.option(
    "--hash-sources",
    is_flag=True,
    help="Keep a digest of every source, not only size and time, to see what changes later.",
)
@as_json
def build(
    out: str,
    workers: int | None,
    engine: str,
    ray_address: str | None,
    slurm: tuple[str, ...],
    max_failed: float,
    clip_timeout: float,
    access: "Access",
    dry_run: bool,
    force: bool,
    extend: bool,
    as_json: bool,
    **request: Any,
) -> None:
    """Extract frames, spectrograms and flow, and write shards.

    A build that was stopped continues when the same command is run again; a finished one is left as
    it is, or takes in new clips with --extend. The clips that gave no sample stand in
    OUT/failures.jsonl, one JSON object a line: key, label, split, source, stage, cause, message,
    and for a file that was there also task (its shard) and row (its line of the manifest).
    """
    from mmprep.cli import actions

    actions.run_build(
        make_request(
            out=out,
            endpoint=access.endpoint,
            anonymous=access.anonymous,
            retry_for_s=access.retry_for_s,
            **request,
        ),
        actions.BuildFlags(
            out=out,
            workers=workers,
            engine=engine,
            ray_address=ray_address,
            slurm=dict(_split_pair("--slurm", text) for text in slurm),
            max_failed=max_failed,
            clip_timeout_s=clip_timeout,
            dry_run=dry_run,
            force=force,
            extend=extend,
            as_json=as_json,
        ),
    )


def _split_pair(option: str, text: str) -> tuple[str, str]:
    key, equals_sign, value = text.partition("=")
    if not equals_sign or not key:
        raise ConfigError(f"{option} takes KEY=VALUE; got {text!r}")
    return key.strip(), value.strip()


@main.command(epilog="\b\nExample:\n  mmprep verify shards/ks")
@click.argument("out")
@access_options(_PUBLIC)
@as_json
def verify(out: str, access: "Access", as_json: bool) -> None:
    """Compare every byte of OUT with its index, checksums and root hash.

    Prints the damaged samples and exits with code 3 if there are any.
    """
    from mmprep.cli import actions

    actions.run_verify(out, access, as_json)


@main.command(epilog="\b\nExample:\n  mmprep copy shards/ks s3://bucket/ks")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@workers
@access_options("Read SRC without credentials, as public buckets allow.")
@click.option("--endpoint-from", metavar="URL", help="Address of SRC's server, if it has its own.")
@click.option("--endpoint-to", metavar="URL", help="Address of DST's server, if it has its own.")
@click.option("--dry-run", is_flag=True, help="Print what would be sent and write nothing.")
@click.option("--force", is_flag=True, help="Remove another data set at DST first.")
@as_json
def copy(
    source: str,
    target: str,
    workers: int | None,
    access: "Access",
    endpoint_from: str | None,
    endpoint_to: str | None,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Copy the data set SRC to DST, folders or s3://bucket/prefix, checking every byte.

    A copy that was stopped continues when the same command is run again: files that DST already
    holds are read and checked, not sent. SRC and DST may lie on two servers, see --endpoint-from.
    """
    from mmprep.cli import actions

    flags = actions.CopyFlags(
        workers=workers,
        dry_run=dry_run,
        force=force,
        as_json=as_json,
        read_by=replace(access, endpoint=endpoint_from or access.endpoint),
        write_by=replace(access, endpoint=endpoint_to or access.endpoint, anonymous=False),
    )
    actions.run_copy(source, target, flags)


@main.command(epilog="\b\nExample:\n  mmprep info shards/ks --html ks.html")
@click.argument("out")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="HTML file to write, with charts and example samples.",
)
@access_options(_PUBLIC)
@as_json
def info(out: str, html: Path | None, access: "Access", as_json: bool) -> None:
    """Summarise OUT: splits, classes, parts, bytes, failures by cause."""
    from mmprep.cli import actions

    actions.run_info(out, html, access, as_json)


@main.command(
    epilog="\b\nExample:\n  mmprep inspect shards/keypad --key digit0001 --png sample.png"
)
@click.argument("out")
@click.option("--key", metavar="KEY", help="Key of the sample. [default: the first]")
@click.option(
    "--png",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="PNG file to write.",
)
@access_options(_PUBLIC)
def inspect(out: str, key: str | None, png: Path, access: "Access") -> None:
    """Draw one sample of OUT: frames, spectrogram, flow and checks in one picture."""
    from mmprep.cli import actions

    actions.run_inspect(out, key, png, access)


@main.command(epilog="\b\nExample:\n  mmprep repair shards/ks --raw videos")
@click.argument("out")
@click.option(
    "--raw",
    callback=raw_place,
    metavar="DIR_OR_URL",
    help="Folder or URL where the clips lie now. [default: where they lay at the build]",
)
@workers
@clip_timeout
@access_options("Read the clips of a public bucket without credentials.")
@as_json
def repair(
    out: str,
    raw: "Raw | None",
    workers: int | None,
    clip_timeout: float,
    access: "Access",
    as_json: bool,
) -> None:
    """Try again the clips of OUT that failed, and nothing else."""
    from mmprep.cli import actions

    actions.run_repair(out, raw, workers, clip_timeout, access, as_json)


@main.command(epilog="\b\nExamples:\n  mmprep parameters\n  mmprep parameters ave --json")
@click.argument("dataset", required=False)
@as_json
def parameters(dataset: str | None, as_json: bool) -> None:
    """List what `build --set` takes: name, type, default and meaning.

    With DATASET, the defaults are those of that data set.
    """
    from mmprep.cli import actions

    actions.run_parameters(dataset, as_json)


main.add_command(index)
