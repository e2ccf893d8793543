import json
import os
import shutil
from dataclasses import replace

import pytest

from mmprep.build.repair import repair
from mmprep.errors import ConfigError, DataError, StoreError
from mmprep.format import DATASET
from mmprep.inspection.verify import verify
from mmprep.shards import read_dataset
from mmprep.storage.store import LocalStore, open_store
from tests.support.builds import ABSENT, contents, plan_of, rows_of, run, stamps


class Case:
    """Clips of which some are bad, what was built from them, and what they should have given."""

    def __init__(self, clips, folder):
        self.clips, self.raw, self.out = clips, folder / "raw", folder / "out"
        shutil.copytree(clips, self.raw)
        self.plan = plan_of(self.raw, rows_of(), absent=ABSENT)
        val = next(task for task in self.plan.tasks if task.split == "val")
        # The first and the last sample of a shard, the middle of another, all of a third.
        self.bad = [*self.plan.tasks[0].rows[::2], self.plan.tasks[1].rows[1], *val.rows]
        run(self.plan, folder / "undisturbed")
        self.expected = contents(folder / "undisturbed")
        for row in self.bad[:-1]:
            (self.raw / row.source).write_bytes(b"no media at all")
        (self.raw / self.bad[-1].source).unlink()
        run(self.plan, self.out)

    def mend(self, rows):
        for row in rows:
            shutil.copyfile(self.clips / row.source, self.raw / row.source)


@pytest.fixture(scope="module")
def broken(clips, tmp_path_factory):
    return Case(clips, tmp_path_factory.mktemp("broken"))


@pytest.fixture
def case(broken, tmp_path):
    """A copy of ``broken`` that a test may change; the clips lie where they lay."""
    before = contents(broken.raw)
    copy = object.__new__(Case)
    copy.__dict__ |= broken.__dict__
    copy.out = shutil.copytree(broken.out, tmp_path / "out")
    yield copy
    shutil.rmtree(broken.raw)
    for name, data in before.items():
        (broken.raw / name).parent.mkdir(parents=True, exist_ok=True)
        (broken.raw / name).write_bytes(data)


def causes(out):
    lines = (out / "failures.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["key"]: line["cause"] for line in map(json.loads, lines)}


def test_mended_clips_give_what_an_undisturbed_build_gives(case):
    assert contents(case.out) != case.expected
    case.mend(case.bad)
    seen = []
    report = repair(str(case.out), workers=2, on_clip=seen.append)
    assert (report.tried, report.mended, report.absent) == (5, 5, 1)
    assert seen == [None] * 5
    assert contents(case.out) == case.expected
    assert report.dataset == read_dataset(LocalStore(case.out))
    assert verify(LocalStore(case.out)).problems == []


def test_what_fails_still_is_kept_and_the_next_repair_tries_it_again(case):
    before = causes(case.out)
    case.mend(case.bad[:2])
    report = repair(str(case.out))
    assert (report.tried, report.mended) == (5, 2)
    mended = {row.key for row in case.bad[:2]}
    assert causes(case.out) == {key: cause for key, cause in before.items() if key not in mended}
    assert verify(LocalStore(case.out)).problems == []

    case.mend(case.bad[2:])
    assert repair(str(case.out)).mended == 3
    assert contents(case.out) == case.expected


def test_a_clip_that_fails_otherwise_now_is_written_so(case):
    source = case.raw / case.bad[0].source
    source.write_bytes(b"")
    repair(str(case.out))
    assert causes(case.out)[case.bad[0].key] == "empty"
    assert read_dataset(LocalStore(case.out)).failures == {"empty": 1, "missing": 2, "not-media": 3}


def test_clips_that_all_fail_again_leave_every_byte_as_it_was(case):
    before = contents(case.out)
    report = repair(str(case.out))
    assert (report.tried, report.mended) == (5, 0)
    assert contents(case.out) == before


def test_with_nothing_to_repair_no_file_is_touched(finished):
    before = stamps(finished)
    report = repair(str(finished))
    assert (report.tried, report.mended, report.absent) == (0, 0, 0)
    assert stamps(finished) == before


def test_with_nothing_to_repair_the_clips_need_not_be_there(clips, tmp_path):
    raw = shutil.copytree(clips, tmp_path / "raw")
    run(plan_of(raw, rows_of()), tmp_path / "out")
    shutil.rmtree(raw)
    assert repair(str(tmp_path / "out")).tried == 0


def test_clips_may_lie_elsewhere_now(case, clips):
    report = repair(str(case.out), raw=clips)
    assert report.mended == 5
    assert contents(case.out) == case.expected


def test_clips_that_are_nowhere_are_asked_for(case, tmp_path):
    before = contents(case.out)
    with pytest.raises(ConfigError, match=r"gone: no such folder; name with --raw the folder"):
        repair(str(case.out), raw=tmp_path / "gone")
    assert contents(case.out) == before


@pytest.mark.parametrize("name", ["mmprep", "av", "machine"])
def test_other_versions_than_those_of_the_build_are_refused(case, name):
    dataset = read_dataset(LocalStore(case.out))
    made_by = {**dataset.made_by, name: "0.0.1"}
    (case.out / DATASET).write_text(replace(dataset, made_by=made_by).to_json())
    before = contents(case.out)
    with pytest.raises(ConfigError, match=rf"made with {name} 0\.0\.1, here is .*build anew"):
        repair(str(case.out))
    assert contents(case.out) == before


def test_a_clip_that_hangs_costs_the_limit_given(case):
    (case.raw / case.bad[0].source).unlink()
    os.mkfifo(case.raw / case.bad[0].source)
    repair(str(case.out), clip_timeout_s=0.5)
    (case.raw / case.bad[0].source).unlink()
    assert causes(case.out)[case.bad[0].key] == "decode-timeout"


# What is no finished data set


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere: no dataset\.json"):
        repair(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_another_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("three years")
    with pytest.raises(ConfigError, match=r"no dataset\.json"):
        repair(str(tmp_path))
    assert list(contents(tmp_path)) == ["thesis.tex"]


def test_a_build_that_has_not_finished_is_left_to_the_build(broken, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(DataError):
        run(broken.plan, out, max_failed=0.0)
    before = contents(out)
    with pytest.raises(ConfigError, match="run the same `mmprep build` again"):
        repair(str(out))
    assert contents(out) == before


@pytest.mark.parametrize("name", ["index.h5", "failures.jsonl"])
def test_a_damaged_data_set_is_not_made_good_by_new_hashes(case, name):
    path = case.out / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"{name}: damaged"):
        repair(str(case.out))
    path.unlink()
    with pytest.raises(StoreError, match=f"cannot read .*{name}"):
        repair(str(case.out))


@pytest.mark.parametrize("back", [1025, 3000])
def test_a_damaged_shard_is_not_made_good_by_a_new_hash(case, back):
    case.mend(case.bad)
    path = case.out / "train/000000.tar"
    data = bytearray(path.read_bytes())
    data[-back] ^= 1
    path.write_bytes(data)
    before = contents(case.out)
    with pytest.raises(DataError, match=r"train/000000\.tar: damaged"):
        repair(str(case.out))
    assert contents(case.out).items() >= before.items()
    assert "train/000000.tar" in {problem.path for problem in verify(LocalStore(case.out)).problems}


@pytest.mark.network
def test_a_repair_in_a_bucket_is_that_on_disk(case, bucket):
    case.mend(case.bad)
    store = open_store(bucket)
    for name, data in contents(case.out).items():
        store.write(name, data)
    assert repair(bucket).mended == 5
    assert {name: store.read(name) for name, _ in store.files()} == case.expected
