"""Size, time and digest of the sources of a build, by which a later run sees what has changed."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from mmprep.clips.sources import Sources, sources
from mmprep.failure import ClipError
from mmprep.manifest import Row, source_file
from mmprep.storage.access import Access
from mmprep.storage.place import Raw

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Stamp:
    """State of a source.

    Attributes:
        size: Bytes of the file.
        changed_ns: Time of its last change; None in a bucket.
        sha256: Digest of its content; None unless it was asked for.
    """

    size: int
    changed_ns: int | None = None
    sha256: str | None = None

    def to_json(self) -> dict[str, int | str | None]:
        """Plain values of the stamp."""
        return {"size": self.size, "changed_ns": self.changed_ns, "sha256": self.sha256}


Stamps: TypeAlias = Mapping[str, Stamp]


def stamps_of(
    rows: Iterable[Row],
    raw: Raw,
    sizes: Mapping[str, int],
    *,
    hashes: bool = False,
    access: Access | None = None,
) -> dict[str, Stamp]:
    """Returns the stamp of every file that ``rows`` name; a file that is gone has none.

    Args:
        rows: Clips of a build.
        raw: Folder with the clips, or URL of a bucket's prefix.
        sizes: Sizes of the files of a bucket, from its listing.
        hashes: Whether to read every file for its digest.
        access: Way to the bucket of ``raw``; by default the environment's.
    """
    paths = dict.fromkeys(
        source_file(kind, source) for row in rows for kind, source in row.sources.items()
    )
    files = sources(raw, access) if hashes else None
    stamps: dict[str, Stamp] = {}
    for path in paths:
        stamp = _stat(str(raw), path) if isinstance(raw, Path) else _listed(sizes, path)
        if stamp is not None:
            stamps[path] = replace(stamp, sha256=_digest(files, path)) if files else stamp
    return stamps


def changed_sources(old: Stamps, new: Stamps, *, same_place: bool) -> list[str]:
    """Paths of the sources that are not as they were.

    Digests decide where both sides have them, then sizes and, in the same place, times: a copy of
    the clips elsewhere has times of its own.
    """
    return [path for path in old if path in new and _differs(old[path], new[path], same_place)]


def _differs(old: Stamp, new: Stamp, same_place: bool) -> bool:
    if old.sha256 and new.sha256:
        return old.sha256 != new.sha256
    if old.size != new.size:
        return True
    timed = same_place and old.changed_ns is not None and new.changed_ns is not None
    return timed and old.changed_ns != new.changed_ns


def _stat(folder: str, path: str) -> Stamp | None:
    try:
        status = os.stat(os.path.join(folder, path))
    except OSError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


def _listed(sizes: Mapping[str, int], path: str) -> Stamp | None:
    return Stamp(sizes[path]) if path in sizes else None


def _digest(files: Sources, path: str) -> str | None:
    digest = hashlib.sha256()
    try:
        with files.open(path) as place, place.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except (OSError, ClipError):
        # The clip fails by name when it is decoded.
        return None
    return digest.hexdigest()
