"""One interface over a local folder and a bucket: whole files, none ever half there.

`open_store("shards")`, `open_store("s3://bucket/prefix")`, and ``gs://``, ``az://``, ``https://``.
Paths are relative to that place, with ``/``.
"""

import errno
import io
import os
import re
import stat
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol

from mmprep.errors import ConfigError, StoreError

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

_WEB: Final = ("http", "https")
SCHEMES: Final = ("s3", "gs", "az", *_WEB)
PARTIAL: Final = ".partial-"
_STREAM: Final = 8 << 20


class Store(Protocol):
    """A place that holds files by path.

    Every method raises `StoreError` when the disk or bucket refuses, naming place and path.
    """

    url: str

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes ``[start, end)`` of a file; all of it by default."""

    def open(self, path: str) -> IO[bytes]:
        """A file to read forward, without having all of it in memory."""

    def size(self, path: str) -> int | None:
        """Bytes of a file, or None where there is none."""

    def files(self) -> Iterator[tuple[str, int]]:
        """Every file with its size, half-written ones included, in no order."""

    def create(self, path: str) -> AbstractContextManager[IO[bytes]]:
        """``with store.create(path) as file:`` publishes the file whole on exit, or not at all."""

    def write(self, path: str, data: bytes) -> None:
        """Publishes ``data`` under ``path``, whole or not at all."""

    def put(self, path: str, chunks: Iterable[bytes]) -> None:
        """Publishes what ``chunks`` gives, without having all of it; not at all where it raises."""

    def move(self, path: str, to: str) -> None:
        """Gives a whole file another path, over what was there."""

    def delete(self, path: str) -> None:
        """Removes a file; nothing happens where there is none."""


def open_store(url: str, *, endpoint: str | None = None, anonymous: bool = False) -> Store:
    """The store at ``url``: a folder, or a bucket with credentials from the usual environment.

    A web server (``http://``, ``https://``) is read only, and must answer range requests.

    Args:
        url: Folder, ``s3://bucket/prefix``, ``gs://``, ``az://`` or ``https://``.
        endpoint: Address of a server that speaks the bucket's protocol; for ``s3://``,
            ``AWS_ENDPOINT_URL`` by default.
        anonymous: Use no credentials, as public buckets allow.

    Raises:
        ConfigError: A scheme that is not known.
    """
    scheme, found, _ = url.partition("://")
    if not found:
        return LocalStore(Path(url))
    if scheme not in SCHEMES:
        raise ConfigError(
            f"{url}: a place is a folder or one of {', '.join(s + '://' for s in SCHEMES)}"
        )
    return BucketStore(url, endpoint, anonymous)


class LocalStore:
    """A folder. A file is written beside its place, synced, then renamed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        with self.errors("read", path), (self.root / path).open("rb") as file:
            file.seek(start)
            return file.read() if end is None else file.read(end - start)

    def open(self, path: str) -> IO[bytes]:
        with self.errors("read", path):
            return (self.root / path).open("rb")

    def size(self, path: str) -> int | None:
        with self.errors("read", path):
            try:
                found = (self.root / path).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def files(self) -> Iterator[tuple[str, int]]:
        for folder, folders, names in os.walk(self.root):
            # A link to a folder is not followed, but it is there.
            links = [name for name in folders if Path(folder, name).is_symlink()]
            for path in (Path(folder, name) for name in (*names, *links)):
                try:
                    found = path.lstat()
                except FileNotFoundError:
                    continue
                size = found.st_size if stat.S_ISREG(found.st_mode) else 0
                yield path.relative_to(self.root).as_posix(), size

    @contextmanager
    def create(self, path: str) -> Iterator[IO[bytes]]:
        target = self.root / path
        partial = target.with_name(f"{PARTIAL}{os.getpid()}-{threading.get_ident()}-{target.name}")
        with self.errors("write", path):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with partial.open("wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                # A killed run never leaves a half file under its final name.
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
            _sync_folder(target.parent)

    def write(self, path: str, data: bytes) -> None:
        with self.create(path) as file:
            file.write(data)

    def put(self, path: str, chunks: Iterable[bytes]) -> None:
        with self.create(path) as file:
            for chunk in chunks:
                file.write(chunk)

    def move(self, path: str, to: str) -> None:
        target = self.root / to
        with self.errors("write", to):
            target.parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).replace(target)
            _sync_folder(target.parent)
            self._prune((self.root / path).parent)

    def delete(self, path: str) -> None:
        with self.errors("delete", path):
            (self.root / path).unlink(missing_ok=True)
            self._prune((self.root / path).parent)

    def _prune(self, folder: Path) -> None:
        """Removes folders that a deletion left empty; a bucket has none either."""
        while folder != self.root and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    @contextmanager
    def errors(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"cannot {verb} {self.root / path}: {_reason(error)}") from error


class BucketStore:
    """A bucket, by obstore. A put is atomic, so a file is spooled to local disk and put whole."""

    def __init__(self, url: str, endpoint: str | None = None, anonymous: bool = False) -> None:
        self.url = url.rstrip("/")
        self._endpoint, self._anonymous = endpoint, anonymous
        retry: RetryConfig = {"max_retries": 8, "retry_timeout": timedelta(minutes=2)}
        self._store = _bucket(self.url, endpoint, anonymous, retry)

    def client(self) -> "ObjectStore":
        """A client that tries once and waits as long as its caller, who decides what comes then."""
        return _bucket(self.url, self._endpoint, self._anonymous, {"max_retries": 0}, timeout=None)

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        import obstore

        with self.errors("read", path):
            if not start and end is None:
                return bytes(obstore.get(self._store, path).bytes())
            size = self.size(path) if end is None else end
            if size is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            # Of a bucket nobody can ask for nothing.
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

        if self._web:
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
            # Until then nothing is there: who raised in between leaves parts that nobody sees.
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
    def _web(self) -> bool:
        return self.url.partition("://")[0] in _WEB

    def _check_writable(self, path: str) -> None:
        if self._web:
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
            raise StoreError(f"cannot {verb} {self.url}/{path}: {_refusal(error)}") from error


class _Stream(io.RawIOBase):
    """Makes obstore's reader a file that `io.BufferedReader` accepts."""

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
        endpoint = endpoint or _environment("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    plain = url.startswith("http://") or (endpoint or "").startswith("http://")
    client: ClientConfig = {"allow_http": plain, "timeout": timeout or "1day"}
    # What is absent here is taken from the environment.
    region = _environment("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1"
    s3: S3Config = {"region": region}
    gs: GCSConfig = {}
    az: AzureConfig = {}
    if anonymous:
        s3["skip_signature"] = gs["skip_signature"] = az["skip_signature"] = True
    if endpoint:
        s3["endpoint"] = gs["base_url"] = az["endpoint"] = endpoint
    try:
        if scheme in _WEB:
            return HTTPStore.from_url(url, client_options=client, retry_config=retry)
        if scheme == "gs":
            return GCSStore.from_url(url, config=gs, client_options=client, retry_config=retry)
        if scheme == "az":
            return AzureStore.from_url(url, config=az, client_options=client, retry_config=retry)
        return S3Store.from_url(url, config=s3, client_options=client, retry_config=retry)
    except (BaseError, ValueError) as error:
        raise ConfigError(f"{url}: {_refusal(error)}") from error


def _environment(*names: str) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refusal(error: Exception) -> str:
    """The first line of obstore's page of text, with the server's code in place of its XML."""
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    if isinstance(error, OSError) and error.errno:
        return f"{_reason(error)} (files for a bucket are made in {tempfile.gettempdir()} first)"
    text = str(error).strip() or repr(error)
    first = text.splitlines()[0].partition("<?xml")[0].rstrip(": ")
    code = re.search(r"<Code>(\w+)</Code>", text)
    told = f"{first} ({code[1]})" if code else first
    for sign, hint in _HINTS.items():
        if sign in text:
            return f"{told}; {hint}"
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
        return f"{told}; {_CREDENTIALS}"
    return told


_PUBLIC: Final = "a public bucket needs none (--anonymous of mmtrain)"
_CREDENTIALS: Final = f"check the credentials and what they may do; {_PUBLIC}"
# What obstore's text holds to what there is to do.
_HINTS: Final = {
    # Where a machine of a cloud would find its credentials.
    "/latest/api/token": "there are no credentials here: set AWS_ACCESS_KEY_ID and "
    f"AWS_SECRET_ACCESS_KEY; {_PUBLIC}",
    "computeMetadata": "there are no credentials here: set GOOGLE_APPLICATION_CREDENTIALS; "
    f"{_PUBLIC}",
    "MissingAccount": "set AZURE_STORAGE_ACCOUNT_NAME",
    "Range request not supported": "choose a server that answers range requests",
}


def _reason(error: OSError) -> str:
    hints = {
        errno.ENOSPC: "the disk is full; free some space and run the same command again",
        errno.EDQUOT: "the quota is used up; free some space and run the same command again",
        errno.EROFS: "the file system is read-only; choose another place",
        errno.EACCES: "permission denied; choose another place or change its permissions",
    }
    return hints.get(error.errno or 0, error.strerror or str(error))
