"""A build: begins or continues a plan, runs the tasks that are left, and publishes the data set.

All state lies in the output, so that the same command continues a build that was killed.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, TypeAlias

from mmprep.build.engines import Engine, engine_named
from mmprep.build.lock import LOCK, hold_lock
from mmprep.build.plan import Plan
from mmprep.build.publish import publish
from mmprep.build.shard import completed_result
from mmprep.build.state import clear, forget_state
from mmprep.clips.job import Job
from mmprep.errors import ConfigError, DataError
from mmprep.failure import Failure
from mmprep.format import DATASET, Dataset
from mmprep.format.paths import JOURNAL, PLAN, RUN
from mmprep.shards import read_dataset
from mmprep.storage.store import Store, open_store

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
    """

    dataset: Dataset
    clips_read: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    checks: Mapping[str, int] = field(default_factory=dict)
    was_complete: bool = False


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
        begin: Function that starts a progress display. It takes the plan and the number of clips
            that are left; the context it returns yields a function that is called after each clip
            with its failure or None.

    Raises:
        ConfigError: The output holds other files, or another build runs there.
        DataError: Too many clips failed.
        StoreError: The disk or bucket refused.
    """
    run = engine_named(engine) if isinstance(engine, str) else engine
    store = open_store(job.out, endpoint=job.endpoint)
    with hold_lock(store):
        cleared = force and clear(store)
        if store.size(DATASET) is not None:
            dataset = read_dataset(store)
            _require_same_settings(_settings_of_dataset(dataset), _settings_of_plan(plan), store)
            forget_state(store)
            return BuildReport(dataset=dataset, was_complete=True)
        plan = _begin_or_continue(plan, store, among_others=cleared)
        # Tasks of a run that lost its driver may still run on a cluster; they stop without this.
        store.delete(RUN)
        results = {
            t.name: r for t in plan.tasks if (r := completed_result(store, t.name)) is not None
        }
        todo = [task for task in plan.tasks if task.name not in results]
        clips = sum(len(task.rows) for task in todo)
        with (begin or _no_progress)(plan, clips) as on_clip:
            count = FailureCount(plan.rows, max_failed, on_clip)
            count.add_earlier(failure for result in results.values() for failure in result.failures)
            results_of_run = list(run(todo, job, workers=workers, on_clip=count))
        results |= {result.task: result for result in results_of_run}
        seconds = sum((Counter(result.seconds) for result in results_of_run), Counter[str]())
        checks = sum((Counter(result.checks) for result in results.values()), Counter[str]())
        dataset = publish(plan, results, store)
        forget_state(store)
        return BuildReport(dataset=dataset, clips_read=clips, seconds=seconds, checks=checks)


def _begin_or_continue(plan: Plan, store: Store, *, among_others: bool) -> Plan:
    """Returns the plan of a build begun here earlier; otherwise writes ``plan`` and returns it."""
    if store.size(PLAN) is not None:
        old = Plan.from_json(store.read(PLAN), f"{store.url}/{PLAN}")
        _require_same_settings(old.request, plan.request, store)
        return old
    if store.size(JOURNAL) is not None:
        raise ConfigError(f"{store.url}: a repair was interrupted; run `mmprep repair` first")
    if not among_others and (foreign := [name for name, _ in store.files() if name != LOCK]):
        raise ConfigError(
            f"{store.url} is not empty and holds no build ({min(foreign)}); choose another --out"
        )
    store.write(PLAN, plan.to_json().encode())
    return plan


def _require_same_settings(old: Mapping[str, Any], new: Mapping[str, Any], store: Store) -> None:
    if changed := [name for name in old if old[name] != new[name]]:
        name = changed[0]
        raise ConfigError(
            f"{store.url} was begun with other settings: {', '.join(changed)} "
            f"(there {_shorten(old[name])}, now {_shorten(new[name])}). Choose another --out, "
            "or start over with --force"
        )


def _settings_of_dataset(dataset: Dataset) -> dict[str, Any]:
    request = dataset.request
    return {
        "data set": dataset.name,
        "classes": list(dataset.classes),
        "parts": dict(dataset.parts),
        "seed": request.get("seed"),
        "shard size": request.get("shard_size"),
        "listed clips": request.get("listed"),
    }


def _settings_of_plan(plan: Plan) -> dict[str, Any]:
    return {k: v for k, v in plan.request.items() if k != "versions"}


def _shorten(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}..."


@contextmanager
def _no_progress(plan: Plan, clips: int) -> Iterator[Callable[[Failure | None], None]]:
    yield lambda failure: None
