"""The actions of the commands: they call the library and print.

Results go to stdout, progress and logs to stderr.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from mmprep.build.build import build_dataset
from mmprep.build.copy import copy
from mmprep.build.engines import engine_named
from mmprep.build.estimate import estimate, listed_by_split
from mmprep.build.extend import planned_extension
from mmprep.build.parameters import parameters
from mmprep.build.plan import Plan
from mmprep.build.repair import repair
from mmprep.build.request import Request, make_plan, rows_of
from mmprep.cli.group import counted
from mmprep.cli.progress import byte_progress, clip_progress
from mmprep.cli.report import (
    announce,
    format_counts,
    print_built,
    print_estimate,
    print_json,
    print_line,
    warn,
)
from mmprep.clips.job import Job
from mmprep.datasets import spec
from mmprep.errors import ConfigError, DataError, StoreError
from mmprep.failure import Failure
from mmprep.format import Dataset, ShardInfo
from mmprep.inspection.verify import verify
from mmprep.manifest import write_csv
from mmprep.printable import printable_values
from mmprep.shards import Shards
from mmprep.storage.access import Access
from mmprep.storage.place import Raw
from mmprep.storage.store import LocalStore, store_at


@dataclass(frozen=True, kw_only=True)
class BuildFlags:
    """Options of `mmprep build` that say how it runs; none of them changes a byte of the result."""

    out: str
    workers: int | None
    engine: str
    ray_address: str | None
    slurm: Mapping[str, str]
    max_failed: float
    clip_timeout_s: float
    dry_run: bool
    force: bool
    extend: bool
    as_json: bool


@dataclass(frozen=True, kw_only=True)
class CopyFlags:
    """Options of `mmprep copy`."""

    workers: int | None
    dry_run: bool
    force: bool
    as_json: bool
    read_by: Access
    write_by: Access


def run_datasets(as_json: bool) -> None:
    """Prints the data sets that ``--dataset`` knows."""
    data_sets = [spec.load(name) for name in spec.names()]
    if as_json:
        print_json({"datasets": [{**asdict(s), "classes": list(s.classes)} for s in data_sets]})
        return
    for s in data_sets:
        clip_count = counted(sum(s.expected.values()), "clip") if s.expected else ""
        classes = f"{len(s.classes)} classes" if s.classes else ""
        facts = ", ".join(filter(None, (" + ".join(s.modalities), classes, clip_count)))
        print_line(f"{s.name:16} {s.title} ({facts})")
        if s.variants:
            print_line(f"{'':16} variants: {', '.join(s.variants)}")


def run_parameters(dataset: str | None, as_json: bool) -> None:
    """Prints the parameters that ``--set`` takes, with the defaults of a data set or our own."""
    known = parameters(None if dataset is None else spec.load(dataset).parts)
    if as_json:
        print_json({"parameters": [each._asdict() for each in known]})
        return
    for each in known:
        parts = f" [{', '.join(each.parts)}]" if each.parts else ""
        default = "none" if each.default is None else each.default
        print_line(f"{each.name} = {default}  ({each.type}){parts}")
        print_line(f"    {each.help}")


def run_manifest(request: Request, out: Path, as_json: bool) -> None:
    """Writes the CSV of the clips that have their files, and prints their number."""
    generate(request)
    listing = rows_of(request)
    try:
        write_csv(listing.rows, out)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {error.strerror}") from error
    splits = Counter(row.split for row in listing.rows)
    if as_json:
        print_json({"manifest": str(out), "clips": splits, "absent": len(listing.absent)})
        return
    absent = counted(len(listing.absent), "listed clip")
    print_line(f"{out}: {format_counts(splits)}; {absent} absent")


def run_build(request: Request, flags: BuildFlags) -> None:
    """Plans a build, runs it, and prints the result."""
    console = Console(stderr=True)
    if not flags.dry_run:
        generate(request)
    run = engine_named(flags.engine, _engine_options(flags))
    plan = make_plan(request)
    announce(plan)
    job = Job(
        out=flags.out,
        endpoint=request.endpoint,
        raw=request.raw,
        config=plan.parts,
        decoder=request.decoder,
        clip_timeout_s=flags.clip_timeout_s,
        anonymous=request.anonymous,
        retry_for_s=request.retry_for_s,
    )
    if flags.dry_run:
        store = store_at(job.out, job.out_access)
        extension = planned_extension(plan, store) if flags.extend else None
        if extension is None:
            _print_plan(plan, job, flags)
        else:
            _print_extension(*extension, flags)
        return

    def begin(
        begun: Plan, clips_left: int
    ) -> AbstractContextManager[Callable[[Failure | None], None]]:
        return clip_progress(console, "building", begun.rows, done=begun.rows - clips_left)

    started = time.monotonic()
    report = build_dataset(
        plan,
        job,
        engine=run,
        workers=flags.workers,
        max_failed=flags.max_failed,
        force=flags.force,
        extend=flags.extend,
        begin=begin,
    )
    seconds = time.monotonic() - started
    with Shards(store_at(flags.out, job.out_access)) as shards:
        print_built(report, shards, seconds, out=flags.out, as_json=flags.as_json)
    warn(report)
    if report.added == 0:
        raise DataError(
            f"{flags.out}: {counted(report.clips_read, 'new clip')} read, and no sample from any; "
            "`mmprep repair` tries again"
        )


def run_verify(out: str, access: Access, as_json: bool) -> None:
    """Verifies a data set and prints each problem.

    Raises:
        DataError: There are problems.
    """
    console = Console(stderr=True)

    def progress(shard: ShardInfo) -> None:
        if console.is_terminal:
            console.print(f"{shard.name}: {counted(shard.samples, 'sample')}", highlight=False)

    store = store_at(out, access)
    verdict, out = verify(store, progress), store.url
    if as_json:
        print_json({"ok": not verdict.problems, **asdict(verdict)})
    for problem in verdict.problems if not as_json else ():
        place = f"{problem.path}: {problem.key}" if problem.key else problem.path
        print_line(f"{place}: {problem.message}")
    for note in verdict.notes if not as_json else ():
        print_line(f"note: {note}")
    if verdict.problems:
        raise DataError(
            f"{out}: {counted(len(verdict.problems), 'problem')}. Build again with --force, "
            "or fetch the files named above from a good copy"
        )
    if not as_json:
        print_line(
            f"{out}: {counted(verdict.samples, 'sample')}, {verdict.bytes:,} bytes of shards, "
            "all good"
        )
        print_line(f"root {verdict.root}")


def run_copy(source: str, target: str, flags: CopyFlags) -> None:
    """Copies a data set and prints what was sent."""
    console = Console(stderr=True)
    started = time.monotonic()
    with ExitStack() as stack:
        report = copy(
            store_at(source, flags.read_by),
            store_at(target, flags.write_by),
            workers=flags.workers,
            force=flags.force,
            dry_run=flags.dry_run,
            begin=lambda total: stack.enter_context(byte_progress(console, total)),
        )
    seconds = time.monotonic() - started
    dataset = report.dataset
    if flags.as_json:
        facts = {"sent": list(report.sent), "bytes": report.bytes, "whole": report.whole}
        run = {"dry_run": flags.dry_run, "seconds": round(seconds, 3)}
        print_json({**facts, **run, "samples": dataset.samples, "root": dataset.root})
        return
    verb = "would be sent" if flags.dry_run else "sent"
    print_line(
        f"{target}: {counted(len(report.sent), 'file')}, {report.bytes:,} bytes of shards {verb}; "
        f"{report.whole} were there already"
    )
    if not flags.dry_run:
        print_line(f"{counted(dataset.samples, 'sample')} in {seconds:.1f} s, root {dataset.root}")


def run_info(out: str, html: Path | None, access: Access, as_json: bool) -> None:
    """Prints a summary of a data set, and writes its page."""
    from mmprep.inspection import info, page

    with Shards(store_at(out, access)) as shards:
        if html is not None:
            _write_file(html, page.data_set_page(shards).encode())
            Console(stderr=True).print(f"page: {html}", highlight=False)
        summary = info.summarise(shards)
    if as_json:
        print_json(summary)
        return
    info.print_summary(printable_values(summary), Console())


def run_inspect(out: str, key: str | None, png: Path, access: Access) -> None:
    """Draws one sample into a PNG file."""
    from mmprep.inspection import picture

    with Shards(store_at(out, access)) as shards:
        chosen = key or next(iter(shards.index.some_keys(1)), "")
        _write_file(png, picture.draw(shards, chosen))
    print_line(f"{png}: {chosen}")


def run_repair(
    out: str,
    raw: Raw | None,
    workers: int | None,
    clip_timeout_s: float,
    access: Access,
    as_json: bool,
) -> None:
    """Repairs a data set and prints how many clips are samples now."""
    report = repair(
        out,
        raw=raw,
        access=access,
        workers=workers or os.cpu_count() or 1,
        clip_timeout_s=clip_timeout_s,
    )
    failures = dict(report.dataset.failures)
    if as_json:
        facts = {"tried": report.tried, "mended": report.mended, "absent": report.absent}
        print_json({**facts, "failures": failures, "root": report.dataset.root})
        return
    print_line(
        f"{out}: tried {counted(report.tried, 'clip')} again, {report.mended} are samples now"
    )
    if failures:
        print_line(f"still without a sample: {format_counts(failures)}")
    if report.absent:
        print_line(
            f"{counted(report.absent, 'listed clip')} had no file when the shards were planned; "
            "`mmprep build --extend` adds those that have one now"
        )


def generate(request: Request) -> None:
    """Writes the clips of a data set that is generated, unless they are there already."""
    data_set = spec.load(request.dataset or "folder", request.variant)
    raw = request.raw
    if not data_set.generator or request.manifest is not None or isinstance(raw, str):
        if request.clip_settings:
            raise ConfigError("--set clips.NAME=VALUE is for clips that are written into a folder")
        return
    write = spec.generator(data_set)
    with ExitStack() as stack:
        steps: list[Callable[[Failure | None], None]] = []

        def progress(done: int, total: int) -> None:
            if not steps:
                console = Console(stderr=True)
                console.print(f"{data_set.name}: writing {counted(total, 'clip')} into {raw}")
                meter = clip_progress(console, "writing", total, done=done - 1)
                steps.append(stack.enter_context(meter))
            steps[0](None)

        write(raw, request.clip_settings, progress=progress, workers=os.cpu_count() or 1)


def _engine_options(flags: BuildFlags) -> dict[str, object]:
    for name, given in (("ray", flags.ray_address), ("slurm", flags.slurm)):
        if given and flags.engine != name:
            option = {"ray": "--ray-address", "slurm": "--slurm"}[name]
            raise ConfigError(f"{option} goes with --engine {name}, not {flags.engine}")
    options = {"address": flags.ray_address, "parameters": flags.slurm}
    return {name: value for name, value in options.items() if value}


def _print_plan(plan: Plan, job: Job, flags: BuildFlags) -> None:
    """Prints the shards, the clips by split, and what the build would take."""
    splits = listed_by_split(plan)
    likely = estimate(plan, job, flags.workers)
    if flags.as_json:
        clips = {split: counts["found"] for split, counts in splits.items()}
        request = {**plan.request, "clips": clips, "absent": len(plan.absent), "splits": splits}
        shards = [task.name for task in plan.tasks]
        print_json({**request, "shards": shards, "estimate": asdict(likely)})
        return
    for task in plan.tasks:
        clips_of_task = counted(len(task.rows), "clip")
        print_line(f"{task.name}.tar  {clips_of_task}, from {task.rows[0].source}")
    print_estimate(splits, likely)
    found = {split: counts["found"] for split, counts in splits.items()}
    print_line(f"{format_counts(found)}; parts {', '.join(plan.parts.names)}; nothing was written")


def _print_extension(extension: Plan, dataset: Dataset, flags: BuildFlags) -> None:
    """Prints what ``--extend`` would add to ``dataset``: new clips by split, and new shards."""
    splits = Counter(row.split for task in extension.tasks for row in task.rows)
    shards = [task.name for task in extension.tasks]
    there = {"samples": dataset.samples, "shards": len(dataset.shards), "root": dataset.root}
    if flags.as_json:
        added = {"clips": splits, "shards": shards, "absent": len(extension.absent)}
        print_json({"data set": extension.name, "there": there, "new": added})
        return
    stay = (
        f"{counted(dataset.samples, 'sample')} in {counted(len(dataset.shards), 'shard')} stay as "
        "they are"
    )
    if not shards:
        print_line(f"{flags.out}: no new clips; {stay}; nothing was written")
        return
    names = shards[0] if len(shards) == 1 else f"{shards[0]} to {shards[-1]}"
    print_line(
        f"{flags.out}: {counted(splits.total(), 'new clip')} ({format_counts(splits)}) in "
        f"{counted(len(shards), 'new shard')} ({names}); {stay}; nothing was written"
    )


def _write_file(path: Path, data: bytes) -> None:
    """Writes a result for the user, whole or not at all."""
    LocalStore(path.parent).write(path.name, data)
