"""Computational sequences (`.csd`) of the CMU Multimodal SDK: HDF5 files of features with times.

    <name>/data/<segment>/features   (T, D) numbers
    <name>/data/<segment>/intervals  (T, 2) seconds of the segment's video

Only tables that lie in the file itself are read: a link or an external table could lead elsewhere.
"""

import math
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from mmprep.clips.decode.bounds import MAX_VALUES

# Filters that come with HDF5 itself; others load libraries, whose code is another risk.
_FILTERS: Final = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_SHOWN: Final = 3


class CsdFile:
    """An open `.csd` file.

    Args:
        path: Place of the file.

    Raises:
        ValueError: It has no table of segments.
    """

    def __init__(self, path: Path) -> None:
        self._file = h5py.File(path, "r")
        roots = [
            self._file[name]
            for name in self._file
            if _is_own(self._file, name) and isinstance(self._file[name], h5py.Group)
        ]
        with_data = [root for root in roots if "data" in root]
        if not with_data:
            raise ValueError("no computational sequence: it has no group <name>/data")
        self._segments = _group(with_data[0], "data")

    def names(self) -> list[str]:
        """Names of the segments."""
        return list(self._segments)

    def intervals(self, name: str) -> NDArray[Any]:
        """Seconds at which the steps of the segment ``name`` begin and end: (T, 2).

        Raises:
            ValueError: There is no such segment, or a table is stored in another way.
        """
        intervals = _read(self._segment(name), "intervals")
        if intervals.ndim != 2 or intervals.shape[1] != 2:
            raise ValueError(f"{name!r:.100} has intervals of the shape {intervals.shape}")
        return intervals

    def read(self, name: str, span: tuple[float, float] | None) -> NDArray[Any]:
        """Features of the segment ``name``: (T, D).

        Args:
            name: Name of the segment.
            span: Seconds within which the middle of a step must lie; None takes all steps.

        Raises:
            ValueError: There is no such segment, or a table is stored in another way.
        """
        features = _read(self._segment(name), "features")
        if span is None:
            return features
        intervals = self.intervals(name)
        if len(intervals) != len(features):
            raise ValueError(f"{len(features)} steps with intervals {intervals.shape}")
        middle = intervals.astype(np.float64).mean(axis=1)
        chosen: NDArray[Any] = features[(middle >= span[0]) & (middle < span[1])]
        return chosen

    def _segment(self, name: str) -> h5py.Group:
        if name not in self._segments:
            names = [text for text, _ in zip(self._segments, range(_SHOWN), strict=False)]
            count = len(self._segments)
            raise ValueError(
                f"no segment {name!r:.100} among its {count:,}, such as {', '.join(names)}"
            )
        return _group(self._segments, name)


def _is_own(group: h5py.Group, name: str) -> bool:
    """Whether ``name`` lies in the file; opening a link to find out would follow it."""
    return bool(group.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD)


def _group(parent: h5py.Group, name: str) -> h5py.Group:
    if not _is_own(parent, name) or not isinstance(parent[name], h5py.Group):
        raise ValueError(f"{name!r:.60} is no group of the file")
    return parent[name]


def _read(segment: h5py.Group, name: str) -> NDArray[Any]:
    if not _is_own(segment, name) or not isinstance(segment[name], h5py.Dataset):
        raise ValueError(f"{segment.name} has no table {name}")
    table = segment[name]
    stored = table.id.get_create_plist()
    layouts = (h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED, h5py.h5d.COMPACT)
    if stored.get_layout() not in layouts or stored.get_external_count():
        raise ValueError(f"{table.name} is not stored in the file itself")
    filters = {stored.get_filter(i)[0] for i in range(stored.get_nfilters())}
    if not filters <= _FILTERS:
        raise ValueError(f"{table.name} is compressed by filter {min(filters - _FILTERS)}")
    if not isinstance(table.id.get_type(), (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)):
        raise ValueError(f"{table.name} holds {table.dtype}; numbers are read")
    # Of a whole video, of which a clip is a part.
    if math.prod(table.shape or ()) > 4 * MAX_VALUES:
        raise ValueError(f"{table.name} has the shape {table.shape}; that is too large")
    return np.asarray(table[...])
