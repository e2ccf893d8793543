"""Faults that may pass are waited out for as long as was asked; refusals are not asked again."""

import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmprep.errors import ConfigError, StoreError
from mmprep.storage import retries
from mmprep.storage.access import Access, seconds_of
from mmprep.storage.store import Store, open_store
from tests.support import webserver
from tests.support.faultproxy import Fault, FaultProxy

pytestmark = pytest.mark.network
# Neither a whole number of pieces nor of requests.
DATA = bytes(range(251)) * 8000


class Clock:
    """Time that passes in pauses only, so that minutes take no time.

    Attributes:
        seconds: Sum of the pauses.
        events: Time to the function that is called when it has come.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.events: dict[float, Callable[[], object]] = {}

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        for moment in [moment for moment in self.events if moment <= self.seconds]:
            self.events.pop(moment)()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(
        retries, "time", SimpleNamespace(monotonic=lambda: clock.seconds, sleep=clock.sleep)
    )
    return clock


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[FaultProxy]:
    (tmp_path / "d/train").mkdir(parents=True)
    (tmp_path / "d/train/a.tar").write_bytes(DATA)
    with webserver.serving(tmp_path) as upstream, FaultProxy(upstream) as proxy:
        yield proxy


def store_of(proxy: FaultProxy, retry_for_s: float = 120.0) -> Store:
    return open_store(f"{proxy.address}/d", retry_for_s=retry_for_s)


@pytest.mark.parametrize("status", ["503", "500", "429", "408"])
def test_an_outage_of_90_seconds_is_waited_out(
    status: str, proxy: FaultProxy, clock: Clock
) -> None:
    proxy.faults = (Fault(kind=status, times=None),)
    clock.events[90.0] = proxy.clear
    assert store_of(proxy).read("train/a.tar", 5, 900) == DATA[5:900]
    assert 90 <= clock.seconds < 100


def test_a_server_that_comes_up_after_90_seconds_is_waited_for(
    tmp_path: Path, clock: Clock
) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    servers: list[object] = []

    def start() -> None:
        server = webserver.serving(tmp_path, port=port)
        servers.extend((server, server.__enter__()))

    clock.events[90.0] = start
    try:
        assert open_store(f"http://127.0.0.1:{port}").read("a") == b"abc"
    finally:
        servers[0].__exit__(None, None, None)  # type: ignore[attr-defined]
    assert clock.seconds >= 90


def test_the_time_for_which_a_fault_is_waited_out_is_an_option(
    proxy: FaultProxy, clock: Clock
) -> None:
    proxy.faults = (Fault(kind="503", times=None),)
    with pytest.raises(StoreError, match=r"503 .*Gave up after \d+ tries in \d+"):
        store_of(proxy, retry_for_s=600).read("train/a.tar")
    assert 500 < clock.seconds <= 600
    proxy.clear()
    clock.seconds = 0.0
    proxy.faults = (Fault(kind="503", times=None),)
    with pytest.raises(StoreError, match="503"):
        store_of(proxy, retry_for_s=0).read("train/a.tar")
    assert clock.seconds == 0
    assert proxy.made["503"] == 1


def test_a_long_wait_is_announced_once(
    proxy: FaultProxy, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.faults = (Fault(kind="503", times=None),)
    clock.events[60.0] = proxy.clear
    with caplog.at_level(logging.WARNING):
        store_of(proxy).read("train/a.tar")
    assert len(caplog.records) == 1
    assert "trying again for 11" in caplog.text


@pytest.mark.parametrize("status", ["400", "401", "403", "404", "301", "501"])
def test_a_refusal_that_cannot_pass_is_not_tried_again(
    status: str, proxy: FaultProxy, clock: Clock
) -> None:
    proxy.faults = (Fault(kind=status, times=None),)
    with pytest.raises(StoreError) as caught:
        store_of(proxy).read("train/a.tar")
    assert proxy.made[status] == 1
    assert clock.seconds == 0
    assert "\n" not in str(caught.value)


def test_a_server_without_tls_is_not_tried_again(proxy: FaultProxy, clock: Clock) -> None:
    with pytest.raises(StoreError, match="no TLS at this address: use http://"):
        open_store(proxy.address.replace("http://", "https://")).read("train/a.tar")
    assert clock.seconds == 0


def test_a_name_that_no_server_has_is_not_tried_again(clock: Clock) -> None:
    # Names below `invalid` are nobody's by definition.
    with pytest.raises(StoreError, match="no server of that name"):
        open_store("http://nowhere.invalid/d").read("a")
    assert clock.seconds == 0


def test_what_has_come_is_not_asked_for_again(proxy: FaultProxy, clock: Clock) -> None:
    # Every request breaks off half way; the next one asks for what is missing, to the byte.
    proxy.faults = (Fault(kind="close"),)
    assert store_of(proxy).read("train/a.tar") == DATA
    missing, begins = len(DATA), []
    while missing > 1:
        missing -= missing // 2
        begins.append(len(DATA) - missing)
    assert [name for name in proxy.asked if "bytes=" in name] == [
        f"/d/train/a.tar bytes={begin}-" for begin in begins
    ]


def test_time_counts_from_the_last_bytes_that_came(proxy: FaultProxy, clock: Clock) -> None:
    proxy.faults = (Fault(kind="close", times=1),)
    # Two pauses in a row take 0.6 s at most, and only before the last byte, of which no half can
    # come, are there two without bytes between them. All twenty take over 2 s.
    assert store_of(proxy, retry_for_s=0.7).read("train/a.tar") == DATA
    assert clock.seconds > 1


def test_a_file_is_read_forward_through_faults(proxy: FaultProxy, clock: Clock) -> None:
    proxy.faults = (Fault(kind="reset", share=0.7), Fault(kind="503", share=0.5))
    with store_of(proxy).open("train/a.tar") as file:
        assert file.read() == DATA


def test_obstore_passes_on_no_headers(proxy: FaultProxy, clock: Clock) -> None:
    # If this fails, a server's Retry-After can be followed at last.
    proxy.faults = (Fault(kind="503", times=None, seconds=7777),)
    with pytest.raises(StoreError) as caught:
        store_of(proxy, retry_for_s=0).read("train/a.tar")
    assert "503" in str(caught.value.__cause__)
    assert "7777" not in str(caught.value.__cause__)


def test_parts_of_a_large_file_are_sent_again(bucket: str, object_store: str) -> None:
    with FaultProxy(object_store) as proxy:
        store = open_store(bucket, endpoint=proxy.address)
        # More often than the eight times that used to be.
        proxy.faults = (Fault(kind="503", times=9, method="PUT", only="partNumber=2"),)
        store.put("large", (DATA for _ in range(10)))
        assert proxy.made["503"] == 9
        assert store.read("large") == DATA * 10


def test_a_list_that_breaks_off_goes_on(bucket: str, object_store: str, clock: Clock) -> None:
    names = {f"{n:04d}": 1 for n in range(30)}
    for name in names:
        open_store(bucket).write(name, b"x")
    with FaultProxy(object_store) as proxy:
        proxy.faults = (Fault(kind="503", times=12),)
        assert dict(open_store(bucket, endpoint=proxy.address).files()) == names
        assert proxy.made["503"] == 12


def test_small_files_are_written_and_removed_through_an_outage(
    bucket: str, object_store: str, clock: Clock
) -> None:
    with FaultProxy(object_store) as proxy:
        store = open_store(bucket, endpoint=proxy.address)
        for action in (lambda: store.write("a", b"abc"), lambda: store.delete("a")):
            clock.seconds = 0.0
            proxy.faults = tuple(
                Fault(kind="503", times=None, method=method) for method in ("PUT", "DELETE", "POST")
            )
            clock.events[90.0] = proxy.clear
            action()
            assert clock.seconds >= 90
        assert store.size("a") is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("120s", 120), ("2m", 120), ("1.5min", 90), ("1h", 3600), ("30", 30)]
)
def test_a_time_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "2d", "-1s", "1 2", "a"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time such as 120s"):
        seconds_of(text)


def test_a_time_below_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="retry_for_s is at least 0"):
        Access(retry_for_s=-1)
