"""Where runs come from: commands, versions, devices, and the data that they were trained on."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from rich.filesize import decimal

from mmprep.errors import MmprepError
from mmprep.html.markup import Child, Markup, el, folded, note, section
from mmtrain.data import open_dataset
from mmtrain.report.runs.groups import Group
from mmtrain.report.runs.read import RunRecord


def origins(groups: Sequence[Group], data: str | None) -> Markup:
    """Shows the data sets, and the command, versions and device of the runs.

    Args:
        groups: Groups of the page.
        data: Place of the shards, if it is no longer that of the config.
    """
    runs = [run for group in groups for run in group.runs]
    return section(
        "How it was made",
        _facts(_data(runs, data) | _made_by(runs)),
        folded("The commands", el("pre", el("code", "\n".join(_commands(runs)))))
        if any(run.commands for run in runs)
        else note("The runs have no run.json, which later versions write."),
        anchor="origins",
    )


def _facts(facts: Mapping[str, Sequence[str]]) -> Markup:
    lines = []
    for name, values in facts.items():
        cells: list[Child] = []
        for value in dict.fromkeys(values):
            cells += [el("br")] if cells else []
            cells.append(value)
        if cells:
            lines.append(el("tr", el("th", name, scope="row"), el("td", *cells)))
    return el("table", *lines, class_="facts")


def _data(runs: Sequence[RunRecord], data: str | None) -> dict[str, list[str]]:
    """Size of the data sets that can still be opened, and the root hashes of all."""
    sizes = []
    for place in dict.fromkeys(data or run.config.data for run in runs):
        with ExitStack() as stack:
            try:
                dataset = stack.enter_context(open_dataset(place))
            except (MmprepError, OSError):
                continue  # Runs outlive their shards.
            splits = ", ".join(f"{name} {count:,}" for name, count in dataset.splits.items())
            size = decimal(sum(shard.bytes for shard in dataset.description.shards))
            sizes.append(f"{dataset.description.name}: {splits} samples; {size}")
    return {"data": sizes, "root hash of the data": [run.root for run in runs if run.root]}


def _made_by(runs: Sequence[RunRecord]) -> dict[str, list[str]]:
    commands = [command for run in runs for command in run.commands]

    def texts(name: str) -> list[str]:
        return [str(command[name]) for command in commands if command.get(name)]

    ranks = [command.get("ranks", 1) for command in commands]
    return {
        "device": texts("device"),
        "processes": [f"{n}" for n in ranks if n != 1],
        "commit": texts("commit"),
        "versions": [_versions(command.get("versions", {})) for command in commands],
        "recipe": [run.recipe for run in runs if run.recipe],
        "first started": sorted(texts("started"))[:1],
        "last ended": sorted(texts("ended"))[-1:],
    }


def _versions(versions: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _commands(runs: Sequence[RunRecord]) -> list[str]:
    """Each command once: a comparison is a single one for all of its runs."""
    given = (shlex.join(map(str, each.get("argv", ()))) for run in runs for each in run.commands)
    return list(dict.fromkeys(given))
