"""The command `mmtrain predict`."""

import json
from pathlib import Path
from typing import Any

import click

from mmprep.cli.group import Command, counted
from mmprep.storage.access import Access, seconds_of
from mmtrain.cli.names import modalities
from mmtrain.cli.options import allow_plugins, as_json, finished_run, moved_data, other_device
from mmtrain.errors import ConfigError, DataError

# Failures that `mmprep build` grants too, however few clips there are.
_FEW = 5


def _texts(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, equals, _ in pairs:
        if not equals:
            raise click.BadParameter(f"{text!r} is no PART=TEXT", ctx, param)
    return {part.strip(): text for part, _, text in pairs}


def _seconds(ctx: click.Context, param: click.Parameter, text: str) -> float:
    return seconds_of(text)


@click.command(
    "predict",
    cls=Command,
    epilog="\b\nExamples:\n"
    "  mmtrain predict runs/joint clip.mp4 more-clips/ --top 3\n"
    "  mmtrain predict exports/joint s3://bucket/clips --without audio --json\n"
    "  mmtrain predict runs/joint shards/keypad --split val --csv > predictions.csv",
)
@finished_run
@click.argument("clips", nargs=-1, required=True)
@click.option(
    "--csv", "as_csv", is_flag=True, help="Print a table of one line a clip as CSV on stdout."
)
@click.option(
    "--top",
    type=click.IntRange(1),
    help="Number of classes to list with their probabilities. [default: 1; with --json all]",
)
@click.option(
    "--without",
    multiple=True,
    callback=modalities,
    metavar="NAMES",
    help="Modalities to take away from all clips, such as audio; repeatable.",
)
@click.option(
    "--text",
    "texts",
    multiple=True,
    callback=_texts,
    metavar="PART=TEXT",
    help="Text of all raw clips for a run that reads one, such as question='How many?' or "
    "text='...'; repeatable.",
)
@click.option(
    "--split",
    default="test",
    show_default=True,
    metavar="NAME",
    help="Name of the split, where a place of CLIPS is a data set in shards.",
)
@click.option(
    "--max-failed",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Share of clips that may fail without exit code 3.",
)
@click.option(
    "--endpoint",
    metavar="URL",
    help="Address of the bucket's server, where it is not the provider's. "
    "[default: AWS_ENDPOINT_URL]",
)
@click.option("--anonymous", is_flag=True, help="Read a public bucket without credentials.")
@click.option(
    "--retry-for",
    "retry_for_s",
    metavar="TIME",
    default="120s",
    show_default=True,
    callback=_seconds,
    help="Time for which a bucket's or web server's fault that may pass is waited out, "
    "such as 30s or 10m.",
)
@click.option(
    "--workers", type=click.IntRange(1), help="How many work at once. [default: one a core]"
)
@click.option(
    "--clip-timeout",
    "clip_timeout_s",
    type=click.FloatRange(0.1),
    default=60.0,
    show_default=True,
    help="Seconds after which the decoding of a clip is given up.",
)
@moved_data
@other_device
@allow_plugins
@as_json
def predict(
    run: Path,
    clips: tuple[str, ...],
    as_csv: bool,
    as_json: bool,
    max_failed: float,
    **options: Any,
) -> None:
    """Predict CLIPS with the best weights of RUN, or with an export in its place.

    CLIPS are files (mp4, avi, wav, png, ...), folders and buckets of them, or data sets in shards.
    Raw clips are prepared as those of training were. A clip may lack sound or pictures; one that is
    damaged is named on stderr and does not stop the others. A modality has decided where its own
    probability of the predicted class is the largest; for a score, where it changes most without
    it. Writes nothing. Exit code 3 if more clips failed than --max-failed allows, or all.
    """
    from mmtrain.cli import predictions
    from mmtrain.prediction.predict import predict

    if as_csv and as_json:
        raise ConfigError("--csv and --json are two forms of the result; choose one")
    top = options["top"]
    report = predict(run, clips, _options(**options))
    if as_json:
        click.echo(json.dumps(report))
    elif as_csv:
        click.echo(predictions.csv_of(report, top or 1), nl=False)
    else:
        click.echo(predictions.text_of(report, top or 1))
    _require_enough(report, max_failed)


def _options(*, endpoint: str | None, anonymous: bool, retry_for_s: float, **rest: Any) -> Any:
    from mmtrain.prediction.clips import PrepareOptions
    from mmtrain.prediction.predict import PredictOptions

    access = Access(endpoint=endpoint, anonymous=anonymous, retry_for_s=retry_for_s)
    own = {name: rest.pop(name) for name in ("workers", "clip_timeout_s")}
    rest["without"] = rest["without"] or ()
    return PredictOptions(**rest, preparation=PrepareOptions(access=access, **own))


def _require_enough(report: dict[str, Any], max_failed: float) -> None:
    """Ends with exit code 3 where too many clips failed.

    Raises:
        DataError: None was predicted, or more failed than may.
    """
    failed, done = len(report["failures"]), len(report["predictions"])
    most = max(max_failed * (failed + done), _FEW) if max_failed else 0
    if failed and (not done or failed > most):
        raise DataError(
            f"{failed} of {counted(failed + done, 'clip')} failed, named above; --max-failed is "
            f"{max_failed:g}"
        )
