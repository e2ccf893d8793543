"""Options of the way to a bucket: public ones, two servers, and how long faults are waited out."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mmprep.cli.main import main
from mmprep.format import DATASET
from mmprep.storage.store import open_store
from tests.support import objectstore, webserver
from tests.support.media import write_clip

pytestmark = pytest.mark.network
SMALL = ("--set", "frames.short_side=32", "--set", "clip_s=1", "--parts", "frames")


def mmprep(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Server of public buckets, the folders of ``tmp_path``; nobody here has credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with webserver.serving(tmp_path) as address:
        yield address


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Bucket ``clips`` of two clips, one of which is broken."""
    write_clip(tmp_path / "clips/raw/cat/a.mp4", seconds=1)
    (tmp_path / "clips/raw/cat/b.mp4").write_text("<!doctype html>")
    return tmp_path / "clips"


def test_clips_of_a_public_bucket_are_built_and_repaired(
    public: str, clips: Path, tmp_path: Path
) -> None:
    way = ("--endpoint", public, "--anonymous", "--workers", 1)
    out = tmp_path / "out"
    words = ("build", "--dataset", "folder", "--raw", "s3://clips/raw", "--out", out, *SMALL)
    built = mmprep(*words, *way, "--max-failed", 1, "--json")
    assert built.exit_code == 0, built.output
    assert json.loads(built.stdout)["failures"] == {"html-page": 1}
    write_clip(clips / "raw/cat/b.mp4", seconds=1)
    repaired = mmprep("repair", out, *way, "--json")
    assert repaired.exit_code == 0, repaired.output
    assert json.loads(repaired.stdout)["mended"] == 1


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_clip(folder / "raw/cat/a.mp4", seconds=1)
    built = mmprep("build", "--dataset", "folder", "--raw", folder / "raw", "--out", folder / "d",
                   *SMALL, "--workers", 1)  # fmt: skip
    assert built.exit_code == 0, built.output
    return folder / "d"


def test_a_copy_reads_one_server_and_writes_another(
    shards: Path, public: str, tmp_path: Path, object_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / objectstore.BUCKET).mkdir()
    (tmp_path / objectstore.BUCKET / "two-servers").symlink_to(shards)
    for name, value in objectstore.CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    # The same address, but on another server.
    place = f"s3://{objectstore.BUCKET}/two-servers"
    words = ("copy", place, place, "--anonymous", "--endpoint-from", public)
    copied = mmprep(*words, "--endpoint-to", object_store, "--json")
    assert copied.exit_code == 0, copied.output
    description = json.loads((shards / DATASET).read_text())
    assert json.loads(copied.stdout)["root"] == description["root"]
    there = open_store(place, endpoint=object_store)
    assert json.loads(there.read(DATASET)) == description
    # One of the two may still come from --endpoint.
    again = mmprep(*words, "--endpoint", object_store, "--json")
    assert json.loads(again.stdout)["sent"] == []


def test_a_place_on_one_server_is_not_copied_onto_itself(public: str) -> None:
    copied = mmprep("copy", "s3://b/p", "s3://b/p", "--endpoint", public)
    assert copied.exit_code == 2
    assert "is the data set itself" in copied.stderr


def test_the_time_for_faults_is_read_and_refused(tmp_path: Path) -> None:
    missing = mmprep("info", tmp_path, "--retry-for", "10m")
    assert "no dataset.json" in missing.stderr
    refused = mmprep("info", tmp_path, "--retry-for", "soon")
    assert refused.exit_code == 2
    assert "'soon' is no time such as 120s" in refused.stderr
