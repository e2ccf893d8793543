"""A proxy before an object store that makes the faults of a network on request.

``with FaultProxy(address) as proxy:`` serves on ``proxy.address`` what the store at ``address``
has. ``python tests/prep/faultproxy.py ADDRESS --latency 0.02`` does so in a process of its own.
"""

import argparse
import http.client
import re
import socket
import struct
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

# Of each connection alone, or made anew.
_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault, and the requests that it befalls.

    A request is hit or not by its path and range, not by chance, so that a test always meets the
    same faults whatever its threads do.

    Attributes:
        kind: ``short`` (half of the body, rightly framed), ``close`` (the connection ends amid the
            body), ``reset`` (so by RST), ``stall`` (no byte of the body for ``seconds``), ``flip``
            (a wrong bit), or a status such as ``503``.
        share: Share of the fitting requests, in [0, 1].
        times: The first so many tries of a request are hit; every one for None.
        only: What the path of a request has in it.
        by_path: Whether tries are counted by path alone, whatever the range.
        seconds: Length of a stall; in ``Retry-After`` of a status.
        method: Method of the requests.
    """

    kind: str
    share: float = 1.0
    times: int | None = 1
    only: str = ""
    by_path: bool = False
    seconds: float = 0.0
    method: str = "GET"

    def hits(self, name: str, tries: int) -> bool:
        """Whether the request ``name`` (path and range) fails at its ``tries``-th try, from 1."""
        chosen = zlib.crc32(name.encode()) < self.share * 2**32
        return chosen and self.only in name and (self.times is None or tries <= self.times)


class FaultProxy:
    """A context; threads of this process serve.

    Attributes:
        faults: What goes wrong; may be set at any time. The first that hits counts.
        latency_s: Added before each answer; may be set at any time.
        requests: GET requests so far.
        bytes: Number of body bytes sent.
        made: Kind of fault to how often it was made.
        asked: Path and range to how often it was asked for.
    """

    def __init__(self, upstream: str, faults: Sequence[Fault] = (), latency_s: float = 0.0) -> None:
        self.faults, self.latency_s = tuple(faults), latency_s
        self.requests = self.bytes = 0
        self.made: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self._tries: Counter[tuple[Fault, str]] = Counter()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._server = _Server(self, urlsplit(upstream).netloc)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()

    def clear(self) -> None:
        """No faults, and everything counted from 0."""
        with self._lock:
            self.faults = ()
            self.requests = self.bytes = 0
            self.made.clear()
            self.asked.clear()
            self._tries.clear()

    def meet(self, name: str, method: str = "GET") -> Fault | None:
        """Counts a request, and tells what is to go wrong with it."""
        with self._lock:
            if method == "GET":
                self.requests += 1
                self.asked[name] += 1
            for fault in self.faults:
                if fault.method != method:
                    continue
                counted = name.partition(" ")[0] if fault.by_path else name
                self._tries[fault, counted] += 1
                if fault.hits(name, self._tries[fault, counted]):
                    self.made[fault.kind] += 1
                    return fault
        return None

    def sent(self, count: int) -> None:
        """Counts bytes of a body."""
        with self._lock:
            self.bytes += count

    def wait(self, seconds: float) -> None:
        """Waits, but not after the end."""
        self._stopped.wait(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, proxy: FaultProxy, upstream: str) -> None:
        self.proxy, self.upstream = proxy, upstream
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Ends what clients keep open."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self._upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)

    def finish(self) -> None:
        self._upstream.close()
        try:
            super().finish()
        except OSError:  # The client has gone.
            self.wfile.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def _pass_on(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = f"{self.path} {self.headers.get('Range', '')}"
        fault = proxy.meet(name, self.command)
        if proxy.latency_s:
            proxy.wait(proxy.latency_s)
        if fault is not None and fault.kind.isdigit():
            self._refuse(int(fault.kind), fault.seconds)
            return
        # The signature covers the host that the client knows: its headers go on as they are.
        self._upstream.request(self.command, self.path, body or None, dict(self.headers.items()))
        answer = self._upstream.getresponse()
        self._answer(answer, answer.read(), fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

    def _refuse(self, status: int, after: float) -> None:
        self.send_response(status)
        if after:
            self.send_header("Retry-After", f"{after:g}")
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.flush()

    def _answer(self, answer: http.client.HTTPResponse, body: bytes, fault: Fault | None) -> None:
        kind = None if fault is None else fault.kind
        half = len(body) // 2
        if kind == "flip" and body:
            body = body[:half] + bytes([body[half] ^ 1]) + body[half + 1 :]
        if kind == "short":
            body = body[:half]
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in _HOP and key.lower() not in ("date", "server"):
                self.send_header(key, self._cut(value, half) if kind == "short" else value)
        length = answer.getheader("Content-Length", "0") if self.command == "HEAD" else len(body)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if fault is not None and kind == "stall":
            self.wfile.flush()
            self.server.proxy.wait(fault.seconds)
        broken = kind in ("close", "reset")
        sent = body[:half] if broken else body
        self.wfile.write(sent)
        self.wfile.flush()
        self.server.proxy.sent(len(sent))
        if broken:
            self._break(kind == "reset")

    @staticmethod
    def _cut(value: str, length: int) -> str:
        """``Content-Range`` of a body that has only so many bytes."""
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", value)
        if not found or not length:
            return value
        return f"bytes {found[1]}-{int(found[1]) + length - 1}/{found[2]}"

    def _break(self, reset: bool) -> None:
        connection = cast(socket.socket, self.connection)
        if reset:
            # Closing without lingering sends RST; what is under way must get there first.
            time.sleep(0.005)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.wfile.close()
            connection.close()
        self.close_connection = True


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("upstream", metavar="ADDRESS")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS")
    asked = parser.parse_args()
    with FaultProxy(asked.upstream, latency_s=asked.latency) as proxy:
        sys.stdout.write(f"{proxy.address}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    _main()
