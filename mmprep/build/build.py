"""A build: begins or continues a plan, runs the tasks that are left, and publishes the data set.

All state lies in the output, so that the same command continues a build that was killed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Final, TypeAlias

from mmprep.build.engines import Engine, engine_named
from mmprep.build.extend import (
    KnownClips,
    extension_under_way,
    joined,
    known_clips,
    plan_extension,
    require_no_extension,
)
from mmprep.build.lock import LOCK, hold_lock
from mmprep.build.plan import Plan
from mmprep.build.publish import publish
from mmprep.build.rewrite import check_files, finish_moves, republish
from mmprep.build.settings import (
    class_differences,
    differences,
    listing_differences,
    listing_of_plan,
    refuse,
    settings_of_dataset,
    settings_of_plan,
    target_differences,
    targets_of_plan,
)
from mmprep.build.shard import ShardResult, completed_result
from mmprep.build.stamps import changed_sources
from mmprep.build.state import clear, forget_state
from mmprep.clips.job import Job
from mmprep.errors import ConfigError, DataError
from mmprep.failure import Failure
from mmprep.format import DATASET, Dataset
from mmprep.format.paths import JOURNAL, PLAN, RUN
from mmprep.shards import read_dataset
from mmprep.storage.store import Store, store_at

# So many failures never stop a build: of ten clips in a trial, two may well be bad.
_FEW: Final = 5


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """Outcome of a build.

    Attributes:
        dataset: Description of the data set that the output holds now.
        clips_read: Clips that this run read; the others were done before.
        seconds: Seconds that each stage took, summed over all workers of this run.
        checks: Check of the records to the number of samples for which it is true; empty if the
            data set was complete.
        was_complete: Whether the data set was complete before this run.
        new_clips: Clips of the request that the data set lacks, because they arrived later.
        added: Number of samples that an extension added; None if there was none.
        changed: Sources that have changed since the build was planned.
    """

    dataset: Dataset
    clips_read: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    checks: Mapping[str, int] = field(default_factory=dict)
    was_complete: bool = False
    new_clips: int = 0
    added: int | None = None
    changed: tuple[str, ...] = ()


class FailureCount:
    """Counts failures and stops the build when their share passes the limit.

    Args:
        rows: Number of clips in the plan.
        max_failed: Share of clips that may fail, in [0, 1]; 0 stops at the first failure.
        on_clip: Function that shows progress, called after each clip with its failure or None.
    """

    def __init__(
        self, rows: int, max_failed: float, on_clip: Callable[[Failure | None], None]
    ) -> None:
        self._rows = rows
        self._share = max_failed
        self._most = max(max_failed * rows, _FEW) if max_failed else 0
        self._on_clip = on_clip
        self._causes: Counter[str] = Counter()
        self._lock = Lock()

    def add_earlier(self, failures: Iterable[Failure]) -> None:
        """Counts the failures of an earlier run."""
        self._causes.update(failure.cause for failure in failures)
        self._check("")

    def __call__(self, failure: Failure | None) -> None:
        """Counts the outcome of one clip; any thread may call this."""
        with self._lock:
            self._on_clip(failure)
            if failure is not None:
                self._causes[failure.cause] += 1
                self._check(f"; the last: {failure.source}: {failure.message}")

    def _check(self, last: str) -> None:
        if (count := self._causes.total()) > self._most:
            causes = ", ".join(f"{cause} {n}" for cause, n in self._causes.most_common())
            raise DataError(
                f"{count} of {self._rows} clips failed, over --max-failed {self._share:g} "
                f"({causes}){last}. What is whole stays; the same command with a higher "
                "--max-failed goes on"
            )


Begin: TypeAlias = Callable[[Plan, int], AbstractContextManager[Callable[[Failure | None], None]]]


def build_dataset(
    plan: Plan,
    job: Job,
    *,
    engine: str | Engine = "local",
    workers: int | None = 1,
    max_failed: float = 0.1,
    force: bool = False,
    extend: bool = False,
    begin: Begin | None = None,
) -> BuildReport:
    """Builds the data set that ``plan`` describes at ``job.out``; continues an earlier build.

    Args:
        plan: Plan of the present request; a build begun earlier continues with its own plan.
        job: Output, raw clips and decoding options.
        engine: Engine that runs the tasks, or its name in `mmprep.build.engines.ENGINES`.
        workers: Number of decoding processes; None is one for each core that the engine finds.
        max_failed: Share of clips, in [0, 1], that may fail before the build stops.
        force: Whether to remove an earlier build from the output and start over.
        extend: Whether to add the clips of ``plan`` that a finished build lacks, as new shards.
        begin: Function that starts a progress display. It takes the plan and the number of clips
            that are left; the context it returns yields a function that is called after each clip
            with its failure or None.

    Raises:
        ConfigError: The output holds other files, or another build runs there.
        DataError: Too many clips failed, or all.
        StoreError: The disk or bucket refused.
    """
    run = engine_named(engine) if isinstance(engine, str) else engine
    store = store_at(job.out, job.out_access)
    work = _Work(store, job, run, workers, max_failed, begin or _no_progress)
    with hold_lock(store):
        cleared = force and clear(store)
        _finish_extension_moves(store)
        if store.size(DATASET) is not None:
            dataset = read_dataset(store)
            if (begun := extension_under_way(store, dataset)) is not None:
                return _continue_extension(work, begun, plan, extend)
            forget_state(store)
            report = BuildReport(dataset=dataset, was_complete=True)
        else:
            report = _build(work, plan, cleared)
            if not report.new_clips:
                return report
        known = known_clips(store, report.dataset)
        if extend:
            extension = plan_extension(plan, report.dataset, known, store.url)
            if not extension.tasks:
                return report
            store.write(PLAN, extension.to_json().encode())
            return _extend(work, extension)
        if report.was_complete:
            _require_same_request(report.dataset, plan, known, store)
        return replace(report, new_clips=len(known.new_rows(plan)))


@dataclass(frozen=True)
class _Work:
    """Means by which the tasks of a plan are run."""

    store: Store
    job: Job
    engine: Engine
    workers: int | None
    max_failed: float
    begin: "Begin"


def _build(work: _Work, plan: Plan, cleared: bool) -> BuildReport:
    """Begins or continues the build of ``plan``, and publishes its data set."""
    store, asked = work.store, plan
    plan, changed = _begin_or_continue(plan, store, among_others=cleared)
    results, progress = _run_tasks(work, plan)
    if not any(result.entries for result in results.values()):
        # Without its state, the same command tries all clips again.
        forget_state(store)
        raise _no_sample(results.values(), store)
    dataset = publish(plan, results, store)
    forget_state(store)
    begun = {row.key for task in plan.tasks for row in task.rows}
    new_clips = sum(row.key not in begun for task in asked.tasks for row in task.rows)
    return BuildReport(dataset=dataset, changed=changed, new_clips=new_clips, **progress)


def _extend(work: _Work, extension: Plan, changed: Sequence[str] = ()) -> BuildReport:
    """Runs the tasks of ``extension`` and publishes the data set with their shards."""
    store = work.store
    dataset = read_dataset(store)
    check_files(store, dataset)
    new_results, progress = _run_tasks(work, extension)
    both, results = joined(extension, new_results, store, dataset)
    added = sum(result.samples for result in new_results.values())
    dataset = republish(both, results, store)
    forget_state(store)
    return BuildReport(dataset=dataset, added=added, changed=tuple(changed), **progress)


def _continue_extension(work: _Work, begun: Plan, plan: Plan, extend: bool) -> BuildReport:
    if not extend:
        require_no_extension(work.store, read_dataset(work.store))
    old, new = settings_of_plan(begun), {**settings_of_plan(plan), "limit": None}
    if lines := differences(old, new) + differences(begun.made_by, plan.made_by, "version of "):
        raise refuse(work.store.url, lines)
    return _extend(work, begun, _changed_sources(begun, plan))


def _run_tasks(work: _Work, plan: Plan) -> tuple[dict[str, ShardResult], dict[str, Any]]:
    """Runs the tasks of ``plan`` that no earlier run completed.

    Returns:
        The results of all tasks, and the fields of `BuildReport` about the work of this run.
    """
    store = work.store
    # Tasks of a run that lost its driver may still run on a cluster; they stop without this.
    store.delete(RUN)
    results = {t.name: r for t in plan.tasks if (r := completed_result(store, t.name)) is not None}
    todo = [task for task in plan.tasks if task.name not in results]
    clips = sum(len(task.rows) for task in todo)
    with work.begin(plan, clips) as on_clip:
        count = FailureCount(plan.rows, work.max_failed, on_clip)
        count.add_earlier(failure for result in results.values() for failure in result.failures)
        of_run = list(work.engine(todo, work.job, workers=work.workers, on_clip=count))
    results |= {result.task: result for result in of_run}
    return results, {
        "clips_read": clips,
        "seconds": sum((Counter(result.seconds) for result in of_run), Counter[str]()),
        "checks": sum((Counter(result.checks) for result in results.values()), Counter[str]()),
    }


def _finish_extension_moves(store: Store) -> None:
    """Completes an extension that was killed while it was published; leaves repairs alone."""
    if store.size(JOURNAL) is not None and store.size(PLAN) is not None:
        finish_moves(store)


def _begin_or_continue(
    plan: Plan, store: Store, *, among_others: bool
) -> tuple[Plan, tuple[str, ...]]:
    """Returns the plan of a build begun here earlier; otherwise writes ``plan`` and returns it.

    Returns:
        The plan, and the sources that have changed since it was made.
    """
    if store.size(PLAN) is not None:
        old = Plan.from_json(store.read(PLAN), f"{store.url}/{PLAN}")
        lines = differences(settings_of_plan(old), settings_of_plan(plan))
        lines += differences(old.made_by, plan.made_by, "version of ")
        then, now = listing_of_plan(old), listing_of_plan(plan)
        if not then.items() <= now.items():
            lines += class_differences(old.classes, plan.classes)
            lines += listing_differences(then, now)
        lines += target_differences(targets_of_plan(old), targets_of_plan(plan))
        if lines:
            raise refuse(store.url, lines)
        return old, _changed_sources(old, plan)
    if store.size(JOURNAL) is not None:
        raise ConfigError(f"{store.url}: a repair was interrupted; run `mmprep repair` first")
    if not among_others and (foreign := [name for name, _ in store.files() if name != LOCK]):
        raise ConfigError(
            f"{store.url} is not empty and holds no build ({min(foreign)}); choose another --out"
        )
    store.write(PLAN, plan.to_json().encode())
    return plan, ()


def _changed_sources(old: Plan, new: Plan) -> tuple[str, ...]:
    same_place = old.raw == new.raw
    return tuple(changed_sources(old.stamps, new.stamps, same_place=same_place))


def _require_same_request(dataset: Dataset, plan: Plan, known: KnownClips, store: Store) -> None:
    """Raises `ConfigError` if ``plan`` asks for more than ``dataset`` and new clips."""
    old, new = settings_of_dataset(dataset), settings_of_plan(plan)
    listing = listing_of_plan(plan)
    if dataset.request.get("listed") == plan.listed:
        # Data sets of earlier versions do not name their limit, but its clips are these.
        old, new = {**old, "limit": None}, {**new, "limit": None}
        lines = differences(old, new)
    else:
        lines = differences(old, new)
        if not known.listing.items() <= listing.items():
            lines += listing_differences(known.listing, listing)
    lines += target_differences(known.targets, targets_of_plan(plan))
    if not set(dataset.classes) <= set(plan.classes):
        lines += class_differences(dataset.classes, plan.classes)
    if lines:
        raise refuse(store.url, lines)


def _no_sample(results: Iterable[ShardResult], store: Store) -> DataError:
    failures = [failure for result in results for failure in result.failures]
    causes = Counter(failure.cause for failure in failures)
    named = ", ".join(f"{cause} {n}" for cause, n in causes.most_common())
    first = failures[0]
    return DataError(
        f"{store.url}: none of {len(failures)} clips gave a sample ({named}); the first: "
        f"{first.source}: {first.message}. Mend them and run the same command again"
    )


@contextmanager
def _no_progress(plan: Plan, clips: int) -> Iterator[Callable[[Failure | None], None]]:
    yield lambda failure: None
