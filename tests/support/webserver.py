"""A static file server, as Python has one, that answers range requests as well.

It lists folders as S3 does, and refuses signed requests, so that to ``s3://`` it is a public bucket
for which nobody here has credentials.
"""

import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape


@contextmanager
def serving(
    folder: Path, *, ranges: bool = True, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Serves ``folder`` on loopback and gives its address; without ``ranges`` as Python does."""
    handler = partial(_Ranges if ranges else _Plain, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class _Plain(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


class _Ranges(_Plain):
    def end_headers(self) -> None:
        # What the clients of buckets want to see.
        self.send_header("ETag", '"0"')
        super().end_headers()

    def do_GET(self) -> None:
        if "Authorization" in self.headers:
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        if "list-type=2" in self.path:
            self._list()
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            super().do_GET()
            return
        data = path.read_bytes()
        begin, end = int(asked[1]), min(int(asked[2] or len(data)) + 1, len(data))
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - begin))
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.end_headers()
        self.wfile.write(data[begin:end])

    def _list(self) -> None:
        address = urlsplit(self.path)
        prefix = parse_qs(address.query).get("prefix", [""])[0]
        bucket = Path(self.translate_path(address.path))
        files = sorted((p.relative_to(bucket).as_posix(), p) for p in bucket.rglob("*.*"))
        entries = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{path.stat().st_size}</Size>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for name, path in files
            if name.startswith(prefix)
        )
        body = f"<ListBucketResult>{entries}</ListBucketResult>".encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
