"""Clips that arrive after a build: told of, and added as new shards when that is asked for."""

import json
import shutil
from dataclasses import replace

import pytest

from mmprep.build.build import build_dataset
from mmprep.build.extend import extension_under_way
from mmprep.build.repair import repair
from mmprep.clips.job import Job
from mmprep.errors import ConfigError
from mmprep.format import DATASET
from mmprep.inspection.verify import verify
from mmprep.shards import Shards, read_dataset
from mmprep.storage.store import LocalStore, open_store
from tests.mmprep.build.test_kills import each_kill, whole_or_absent
from tests.support.builds import LABELS, contents, plan_of, rows_of, run, spoil
from tests.support.media import write_clip

FIRST = 8


def keys(out):
    """Label and split of every sample, by key."""
    with Shards(open_store(str(out))) as shards:
        index = shards.index
        pairs = zip(index.label.tolist(), index.split.tolist(), strict=True)
        names = [key.decode() for key in index.key.tolist()]
        values = [(index.classes[label], index.splits[split]) for label, split in pairs]
        return dict(zip(names, values, strict=True))


def under_way(out):
    """Whether an extension was begun, and its data set is still the old one."""
    store = LocalStore(out)
    if (out / "_build/repair.json").exists() or store.size(DATASET) is None:
        return False
    return extension_under_way(store, read_dataset(store)) is not None


@pytest.fixture
def out(clips, tmp_path):
    """A data set of the first eight clips, while the other four had not arrived."""
    run(plan_of(clips, rows_of()[:FIRST]), tmp_path / "out")
    return tmp_path / "out"


def test_new_clips_are_counted_and_left_out(clips, out):
    before = contents(out)
    report = run(plan_of(clips, rows_of()), out)
    assert (report.new_clips, report.was_complete, report.clips_read) == (4, True, 0)
    assert contents(out) == before


def test_an_extension_appends_shards_and_changes_no_old_byte(clips, out):
    before = contents(out)
    root = read_dataset(LocalStore(out)).root
    old = keys(out)
    report = run(plan_of(clips, rows_of()), out, extend=True)
    assert (report.added, report.clips_read, report.new_clips) == (4, 4, 0)
    after = contents(out)
    shards = {name: data for name, data in before.items() if name.endswith(".tar")}
    assert shards.items() <= after.items()
    new = {name for name in after.keys() - before.keys() if name.endswith(".tar")}
    # k008 goes to val, k009 and k010 to train, k011 to test; numbers go on in each split.
    assert new == {"train/000002.tar", "val/000001.tar", "test/000001.tar"}
    assert report.dataset.root != root
    assert old.items() <= keys(out).items()
    assert keys(out) == {row.key: (row.label, row.split) for row in rows_of()}
    assert verify(LocalStore(out)).problems == []
    again = run(plan_of(clips, rows_of()), out, extend=True)
    assert (again.added, again.was_complete) == (None, True)
    assert contents(out) == after
    assert run(plan_of(clips, rows_of()), out).new_clips == 0


def test_the_shards_do_not_depend_on_the_order_of_the_rows(clips, out, tmp_path):
    shutil.copytree(out, tmp_path / "other")
    run(plan_of(clips, rows_of()), out, extend=True)
    run(plan_of(clips, rows_of()[::-1]), tmp_path / "other", extend=True)
    assert contents(out) == contents(tmp_path / "other")


def test_listed_clips_without_a_file_join_when_they_have_one(raw, tmp_path):
    from mmprep.failure import Failure

    late = rows_of()[-2:]
    absent = tuple(Failure.of(row, row.source, "find", "missing", "no file") for row in late)
    out = tmp_path / "out"
    run(plan_of(raw, rows_of()[:-2], absent=absent), out)
    plan = plan_of(raw, rows_of())
    assert run(plan, out).new_clips == 2
    report = run(plan, out, extend=True)
    assert (report.added, dict(report.dataset.failures)) == (2, {})
    assert verify(LocalStore(out)).problems == []


def test_new_classes_come_behind_the_old_ones(raw, tmp_path):
    out = tmp_path / "out"
    run(plan_of(raw, rows_of()), out)
    write_clip(raw / "new.mp4", seconds=1.0)
    row = replace(rows_of()[0], key="new", label="a first class", sources={"video": "new.mp4"})
    plan = replace(plan_of(raw, [*rows_of(), row]), classes=("a first class", *LABELS))
    assert run(plan, out).new_clips == 1
    assert run(plan, out, extend=True).dataset.classes == (*LABELS, "a first class")
    assert keys(out)["new"] == ("a first class", "train")
    assert keys(out)["k001"] == (LABELS[1], "train")


def test_old_clips_keep_their_split_and_a_new_label_is_refused(clips, out):
    moved = [replace(row, split="test") for row in rows_of()]
    before = keys(out)
    run(plan_of(clips, moved), out, extend=True)
    assert before.items() <= keys(out).items()
    relabelled = [replace(rows_of()[0], label=LABELS[2]), *rows_of()[1:]]
    with pytest.raises(ConfigError, match=r"1 with another label or split \(k000\)"):
        run(plan_of(clips, relabelled), out, extend=True)


def test_an_extension_with_other_parameters_is_refused(clips, out):
    before = contents(out)
    with pytest.raises(ConfigError, match="--seed: there 0, now 1"):
        run(plan_of(clips, rows_of(), seed=1), out, extend=True)
    assert contents(out) == before


def test_failed_clips_of_an_extension_can_be_repaired(raw, clips, out):
    late = rows_of()[FIRST:]
    spoil(raw, late)
    report = run(plan_of(raw, rows_of()), out, extend=True)
    assert (report.added, dict(report.dataset.failures)) == (0, {"not-media": 4})
    assert repair(str(out), raw=clips).mended == 4
    assert keys(out) == {row.key: (row.label, row.split) for row in rows_of()}
    assert verify(LocalStore(out)).problems == []


def test_a_trial_is_extended_to_all(clips, tmp_path):
    trial = replace(plan_of(clips, rows_of()[:6]), limit=6)
    run(trial, tmp_path / "out")
    with pytest.raises(ConfigError, match="--limit: there 6, now none"):
        run(plan_of(clips, rows_of()), tmp_path / "out")
    run(plan_of(clips, rows_of()), tmp_path / "out", extend=True)
    assert keys(tmp_path / "out").keys() == {row.key for row in rows_of()}


def test_a_begun_build_goes_on_and_then_takes_in_the_new_clips(clips, raw, tmp_path):
    from mmprep.errors import DataError

    out = tmp_path / "out"
    spoil(raw, rows_of()[:1])
    with pytest.raises(DataError):
        run(plan_of(raw, rows_of()[:FIRST]), out, max_failed=0.0)
    assert run(plan_of(clips, rows_of()), out).new_clips == 4
    run(plan_of(clips, rows_of()), out, extend=True)
    assert keys(out) == {row.key: (row.label, row.split) for row in rows_of()}


def test_an_extension_killed_before_any_change_to_the_disk_goes_on(clips, out, tmp_path):
    plan = plan_of(clips, rows_of())
    shutil.copytree(out, tmp_path / "straight")
    run(plan, tmp_path / "straight", extend=True)
    straight = contents(tmp_path / "straight")
    place = tmp_path / "killed"
    for step in each_kill(lambda: run(plan, place, extend=True), out, place):
        whole_or_absent(place)
        # A plain build or a repair in between must not lose what was begun.
        if step % 5 == 0 and under_way(place):
            for work in (lambda: run(plan, place), lambda: repair(str(place), raw=clips)):
                with pytest.raises(ConfigError, match="an extension was begun"):
                    work()
        run(plan, place, extend=True)
        assert contents(place) == straight


@pytest.mark.network
def test_an_extension_in_a_bucket_is_that_on_disk(clips, out, bucket):
    def build(count, **options):
        plan = plan_of(clips, rows_of()[:count])
        job = Job(out=bucket, endpoint=None, raw=clips, config=plan.parts, clip_timeout_s=120)
        return build_dataset(plan, job, **options)

    build(FIRST)
    report = build(12, extend=True)
    local = run(plan_of(clips, rows_of()), out, extend=True)
    assert report.dataset.root == local.dataset.root
    assert verify(open_store(bucket)).problems == []


def test_a_failure_line_that_leads_outside_is_refused(raw, tmp_path):
    from mmprep.errors import DataError

    out = tmp_path / "out"
    spoil(raw, rows_of()[:1])
    run(plan_of(raw, rows_of()), out)
    store = LocalStore(out)
    dataset = read_dataset(store)
    line = json.loads((out / "failures.jsonl").read_text())
    text = json.dumps({**line, "task": "../evil/000000"}) + "\n"
    import hashlib

    (out / "failures.jsonl").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    changed = replace(dataset, files={**dataset.files, "failures.jsonl": digest})
    (out / "dataset.json").write_text(changed.to_json())
    with pytest.raises(DataError, match=r"failures\.jsonl, line 1: names .* refused"):
        repair(str(out), raw=raw)
    assert not (tmp_path / "evil").exists()
