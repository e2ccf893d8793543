"""The command line of mmprep: it parses; `mmprep.cli.actions` acts and prints."""

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mmprep import __version__
from mmprep.cli.group import Group, listed
from mmprep.errors import ConfigError

if TYPE_CHECKING:
    from mmprep.build.request import Request
    from mmprep.storage.place import Raw

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _raw_place(ctx: click.Context, param: click.Parameter, value: str | None) -> "Raw | None":
    """A folder, or the URL of a bucket's prefix; refuses a file in place of a folder."""
    if value is None or "://" in value:
        return value
    folder: Path = click.Path(path_type=Path, file_okay=False).convert(value, param, ctx)
    return folder


as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as one JSON object on stdout."
)
endpoint = click.option(
    "--endpoint",
    metavar="URL",
    help="Address of an S3-compatible server. [default: AWS_ENDPOINT_URL]",
)
workers = click.option(
    "--workers",
    type=click.IntRange(1),
    default=None,
    help="How many work at once. [default: one a core]",
)
clip_timeout = click.option(
    "--clip-timeout",
    type=click.FloatRange(0.1),
    default=60.0,
    show_default=True,
    help="Seconds after which a clip is given up.",
)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mmprep")
def main() -> None:
    """Turns raw videos into WebDataset shards: frames, spectrograms and optical flow.

    Exit codes: 0 done, 1 a bug or failure, 2 a wrong request, 3 bad data.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


@main.command(epilog="\b\nExample:\n  mmprep datasets")
@as_json
def datasets(as_json: bool) -> None:
    """List the data sets that `build --dataset` knows."""
    from mmprep.cli import actions

    actions.run_datasets(as_json)


def _request_options(command: _Command) -> _Command:
    """Options by which a data set is named, the same for `manifest` and `build`."""
    options = (
        click.option("--dataset", metavar="NAME", help="A data set of `mmprep datasets`."),
        click.option(
            "--variant", metavar="NAME", help="A variant of the data set; + joins several."
        ),
        click.option(
            "--raw",
            callback=_raw_place,
            metavar="DIR_OR_URL",
            help="Folder with the clips, in any of the official layouts, or s3://bucket/prefix.",
        ),
        click.option(
            "--annotations",
            type=click.Path(path_type=Path, exists=True, file_okay=False),
            help="Folder with the official lists, at any depth.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@main.command(
    epilog="\b\nExample:\n  mmprep manifest --dataset ave --annotations AVE --raw AVE --out ave.csv"
)
@_request_options
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="CSV.")
@as_json
def manifest(
    dataset: str | None,
    variant: str | None,
    raw: "Raw | None",
    annotations: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    """Write the CSV of a data set's clips that are in --raw: one row a clip."""
    from mmprep.cli import actions

    request = _request(dataset=dataset, variant=variant, raw=raw, annotations=annotations)
    actions.run_manifest(request, out, as_json)


@main.command(
    epilog="\b\nExamples:\n"
    "  mmprep build --dataset keypad --out shards/keypad\n"
    "  mmprep build --dataset kinetics-sounds --raw videos --annotations lists --out shards/ks\n"
    "  mmprep build --manifest clips.csv --raw videos --out s3://bucket/clips\n"
    "  mmprep build --manifest clips.csv --raw s3://bucket/raw --out s3://bucket/clips --engine ray"
)
@_request_options
@click.option(
    "--manifest",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A ready CSV (label, split, video ...) in place of official lists.",
)
@click.option("--out", required=True, metavar="DIR_OR_URL", help="Folder, or s3://bucket/prefix.")
@click.option(
    "--parts",
    multiple=True,
    callback=listed,
    metavar="NAMES",
    help="Parts to extract, among frames,spectrogram,flow,difference,depth; repeatable.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A parameter, such as frames.short_side=128 or spectrogram.recipe=fbank; repeatable.",
)
@click.option(
    "--missing-audio",
    type=click.Choice(["fail", "silence"]),
    help="What a clip without sound becomes. [default: fail]",
)
@workers
@click.option(
    "--engine",
    default="local",
    show_default=True,
    help="Where the tasks run: local, ray or slurm. Any of them goes on where another stopped.",
)
@click.option(
    "--ray-address",
    metavar="HOST:PORT",
    help="The cluster of --engine ray. [default: RAY_ADDRESS, or this node's]",
)
@click.option(
    "--slurm",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of the jobs of --engine slurm, such as partition=cpu or timeout_min=60; repeatable.",
)
@click.option(
    "--shard-size", type=click.IntRange(1), default=512, show_default=True, help="Clips a shard."
)
@click.option("--limit", type=click.IntRange(1), help="Take so many clips only, of every class.")
@click.option(
    "--max-failed",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Share of clips that may fail before the build stops.",
)
@clip_timeout
@click.option("--seed", type=int, default=0, show_default=True, help="Of the order of samples.")
@click.option(
    "--decoder",
    type=click.Choice(["pyav", "decord"]),
    default="pyav",
    show_default=True,
    help="What decodes pictures; decord only where its times seem right.",
)
@endpoint
@click.option("--dry-run", is_flag=True, help="Print the plan and write nothing.")
@click.option("--force", is_flag=True, help="Start over: remove what was built at --out.")
@as_json
def build(
    out: str,
    workers: int | None,
    engine: str,
    ray_address: str | None,
    slurm: tuple[str, ...],
    max_failed: float,
    clip_timeout: float,
    endpoint: str | None,
    dry_run: bool,
    force: bool,
    as_json: bool,
    **request: Any,
) -> None:
    """Extract frames, spectrograms and flow, and write shards.

    Running it again goes on where it stopped, and does nothing when all is done.
    """
    from mmprep.cli import actions

    actions.run_build(
        _request(out=out, endpoint=endpoint, **request),
        actions.BuildFlags(
            out=out,
            endpoint=endpoint,
            workers=workers,
            engine=engine,
            ray_address=ray_address,
            slurm=dict(_pair("--slurm", text) for text in slurm),
            max_failed=max_failed,
            clip_timeout_s=clip_timeout,
            dry_run=dry_run,
            force=force,
            as_json=as_json,
        ),
    )


def _pair(option: str, text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found or not key:
        raise ConfigError(f"{option} takes KEY=VALUE; got {text!r}")
    return key.strip(), value.strip()


@main.command(epilog="\b\nExample:\n  mmprep verify shards/ks")
@click.argument("out")
@endpoint
@as_json
def verify(out: str, endpoint: str | None, as_json: bool) -> None:
    """Compare every byte of OUT with its index, checksums and root hash.

    Exit code 3 and the samples that are hit, where something is wrong.
    """
    from mmprep.cli import actions

    actions.run_verify(out, endpoint, as_json)


@main.command(epilog="\b\nExample:\n  mmprep copy shards/ks s3://bucket/ks")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@workers
@endpoint
@click.option("--dry-run", is_flag=True, help="Say what would be sent and write nothing.")
@click.option("--force", is_flag=True, help="Remove another data set at DST first.")
@as_json
def copy(
    source: str,
    target: str,
    workers: int | None,
    endpoint: str | None,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Copy the data set SRC to DST, folders or s3://bucket/prefix, checking every byte.

    Running it again goes on where it stopped: what is whole at DST is read, not sent.
    """
    from mmprep.cli import actions

    flags = actions.CopyFlags(workers=workers, dry_run=dry_run, force=force, as_json=as_json)
    actions.run_copy(source, target, endpoint, flags)


@main.command(epilog="\b\nExample:\n  mmprep info shards/ks --html ks.html")
@click.argument("out")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write a page to this file.",
)
@endpoint
@as_json
def info(out: str, html: Path | None, endpoint: str | None, as_json: bool) -> None:
    """Show what OUT holds: splits, classes, parts, bytes, failures by cause."""
    from mmprep.cli import actions

    actions.run_info(out, html, endpoint, as_json)


@main.command(
    epilog="\b\nExample:\n  mmprep inspect shards/keypad --key digit0001 --png sample.png"
)
@click.argument("out")
@click.option("--key", metavar="KEY", help="The sample. [default: the first]")
@click.option(
    "--png",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the picture.",
)
@endpoint
def inspect(out: str, key: str | None, png: Path, endpoint: str | None) -> None:
    """Draw one sample of OUT: frames, spectrogram, flow and checks in one picture."""
    from mmprep.cli import actions

    actions.run_inspect(out, key, png, endpoint)


@main.command(epilog="\b\nExample:\n  mmprep repair shards/ks --raw videos")
@click.argument("out")
@click.option(
    "--raw",
    callback=_raw_place,
    metavar="DIR_OR_URL",
    help="Where the clips lie now. [default: where they lay at the build]",
)
@workers
@clip_timeout
@endpoint
@as_json
def repair(
    out: str,
    raw: "Raw | None",
    workers: int | None,
    clip_timeout: float,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Try again the clips of OUT that failed, and nothing else."""
    from mmprep.cli import actions

    actions.run_repair(out, raw, workers, clip_timeout, endpoint, as_json)


def _request(
    *,
    dataset: str | None,
    raw: "Raw | None",
    variant: str | None,
    annotations: Path | None,
    out: str | None = None,
    manifest: Path | None = None,
    parts: Sequence[str] | None = None,
    **rest: Any,
) -> "Request":
    """The options of a command as a request; says what is lacking."""
    from mmprep.build.request import Request
    from mmprep.datasets import spec

    dataset = dataset and dataset.lower()
    if dataset is None and manifest is None:
        raise ConfigError("say --dataset NAME (see `mmprep datasets`) or --manifest FILE")
    if raw is None:
        data_set = spec.load(dataset or "folder", variant)
        if not data_set.generator or out is None or "://" in out:
            get = "".join(f"\n  {d.what}: {d.url} -> {d.into}" for d in data_set.downloads)
            raise ConfigError(f"--raw names the folder with the clips{get and '; get:' + get}")
        raw = Path(f"{out.rstrip('/')}-raw")
    return Request(
        dataset=dataset,
        raw=raw,
        variant=variant,
        annotations=annotations,
        manifest=manifest,
        parts=tuple(name.lower() for name in parts) if parts else None,
        **rest,
    )
