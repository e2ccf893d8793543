"""Arrays of features by their sources, ``FILE`` or ``FILE#NAME``, from files that stay open.

Thousands of clips may share one file, which is opened, or fetched from a bucket, once a process.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mmprep.clips.decode.array_files import ArrayFile, ZipFile, open_npy, open_pickle
from mmprep.clips.decode.sniff import sniff
from mmprep.clips.sources import Sources
from mmprep.errors import DataError
from mmprep.failure import ClipError
from mmprep.format.damage import naming_damage

# A data set of the CMU SDK has a file for each of up to five kinds of features.
_OPEN: Final = 8


def _open_csd(path: Path) -> ArrayFile:
    # h5py takes a tenth of the start of a decoding process, and few data sets need it.
    from mmprep.clips.decode.csd import CsdFile

    return CsdFile(path)


# First bytes to the reader of such a file; pickles of protocol 0 begin with any instruction.
_READERS: Final[Mapping[bytes, Callable[[Path], ArrayFile]]] = {
    b"\x93NUMPY": open_npy,
    b"PK\x03\x04": ZipFile,
    b"\x89HDF\r\n\x1a\n": _open_csd,
    b"\x80": open_pickle,
}
_PICKLES: Final = (".pkl", ".pickle", ".p")


class Arrays:
    """Reads arrays, and keeps the files used last open; files are taken to stay as they are.

    Args:
        sources: Access to the raw clips.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._files: OrderedDict[str, ArrayFile] = OrderedDict()

    def read(self, source: str, span: tuple[float, float] | None = None) -> Any:
        """Value of a source; an array where the file is sound and the name right.

        Args:
            source: Path of a file, with ``#`` and the name of one of its arrays where it has many.
            span: Seconds to which a file with times (`.csd`) is cut; None takes all of it.

        Raises:
            ClipError: The file or the name is absent, or the file is damaged.
            StoreError: The bucket refuses.
        """
        name, _, inside = source.partition("#")
        file = self._file(name)
        with _naming(name):
            return file.read(inside, span)

    def _file(self, name: str) -> ArrayFile:
        if name not in self._files:
            with self._sources.open(name) as path:
                sniff(path)
                with _naming(name):
                    self._files[name] = _reader(path, name)(path)
            if len(self._files) > _OPEN:
                self._files.popitem(last=False)
        self._files.move_to_end(name)
        return self._files[name]


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turns an error over the content of the file ``name`` into a `ClipError`."""
    try:
        with naming_damage(name, fault="no such array"):
            yield
    except DataError as error:
        raise ClipError("parts", "not-array", str(error)) from error


def _reader(path: Path, name: str) -> Callable[[Path], ArrayFile]:
    with path.open("rb") as file:
        head = file.read(8)
    for magic, reader in _READERS.items():
        if head.startswith(magic):
            return reader
    if name.lower().endswith(_PICKLES):
        return open_pickle
    raise ValueError("no .npy, .npz, .csd or pickle file")
