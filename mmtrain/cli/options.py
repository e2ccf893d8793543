"""Options that several commands share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mmprep.storage.access import seconds_of
from mmtrain import plugins
from mmtrain.cli.names import CATALOGS, given_texts, loggers, modalities, name_in
from mmtrain.config.run import DEVICES, LOGGERS, PRECISIONS, TrainConfig

Command = TypeVar("Command", bound=Callable[..., Any])

as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as one JSON object on stdout."
)
finished_run = click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
several_runs = click.argument(
    "runs",
    nargs=-1,
    required=True,
    metavar="RUN...",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
missing_modalities = click.option(
    "--missing",
    multiple=True,
    metavar="MODALITY=SHARE,...",
    help="Share of the samples that lose the modality; without =SHARE all of them. A comma joins "
    "modalities that are missing together, audio=0:1:0.1 is a range; repeatable, for further "
    "settings.",
)
noisy_modalities = click.option(
    "--noise",
    multiple=True,
    metavar="MODALITY=LEVEL,...",
    help="Level of noise on the modality: its deviation over that of the normalised input, or the "
    "share of the tokens of a text that are replaced. Commas and ranges as in --missing; "
    "repeatable.",
)
figure_file = click.option(
    "--png",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of the picture; a PDF or SVG if its name ends so.",
)
probed_encoders = click.option(
    "--probe/--no-probe", help="Also probe the encoders of every run by new linear heads."
)
force = click.option(
    "--force", is_flag=True, help="Measure again what the files of RUN hold of the same weights."
)


def _allow_plugins(ctx: click.Context, param: click.Parameter, given: bool) -> None:
    if given:
        ctx.with_resource(plugins.allowing())


allow_plugins = click.option(
    "--allow-plugins",
    is_flag=True,
    expose_value=False,
    callback=_allow_plugins,
    help="Run the code of the plug-ins that the config of RUN names; look at it first if RUN came "
    "from somebody else.",
)
moved_data = click.option(
    "--data", metavar="DIR_OR_URL", help="Place of the shards, if they have moved."
)
split = click.option(
    "--split", default="test", show_default=True, metavar="NAME", help="Name of the split."
)
other_device = click.option(
    "--device",
    type=click.Choice(DEVICES),
    help="Device to compute on. [default: the one of training]",
)

_DEFAULTS: Final = TrainConfig(data="")
_NAMES: Final = {
    "method": "Method, one of `mmtrain methods` or FILE.py:CLASS.",
    "curriculum": "Order of the samples, one of `mmtrain curricula` or FILE.py:CLASS.",
    "fusion": "Fusion, one of `mmtrain fusions` or FILE.py:CLASS.",
}
_NUMBERS: Final = {
    "epochs": (1, "Number of passes over the train split."),
    "batch_size": (1, "Number of samples in a step, over all ranks."),
    "accumulate": (1, "Number of such batches in a step, with the memory of one."),
    "seed": (0, "Seed of every random draw."),
}
_KINDS: Final = {
    "device": (DEVICES, "Device to compute on."),
    "precision": (PRECISIONS, "Precision of the encoders; weights stay fp32."),
}


def _bytes_of(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """Number of bytes that a text such as ``20GB`` stands for."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMGT]?)B?", text)
    if not match:
        raise click.BadParameter(f"{text!r} is not a size such as 500MB or 20GB", ctx, param)
    return int(float(match[1]) * 1000 ** " kMGT".index(match[2] or " "))


def _seconds_of(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    return None if text is None else seconds_of(text)


def run_options(*without: str) -> Callable[[Command], Command]:
    """Adds the options that describe a run to a command.

    An option that is not given has no value here: defaults are `TrainConfig`'s, and a resumed run
    keeps the values it had.

    Args:
        without: Names of options that the command has in another form.
    """
    options = {
        "data": click.option(
            "--data", metavar="DIR_OR_URL", help="Place of the shards that mmprep has built."
        ),
        "recipe": click.option(
            "--recipe",
            metavar="NAME",
            help="Recipe, one of `mmtrain recipes` or FILE.toml; other options and --set override "
            "its values.",
        ),
        "endpoint": click.option(
            "--endpoint",
            metavar="URL",
            help="Address of the bucket's server, where it is not the provider's. "
            "[default: AWS_ENDPOINT_URL]",
        ),
        "anonymous": click.option(
            "--anonymous",
            is_flag=True,
            default=None,
            help="Read a public bucket without credentials.",
        ),
        "retry_for": click.option(
            "--retry-for",
            "retry_for_s",
            metavar="TIME",
            callback=_seconds_of,
            help="Time for which a bucket's or web server's fault that may pass is waited out, "
            "such as 30s or 10m. [default: 120s]",
        ),
        "cache": click.option(
            "--cache",
            metavar="DIR",
            type=click.Path(file_okay=False),
            help="Folder on a local disk that keeps what was read from a bucket, for later epochs "
            "and runs; several runs may share it. [default: none]",
        ),
        "cache_size": click.option(
            "--cache-size",
            metavar="SIZE",
            callback=_bytes_of,
            help="Largest size of the cache, such as 500MB or 2TB. [default: 20GB]",
        ),
        **{
            name: click.option(
                f"--{name}",
                metavar="NAME",
                callback=name_in(CATALOGS[name].names),
                help=f"{text} {_default(name)}",
            )
            for name, text in _NAMES.items()
        },
        "encoder": click.option(
            "--encoder",
            multiple=True,
            callback=given_texts,
            metavar="NAME",
            help="Encoder, one of `mmtrain encoders` or FILE.py:CLASS, of every modality; or of "
            "some, such as audio=resnet18,visual=small-cnn; repeatable. " + _default("encoder"),
        ),
        "modalities": click.option(
            "--modalities",
            multiple=True,
            callback=modalities,
            metavar="NAMES",
            help="Modalities to train on, such as audio,visual; repeatable. [default: those that "
            "the data set lists]",
        ),
        **{
            name: click.option(
                f"--{name.replace('_', '-')}",
                type=click.IntRange(low),
                help=f"{text} {_default(name)}",
            )
            for name, (low, text) in _NUMBERS.items()
        },
        **{
            name: click.option(
                f"--{name}", type=click.Choice(known), help=f"{text} {_default(name)}"
            )
            for name, (known, text) in _KINDS.items()
        },
        "skip_corrupt": click.option(
            "--skip-corrupt",
            is_flag=True,
            default=None,
            help="Leave damaged samples out and count them, instead of stopping at the first.",
        ),
        "compile": click.option(
            "--compile",
            is_flag=True,
            default=None,
            help="Compile the encoders: faster steps on a GPU, after a slow first one.",
        ),
        "allow_changed": click.option(
            "--allow-changed",
            is_flag=True,
            default=None,
            help="Go on with a run although the file of a plug-in has changed since it began.",
        ),
        "scores": click.option(
            "--scores",
            metavar="FILE",
            help="File scores.h5 of another run, from whose scores the curriculum starts.",
        ),
        "log": click.option(
            "--log",
            multiple=True,
            callback=loggers,
            metavar="NAMES",
            help=f"Loggers that show the metrics while the run trains: {', '.join(LOGGERS)}; "
            "repeatable. Each needs the extra of its name.",
        ),
        "init": click.option(
            "--init",
            metavar="DIR",
            help="Folder of a run or of an export, whose weights the run starts from: those of "
            "encoders, and of the rest where the classes are the same.",
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
            help="Parameter of the run, or of its method, curriculum, fusion or encoder, such as "
            "lr=0.1, schedule=cosine, view.size=64 or method.alpha=0.3; repeatable.",
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
