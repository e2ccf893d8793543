"""Options that several commands of mmprep share, and the request that they make."""

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from mmprep.errors import ConfigError
from mmprep.storage.access import Access, seconds_of

if TYPE_CHECKING:
    from mmprep.build.request import Request
    from mmprep.storage.place import Raw

_Command = TypeVar("_Command", bound=Callable[..., Any])


def raw_place(ctx: click.Context, param: click.Parameter, value: str | None) -> "Raw | None":
    """Converts ``--raw`` to a folder or a URL; refuses a file in place of a folder."""
    if value is None or "://" in value:
        return value
    folder: Path = click.Path(path_type=Path, file_okay=False).convert(value, param, ctx)
    return folder


as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as one JSON object on stdout."
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
    help="Seconds after which the decoding of a clip is given up.",
)


def seconds(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """Converts a time such as ``120s`` or ``2m`` to seconds."""
    return None if text is None else seconds_of(text)


def access_options(public: str) -> Callable[[_Command], _Command]:
    """Adds the options of the way to a bucket to a command, which takes them as one `Access`.

    Args:
        public: Help of ``--anonymous``, which names what a public bucket may hold.
    """
    options = (
        click.option(
            "--endpoint",
            metavar="URL",
            help="Address of the bucket's server, where it is not the provider's. "
            "[default: AWS_ENDPOINT_URL]",
        ),
        click.option("--anonymous", is_flag=True, help=public),
        click.option(
            "--retry-for",
            metavar="TIME",
            default="120s",
            show_default=True,
            callback=seconds,
            help="Time for which a bucket's or web server's fault that may pass is waited out, "
            "such as 30s or 10m.",
        ),
    )

    def decorate(command: _Command) -> _Command:
        @wraps(command)
        def packed(*, endpoint: str | None, anonymous: bool, retry_for: float, **rest: Any) -> Any:
            access = Access(endpoint=endpoint, anonymous=anonymous, retry_for_s=retry_for)
            return command(access=access, **rest)

        for option in reversed(options):
            packed = option(packed)
        return cast(_Command, packed)

    return decorate


def request_options(command: _Command) -> _Command:
    """Adds the options that name a data set, which `manifest` and `build` share."""
    options = (
        click.option(
            "--dataset",
            metavar="NAME",
            help="Name of a data set, see `mmprep datasets`, or a TOML file that describes one.",
        ),
        click.option(
            "--variant",
            metavar="NAME",
            help="Name of a variant of the data set; several are joined by +.",
        ),
        click.option(
            "--raw",
            callback=raw_place,
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


def make_request(
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
    """Makes a request from the options of a command.

    Raises:
        ConfigError: Options are lacking; the message names them.
    """
    from mmprep.build.request import Request
    from mmprep.datasets import spec

    dataset = dataset and dataset.lower()
    if dataset is None and manifest is None:
        raise ConfigError("give --dataset NAME (see `mmprep datasets`) or --manifest FILE")
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
