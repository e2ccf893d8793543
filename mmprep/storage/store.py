"""One interface over local folders and buckets, in which every file is whole or absent.

`open_store("shards")`, `open_store("s3://bucket/prefix")`, and ``gs://``, ``az://``, ``https://``.
Paths of files are relative to that place, with ``/`` between folders.
"""

import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Final, Protocol

from mmprep.errors import ConfigError, StoreError
from mmprep.storage.access import RETRY_FOR_S, Access
from mmprep.storage.atomic import replacing, sync_folder
from mmprep.storage.bucket import BucketStore
from mmprep.storage.client import SCHEMES
from mmprep.storage.redact import redacted
from mmprep.storage.refusals import disk_refusal

__all__ = ["PARTIAL", "SCHEMES", "BucketStore", "LocalStore", "Store", "open_store", "store_at"]

# Beginning of the names of files that are being written.
PARTIAL: Final = ".partial-"


class Store(Protocol):
    """A place that holds files by path.

    Every method raises `StoreError` if the disk or bucket refuses, and names place and path.

    Attributes:
        url: Folder or URL of the place.
    """

    url: str

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes ``[start, end)`` of a file; the whole file by default."""

    def open(self, path: str) -> IO[bytes]:
        """Opens a file for reading forward, without holding all of it in memory."""

    def size(self, path: str) -> int | None:
        """Size of a file in bytes, or None if there is no such file."""

    def files(self) -> Iterator[tuple[str, int]]:
        """Yields every file with its size, in no order; half-written files are included."""

    def create(self, path: str) -> AbstractContextManager[IO[bytes]]:
        """Context of a new file: published whole on exit, or not at all after an error."""

    def write(self, path: str, data: bytes) -> None:
        """Publishes ``data`` under ``path``, whole or not at all."""

    def put(self, path: str, chunks: Iterable[bytes]) -> None:
        """Publishes the bytes of ``chunks`` piece by piece, or nothing if ``chunks`` raises."""

    def move(self, path: str, to: str) -> None:
        """Moves a file to another path, and replaces the file there."""

    def delete(self, path: str) -> None:
        """Removes a file; does nothing if there is no such file."""


def open_store(
    url: str,
    *,
    endpoint: str | None = None,
    anonymous: bool = False,
    retry_for_s: float = RETRY_FOR_S,
) -> Store:
    """Opens the store at ``url``: a folder, or a bucket with credentials from the environment.

    A web server (``http://``, ``https://``) is read only, and must answer range requests.

    Args:
        url: Folder, ``s3://bucket/prefix``, ``gs://``, ``az://`` or ``https://``.
        endpoint: Address of a server that speaks the bucket's protocol; for ``s3://``,
            ``AWS_ENDPOINT_URL`` by default.
        anonymous: Whether to use no credentials, as public buckets allow.
        retry_for_s: Seconds for which a request that may succeed later is repeated.

    Example:
        store = open_store("s3://bucket/shards")

    Raises:
        ConfigError: The scheme of the URL is unknown, or credentials cannot be read.
    """
    return store_at(url, Access(endpoint=endpoint, anonymous=anonymous, retry_for_s=retry_for_s))


def store_at(url: str, access: Access) -> Store:
    """Opens the store at ``url``, reached by ``access`` if that is a bucket; see `open_store`."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        return LocalStore(Path(url))
    if scheme not in SCHEMES:
        schemes = ", ".join(f"{each}://" for each in SCHEMES)
        raise ConfigError(f"{redacted(url)}: a place is a folder or one of {schemes}")
    return BucketStore(url, access)


class LocalStore:
    """A folder. A file is written beside its place, synced, then renamed.

    Args:
        root: Path of the folder, which need not exist yet.
    """

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
                status = (self.root / path).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def files(self) -> Iterator[tuple[str, int]]:
        for folder, folders, names in os.walk(self.root):
            # A link to a folder is not followed, but a folder that holds one is not empty.
            links = [name for name in folders if Path(folder, name).is_symlink()]
            for path in (Path(folder, name) for name in (*names, *links)):
                try:
                    status = path.lstat()
                except FileNotFoundError:
                    continue
                size = status.st_size if stat.S_ISREG(status.st_mode) else 0
                yield path.relative_to(self.root).as_posix(), size

    @contextmanager
    def create(self, path: str) -> Iterator[IO[bytes]]:
        target = self.root / path
        partial = target.with_name(f"{PARTIAL}{os.getpid()}-{threading.get_ident()}-{target.name}")
        with self.errors("write", path):
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target, partial) as file:
                yield file

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
            sync_folder(target.parent)
            self._prune((self.root / path).parent)

    def delete(self, path: str) -> None:
        with self.errors("delete", path):
            (self.root / path).unlink(missing_ok=True)
            self._prune((self.root / path).parent)

    def _prune(self, folder: Path) -> None:
        """Removes folders that a deletion left empty; a bucket has no empty folders either."""
        while folder != self.root and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    @contextmanager
    def errors(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"cannot {verb} {self.root / path}: {disk_refusal(error)}") from error
