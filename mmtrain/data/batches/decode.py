"""Bytes of members to rows of a batch, written in place. Everything slow releases the GIL."""

import threading
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

import cv2
import numpy as np
import simplejpeg
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.data.batches.view import Draws, View, Window
from mmtrain.data.reading.local import Bytes
from mmtrain.errors import DataError

# From here on bilinear reduction passes over pixels; to here it is as good and five times as fast.
_COARSE: Final = 2.5
# Motion to the left is motion to the right in a mirror: 128 + u becomes 128 - u.
_NEGATED: Final = np.array([255, *range(255, 0, -1)], np.uint8)
_SCRATCH: Final = threading.local()
# Colour of a row is smoothed with that of the next pair.
_CONTEXT: Final = 2
# Markers of a JPEG that begin a picture; those of the first two kinds go from top to bottom.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL: Final = (0xC0, 0xC1)
# Bytes in which the size of a picture stands, unless it has remarks or a thumbnail.
_HEAD: Final = 192
# Bytes before the values of an `.npy` file, at most.
_HEADER: Final = 4096


class Decoder(Protocol):
    """Makes one modality's rows.

    Attributes:
        part: Part that it reads.
        shape: What one sample's row looks like in memory.
        dtype: Of the batch.
    """

    part: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    def members(self, count: int, draws: Draws) -> list[int]:
        """Which of a sample's ``count`` members a visit reads."""

    def room(self, row: NDArray[Any], size: int) -> Bytes | None:
        """The memory of ``row``, if a member of ``size`` bytes ends in just what belongs there."""

    def decode(self, data: Bytes, draws: Draws, row: NDArray[Any], place: int) -> None:
        """Writes the ``place``-th of the members read into ``row``.

        Args:
            data: The member; without its last bytes, where these were read into `room`.
            draws: Random numbers of the visit.
            row: Of the batch.
            place: Which of the members that the visit reads.

        Raises:
            DataError: Not what it should be; says why, and leaves shard and sample to the caller.
        """

    def tensor(self, rows: Tensor) -> Tensor:
        """(B, *shape) as `mmtrain.types.Batch` has it; shares the memory."""


class Sound:
    """Spectrograms: (B, frequencies, columns) in memory, (B, 1, frequencies, columns) in batches.

    Args:
        part: Part that it reads.
        shape: Frequencies and columns.
    """

    dtype = torch.float16

    def __init__(self, part: str, shape: tuple[int, int]) -> None:
        self.part = part
        self.shape: tuple[int, ...] = shape

    def members(self, count: int, draws: Draws) -> list[int]:
        """The only one."""
        return [0]

    def room(self, row: NDArray[Any], size: int) -> Bytes | None:
        """All of the row, behind a header."""
        return row.reshape(-1).view(np.uint8) if 0 < size - row.nbytes <= _HEADER else None

    def decode(self, data: Bytes, draws: Draws, row: NDArray[Any], place: int) -> None:
        """Copies the array, unless it is there."""
        begin, shape, dtype = array_header(data)
        if shape != self.shape:
            raise DataError(f"has shape {shape} where the others have {self.shape}")
        if len(data) == begin and dtype == row.dtype:
            return
        values = data[begin:] if len(data) > begin else row.reshape(-1).view(np.uint8).copy()
        if len(values) != row.size * dtype.itemsize:
            raise DataError(f"has not the bytes that its shape {shape} takes")
        if not np.can_cast(dtype, row.dtype, "same_kind"):
            raise DataError(f"holds {dtype}, not real numbers")
        np.copyto(row, values.view(dtype).reshape(shape), casting="same_kind")

    def tensor(self, rows: Tensor) -> Tensor:
        """Adds the channel."""
        return rows[:, None]


class Colour:
    """RGB pictures: (B, N, size, size, 3) in memory, seen as (B, N, 3, size, size) in batches.

    Args:
        part: Part that it reads.
        view: Which frames, and what of them.
        checked: A checksum has shown that the bytes are whole, so rows below the crop, which would
            show damage, need not be decoded.
    """

    dtype = torch.uint8

    def __init__(self, part: str, view: View, *, checked: bool) -> None:
        self.part, self.view, self.checked = part, view, checked
        self.shape: tuple[int, ...] = (view.frames, view.size, view.size, 3)

    def members(self, count: int, draws: Draws) -> list[int]:
        """One from each segment of the clip."""
        return self.view.chosen(count, draws)

    def room(self, row: NDArray[Any], size: int) -> Bytes | None:
        """None: pictures are coded."""
        return None

    def decode(self, data: Bytes, draws: Draws, row: NDArray[Any], place: int) -> None:
        """Decodes, cuts, scales, mirrors."""
        head, flipped = jpeg_head(data), self.view.flipped(draws)
        window = self.view.window(draws, head.height, head.width)
        rows = window.bottom if self.checked else head.height
        show(jpeg(data, "BGR" if flipped else "RGB", head, rows), window, flipped, row[place])

    def tensor(self, rows: Tensor) -> Tensor:
        """Moves the channels forward, in name only: the memory stays channels-last."""
        return rows.permute(0, 1, 4, 2, 3)


class Planes:
    """Grey pictures of ``planes`` planes, stacked downwards: (B, N, planes, size, size).

    Args:
        part: Part that it reads.
        view: As for the frames, so that both show the same window.
        planes: Planes a picture.
        motion: Planes are u and v by turns; a mirrored u changes its sign.
        checked: As for `Colour`.
    """

    dtype = torch.uint8

    def __init__(self, part: str, view: View, planes: int, *, motion: bool, checked: bool) -> None:
        self.part, self.view, self.motion, self.checked = part, view, motion, checked
        self.shape: tuple[int, ...] = (view.frames, planes, view.size, view.size)

    def members(self, count: int, draws: Draws) -> list[int]:
        """The same as of the frames."""
        return self.view.chosen(count, draws)

    def room(self, row: NDArray[Any], size: int) -> Bytes | None:
        """None: pictures are coded."""
        return None

    def decode(self, data: Bytes, draws: Draws, row: NDArray[Any], place: int) -> None:
        """Decodes, then cuts, scales and mirrors every plane alike."""
        head, planes = jpeg_head(data), self.shape[1]
        height = head.height // planes
        if head.height % planes:
            raise DataError(f"is {head.height} pixels high, which {planes} planes do not divide")
        window, flipped = self.view.window(draws, height, head.width), self.view.flipped(draws)
        rows = (planes - 1) * height + window.bottom if self.checked else head.height
        pixels = jpeg(data, "GRAY", head, rows)[..., 0]
        for i, shown in enumerate(row[place]):
            show(pixels[i * height : (i + 1) * height], window, flipped, shown)
            if self.motion and i % 2 == 0 and flipped:
                cv2.LUT(shown, _NEGATED, shown)

    def tensor(self, rows: Tensor) -> Tensor:
        """As it is."""
        return rows


class JpegHead(NamedTuple):
    """What a JPEG says of itself.

    Attributes:
        height: Rows of pixels.
        width: Pixels a row.
        at: Where ``height`` is written.
        sequential: Coded from top to bottom, so that decoding can stop anywhere.
    """

    height: int
    width: int
    at: int
    sequential: bool


def jpeg_head(data: Bytes) -> JpegHead:
    """Finds size and kind of a picture.

    Raises:
        DataError: Not a JPEG.
    """
    # Pictures of one size and quality begin alike.
    return _head(data[:_HEAD].tobytes()) or _long_head(data)


@lru_cache(maxsize=256)
def _head(data: bytes) -> JpegHead | None:
    """The head, if it ends within ``data``."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            height, width = (data[at + i] << 8 | data[at + i + 1] for i in (5, 7))
            return JpegHead(height, width, at + 5, marker in _SEQUENTIAL)
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return None


def _long_head(data: Bytes) -> JpegHead:
    head = _head.__wrapped__(data.tobytes())
    if head is None:
        raise DataError("is no JPEG picture")
    return head


def jpeg(data: Bytes, space: str, head: JpegHead, rows: int) -> NDArray[np.uint8]:
    """The upper ``rows`` or more of a picture (H, W, C), in memory that the next call uses again.

    Args:
        data: A JPEG; checked, if rows are left out.
        space: ``RGB``, ``BGR`` or ``GRAY``.
        head: Of the same.
        rows: What is below them need not be decoded.

    Raises:
        DataError: Damaged.
    """
    need = head.height * head.width * (1 if space == "GRAY" else 3)
    scratch: NDArray[np.uint8] | None = getattr(_SCRATCH, "pixels", None)
    if scratch is None or len(scratch) < need:
        scratch = _SCRATCH.pixels = np.empty(need, np.uint8)
    whole = rows + _CONTEXT >= head.height or not head.sequential
    if not whole:
        data = data.copy()
        data[head.at : head.at + 2] = divmod(rows + _CONTEXT, 256)
    try:
        # To the decoder, what follows a cut is damage.
        picture = simplejpeg.decode_jpeg(data, space, buffer=scratch, strict=whole)
    except ValueError as error:
        raise DataError(f"is no picture ({error})") from error
    return np.asarray(picture)


def show(
    picture: NDArray[np.uint8], window: Window, flipped: bool, into: NDArray[np.uint8]
) -> None:
    """Writes the ``window`` of ``picture`` (H, W, 3) or (H, W) to ``into``, at its size.

    Where it is ``flipped``, colours are given in reverse: its bytes are mirrored, not its pixels,
    which is twice as fast.
    """
    part = picture[window.top : window.bottom, window.left : window.left + window.width]
    if part.shape != into.shape:
        height, width = into.shape[:2]
        coarse = part.shape[0] > _COARSE * height or part.shape[1] > _COARSE * width
        rule = cv2.INTER_AREA if coarse else cv2.INTER_LINEAR
        part = np.asarray(cv2.resize(part, (width, height), interpolation=rule), np.uint8)
    if flipped:
        cv2.flip(part.reshape(len(part), -1), 1, into.reshape(len(into), -1))
    else:
        np.copyto(into, part)


def array_header(data: Bytes) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Where the values of an `.npy` file begin, their shape and type; never unpickles.

    Raises:
        DataError: Not such a file, or one of objects.
    """
    magic = data[:10].tobytes()
    if not magic.startswith(b"\x93NUMPY\x01\x00"):
        raise DataError("is no .npy file of version 1")
    return _parsed(data[: 10 + int.from_bytes(magic[8:], "little")].tobytes())


@lru_cache(maxsize=64)
def _parsed(header: bytes) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    import io

    file = io.BytesIO(header)
    try:
        npy.read_magic(file)
        shape, fortran, dtype = npy.read_array_header_1_0(file)
    except ValueError as error:
        raise DataError(f"is no .npy file ({error})") from error
    if dtype.hasobject or fortran:
        raise DataError(f"holds {dtype} {'in columns' if fortran else 'objects'}; refused")
    return len(header), shape, dtype


def decoder(
    part: str, view: View, *, sound: tuple[int, int], fields: int, checked: bool
) -> Decoder:
    """What decodes ``part``.

    Args:
        part: Part of the shards.
        view: How its pictures are shown.
        sound: Shape of a spectrogram.
        fields: Fields of motion in each picture of flow.
        checked: Whether bytes have passed a checksum.
    """
    if part == "spectrogram":
        return Sound(part, sound)
    if part == "flow":
        return Planes(part, view, 2 * fields, motion=True, checked=checked)
    if part == "depth":
        return Planes(part, view, 1, motion=False, checked=checked)
    return Colour(part, view, checked=checked)
