"""Where the raw clips lie: a folder, or a prefix of a bucket, from which they are fetched."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

from mmprep.errors import StoreError
from mmprep.failure import ClipError
from mmprep.manifest import leaves
from mmprep.storage.place import Raw
from mmprep.storage.store import open_store

_CHUNK: Final = 8 << 20


class Sources(Protocol):
    """Opens the sources of rows."""

    def open(self, source: str) -> AbstractContextManager[Path]:
        """A path under which the file can be read until the context is left.

        Raises:
            ClipError: `outside-raw` or `missing`.
            StoreError: The bucket refuses; no fault of the clip.
        """


def sources(raw: Raw, endpoint: str | None = None) -> Sources:
    """What opens the clips below ``raw``."""
    return _Folder(raw) if isinstance(raw, Path) else _Bucket(raw, endpoint)


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def open(self, source: str) -> Iterator[Path]:
        path = self._root / source
        if not path.resolve().is_relative_to(self._root.resolve()):
            raise ClipError(
                "open", "outside-raw", f"{source} leads out of --raw; point --raw at where it leads"
            )
        yield path


class _Bucket:
    def __init__(self, url: str, endpoint: str | None) -> None:
        self._store = open_store(url, endpoint=endpoint)

    @contextmanager
    def open(self, source: str) -> Iterator[Path]:
        if leaves(source):
            raise ClipError("open", "outside-raw", f"{source} leads out of --raw")
        # Without a name on the disk: it is gone with this process, however that ends.
        with tempfile.TemporaryFile(prefix="mmprep-") as file:
            try:
                with self._store.open(source) as remote:
                    shutil.copyfileobj(remote, file, _CHUNK)
                file.flush()
            except StoreError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    raise ClipError("open", "missing", "the file is gone") from error
                raise
            except OSError as error:
                raise StoreError(
                    f"cannot fetch {self._store.url}/{source} into {tempfile.gettempdir()}: "
                    f"{error.strerror}; set TMPDIR to a folder with room"
                ) from error
            yield Path(f"/dev/fd/{file.fileno()}")
