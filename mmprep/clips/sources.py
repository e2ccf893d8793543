"""Access to the raw clips, in a folder or in a bucket, from which they are fetched."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

from mmprep.errors import StoreError
from mmprep.failure import ClipError
from mmprep.manifest import leads_outside
from mmprep.storage.access import Access
from mmprep.storage.place import Raw
from mmprep.storage.store import store_at

_CHUNK: Final = 8 << 20


class Sources(Protocol):
    """Opens the sources of rows."""

    def open(self, source: str) -> AbstractContextManager[Path]:
        """Context whose value is a path at which the file can be read.

        Raises:
            ClipError: The cause is `outside-raw` or `missing`.
            StoreError: The bucket refuses, which is no fault of the clip.
        """


def sources(raw: Raw, access: Access | None = None) -> Sources:
    """Returns the access to the clips below ``raw``.

    Args:
        raw: Folder, or URL of a bucket's prefix.
        access: Way to that bucket; by default the environment's.
    """
    return _Folder(raw) if isinstance(raw, Path) else _Bucket(raw, access or Access())


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
    def __init__(self, url: str, access: Access) -> None:
        self._store = store_at(url, access)

    @contextmanager
    def open(self, source: str) -> Iterator[Path]:
        if leads_outside(source):
            raise ClipError("open", "outside-raw", f"{source} leads out of --raw")
        # A file without a name on the disk vanishes with this process, however that ends.
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
