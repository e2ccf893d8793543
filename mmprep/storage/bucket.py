"""Stores in a bucket or on a web server, reached through obstore.

obstore is imported inside the methods, so that work on local disk never waits for it.
"""

import errno
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Final

from mmprep.errors import ConfigError, StoreError
from mmprep.storage.redact import redacted
from mmprep.storage.refusals import bucket_refusal

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from obstore import ReadableFile
    from obstore.store import (
        AzureConfig,
        ClientConfig,
        GCSConfig,
        ObjectStore,
        RetryConfig,
        S3Config,
    )

WEB: Final = ("http", "https")
SCHEMES: Final = ("s3", "gs", "az", *WEB)
# Variables that allow a server without TLS.
_ALLOW_HTTP: Final = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP")
# Bytes of a request when a file is read or written forward.
_STREAM: Final = 8 << 20


class BucketStore:
    """A bucket or a read-only web server.

    A put is atomic, so a file that is created here is spooled to local disk and put whole.

    Args:
        url: Address such as ``s3://bucket/prefix``.
        endpoint: Address of a server that speaks the bucket's protocol; None is the provider's.
        anonymous: Whether to use no credentials, as public buckets allow.
    """

    def __init__(self, url: str, endpoint: str | None = None, anonymous: bool = False) -> None:
        # The address without a password, which messages and files may show.
        self.url = redacted(url.rstrip("/"))
        self._address = url.rstrip("/")
        self._endpoint, self._anonymous = with_scheme(endpoint), anonymous
        retry: RetryConfig = {"max_retries": 8, "retry_timeout": timedelta(minutes=2)}
        self._store = _bucket(self._address, self._endpoint, anonymous, retry)

    def client(self) -> "ObjectStore":
        """Client that tries each request once and without a timeout; its caller handles both."""
        once: RetryConfig = {"max_retries": 0}
        return _bucket(self._address, self._endpoint, self._anonymous, once, timeout=None)

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        import obstore

        with self.errors("read", path):
            if not start and end is None:
                return bytes(obstore.get(self._store, path).bytes())
            size = self.size(path) if end is None else end
            if size is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            # A bucket refuses a request for no bytes.
            if start >= size:
                return b""
            return bytes(obstore.get_range(self._store, path, start=start, end=size))

    def open(self, path: str) -> IO[bytes]:
        import obstore

        with self.errors("read", path):
            reader = obstore.open_reader(self._store, path, buffer_size=_STREAM)
        return io.BufferedReader(_Stream(reader, self, path), _STREAM)

    def size(self, path: str) -> int | None:
        import obstore

        with self.errors("read", path):
            try:
                return obstore.head(self._store, path)["size"]
            except FileNotFoundError:
                return None

    def files(self) -> Iterator[tuple[str, int]]:
        import obstore

        if self._is_web:
            raise StoreError(f"cannot list {self.url}: a web server has no list of its files")
        with self.errors("list", ""):
            for page in obstore.list(self._store):
                for entry in page:
                    yield entry["path"], entry["size"]

    @contextmanager
    def create(self, path: str) -> Iterator[IO[bytes]]:
        import obstore

        self._check_writable(path)
        with self.errors("write", path), tempfile.TemporaryFile(prefix="mmprep-") as file:
            yield file
            file.seek(0)
            obstore.put(self._store, path, file)

    def write(self, path: str, data: bytes) -> None:
        import obstore

        self._check_writable(path)
        with self.errors("write", path):
            obstore.put(self._store, path, data)

    def put(self, path: str, chunks: Iterable[bytes]) -> None:
        import obstore

        with self.errors("write", path):
            writer = obstore.open_writer(self._store, path, buffer_size=_STREAM)
            for chunk in chunks:
                writer.write(chunk)
            # The file appears at this moment. If `chunks` raises before, no reader sees its parts.
            writer.close()

    def move(self, path: str, to: str) -> None:
        import obstore

        self._check_writable(to)
        with self.errors("write", to):
            obstore.rename(self._store, path, to)

    def delete(self, path: str) -> None:
        import obstore

        self._check_writable(path)
        with self.errors("delete", path):
            try:
                obstore.delete(self._store, path)
            except FileNotFoundError:
                return

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
    """Adapts obstore's reader to the interface that `io.BufferedReader` expects."""

    def __init__(self, reader: "ReadableFile", store: BucketStore, path: str) -> None:
        self._reader, self._store, self._path = reader, store, path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        with self._store.errors("read", self._path):
            data = bytes(self._reader.read(len(view)))
        view[: len(data)] = data
        return len(data)


def _bucket(
    url: str,
    endpoint: str | None,
    anonymous: bool,
    retry: "RetryConfig",
    timeout: str | None = "30s",
) -> "ObjectStore":
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

    scheme = url.partition("://")[0]
    if scheme == "s3":
        names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
        endpoint = endpoint or with_scheme(_environment(*names))
    # obstore takes most settings that are absent here from the environment, AZURE_STORAGE_ENDPOINT
    # for example, but not those of its client.
    client: ClientConfig = {"timeout": timeout or "1day"}
    plain = url.startswith("http://") or (endpoint or "").startswith("http://")
    if plain or (_environment(*_ALLOW_HTTP) or "").lower() in ("1", "true", "yes"):
        client["allow_http"] = True
    region = _environment("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1"
    s3: S3Config = {"region": region}
    gs: GCSConfig = {}
    az: AzureConfig = {}
    if anonymous:
        s3["skip_signature"] = gs["skip_signature"] = az["skip_signature"] = True
    if endpoint:
        s3["endpoint"] = gs["base_url"] = az["endpoint"] = endpoint
    try:
        if scheme in WEB:
            return HTTPStore.from_url(url, client_options=client, retry_config=retry)
        if scheme == "gs":
            return GCSStore.from_url(url, config=gs, client_options=client, retry_config=retry)
        if scheme == "az":
            return AzureStore.from_url(url, config=az, client_options=client, retry_config=retry)
        return S3Store.from_url(url, config=s3, client_options=client, retry_config=retry)
    except (BaseError, ValueError) as error:
        raise ConfigError(f"{redacted(url)}: {bucket_refusal(error)}") from error


def with_scheme(endpoint: str | None) -> str | None:
    """Address of a server with its scheme: ``http`` for this machine, ``https`` for any other.

    Example:
        >>> with_scheme("127.0.0.1:9000"), with_scheme("storage.example.org")
        ('http://127.0.0.1:9000', 'https://storage.example.org')
    """
    if not endpoint or "://" in endpoint:
        return endpoint
    host = endpoint.rpartition("@")[2].partition("/")[0]
    local = host.startswith(("127.", "localhost", "[::1]"))
    return f"{'http' if local else 'https'}://{endpoint}"


def _environment(*names: str) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)
