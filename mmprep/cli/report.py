"""Lines and tables that the commands print.

Results go to stdout, warnings to stderr; names from lists and files cannot steer the terminal.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from mmprep.build.build import BuildReport
from mmprep.build.estimate import BuildEstimate
from mmprep.build.plan import Plan
from mmprep.cli.group import counted
from mmprep.clips.job import slow_flow_s
from mmprep.inspection.losses import loss_lines, losses, losses_of
from mmprep.printable import printable, printable_json
from mmprep.shards import Shards

_SHOWN: Final = 5


def print_json(plain: Mapping[str, Any]) -> None:
    """Prints one JSON object on stdout."""
    click.echo(printable_json(plain))


def print_line(text: str) -> None:
    """Prints a line of a result on stdout; names in it cannot steer the terminal."""
    click.echo(printable(text))


def format_counts(counts: Mapping[str, int]) -> str:
    """Text of counts, such as ``train 12, test 3``; ``none`` if there are none."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def announce(plan: Plan) -> None:
    """Prints the size of a plan, the classes that lack most of their files, and a slow flow."""
    absent = Counter(failure.cause for failure in plan.absent)
    line = f"{plan.name}: {counted(plan.rows, 'clip')} in {counted(len(plan.tasks), 'shard')}"
    if absent:
        line += f"; of the listed clips {format_counts(absent)}"
    click.echo(printable(line), err=True)
    # A clip with questions has no label, and neither has its failure.
    rows = Counter((row.label, row.split) for task in plan.tasks for row in task.rows)
    gone = Counter((failure.label, failure.split) for failure in plan.absent)
    for text in loss_lines(losses(rows, gone)):
        click.secho(printable(f"most files are absent: {text}"), fg="yellow", err=True)
    if slow_s := slow_flow_s(plan.parts):
        text = (
            f"Warning: TV-L1 flow takes about {slow_s:,.0f} s of one core a clip, "
            f"{slow_s * plan.rows / 3600:,.1f} core hours in all; flow.algorithm=dis takes a "
            "hundredth"
        )
        click.secho(text, fg="yellow", err=True)


def print_estimate(splits: Mapping[str, Mapping[str, int]], likely: BuildEstimate) -> None:
    """Prints the clips of each split, and what a build would take.

    Args:
        splits: Split to its clips that are listed, found and absent.
        likely: Estimate of the build.
    """
    for split, counts in splits.items():
        print_line(
            f"{split}: {counts['listed']:,} listed, {counts['found']:,} found, "
            f"{counts['absent']:,} absent"
        )
    workers = counted(likely.workers, "worker")
    print_line(
        f"about {decimal(likely.bytes)} of shards and {_about(likely.seconds)} with {workers}, "
        f"{decimal(likely.memory_a_worker)} of memory each; "
        f"{likely.seconds_a_clip:.2f} s of a worker a clip"
    )
    failed = f", of which {likely.failed} failed" if likely.failed else ""
    print_line(f"estimated from {counted(likely.prepared, 'clip')}, prepared for it{failed}")


def _about(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def warn(report: BuildReport) -> None:
    """Prints on stderr what a user should know of a build besides its result."""
    for line in _warnings(report):
        click.secho(printable(line), fg="yellow", bold=True, err=True)


def _warnings(report: BuildReport) -> Iterator[str]:
    if report.changed:
        names = ", ".join(report.changed[:_SHOWN])
        more = f" and {len(report.changed) - _SHOWN:,} more" if report.changed[_SHOWN:] else ""
        verb = "has" if len(report.changed) == 1 else "have"
        yield (
            f"{counted(len(report.changed), 'source')} {verb} changed since the build was planned: "
            f"{names}{more}; shards made before hold the earlier content, --force makes all anew"
        )
    if report.new_clips:
        verb = "is" if report.new_clips == 1 else "are"
        pronoun = "it" if report.new_clips == 1 else "them"
        yield (
            f"{counted(report.new_clips, 'clip')} {verb} new since this was planned; "
            f"--extend adds {pronoun}"
        )


def print_built(
    report: BuildReport, shards: Shards, seconds: float, *, out: str, as_json: bool
) -> None:
    """Prints the result of a build."""
    from mmprep.inspection import info

    dataset, summary = report.dataset, info.summarise(shards)
    rate = report.clips_read / seconds if report.clips_read and seconds else 0.0
    stages = {name: round(value, 3) for name, value in sorted(report.seconds.items())}
    if as_json:
        run: dict[str, Any] = {
            "clips": report.clips_read,
            "seconds": round(seconds, 3),
            "clips_per_s": round(rate, 2),
        }
        checks = dict(sorted(report.checks.items()))
        facts = {"new_clips": report.new_clips, "added": report.added}
        changed = {"changed_sources": list(report.changed)}
        run |= {"seconds_by_stage": stages, "checks": checks, **facts, **changed}
        print_json({**summary, "run": run})
        return
    title = printable(f"{dataset.name} at {out}")
    table = Table(title=Text(title, "bold"), show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    rows = [
        *(
            (f"samples, {k}", f"{v.samples:,} of {counted(len(v.classes), 'class')}")
            for k, v in dataset.splits.items()
        ),
        ("never downloaded", f"{summary['absent']:,}" if summary["absent"] else ""),
        *((f"failed, {cause}", f"{count:,}") for cause, count in summary["broken"].items()),
        *(("lost most of its clips", line) for line in loss_lines(losses_of(shards))),
        *((f"bytes, {name}", f"{part['bytes']:,}") for name, part in summary["parts"].items()),
        ("root", dataset.root),
    ]
    rows += [(f"check, {name}", f"{n:,}") for name, n in sorted(report.checks.items())]
    if report.clips_read:
        spent = ", ".join(f"{name} {value:.2f}" for name, value in stages.items())
        rows.append(
            (
                "this run",
                f"{counted(report.clips_read, 'clip')} in {seconds:.1f} s, {rate:.1f} clips/s",
            )
        )
        rows.append(("seconds, all workers", spent))
    else:
        rows.append(("this run", "nothing to do: everything was there already"))
    if report.added:
        rows.append(("added", counted(report.added, "sample")))
    for name, value in rows:
        if value:
            table.add_row(Text(printable(name)), Text(printable(value)))
    Console().print(table)
