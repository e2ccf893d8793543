"""Copies between folders and a real object store: killed, damaged and in the way of others."""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mmprep.build.copy import copy
from mmprep.cli.main import main
from mmprep.errors import ConfigError, DataError
from mmprep.format import DATASET, INDEX
from mmprep.format.paths import COPY
from mmprep.inspection.verify import verify
from mmprep.storage.store import LocalStore, open_store
from tests.mmprep.build.test_kills import each_kill, whole_or_absent
from tests.support import ROOT
from tests.support.builds import contents, stamps
from tests.support.shardmaker import Recipe, make_shards


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


class Counting(LocalStore):
    """A folder that remembers what was put into it, and in which order."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.puts: list[str] = []

    def put(self, path, chunks):
        super().put(path, chunks)
        self.puts.append(path)

    def write(self, path, data):
        super().write(path, data)
        self.puts.append(path)


def mmprep(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_copy_is_the_data_set_byte_for_byte_and_its_description_comes_last(finished, target):
    store = Counting(target)
    moved: list[int] = []
    report = copy(LocalStore(finished), store, workers=2, begin=lambda total: moved.append)
    assert contents(target) == contents(finished)
    assert store.puts[0] == COPY
    assert store.puts[-1] == DATASET
    assert sorted(report.sent) == sorted(set(contents(finished)) - {DATASET})
    assert sum(moved) == report.bytes == sum(s.bytes for s in report.dataset.shards)


def test_a_copy_of_what_is_whole_sends_nothing(finished, target):
    copy(LocalStore(finished), LocalStore(target))
    before = stamps(target)
    report = copy(LocalStore(finished), LocalStore(target))
    assert (report.sent, report.bytes) == ((), 0)
    assert stamps(target) == before


@pytest.mark.parametrize("harm", ["cut", "changed", "gone"])
def test_only_what_is_not_whole_is_sent_again(finished, target, harm):
    copy(LocalStore(finished), LocalStore(target))
    path = target / "train/000001.tar"
    data = path.read_bytes()
    path.write_bytes(data[:-512] if harm == "cut" else data[:700] + b"x" + data[701:])
    if harm == "gone":
        path.unlink()
    before = stamps(target)
    report = copy(LocalStore(finished), LocalStore(target))
    assert report.sent == ("train/000001.tar",)
    assert contents(target) == contents(finished)
    same = before.items() & stamps(target).items()
    assert {name for name, _ in same} >= {"train/000000.tar", "val/000000.tar", INDEX}


def test_a_dry_run_says_what_is_left_and_changes_nothing(finished, target):
    planned = copy(LocalStore(finished), LocalStore(target), dry_run=True)
    assert not target.exists()
    copy(LocalStore(finished), LocalStore(target))
    assert sorted(planned.sent) == sorted(set(contents(finished)) - {DATASET})
    (target / "val/000000.tar").unlink()
    before = stamps(target)
    assert copy(LocalStore(finished), LocalStore(target), dry_run=True).sent == ("val/000000.tar",)
    assert stamps(target) == before


@pytest.mark.parametrize("harm", ["cut", "changed", "gone"])
@pytest.mark.parametrize("name", ["train/000001.tar", INDEX])
def test_a_damaged_source_is_refused_by_name_and_nothing_of_it_is_published(
    finished, tmp_path, target, name, harm
):
    source = shutil.copytree(finished, tmp_path / "source")
    data = (source / name).read_bytes()
    (source / name).write_bytes(data[:-512] if harm == "cut" else data[:700] + b"x" + data[701:])
    if harm == "gone":
        (source / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: .*it was not copied"):
        copy(LocalStore(source), LocalStore(target))
    assert not (target / name).exists()
    assert not (target / DATASET).exists()
    assert not [path for path in contents(target) if ".partial-" in path]
    # From a good source the same copy goes on.
    copy(LocalStore(finished), LocalStore(target))
    assert contents(target) == contents(finished)


def test_another_data_set_is_left_alone_until_forced(finished, target):
    make_shards(target, Recipe(samples=2, parts=("frames",)))
    before = contents(target)
    for dry_run in (True, False):
        with pytest.raises(ConfigError, match=r"holds another data set .* --force"):
            copy(LocalStore(finished), LocalStore(target), dry_run=dry_run)
    assert contents(target) == before
    copy(LocalStore(finished), LocalStore(target), force=True)
    assert contents(target) == contents(finished)


def test_an_unfinished_copy_of_another_data_set_is_left_alone(finished, target):
    (target / "_build").mkdir(parents=True)
    (target / COPY).write_text(json.dumps({"root": "another"}))
    with pytest.raises(ConfigError, match="an unfinished copy of another data set"):
        copy(LocalStore(finished), LocalStore(target))
    copy(LocalStore(finished), LocalStore(target), force=True)
    assert contents(target) == contents(finished)


@pytest.mark.parametrize("force", [False, True])
def test_files_that_are_no_data_set_are_never_touched(finished, target, force):
    target.mkdir()
    (target / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match=r"thesis\.tex"):
        copy(LocalStore(finished), LocalStore(target), force=force)
    assert contents(target) == {"thesis.tex": b"x"}


def test_a_data_set_is_not_copied_onto_itself(finished):
    with pytest.raises(ConfigError, match="is the data set itself"):
        copy(LocalStore(finished), LocalStore(finished / ".." / finished.name))


def test_what_is_no_data_set_is_not_copied(tmp_path, target):
    with pytest.raises(ConfigError, match=r"no dataset\.json"):
        copy(LocalStore(tmp_path), LocalStore(target))
    assert not target.exists()


@pytest.mark.parametrize("name", ["../escaped.tar", "/tmp/escaped.tar", "train/../../x.tar"])
def test_a_description_that_names_files_outside_is_refused(finished, tmp_path, target, name):
    source = shutil.copytree(finished, tmp_path / "source")
    renamed(source / DATASET, "train/000000.tar", name)
    with pytest.raises(DataError, match="is no file of a data set; refused"):
        copy(LocalStore(source), LocalStore(target))
    assert not target.exists()


def renamed(path: Path, old: str, new: str) -> None:
    """Gives a shard another name in a description whose hashes fit: somebody meant it."""
    plain = json.loads(path.read_text())
    for shard in plain["shards"]:
        shard["name"] = new if shard["name"] == old else shard["name"]
    kept = {k: v for k, v in plain.items() if k not in ("format", "root", "checksum")}
    head = {"format": 1, "root": _digest({k: v for k, v in kept.items() if k != "request"})}
    head["checksum"] = _digest(kept)
    path.write_text(json.dumps({**head, **kept}, indent=1, ensure_ascii=False) + "\n")


def _digest(content: dict[str, object]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_copy_killed_before_any_of_its_changes_ends_in_the_same_bytes(finished, tmp_path):
    (tmp_path / "nothing").mkdir()
    out, expected = tmp_path / "out", contents(finished)

    def work():
        copy(LocalStore(finished), LocalStore(out), workers=1)

    seen = set()
    for step in each_kill(work, tmp_path / "nothing", out):
        whole_or_absent(out)
        seen.add((out / DATASET).exists())
        if step % 4 == 0 or (out / DATASET).exists():
            before = stamps(out)
            work()
            assert contents(out) == expected
            shards = {k: v for k, v in before.items() if k.endswith(".tar") and ".partial" not in k}
            assert shards.items() <= stamps(out).items()
    assert seen == {False, True}


def test_the_command_prints_one_object_and_exit_codes_are_those_of_all(finished, tmp_path, target):
    done = mmprep("copy", finished, target, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["root"] == json.loads((finished / DATASET).read_text())["root"]
    assert len(report["sent"]) == len(contents(finished)) - 1
    assert "0 bytes of shards sent" in mmprep("copy", finished, target).stdout
    assert "would be sent" in mmprep("copy", finished, tmp_path / "b", "--dry-run").stdout
    assert mmprep("copy", tmp_path / "none", target).exit_code == 2
    (target / "val/000000.tar").write_bytes(b"")
    assert mmprep("copy", target, tmp_path / "c").exit_code == 3


@pytest.mark.network
def test_a_bucket_at_either_end(finished, bucket, target):
    report = copy(LocalStore(finished), open_store(bucket))
    assert {name for name, _ in open_store(bucket).files()} == set(contents(finished))
    assert verify(open_store(bucket)).problems == []
    assert copy(LocalStore(finished), open_store(bucket)).sent == ()
    open_store(bucket).write("train/000001.tar", b"x" * report.dataset.shards[1].bytes)
    assert copy(LocalStore(finished), open_store(bucket)).sent == ("train/000001.tar",)
    copy(open_store(bucket), open_store(f"{bucket}-2"))
    copy(open_store(f"{bucket}-2"), LocalStore(target))
    assert contents(target) == contents(finished)


@pytest.mark.network
def test_a_damaged_shard_in_a_bucket_is_refused_by_name_and_not_published(
    finished, bucket, target, tmp_path
):
    copy(LocalStore(finished), open_store(bucket))
    data = (finished / "train/000001.tar").read_bytes()
    open_store(bucket).write("train/000001.tar", data[:-1] + b"x")
    with pytest.raises(DataError, match=r"train/000001\.tar: its SHA-256"):
        copy(open_store(bucket), LocalStore(target))
    source = shutil.copytree(finished, tmp_path / "source")
    (source / "val/000000.tar").write_bytes(data[:1024])
    with pytest.raises(DataError, match=r"val/000000\.tar: 1024 bytes, not"):
        copy(LocalStore(source), open_store(f"{bucket}-2"))
    names = {name for name, _ in open_store(f"{bucket}-2").files()}
    assert not names & {"val/000000.tar", DATASET}


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("upwards", [True, False])
def test_a_copy_killed_half_way_goes_on(finished, bucket, target, tmp_path, upwards):
    """The third shard is a pipe, or its server waits: so the kill comes when two are there."""
    if not upwards:
        copy(LocalStore(finished), open_store(bucket))
    source, place = (str(finished), bucket) if upwards else (bucket, str(target))
    there = open_store(place)
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, source, place], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"two\n"
    process.kill()
    process.communicate()
    before = dict(there.files())
    assert sum(name.endswith(".tar") for name in before) == 2
    assert DATASET not in before
    report = copy(open_store(source), there)
    assert report.whole == 2
    assert verify(there).problems == []
    assert {name for name, _ in there.files()} == set(contents(finished))


if __name__ == "__main__":
    # A copy that stops for good when two shards are whole; a test kills it there.
    source, place = map(open_store, sys.argv[1:])
    put, done = place.put, []

    def third_waits(path, chunks):
        if len(done) == 2:
            sys.stdout.write("two\n")
            sys.stdout.flush()
            threading.Event().wait()
        put(path, chunks)
        done.append(path)

    place.put = third_waits
    copy(source, place, workers=1)
