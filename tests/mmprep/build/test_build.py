import json
import os
import subprocess
import sys
import tarfile

import pytest

from mmprep.errors import DataError
from mmprep.inspection.verify import verify
from mmprep.shards import Shards
from mmprep.storage.store import LocalStore, open_store
from tests.support import ROOT, builds
from tests.support.builds import (
    ABSENT,
    BOTH,
    LABELS,
    contents,
    plan_of,
    rows_of,
    run,
    spoil,
    stamps,
)


def changed(before, folder):
    after = stamps(folder)
    return {name for name in before | after if before.get(name) != after.get(name)}


# What a build makes


def test_a_build_makes_shards_an_index_and_a_description_and_nothing_else(finished):
    assert sorted(contents(finished)) == [
        "dataset.json",
        "failures.jsonl",
        "index.h5",
        "test/000000.tar",
        "train/000000.tar",
        "train/000001.tar",
        "train/000002.tar",
        "val/000000.tar",
    ]
    assert verify(LocalStore(finished)).problems == []


def test_every_clip_is_where_the_plan_and_the_index_say(finished, clips):
    plan = plan_of(clips, rows_of())
    shards = Shards(LocalStore(finished))
    found = []
    for task in plan.tasks:
        with tarfile.open(finished / f"{task.name}.tar") as archive:
            keys = [name.partition(".")[0] for name in archive.getnames()]
        assert list(dict.fromkeys(keys)) == [row.key for row in task.rows]
        found += keys
    assert set(found) == {row.key for row in rows_of()}
    assert shards.dataset.samples == len(shards.index) == len(rows_of())


def test_labels_with_commas_quotes_and_any_letters_reach_record_and_index(finished):
    shards = Shards(LocalStore(finished))
    assert shards.index.classes == shards.dataset.classes == LABELS
    labels = {row.key: row.label for row in rows_of()}
    for row in range(len(shards.index)):
        key = shards.index.key[row].decode()
        assert shards.record(row)["label"] == labels[key]
        assert LABELS[shards.index.label[row]] == labels[key]


def test_counts_are_those_of_the_rows(finished):
    dataset = Shards(LocalStore(finished)).dataset
    for split, info in dataset.splits.items():
        labels = [row.label for row in rows_of() if row.split == split]
        assert info.samples == len(labels)
        assert info.classes == {name: labels.count(name) for name in LABELS if name in labels}


def test_bytes_do_not_depend_on_the_number_of_workers(finished, clips, tmp_path):
    run(plan_of(clips, rows_of(), parts=BOTH), tmp_path / "out", workers=3)
    assert contents(tmp_path / "out") == contents(finished)


def test_bytes_do_not_depend_on_how_many_workers_share_a_shard(clips, tmp_path):
    plan = plan_of(clips, rows_of(), shard_size=100)
    found = []
    for workers in (1, 2, 6):
        run(plan, tmp_path / str(workers), workers=workers)
        found.append(contents(tmp_path / str(workers)))
    assert found[0] == found[1] == found[2]


def test_the_order_of_the_rows_plays_no_part(clips, tmp_path):
    run(plan_of(clips, rows_of()), tmp_path / "forward")
    run(plan_of(clips, rows_of()[::-1]), tmp_path / "backward")
    assert contents(tmp_path / "forward") == contents(tmp_path / "backward")


def test_another_seed_is_another_order_of_the_same_samples(clips, tmp_path):
    roots = set()
    for seed in (0, 1):
        run(plan_of(clips, rows_of(), seed=seed), tmp_path / str(seed))
        shards = Shards(LocalStore(tmp_path / str(seed)))
        roots.add(shards.dataset.root)
        keys = sorted(shards.index.key.tolist())
        assert keys == [row.key.encode() for row in rows_of()]
    assert len(roots) == 2


# Clips that fail


def test_failures_are_written_with_what_a_repair_needs(raw, tmp_path):
    rows = rows_of()
    spoil(raw, rows[:2])
    (raw / rows[2].source).unlink()
    report = run(plan_of(raw, rows, absent=ABSENT), tmp_path / "out")
    text = (tmp_path / "out/failures.jsonl").read_text(encoding="utf-8")
    lines = {line["key"]: line for line in map(json.loads, text.splitlines())}
    assert set(lines) == {"k000", "k001", "k002", "gone"}
    assert lines["k000"].keys() == {*vars(ABSENT[0]), "task", "row"}
    assert (lines["k000"]["cause"], lines["k000"]["label"]) == ("not-media", LABELS[0])
    assert lines["k000"]["row"]["sources"] == {"video": "0/clip 0.mp4"}
    assert lines["k000"]["task"].startswith("train/")
    assert lines["k002"]["cause"] == "missing"
    assert lines["gone"] == vars(ABSENT[0])
    assert report.dataset.failures == {"missing": 2, "not-media": 2}
    assert report.dataset.samples == len(rows) - 3
    assert verify(LocalStore(tmp_path / "out")).problems == []


def test_a_shard_whose_clips_all_failed_is_not_there(raw, plan, tmp_path):
    empty = next(task for task in plan.tasks if task.split == "val")
    spoil(raw, empty.rows)
    report = run(plan, tmp_path / "out")
    assert not (tmp_path / "out/val").exists()
    assert [shard.name for shard in report.dataset.shards] == [
        "train/000000.tar",
        "train/000001.tar",
        "train/000002.tar",
        "test/000000.tar",
    ]
    assert report.dataset.splits["val"].samples == 0
    assert verify(LocalStore(tmp_path / "out")).problems == []


def test_a_shard_left_by_a_killed_run_goes_when_its_clips_all_fail_now(raw, plan, tmp_path):
    first, *_ = plan.tasks
    spoil(raw, first.rows)
    with pytest.raises(DataError):
        run(plan, tmp_path / "out", max_failed=0.0)
    # As if the shard had been published when its clips were good, and the run killed right then.
    (tmp_path / "out/train").mkdir(exist_ok=True)
    (tmp_path / "out/train/000000.tar").write_bytes(b"whole once")
    run(plan, tmp_path / "out")
    assert verify(LocalStore(tmp_path / "out")).problems == []


def test_too_many_failures_stop_the_build_and_a_higher_limit_goes_on(raw, plan, tmp_path):
    out = tmp_path / "out"
    *whole, last = plan.tasks
    spoil(raw, last.rows[:1])
    with pytest.raises(DataError) as caught:
        run(plan, out, max_failed=0.0)
    message = str(caught.value)
    assert message.startswith("1 of 12 clips failed, over --max-failed 0 (not-media 1); the last: ")
    assert last.rows[0].source in message
    assert "the same command with a higher --max-failed goes on" in message
    assert not (out / "dataset.json").exists()
    shards = {f"{task.name}.tar" for task in whole}
    before = {name: stamp for name, stamp in stamps(out).items() if name in shards}
    assert set(before) == shards

    report = run(plan, out, max_failed=0.1)
    assert report.clips_read == len(last.rows)
    assert changed(before, out) & shards == set()
    assert report.dataset.failures == {"not-media": 1}
    assert verify(LocalStore(out)).problems == []


def test_a_few_failures_never_stop_a_small_build_and_more_do(raw, plan, tmp_path):
    spoil(raw, rows_of()[:6])
    with pytest.raises(DataError, match=r"6 of 12 clips failed, over --max-failed 0\.1"):
        run(plan, tmp_path / "out", max_failed=0.1)
    assert run(plan, tmp_path / "out", max_failed=0.5).dataset.samples == 6


def test_failures_of_an_earlier_run_count(raw, plan, tmp_path):
    spoil(raw, rows_of()[:6])
    with pytest.raises(DataError):
        run(plan, tmp_path / "out", max_failed=0.1)
    with pytest.raises(DataError, match="of 12 clips failed"):
        run(plan, tmp_path / "out", max_failed=0.0)


def test_a_stop_with_many_shards_under_way_leaves_nothing_behind(raw, tmp_path):
    spoil(raw, rows_of())
    plan = plan_of(raw, rows_of(), shard_size=1)
    with pytest.raises(DataError, match="clips failed"):
        run(plan, tmp_path / "out", workers=3, max_failed=0.0)
    assert builds.decoders(os.getpid()) == []
    assert not [name for name in contents(tmp_path / "out") if ".partial-" in name]


# Running again


def test_running_again_after_a_stop_does_only_what_is_left(raw, plan, tmp_path, finished):
    out = tmp_path / "out"
    second = plan.tasks[1]
    os.rename(raw / second.rows[0].source, raw / "aside.mp4")
    with pytest.raises(DataError):
        run(plan, out, max_failed=0.0)
    done = {"train/000000.tar"}
    before = {name: stamp for name, stamp in stamps(out).items() if name in done}
    os.rename(raw / "aside.mp4", raw / second.rows[0].source)

    report = run(plan, out, max_failed=0.0)
    assert report.clips_read == 12 - len(plan.tasks[0].rows)
    assert not report.was_complete
    assert changed(before, out) & done == set()
    run(plan, tmp_path / "undisturbed")
    assert contents(out) == contents(tmp_path / "undisturbed")


def test_a_complete_build_does_nothing_again(finished, clips):
    before = stamps(finished)
    report = run(plan_of(clips, rows_of(), parts=BOTH), finished)
    assert (report.was_complete, report.clips_read) == (True, 0)
    assert report.dataset == Shards(LocalStore(finished)).dataset
    assert stamps(finished) == before


def test_the_report_of_progress_covers_each_clip_once(raw, plan, tmp_path):
    spoil(raw, rows_of()[:1])
    seen = []

    class Watch:
        def __init__(self, plan, clips):
            seen.append(clips)

        def __enter__(self):
            return seen.append

        def __exit__(self, *_):
            seen.append("end")

    run(plan, tmp_path / "out", workers=2, begin=Watch)
    assert (seen[0], seen[-1]) == (12, "end")
    assert len(seen) == 14
    assert [outcome.key for outcome in seen[1:-1] if outcome] == ["k000"]


# A full disk, a bucket


FULL = """
mount -t tmpfs -o size=80k none "$1" && shift
"$@" 2> error.txt; echo $?; tail -n 1 error.txt
find small -name '.partial*' -o -name dataset.json
mount -o remount,size=8m small
"$@"; echo $?
cp -r small/out large
"""


def test_a_build_on_a_full_disk_says_so_and_goes_on_when_there_is_room(clips, tmp_path):
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run([*inside, f"mount -t tmpfs none {small}"], check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    build = [sys.executable, "-m", builds.__name__, str(clips), str(small / "out"), "2", "20"]
    seen = subprocess.run(
        [*inside, FULL, "sh", str(small), *build],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    first, error, *rest = seen.stdout.splitlines()
    assert first == "1"
    assert "StoreError: cannot write" in error
    assert "the disk is full; free some space and run the same command again" in error
    assert rest == ["0"]
    run(plan_of(clips, rows_of(), shard_size=2), tmp_path / "undisturbed")
    assert contents(tmp_path / "large") == contents(tmp_path / "undisturbed")


@pytest.mark.network
def test_a_build_to_a_bucket_is_that_to_disk(clips, finished, bucket):
    plan = plan_of(clips, rows_of(), parts=BOTH)
    report = run(plan, bucket, workers=2)
    store = open_store(bucket)
    assert {name: store.read(name) for name, _ in store.files()} == contents(finished)
    verdict = verify(store)
    assert (verdict.problems, verdict.root) == ([], report.dataset.root)
    assert run(plan, bucket).was_complete

    damaged = bytearray(store.read("val/000000.tar"))
    damaged[700] ^= 1
    store.write("val/000000.tar", bytes(damaged))
    assert [problem.path for problem in verify(store).problems] == ["val/000000.tar"]


@pytest.mark.network
def test_a_stopped_build_to_a_bucket_goes_on(raw, plan, bucket, tmp_path):
    source = raw / plan.tasks[1].rows[0].source
    os.rename(source, tmp_path / "aside")
    with pytest.raises(DataError):
        run(plan, bucket, max_failed=0.0)
    os.rename(tmp_path / "aside", source)
    assert run(plan, bucket, max_failed=0.0).clips_read < 12
    run(plan, tmp_path / "undisturbed")
    store = open_store(bucket)
    found = {name: store.read(name) for name, _ in store.files()}
    assert found == contents(tmp_path / "undisturbed")
