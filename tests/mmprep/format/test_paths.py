"""Paths that a data set names stay inside it, whichever file names them."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mmprep.build.plan import Plan, Task
from mmprep.build.repair import repair
from mmprep.build.shard import ShardResult
from mmprep.config import PartsConfig
from mmprep.errors import DataError
from mmprep.format import FAILURES, INDEX
from mmprep.format.paths import JOURNAL, safe_path, task_name
from mmprep.manifest import Row
from mmprep.storage.store import LocalStore
from tests.support.fuzzdamage import sealed
from tests.support.shardmaker import FAILURES_MADE, Recipe, make_shards

OUTSIDE = (
    *("", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", "./a", ".hidden"),
    *("C:/x", "c:x", r"a\..\x", "a\0b", "a\nb", "~/x", None, 5, ["a"], "x" * 300),
)


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_that_leads_out_is_refused_by_name(path: object) -> None:
    with pytest.raises(DataError, match=r"plan\.json, task 3: names .* refused"):
        safe_path(path, "plan.json, task 3")


def test_paths_of_ours_pass() -> None:
    for path in ("train/000000.tar", "index.h5", "été/x-1_2.tar"):
        assert safe_path(path, "here") == path
    assert task_name("val/000012", "here") == "val/000012"


ROW = Row(key="a", label="crow", split="train", sources={"video": "a.mp4"})


def plan(**changes: object) -> Plan:
    made = Plan(
        name="n",
        title="t",
        classes=("x",),
        modalities=("audio",),
        licence="",
        parts=PartsConfig(),
        raw="raw",
        seed=0,
        shard_size=4,
        listed="x",
        tasks=(Task(name="train/000000", split="train", rows=(ROW,)),),
    )
    return replace(made, **changes)


def test_a_plan_is_what_was_written() -> None:
    made = plan(absent=FAILURES_MADE)
    assert Plan.from_json(made.to_json(), "plan.json") == made


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "train/../../evil", "train", "x/1"])
def test_a_plan_with_a_shard_outside_is_refused(name: str) -> None:
    tasks = (Task(name=name, split="train", rows=(ROW,)),)
    with pytest.raises(DataError, match=r"plan\.json: names .* refused"):
        Plan.from_json(plan(tasks=tasks).to_json(), "plan.json")


def test_a_plan_with_a_key_that_is_a_path_is_refused() -> None:
    tasks = (Task(name="train/000000", split="train", rows=(replace(ROW, key="../x"),)),)
    with pytest.raises(DataError, match=r"plan\.json: damaged \('\.\./x' is no key"):
        Plan.from_json(plan(tasks=tasks).to_json(), "plan.json")


def test_a_sidecar_with_a_shard_outside_is_refused() -> None:
    made = ShardResult(task="../x", shard=None, entries=(), labels=(), failures=())
    with pytest.raises(DataError, match=r"side\.json: names '\.\./x'"):
        ShardResult.from_json(made.to_json(), "side.json")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    make_shards(tmp_path / "data" / "out", Recipe(frames=1, size=(32, 32), columns=12))
    return tmp_path / "data" / "out"


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock")
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.parametrize("task", ["train/../../../outside/pwn", "../pwn", "/tmp/pwn"])
def test_a_failed_clip_of_a_shard_outside_is_refused(out: Path, tmp_path: Path, task: str) -> None:
    line = {**asdict(FAILURES_MADE[2]), "task": task, "row": asdict(ROW)}
    (out / FAILURES).write_text(json.dumps(line) + "\n")
    sealed(out)
    before = tree(tmp_path)
    with pytest.raises(DataError, match=r"failures\.jsonl, line 1: names .* refused"):
        repair(str(out), raw=tmp_path)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "journal", ['["../../x"]', '["/tmp/x"]', "{}", "[5]", "[", '["index.h5", "../x"]']
)
def test_a_journal_that_moves_files_out_is_refused(out: Path, tmp_path: Path, journal: str) -> None:
    (out / "_build/new").mkdir(parents=True)
    (out / "_build/new" / INDEX).write_bytes(b"new")
    LocalStore(out).write(JOURNAL, journal.encode())
    before = tree(tmp_path)
    with pytest.raises(DataError, match=r"repair\.json: "):
        repair(str(out), raw=tmp_path)
    assert tree(tmp_path) == before
