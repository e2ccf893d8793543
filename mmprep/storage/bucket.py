"""Stores in a bucket or on a web server, reached through obstore.

obstore is imported inside the methods, so that work on local disk never waits for it.
"""

import io
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final, TypeVar

from mmprep.errors import StoreError
from mmprep.storage.access import Access
from mmprep.storage.client import WEB, Clients
from mmprep.storage.redact import redacted
from mmprep.storage.refusals import bucket_refusal
from mmprep.storage.retries import Patience

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from obstore import GetOptions
    from obstore.store import ObjectStore

# Bytes of a request when a file is read or written forward; larger files are put in parts.
_STREAM: Final = 8 << 20
# obstore hands on a piece once it has so many bytes, and drops what it holds when a connection
# breaks: one byte is a piece, so that whatever has come is kept.
_PIECE: Final = 1
_T = TypeVar("_T")


class BucketStore:
    """A bucket or a read-only web server.

    A put is atomic, so a file that is created here is spooled to local disk and put whole.

    Args:
        url: Address such as ``s3://bucket/prefix``.
        access: Server, credentials and patience.

    Attributes:
        url: Address without a password, which messages and files may show.
        endpoint: Address of the server; None is the provider's.
    """

    def __init__(self, url: str, access: Access | None = None) -> None:
        self.url = redacted(url.rstrip("/"))
        self._retry_for_s = (access or Access()).retry_for_s
        self._clients = Clients(url.rstrip("/"), access or Access())
        self.endpoint = self._clients.endpoint
        # Requests that `_repeat` repeats, and those that only obstore can.
        self._once, self._lasting = self._clients.once(), self._clients.lasting()
        self._timeless: ObjectStore | None = None

    def client(self) -> "ObjectStore":
        """Client that tries each request once and without a timeout; its caller handles both.

        Always the same, which keeps its connections: making one loads the system's certificates.
        """
        if self._timeless is None:
            self._timeless = self._clients.once(timeout=None)
        return self._timeless

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        if start and end is None:
            end = self._size_of(path)
        # A bucket refuses a request for no bytes.
        if end is not None and start >= end:
            return b""
        data = bytearray()
        patience = Patience(self._retry_for_s)

        def read_on() -> None:
            had = len(data)
            try:
                self._receive(path, start, end, data)
            finally:
                if len(data) > had:
                    patience.progressed()

        self._repeat("read", path, read_on, patience)
        return bytes(data)

    def _receive(self, path: str, start: int, end: int | None, data: bytearray) -> None:
        """Appends the bytes of a file to ``data``, from where an earlier try has ended."""
        import obstore

        begin = start + len(data)
        if begin == end:
            return
        options: GetOptions = {}
        if end is not None:
            options["range"] = (begin, end)
        elif begin:
            options["range"] = {"offset": begin}
        for piece in obstore.get(self._once, path, options=options).stream(min_chunk_size=_PIECE):
            data += piece

    def open(self, path: str) -> IO[bytes]:
        return io.BufferedReader(_Stream(self, path, self._size_of(path)), _STREAM)

    def _size_of(self, path: str) -> int:
        with self.errors("read", path):
            if (size := self.size(path)) is None:
                raise FileNotFoundError(f"there is no file {path}")
        return size

    def size(self, path: str) -> int | None:
        import obstore

        def measure() -> int | None:
            try:
                return obstore.head(self._once, path)["size"]
            except FileNotFoundError:
                return None

        return self._repeat("read", path, measure)

    def files(self) -> Iterator[tuple[str, int]]:
        import obstore

        if self._is_web:
            raise StoreError(f"cannot list {self.url}: a web server has no list of its files")
        patience, last, reached = Patience(self._retry_for_s), None, None
        while True:
            try:
                with self.errors("list", ""):
                    # Buckets list their files by name, so a list that broke off goes on there.
                    for page in obstore.list(self._once, offset=last):
                        for entry in page:
                            last = entry["path"]
                            yield last, entry["size"]
                return
            except StoreError as error:
                if last != reached:
                    patience.progressed()
                reached = last
                patience.wait(error)

    @contextmanager
    def create(self, path: str) -> Iterator[IO[bytes]]:
        import obstore

        self._check_writable(path)
        with self.errors("write", path), tempfile.TemporaryFile(prefix="mmprep-") as file:
            yield file
            file.seek(0)
            obstore.put(self._lasting, path, file)

    def write(self, path: str, data: bytes) -> None:
        import obstore

        self._check_writable(path)
        if len(data) > _STREAM:
            with self.errors("write", path):
                obstore.put(self._lasting, path, data)
        else:
            self._repeat("write", path, lambda: obstore.put(self._once, path, data))

    def put(self, path: str, chunks: Iterable[bytes]) -> None:
        import obstore

        with self.errors("write", path):
            writer = obstore.open_writer(self._lasting, path, buffer_size=_STREAM)
            for chunk in chunks:
                writer.write(chunk)
            # The file appears at this moment. If `chunks` raises before, no reader sees its parts.
            writer.close()

    def move(self, path: str, to: str) -> None:
        import obstore

        self._check_writable(to)
        with self.errors("write", to):
            obstore.rename(self._lasting, path, to)

    def delete(self, path: str) -> None:
        import obstore

        self._check_writable(path)

        def remove() -> None:
            try:
                obstore.delete(self._once, path)
            except FileNotFoundError:
                return

        self._repeat("delete", path, remove)

    def _repeat(
        self, verb: str, path: str, request: Callable[[], _T], patience: Patience | None = None
    ) -> _T:
        """Result of ``request``, repeated while its errors may pass."""
        patience = patience or Patience(self._retry_for_s)
        while True:
            try:
                with self.errors(verb, path):
                    return request()
            except StoreError as error:
                patience.wait(error)

    @property
    def _is_web(self) -> bool:
        return self.url.partition("://")[0] in WEB

    def _check_writable(self, path: str) -> None:
        if self._is_web:
            raise StoreError(
                f"cannot write {self.url}/{path}: a web server is read only; write to a folder or "
                "a bucket"
            )

    @contextmanager
    def errors(self, verb: str, path: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:
            raise StoreError(f"cannot {verb} {self.url}/{path}: {bucket_refusal(error)}") from error


class _Stream(io.RawIOBase):
    """Adapts reads of ranges to the interface that `io.BufferedReader` expects."""

    def __init__(self, store: BucketStore, path: str, size: int) -> None:
        self._store, self._path, self._size = store, path, size
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._position + len(view), self._size)
        data = self._store.read(self._path, self._position, end)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
