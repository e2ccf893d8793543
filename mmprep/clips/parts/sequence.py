"""Feature sequences: one vector a step, (steps, features), as `.npy` files.

Values that are infinite or no number, which some published features have for silence, become 0 and
are counted. Values beyond the largest float16 become that.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmprep.clips.decode.bounds import MAX_VALUES
from mmprep.config import SequenceConfig
from mmprep.failure import ClipError


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """A sequence that can be stored.

    Attributes:
        values: (steps, features) numbers, all finite.
        nonfinite: Number of values that were infinite or no number, now 0.
        clipped: Number of values that were too large for the type, now its largest.
    """

    values: NDArray[np.floating[Any]]
    nonfinite: int
    clipped: int


def sequence(values: object, config: SequenceConfig) -> Features:
    """Checks the rank, size and values of an array, and converts it to the type of the parameters.

    Raises:
        ClipError: The cause is `not-array`, `too-short` or `too-large`.
    """
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        kind = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
        raise ClipError("parts", "not-array", f"{kind} where numbers belong")
    if values.ndim != 2:
        message = f"the shape {values.shape}; a sequence has two axes, steps and features"
        raise ClipError("parts", "not-array", message)
    if not values.size:
        raise ClipError("parts", "too-short", f"{len(values)} steps of {values.shape[1]} features")
    if values.size > MAX_VALUES:
        message = f"{values.shape[0]:,} x {values.shape[1]:,} values; up to {MAX_VALUES:,} are read"
        raise ClipError("parts", "too-large", message)
    return _convert(values.astype(np.float64), np.dtype(config.dtype))


def _convert(numbers: NDArray[np.float64], dtype: np.dtype[Any]) -> Features:
    finite = np.isfinite(numbers)
    numbers[~finite] = 0
    largest = float(np.finfo(dtype).max)
    clipped = np.abs(numbers) > largest
    return Features(
        values=np.clip(numbers, -largest, largest).astype(dtype),
        nonfinite=int(finite.size - np.count_nonzero(finite)),
        clipped=int(np.count_nonzero(clipped)),
    )


def npy(values: NDArray[np.floating[Any]]) -> bytes:
    """Bytes of an `.npy` file of ``values``, little-endian and in rows."""
    buffer = io.BytesIO()
    plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    np.lib.format.write_array(buffer, plain, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()
