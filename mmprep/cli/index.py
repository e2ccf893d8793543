"""The command `mmprep index`."""

import json
from pathlib import Path

import click

from mmprep.cli.group import Command, counted
from mmprep.cli.options import as_json
from mmprep.errors import ConfigError


@click.command(
    cls=Command,
    epilog="\b\nExamples:\n"
    "  mmprep index wds/train-*.tar wds/val-*.tar --out wds \\\n"
    "      --split train='train-*.tar' --split val='val-*.tar'\n"
    "  mmprep index /data/wds/*.tar --label .json:category --split train='*.tar' --out shards/wds",
)
@click.argument(
    "tars",
    nargs=-1,
    required=True,
    metavar="TARS...",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the data set, DS. Tars below it stay where they are; of others it gets links.",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="NAME=PATTERN",
    help="Tars of a split (train, val, test), such as train='train-*.tar'; repeatable. [default: "
    "the folder of each tar has the name of its split]",
)
@click.option(
    "--label",
    default=".cls",
    show_default=True,
    metavar="RULE",
    help="Place of the label: .cls, .json:FIELD, or folder, the last folder in a sample's name.",
)
@as_json
def index(
    tars: tuple[Path, ...], out: Path, splits: tuple[str, ...], label: str, as_json: bool
) -> None:
    """Describe WebDataset tars that other tools wrote, so that mmtrain trains on them.

    Reads every byte once and copies nothing. Writes DS: dataset.json and index.h5. Pictures are
    KEY.jpg or KEY.frameNN.jpg, spectrograms KEY.npy; members that no modality has are passed over.
    Every sample needs the same parts in the same order.
    """
    from mmprep.foreign.adopt import adopt, label_rule

    dataset = adopt(tars, out, _patterns(splits), label_rule(label))
    if as_json:
        plain = {"samples": dataset.samples, "root": dataset.root, "parts": dataset.parts["names"]}
        counts = {name: split.samples for name, split in dataset.splits.items()}
        click.echo(json.dumps({**plain, "splits": counts, "classes": list(dataset.classes)}))
        return
    splits_text = ", ".join(f"{name} {each.samples}" for name, each in dataset.splits.items())
    click.echo(
        f"{out}: {counted(dataset.samples, 'sample')} of {len(dataset.classes)} classes "
        f"({splits_text}); {', '.join(dataset.parts['names'])}"
    )


def _patterns(texts: tuple[str, ...]) -> dict[str, list[str]]:
    """Split to its patterns, of texts ``train=train-*.tar``."""
    patterns: dict[str, list[str]] = {}
    for text in texts:
        split, equals, pattern = text.partition("=")
        if not equals or not pattern or split not in ("train", "val", "test"):
            raise ConfigError(
                f"--split takes train=PATTERN, val=PATTERN or test=PATTERN; got {text!r}"
            )
        patterns.setdefault(split, []).append(pattern)
    return patterns
