"""Raw clips in a real object store: the same samples, the same failures, one listing."""

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from mmprep.build.build import build_dataset
from mmprep.build.repair import repair
from mmprep.cli.main import main
from mmprep.clips.job import Job
from mmprep.clips.pool import DecoderPool
from mmprep.clips.sources import sources
from mmprep.datasets.scan import scan
from mmprep.errors import ConfigError, StoreError
from mmprep.failure import Failure
from mmprep.format import DATASET, FAILURES
from mmprep.storage.place import raw_at
from mmprep.storage.store import BucketStore, open_store
from tests.support import builds
from tests.support.builds import contents, plan_of, rows_of
from tests.support.media import write_clip

pytestmark = pytest.mark.network

BAD = {
    "empty": b"",
    "lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "html-page": b"<!doctype html>",
    "not-media": b"no media" * 100,
}


def upload(folder: Path, url: str) -> str:
    for path in folder.rglob("*.*"):
        open_store(url).write(path.relative_to(folder).as_posix(), path.read_bytes())
    return url


@pytest.fixture
def raw(clips: Path, bucket: str) -> str:
    """The tests' clips in a bucket."""
    return upload(clips, f"{bucket}/raw")


def test_clips_in_a_bucket_give_the_samples_of_clips_in_a_folder(raw, finished, tmp_path):
    plan = replace(plan_of(Path("-"), rows_of(), parts=builds.BOTH), raw=raw)
    job = Job(out=str(tmp_path / "out"), endpoint=None, raw=raw, config=plan.parts)
    report = build_dataset(plan, job, workers=2, max_failed=0.0)
    root = json.loads((finished / DATASET).read_text())["root"]
    assert report.dataset.root == root
    same = contents(finished).items() & contents(tmp_path / "out").items()
    assert set(contents(finished)) - {name for name, _ in same} == {DATASET}


def test_failures_are_those_of_a_folder(bucket, tmp_path):
    folder = tmp_path / "raw"
    for name, data in BAD.items():
        (folder / "a").mkdir(parents=True, exist_ok=True)
        (folder / f"a/{name}.mp4").write_bytes(data)
    write_clip(folder / "a/good.mp4", seconds=1)
    cut = (folder / "a/good.mp4").read_bytes()
    (folder / "a/cut.mp4").write_bytes(cut[: len(cut) // 2])
    upload(folder, f"{bucket}/raw")
    said = []
    for number, place in enumerate((folder, f"{bucket}/raw")):
        out = tmp_path / f"out{number}"
        done = CliRunner().invoke(
            main,
            ["build", "--dataset", "folder", "--raw", str(place), "--out", str(out), "--set",
             "clip_s=1", "--max-failed", "1", "--workers", "1"],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        said.append((out / FAILURES).read_bytes())
        roots = json.loads((out / DATASET).read_text())["root"]
        said.append(roots)
    assert said[:2] == said[2:]
    causes = [json.loads(line)["cause"] for line in said[0].splitlines()]
    assert sorted(causes) == sorted([*BAD, "truncated"])


def test_a_bucket_is_listed_once_and_no_clip_is_asked_for(raw, tmp_path, monkeypatch):
    lists: list[str] = []
    files = BucketStore.files

    def counted(store):
        lists.append(store.url)
        return files(store)

    monkeypatch.setattr(BucketStore, "files", counted)
    monkeypatch.setattr(BucketStore, "size", lambda store, path: pytest.fail(path))
    lines = [f"a,{row.source}" for row in rows_of()] + ["a,gone.mp4"]
    (tmp_path / "m.csv").write_text("\n".join(["label,video", *lines]))
    for words in (["--dataset", "folder"], ["--manifest", str(tmp_path / "m.csv")]):
        lists.clear()
        done = CliRunner().invoke(
            main, ["build", *words, "--raw", raw, "--out", str(tmp_path / "out"), "--dry-run"]
        )
        assert done.exit_code == 0, done.output
        assert lists == [raw]
    assert "missing 1" in done.stderr


def test_hidden_files_are_left_out_and_neighbours_are_not_below(bucket):
    for name in ("a/x.mp4", "a/._x.mp4", ".git/y.mp4"):
        open_store(f"{bucket}/raw").write(name, b"x")
    open_store(f"{bucket}/raw-2").write("z.mp4", b"x")
    assert scan(f"{bucket}/raw") == ["a/x.mp4"]


def test_a_clip_that_is_gone_or_leads_out_costs_that_clip(raw, bucket):
    open_store(bucket).write("secret.mp4", b"x")
    job = Job(out="-", endpoint=None, raw=raw, config=builds.FRAMES)
    row = rows_of()[0]
    with DecoderPool(job, workers=1) as pool:
        for source, cause in (("none.mp4", "missing"), ("../secret.mp4", "outside-raw")):
            outcome = pool.submit(replace(row, sources={"video": source})).result()
            assert isinstance(outcome, Failure)
            assert (outcome.stage, outcome.cause) == ("open", cause)


def test_a_server_that_refuses_stops_the_build_and_blames_no_clip(raw, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    plan = replace(plan_of(Path("-"), rows_of()), raw=raw)
    job = Job(out=str(tmp_path / "out"), endpoint=None, raw=raw, config=plan.parts)
    with pytest.raises(StoreError, match="cannot read s3://"):
        build_dataset(plan, job, max_failed=1.0)
    assert not list((tmp_path / "out").glob("_build/*-*.json"))


def test_a_fetched_clip_has_no_name_on_the_disk(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    row = rows_of()[0]
    with sources(raw).open(row.source) as path:
        assert path.read_bytes() == open_store(raw).read(row.source)
        assert os.listdir(tmp_path) == []


def test_repair_reads_from_the_bucket_that_the_build_named(clips, raw, finished, tmp_path):
    bad = rows_of()[0].source
    open_store(raw).write(bad, b"no media")
    plan = replace(plan_of(Path("-"), rows_of(), parts=builds.BOTH), raw=raw)
    out = tmp_path / "out"
    build_dataset(plan, Job(out=str(out), endpoint=None, raw=raw, config=plan.parts))
    open_store(raw).write(bad, (clips / bad).read_bytes())
    report = repair(str(out))
    assert (report.tried, report.mended) == (1, 1)
    assert report.dataset.root == json.loads((finished / DATASET).read_text())["root"]


def test_lists_do_not_lie_in_a_bucket(bucket, tmp_path):
    for name, said in (("ave", "--annotations"), ("av-mnist", "give --raw a folder")):
        open_store(f"{bucket}/raw").write("x.mp4", b"x")
        done = CliRunner().invoke(
            main, ["build", "--dataset", name, "--raw", f"{bucket}/raw", "--out", str(tmp_path)]
        )
        assert done.exit_code == 2, done.output
        assert said in done.stderr


def test_an_empty_prefix_says_what_was_looked_for(bucket, tmp_path):
    (tmp_path / "m.csv").write_text("label,video\na,x.mp4\n")
    words = ["build", "--manifest", str(tmp_path / "m.csv"), "--raw", bucket, "--out", "o"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "no file x.mp4" in done.stderr


def test_a_place_is_a_folder_or_a_url():
    assert raw_at("videos") == Path("videos")
    assert raw_at("s3://bucket/raw") == "s3://bucket/raw"
    with pytest.raises(ConfigError, match="s3://"):
        sources("ftp://host/raw")
