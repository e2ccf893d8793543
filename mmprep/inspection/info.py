"""Summary of a finished data set from its description and its index; no sample is read."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from mmprep.failure import CAUSES
from mmprep.format import Index
from mmprep.format.parts import part_named
from mmprep.inspection.losses import ABSENT, Loss, loss_lines, losses_of
from mmprep.printable import counted
from mmprep.shards import Shards

_CHUNK: Final = 1 << 16
_CLASSES: Final = 20
_SMALLEST: Final = 5
# Recipe of spectrograms to the parameters that it does not use.
_IDLE: Final = {
    "psd": ("mels", "columns"),
    "stft": ("mels", "columns"),
    "fbank": ("window", "overlap"),
}


def summarise(shards: Shards) -> dict[str, Any]:
    """Returns counts and sizes of a data set, as plain values for JSON.

    ``parts`` gives, for every part and for the record ``json``, its members, their bytes and the
    parameters that it was made with; ``bytes`` are those of the tars, headers and padding included.
    ``clips`` are the samples of the tars: one with questions is a sample for each.
    ``classes`` holds for every class its samples by split, classes without any included;
    ``groups`` the samples of each group, and ``targets`` number and range of the target values.
    ``failures`` holds all clips without a sample by cause; ``absent`` counts those that were never
    downloaded, ``broken`` those whose file gave none, and ``losses`` names each class and split of
    which most clips gave none.
    """
    dataset, index = shards.dataset, shards.index
    sizes = part_bytes(index)
    members = np.zeros(len(index.parts), np.int64)
    for rows in _pieces(index):
        members += index.clip_counts(rows).sum(axis=0)
    return {
        "name": dataset.name,
        "title": dataset.title,
        "place": shards.store.url,
        "root": dataset.root,
        "licence": dataset.licence,
        "modalities": list(dataset.modalities),
        "made_by": dict(dataset.made_by),
        "task": dataset.task,
        "samples": dataset.samples,
        "clips": sum(shard.samples for shard in dataset.shards),
        "bytes": sum(shard.bytes for shard in dataset.shards),
        "shards": len(dataset.shards),
        "splits": {name: split.samples for name, split in dataset.splits.items()},
        "classes": {
            name: {split: info.classes.get(name, 0) for split, info in dataset.splits.items()}
            for name in dataset.classes
        },
        "groups": _groups(index),
        "targets": _targets(index),
        "clip_s": dataset.parts.get("clip_s"),
        "parts": {
            part: {
                "members": int(members[i]),
                "bytes": int(sizes[i]),
                "parameters": _parameters_of(part, dataset.parts),
            }
            for i, part in enumerate(index.parts)
        },
        "failed": sum(dataset.failures.values()),
        "failures": dict(dataset.failures),
        "absent": dataset.failures.get(ABSENT, 0),
        "broken": {cause: n for cause, n in dataset.failures.items() if cause != ABSENT},
        "losses": [asdict(loss) for loss in losses_of(shards)],
    }


def _groups(index: Index) -> dict[str, int]:
    """Samples of each group; empty where the data set has none."""
    if index.group is None:
        return {}
    counts = np.bincount(index.group, minlength=len(index.groups)).tolist()
    return dict(zip(index.groups, counts, strict=True))


def _targets(index: Index) -> dict[str, float]:
    """Number of target values a sample, and range and mean of all; empty where there are none."""
    if index.target is None or not len(index):
        return {}
    values = {"least": index.target.min(), "mean": index.target.mean(dtype=np.float64)}
    values |= {"largest": index.target.max()}
    return {"values": index.target.shape[1], **{k: round(float(v), 6) for k, v in values.items()}}


def part_bytes(index: Index) -> NDArray[np.int64]:
    """Bytes of each part over all samples: (p,), in the order of ``index.parts``."""
    total = np.zeros(len(index.parts), np.int64)
    for rows in _pieces(index):
        counts = index.clip_counts(rows)
        first = int(index.first[rows[0]])
        ends = counts.ravel().cumsum()
        summed = np.zeros(int(ends[-1]) + 1, np.int64)
        np.cumsum(index.size[first : first + int(ends[-1])], out=summed[1:])
        bytes_up_to = summed[ends]
        total += np.diff(bytes_up_to, prepend=0).reshape(counts.shape).sum(axis=0)
    return total


def _pieces(index: Index) -> Iterator[NDArray[np.int64]]:
    """Yields the rows of all clips in pieces, so that twenty million members take little memory."""
    clips = index.clips
    for begin in range(0, len(clips), _CHUNK):
        yield clips[begin : begin + _CHUNK]


def _parameters_of(part: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the tables of ``parts`` on which the bytes of one part depend."""
    names = (*part_named(part).settings, *(["audio"] if part == "spectrogram" else []))
    tables = (parts.get(name) for name in names)
    values = {k: v for table in tables if isinstance(table, dict) for k, v in table.items()}
    idle = _IDLE.get(str(values.get("recipe")), ()) if part == "spectrogram" else ()
    return {name: value for name, value in values.items() if name not in idle}


def parameters(values: Mapping[str, Any]) -> str:
    """Writes the parameters of a part on one line: ``fps 1, short_side 256``."""
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )


def print_summary(summary: Mapping[str, Any], console: Console) -> None:
    """Prints the result of `summarise` as tables."""
    # Names come from the data set's lists: as Text, so that brackets in them are not markup.
    title = Text.assemble((summary["name"], "bold"), "  ", (summary["title"], "dim"))
    console.print(title)
    console.print(
        f"{counted(summary['samples'], 'sample')} of {counted(len(summary['classes']), 'class')}"
        f"{_about_clips(summary)}, "
        f"{decimal(summary['bytes'])} in {counted(summary['shards'], 'shard')}; "
        f"without a sample {sum(summary['broken'].values()):,} that failed, "
        f"{summary['absent']:,} never downloaded",
        highlight=False,
        soft_wrap=True,
    )
    for line in loss_lines(Loss(**loss) for loss in summary["losses"]):
        console.print(Text(f"most clips gave no sample: {line}", "yellow"))
    console.print(Text(f"root {summary['root']}", "dim"), soft_wrap=True)
    if values := summary["targets"]:
        shown = ", ".join(f"{name} {value:g}" for name, value in values.items())
        console.print(f"targets of {summary['task']}: {shown}", highlight=False)
    tables = (_splits, _parts, _classes, _group_table, _failures)
    for table in (make(summary) for make in tables):
        if table.row_count:
            console.print()
            console.print(table)


def _about_clips(summary: Mapping[str, Any]) -> str:
    """Number of clips in words, where it is not that of the samples."""
    if summary["clips"] == summary["samples"]:
        return ""
    return f" about {counted(summary['clips'], 'clip')}"


def _group_table(summary: Mapping[str, Any]) -> Table:
    table = _table("group", "samples")
    for name, samples in summary["groups"].items():
        table.add_row(Text(name or "(none)"), f"{samples:,}")
    return table


def _table(*columns: str, words: int = 1) -> Table:
    """Makes a table whose first ``words`` columns are text and whose others are numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < words else "right", overflow="fold")
    return table


def _splits(summary: Mapping[str, Any]) -> Table:
    table = _table("split", "samples", "classes", "smallest class", "largest class")
    for split, samples in summary["splits"].items():
        counts = [by[split] for by in summary["classes"].values() if by[split]] or [0]
        table.add_row(
            Text(split),
            f"{samples:,}",
            f"{len(counts) if samples else 0:,}",
            f"{min(counts):,}",
            f"{max(counts):,}",
        )
    return table


def _parts(summary: Mapping[str, Any]) -> Table:
    table = _table("part", "members", "bytes", "per sample")
    table.add_column("parameters", overflow="fold")
    for name, part in summary["parts"].items():
        share = part["bytes"] / max(1, summary["samples"])
        table.add_row(
            Text(name),
            f"{part['members']:,}",
            decimal(part["bytes"]),
            decimal(round(share)),
            Text(parameters(part["parameters"]), "dim"),
        )
    return table


def _classes(summary: Mapping[str, Any]) -> Table:
    """Returns the table of classes, largest first; of many, only the largest and the smallest."""
    table = _table("class", "samples", *summary["splits"])
    ranked = sorted(summary["classes"].items(), key=lambda item: -sum(item[1].values()))
    hidden = len(ranked) - _CLASSES
    for rank, (name, by) in enumerate(ranked):
        if hidden > 0 and _CLASSES - _SMALLEST <= rank < len(ranked) - _SMALLEST:
            if rank == _CLASSES - _SMALLEST:
                table.add_row(Text(f"... {hidden:,} more (--json lists all)", "dim"))
            continue
        table.add_row(Text(name), f"{sum(by.values()):,}", *(f"{n:,}" for n in by.values()))
    return table


def _failures(summary: Mapping[str, Any]) -> Table:
    table = _table("cause", "failed")
    table.add_column("meaning", overflow="fold")
    for cause, count in sorted(summary["failures"].items(), key=lambda item: -item[1]):
        table.add_row(Text(cause), f"{count:,}", Text(CAUSES.get(cause, ""), "dim"))
    return table
