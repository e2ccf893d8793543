"""Real processes, killed by SIGKILL: at random moments, and before every change to the disk."""

import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from mmprep.build.repair import repair
from mmprep.errors import ConfigError
from mmprep.format import DATASET
from mmprep.inspection.verify import verify
from mmprep.storage.store import LocalStore
from tests.support import builds
from tests.support.builds import contents, plan_of, rows_of, run

KILLS = 8
COUNT = 24
MOST = 200  # changes to the disk that any of these runs makes
_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "open"}
_LEFT = "left by an unfinished build or repair"


def killed(work: Callable[[], object], out: Path, when: Callable[[int, str], bool]) -> bool:
    """Runs ``work`` in a child that kills itself before the first change below ``out`` for which
    ``when(number, path)`` holds; whether there was one."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    number = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal number
        if event not in _CHANGES or not isinstance(arguments[0], str | Path):
            return
        if event == "open" and not int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR):
            return
        path = str(arguments[1] if event == "os.rename" else arguments[0])
        if path.startswith(str(out)):
            number += 1
            if when(number, path):
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(watch)
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def each_kill(work, start, out):
    """Yields after ``work`` was killed before its first, second, third ... change to the disk,
    each time on a copy of ``start`` at ``out``."""
    for step in range(1, MOST):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(start, out)
        if not killed(work, out, lambda number, path, step=step: number == step):
            assert step > 5
            return
        yield step
    pytest.fail(f"not done after {MOST} changes")


def whole_or_absent(out):
    """A description that is there describes what is there."""
    if (out / DATASET).exists():
        problems = verify(LocalStore(out)).problems
        assert [problem for problem in problems if problem.message != _LEFT] == []


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return builds.write_raw(tmp_path_factory.mktemp("many"), COUNT)


@pytest.fixture(scope="module")
def undisturbed(many, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    run(plan_of(many, rows_of(COUNT), shard_size=2), out)
    return contents(out)


@pytest.mark.slow
def test_a_build_killed_at_random_moments_ends_in_the_same_bytes(many, undisturbed, tmp_path):
    chance = random.Random(0)
    out = tmp_path / "out"
    tasks = len([name for name in undisturbed if name.endswith(".tar")])
    midway = 0

    def done():
        return len(list(out.glob("_build/*-*.json")))

    kills = 0
    while kills < KILLS or midway < 3:
        assert kills < 5 * KILLS, "no kill hits a build under way"
        if done() == tasks or (out / DATASET).exists():
            shutil.rmtree(out)
        kills += 1
        before = done()
        process = builds.start(many, out, workers=1 + kills % 3)
        # Some die while they start, some after a shard or two.
        wanted = before + chance.randrange(3)
        end = time.monotonic() + builds.WAIT_S
        while process.poll() is None and done() < wanted and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(chance.random() * (0.5 if wanted == before else 0.02))
        builds.kill(process)
        midway += 0 < done() < tasks
        for name, data in contents(out).items():
            if not name.startswith("_build/") and ".partial-" not in name:
                assert data == undisturbed[name], name
        whole_or_absent(out)

    process = builds.start(many, out, workers=2)
    assert process.wait(builds.WAIT_S) == 0
    assert contents(out) == undisturbed
    assert [one for one in builds.processes() if one.session == process.pid] == []


def test_a_publication_killed_before_any_of_its_changes_ends_in_the_same_bytes(clips, tmp_path):
    plan = plan_of(clips, rows_of())
    run(plan, tmp_path / "undisturbed")
    expected = contents(tmp_path / "undisturbed")
    start, out = tmp_path / "start", tmp_path / "out"
    # All shards are there, and nothing else is.
    assert killed(lambda: run(plan, start), start, lambda _, path: path.endswith("index.h5"))

    for _ in each_kill(lambda: run(plan, out), start, out):
        whole_or_absent(out)
        run(plan, out)
        assert contents(out) == expected


@pytest.mark.slow
def test_a_shard_killed_before_any_of_its_changes_ends_in_the_same_bytes(clips, tmp_path):
    plan = plan_of(clips, rows_of()[:1])
    run(plan, tmp_path / "undisturbed")
    expected = contents(tmp_path / "undisturbed")
    out = tmp_path / "out"
    (tmp_path / "nothing").mkdir()

    for _ in each_kill(lambda: run(plan, out), tmp_path / "nothing", out):
        if (out / "_build/train-000000.json").exists():
            break
        run(plan, out)
        assert contents(out) == expected


@pytest.mark.slow
def test_a_build_that_starts_over_may_be_killed_while_it_removes(clips, tmp_path):
    rows = [row for row in rows_of() if row.split != "train"]
    old, plan = plan_of(clips, rows, shard_size=1), plan_of(clips, rows[:1])
    run(old, tmp_path / "old")
    run(plan, tmp_path / "undisturbed")
    expected = contents(tmp_path / "undisturbed")
    out = tmp_path / "out"

    for step in each_kill(lambda: run(plan, out, force=True), tmp_path / "old", out):
        if (out / "_build/plan.json").exists():
            break
        whole_or_absent(out)
        # Each second one only, for they decode.
        if step % 2:
            run(plan, out, force=True)
            assert contents(out) == expected


@pytest.fixture(scope="module")
def mendable(clips, tmp_path_factory):
    """A data set of which some clips failed that are good now; those clips; what it should be."""
    folder = tmp_path_factory.mktemp("mendable")
    raw = shutil.copytree(clips, folder / "raw")
    plan = plan_of(raw, rows_of())
    # One in a shard that stays, and all of a shard that is not there yet.
    bad = [plan.tasks[0].rows[1], *next(task for task in plan.tasks if task.split == "val").rows]
    for row in bad:
        (raw / row.source).write_bytes(b"no media")
    run(plan, folder / "failed")
    for row in bad:
        shutil.copyfile(clips / row.source, raw / row.source)
    run(plan, folder / "undisturbed")
    return folder / "failed", raw, contents(folder / "undisturbed")


def test_a_repair_killed_before_any_of_its_last_changes_ends_in_the_same_bytes(mendable, tmp_path):
    failed, raw, expected = mendable
    ready, out = tmp_path / "ready", tmp_path / "out"
    shutil.copytree(failed, ready)
    journal = False

    def behind_the_journal(number, path):
        nonlocal journal
        found, journal = journal, journal or path.endswith("_build/repair.json")
        return found

    assert killed(lambda: repair(str(ready)), ready, behind_the_journal)
    assert contents(ready).items() > contents(failed).items()

    seen = set()
    for _ in each_kill(lambda: repair(str(out)), ready, out):
        whole_or_absent(out)
        if not (out / DATASET).exists():
            seen.add("between")
            with pytest.raises(ConfigError, match="a repair was interrupted; run `mmprep repair`"):
                run(plan_of(raw, rows_of()), out)
            with pytest.raises(ConfigError, match="a repair was interrupted; run `mmprep repair`"):
                verify(LocalStore(out))
        repair(str(out))
        assert contents(out) == expected
    assert seen == {"between"}


def test_a_repair_killed_while_it_prepares_leaves_the_data_set_as_it_was(mendable, tmp_path):
    failed, _, expected = mendable
    out = tmp_path / "out"
    for step in (1, 4, 6, 9, 12):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(failed, out)
        before = contents(out)
        assert killed(lambda: repair(str(out)), out, lambda number, path, step=step: number == step)
        whole_or_absent(out)
        assert contents(out).items() >= before.items()
    repair(str(out))
    assert contents(out) == expected


def test_a_build_that_finds_an_interrupted_repair_drops_it(mendable, tmp_path):
    failed, raw, expected = mendable
    out = tmp_path / "out"
    plan = plan_of(raw, rows_of())
    shutil.copytree(failed, out)
    # Ready, with its journal, but nothing moved yet.
    assert killed(lambda: repair(str(out)), out, lambda _, path: path.endswith(f"out/{DATASET}"))
    assert (out / "_build/repair.json").exists()
    start = shutil.copytree(out, tmp_path / "start-2")

    for _ in each_kill(lambda: run(plan, out), start, out):
        whole_or_absent(out)
        assert contents(out).items() >= contents(failed).items()
        if (out / "_build/repair.json").exists():
            repair(str(out))
            assert contents(out) == expected
