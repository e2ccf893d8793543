"""Options that several commands share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mmtrain.config.run import DEVICES, PRECISIONS, TrainConfig

Command = TypeVar("Command", bound=Callable[..., Any])

as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as one JSON object on stdout."
)
finished_run = click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
moved_data = click.option("--data", metavar="DIR_OR_URL", help="The shards, if they have moved.")
split = click.option(
    "--split", default="test", show_default=True, metavar="NAME", help="Split to look at."
)
other_device = click.option(
    "--device", type=click.Choice(DEVICES), help="Where to compute. [default: as it was trained]"
)

_DEFAULTS: Final = TrainConfig(data="")
_NAMES: Final = {
    "method": "One of `mmtrain methods`.",
    "curriculum": "One of `mmtrain curricula`.",
    "fusion": "One of `mmtrain fusions`.",
    "encoder": "One of `mmtrain encoders`, for each modality.",
}
_NUMBERS: Final = {
    "epochs": (1, "Passes over the train split."),
    "batch_size": (1, "Samples a step, of all ranks together."),
    "seed": (0, "Of everything that is drawn."),
}
_KINDS: Final = {
    "device": (DEVICES, "Where to compute."),
    "precision": (PRECISIONS, "Of the encoders; weights stay fp32."),
}


def _bytes_of(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """Bytes that ``20GB`` stands for."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMGT]?)B?", text)
    if not found:
        raise click.BadParameter(f"{text!r} is not a size such as 500MB or 20GB", ctx, param)
    return int(float(found[1]) * 1000 ** " kMGT".index(found[2] or " "))


def run_options(*without: str) -> Callable[[Command], Command]:
    """What a run is. Nothing has a value of its own here: a resumed run keeps what it had.

    Args:
        without: Names of options that the command has in another form.
    """
    options = {
        "data": click.option("--data", metavar="DIR_OR_URL", help="Shards that mmprep has built."),
        "recipe": click.option(
            "--recipe",
            metavar="NAME",
            help="One of `mmtrain recipes`; other options and --set go before its values.",
        ),
        "endpoint": click.option(
            "--endpoint",
            metavar="URL",
            help="Address of an S3-compatible server. [default: AWS_ENDPOINT_URL]",
        ),
        "anonymous": click.option(
            "--anonymous",
            is_flag=True,
            default=None,
            help="Read a public bucket without credentials.",
        ),
        "cache": click.option(
            "--cache",
            metavar="DIR",
            type=click.Path(file_okay=False),
            help="Folder on a local disk that keeps what a bucket gave, for later epochs and runs. "
            "Several runs may share it. [default: none]",
        ),
        "cache_size": click.option(
            "--cache-size",
            metavar="SIZE",
            callback=_bytes_of,
            help="Of that folder, such as 500MB or 2TB. [default: 20GB]",
        ),
        **{
            name: click.option(f"--{name}", metavar="NAME", help=f"{what} {_default(name)}")
            for name, what in _NAMES.items()
        },
        "modalities": click.option(
            "--modalities", metavar="NAMES", help="Such as audio,visual. [default: the data set's]"
        ),
        **{
            name: click.option(
                f"--{name.replace('_', '-')}",
                type=click.IntRange(low),
                help=f"{what} {_default(name)}",
            )
            for name, (low, what) in _NUMBERS.items()
        },
        **{
            name: click.option(
                f"--{name}", type=click.Choice(known), help=f"{what} {_default(name)}"
            )
            for name, (known, what) in _KINDS.items()
        },
        "skip_corrupt": click.option(
            "--skip-corrupt",
            is_flag=True,
            default=None,
            help="Leave damaged samples out, and count them, in place of stopping.",
        ),
        "scores": click.option(
            "--scores",
            metavar="FILE",
            help="Start the curriculum from another run's scores.h5.",
        ),
        "workers": click.option(
            "--workers",
            type=click.IntRange(1),
            help="How many work at once. [default: one a core]",
        ),
        "settings": click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            help="A parameter of the run or of what is chosen, such as lr=0.1, schedule=cosine, "
            "view.size=64 or method.alpha=0.3; repeatable.",
        ),
    }

    def decorate(command: Command) -> Command:
        for name, option in reversed(options.items()):
            if name not in without:
                command = option(command)
        return command

    return decorate


def _default(name: str) -> str:
    return f"[default: {getattr(_DEFAULTS, name)}]"
