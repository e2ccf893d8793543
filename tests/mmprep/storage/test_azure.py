"""az:// against Azure's emulator, where that is installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mmprep.build.copy import copy
from mmprep.errors import StoreError
from mmprep.inspection.verify import verify
from mmprep.storage.store import LocalStore, Store, open_store
from tests.support import azurite
from tests.support.builds import contents

pytestmark = pytest.mark.network
DATA = bytes(range(251)) * 40_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = azurite.binary()
    if server is None:
        pytest.skip("no Azurite here: `npm install azurite`, then AZURITE=.../azurite-blob")
    with azurite.served(server, tmp_path_factory.mktemp("azurite")) as address:
        yield address


@pytest.fixture
def store(address: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in azurite.CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return open_store(f"az://{azurite.CONTAINER}/place", endpoint=address)


def test_files_are_written_read_listed_moved_and_removed(store: Store) -> None:
    store.write("a/one", b"abc")
    store.put("a/large", (DATA[i : i + 999_999] for i in range(0, len(DATA), 999_999)))
    assert (store.read("a/one"), store.read("a/large", 7, 9_000_007)) == (b"abc", DATA[7:9_000_007])
    with store.open("a/large") as file:
        assert file.read() == DATA
    store.move("a/one", "b/two")
    assert dict(store.files()) == {"a/large": len(DATA), "b/two": 3}
    store.delete("b/two")
    store.delete("a/large")
    assert dict(store.files()) == {}
    assert store.size("a/one") is None


def test_a_data_set_is_copied_there_and_back(store: Store, finished: Path, tmp_path: Path) -> None:
    copy(LocalStore(finished), store)
    assert verify(store).problems == []
    copy(store, LocalStore(tmp_path / "back"))
    assert contents(tmp_path / "back") == contents(finished)


def test_a_wrong_key_is_refused_at_once(
    store: Store, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmc=")
    with pytest.raises(StoreError, match="check the credentials") as caught:
        open_store(f"az://{azurite.CONTAINER}/place", endpoint=address).read("a")
    assert "Gave up" not in str(caught.value)
