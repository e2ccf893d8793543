"""Stores that are read over plain HTTP: web servers, and buckets that anybody may read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mmprep.errors import StoreError
from mmprep.storage.store import Store, open_store
from tests.support import webserver

pytestmark = pytest.mark.network
DATA = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("web")
    (folder / "public/data/train").mkdir(parents=True)
    (folder / "public/data/train/000000.tar").write_bytes(DATA)
    with webserver.serving(folder) as address:
        yield address


@pytest.fixture(params=["http", "s3", "gs", "az"])
def store(request: pytest.FixtureRequest, address: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The same files as a web server and as a public bucket of each kind."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "anybody")
    if request.param == "http":
        return open_store(f"{address}/public/data/")
    return open_store(f"{request.param}://public/data", endpoint=address, anonymous=True)


def test_files_and_ranges_are_read(store: Store) -> None:
    path = "train/000000.tar"
    assert store.size(path) == len(DATA)
    assert store.read(path) == DATA
    assert store.read(path, 300, 700) == DATA[300:700]
    assert store.read(path, 10_000) == DATA[10_000:]
    with store.open(path) as file:
        assert file.read(100) == DATA[:100]
        assert file.read() == DATA[100:]


def test_what_is_not_there_is_named(store: Store) -> None:
    assert store.size("train/x.tar") is None
    with pytest.raises(StoreError, match=r"cannot read .*://.*data/train/x\.tar"):
        store.read("train/x.tar", 0, 10)


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.write("a", b"x"),
        lambda store: store.create("a").__enter__(),
        lambda store: store.move("train/000000.tar", "a"),
        lambda store: store.delete("train/000000.tar"),
    ],
)
def test_a_web_server_is_read_only(address: str, write) -> None:
    with pytest.raises(StoreError, match="a web server is read only"):
        write(open_store(f"{address}/public/data"))


def test_a_web_server_lists_nothing(address: str) -> None:
    with pytest.raises(StoreError, match=f"cannot list {address}/public: a web server has no list"):
        list(open_store(f"{address}/public").files())


def test_a_server_without_ranges_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    told = "cannot read http://127.0.0.1:.*/a: .*choose a server that answers range requests"
    with webserver.serving(tmp_path, ranges=False) as address:
        store = open_store(address)
        with pytest.raises(StoreError, match=told):
            store.read("a", 10, 20)


def test_missing_credentials_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where the machine of a cloud would find its credentials; nobody listens there.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StoreError, match=r"no credentials here: set AWS_ACCESS_KEY_ID .*--anonym"):
        open_store("s3://anything").read("a")
