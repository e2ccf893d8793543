"""Decoders: from the bytes of a sample's members to its row of a batch, written in place.

Everything slow (JPEG, resizing, copying) releases the GIL, so that threads decode side by side.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.data.batches.array import array_header, matrix_shape
from mmtrain.data.batches.jpeg import crop_and_resize, decode_jpeg, jpeg_head, require_short_side
from mmtrain.data.batches.view import Draws, View
from mmtrain.data.reading.local import Bytes
from mmtrain.errors import DataError

# Motion to the left is motion to the right in a mirror: 128 + u becomes 128 - u.
_NEGATED: Final = np.array([255, *range(255, 0, -1)], np.uint8)
# Most bytes before the values of an `.npy` file that is read straight into a row.
_LONGEST_HEADER: Final = 4096
# Fewest bytes of such a row. With fewer, a header and the first values of an array of a wider type,
# or half of the values of a narrower one, may be as long as a header alone.
_LEAST_ROW: Final = 2 * _LONGEST_HEADER
# Most fields of flow at a frame, as mmprep allows them.
_MOST_FIELDS: Final = 64


class Decoder(Protocol):
    """Writes the rows of one modality.

    Attributes:
        part: Part of the shards that it decodes.
        shape: Shape of one sample's row in memory.
        dtype: Type of the batch's tensor.
        blank: Value of every entry of a row that shows nothing.
    """

    part: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    blank: int

    def members(self, count: int, draws: Draws) -> list[int]:
        """Chooses which of a sample's ``count`` members a visit reads."""

    def destination(self, row: NDArray[Any], size: int) -> Bytes | None:
        """Returns the memory of ``row`` if a member of ``size`` bytes ends in exactly its bytes.

        The reader may then put these last bytes there itself, which saves a copy.
        """

    def decode(self, data: Bytes, draws: Draws, row: NDArray[Any], place: int) -> None:
        """Writes one member into ``row``.

        Args:
            data: Bytes of the member; without its last ones, where `destination` has them already.
            draws: Random numbers of the visit.
            row: Row of the batch.
            place: Position of the member among those that the visit reads.

        Raises:
            DataError: The member is damaged; the caller adds shard and sample to the message.
        """

    def tensor(self, rows: Tensor) -> Tensor:
        """Returns rows (B, *shape) as `mmtrain.types.Batch` has them; shares the memory."""


@dataclass(frozen=True, kw_only=True)
class PartSource:
    """Facts about a part of the shards from which its decoder is made.

    Attributes:
        part: Name of the part.
        place: Address of the shards, for messages.
        view: Frames, crop and flip of pictures.
        checked: Whether its bytes pass a checksum before they are decoded.
        parameters: Parameters with which the part was made, by name.
        examples: Function that yields the first member of some samples, read as they are asked for.
    """

    part: str
    place: str
    view: View
    checked: bool
    parameters: Mapping[str, Any]
    examples: Callable[[], Generator[Bytes, None, None]]


class SpectrogramDecoder:
    """Spectrograms: (B, frequencies, columns) in memory, (B, 1, frequencies, columns) in batches.

    Args:
        part: Part of the shards.
        shape: Numbers of frequencies and columns.
    """

    dtype = torch.float16
    blank = 0

    def __init__(self, part: str, shape: tuple[int, int]) -> None:
        self.part = part
        self.shape: tuple[int, ...] = shape

    def members(self, count: int, draws: Draws) -> list[int]:
        """Chooses the only member."""
        return [0]

    def destination(self, row: NDArray[Any], size: int) -> Bytes | None:
        """Returns the whole row, if a header and its values make up the member."""
        fits = row.nbytes >= _LEAST_ROW and 0 < size - row.nbytes <= _LONGEST_HEADER
        return row.reshape(-1).view(np.uint8) if fits else None

    def require_values(self, data: Bytes) -> None:
        """Refuses a whole member that is a header alone: nobody has read its values into the row.

        Raises:
            DataError: There are no values behind the header.
        """
        begin, shape, _ = array_header(data)
        if len(data) <= begin:
            raise DataError(f"has not the bytes that its shape {shape} takes")

    def decode(self, data: Bytes, draws: Draws, row: NDArray[Any], place: int) -> None:
        """Copies the array, unless its values were read into the row."""
        begin, shape, dtype = array_header(data)
        if shape != self.shape:
            raise DataError(f"has shape {shape} where the others have {self.shape}")
        if len(data) == begin and dtype == row.dtype:
            return
        # Values of another type that were read into the row are converted from a copy of it.
        values = data[begin:] if len(data) > begin else row.reshape(-1).view(np.uint8).copy()
        if len(values) != row.size * dtype.itemsize:
            raise DataError(f"has not the bytes that its shape {shape} takes")
        if not np.can_cast(dtype, row.dtype, "same_kind"):
            raise DataError(f"holds {dtype}, not real numbers")
        np.copyto(row, values.view(dtype).reshape(shape), casting="same_kind")

    def tensor(self, rows: Tensor) -> Tensor:
        """Adds the dimension of the channel."""
        return rows[:, None]


class ColourDecoder:
    """RGB pictures: (B, N, size, size, 3) in memory, seen as (B, N, 3, size, size) in batches.

    Args:
        part: Part of the shards.
        view: Frames, crop and flip.
        checked: Whether a checksum has shown that the bytes are whole. If so, rows below the crop
            are not decoded; otherwise they are, since they would show damage.
        short_side: Shorter side with which the pictures were made; None where it is unknown.
    """

    dtype = torch.uint8
    blank = 0

    def __init__(
        self, part: str, view: View, *, checked: bool, short_side: int | None = None
    ) -> None:
        self.part, self.view, self.checked, self.short_side = part, view, checked, short_side
        self.shape: tuple[int, ...] = (view.frames, view.size, view.size, 3)

    def members(self, count: int, draws: Draws) -> list[int]:
        """Chooses one frame from each segment of the clip."""
        return self.view.choose_frames(count, draws)

    def destination(self, row: NDArray[Any], size: int) -> Bytes | None:
        """Returns None: a coded picture cannot be read into a row."""
        return None

    def decode(self, data: Bytes, draws: Draws, row: NDArray[Any], place: int) -> None:
        """Decodes, crops, scales and flips a picture."""
        head, flip = jpeg_head(data), self.view.flips(draws)
        require_short_side(head.height, head.width, self.short_side)
        window = self.view.window(draws, head.height, head.width)
        rows = window.bottom if self.checked else head.height
        picture = decode_jpeg(data, "BGR" if flip else "RGB", head, rows)
        crop_and_resize(picture, window, flip, row[place])

    def tensor(self, rows: Tensor) -> Tensor:
        """Moves the channels forward in the shape only: the memory stays channels-last."""
        return rows.permute(0, 1, 4, 2, 3)


class PlanesDecoder:
    """Grey pictures that hold several planes, one below the other: (B, N, planes, size, size).

    Args:
        part: Part of the shards.
        view: Frames, crop and flip; that of the frames, so that both show the same window.
        planes: Number of planes in a picture.
        motion: Whether the planes are u and v of a flow by turns; u changes its sign when flipped.
        checked: Whether a checksum has shown that the bytes are whole, see `ColourDecoder`.
        short_side: Shorter side with which the planes were made; None where it is unknown.
    """

    dtype = torch.uint8
    blank = 0

    def __init__(
        self,
        part: str,
        view: View,
        planes: int,
        *,
        motion: bool,
        checked: bool,
        short_side: int | None = None,
    ) -> None:
        self.part, self.view, self.motion, self.checked = part, view, motion, checked
        self.short_side = short_side
        self.shape: tuple[int, ...] = (view.frames, planes, view.size, view.size)

    def members(self, count: int, draws: Draws) -> list[int]:
        """Chooses the same members as of the frames."""
        return self.view.choose_frames(count, draws)

    def destination(self, row: NDArray[Any], size: int) -> Bytes | None:
        """Returns None: a coded picture cannot be read into a row."""
        return None

    def decode(self, data: Bytes, draws: Draws, row: NDArray[Any], place: int) -> None:
        """Decodes a picture, then crops, scales and flips all of its planes alike."""
        head, planes = jpeg_head(data), self.shape[1]
        height = head.height // planes
        if head.height % planes:
            raise DataError(f"is {head.height} pixels high, which {planes} planes do not divide")
        require_short_side(height, head.width, self.short_side)
        window, flip = self.view.window(draws, height, head.width), self.view.flips(draws)
        rows = (planes - 1) * height + window.bottom if self.checked else head.height
        pixels = decode_jpeg(data, "GRAY", head, rows)[..., 0]
        for i, plane in enumerate(row[place]):
            crop_and_resize(pixels[i * height : (i + 1) * height], window, flip, plane)
            if self.motion and i % 2 == 0 and flip:
                cv2.LUT(plane, _NEGATED, plane)

    def tensor(self, rows: Tensor) -> Tensor:
        """Returns the rows unchanged."""
        return rows


def colour_decoder(source: PartSource) -> Decoder:
    """Makes the decoder of RGB pictures."""
    return ColourDecoder(
        source.part, source.view, checked=source.checked, short_side=_short_side(source)
    )


def grey_decoder(source: PartSource) -> Decoder:
    """Makes the decoder of pictures of one plane."""
    return _planes_decoder(source, 1, motion=False)


def flow_decoder(source: PartSource) -> Decoder:
    """Makes the decoder of optical flow, of which each picture holds ``fields`` fields (u, v)."""
    fields = source.parameters.get("fields", 1)
    if type(fields) is not int or not 1 <= fields <= _MOST_FIELDS:
        raise DataError(f"{source.place}: {source.part} of {fields!r:.20} fields a frame")
    return _planes_decoder(source, 2 * fields, motion=True)


def _planes_decoder(source: PartSource, planes: int, *, motion: bool) -> Decoder:
    side = _short_side(source)
    return PlanesDecoder(
        source.part, source.view, planes, motion=motion, checked=source.checked, short_side=side
    )


def _short_side(source: PartSource) -> int | None:
    side = source.parameters.get("short_side")
    return side if type(side) is int else None


def spectrogram_decoder(source: PartSource) -> Decoder:
    """Makes the decoder of spectrograms; their shape is that of the first undamaged example.

    Raises:
        DataError: No example has two dimensions.
    """
    with closing(source.examples()) as examples:
        shape = matrix_shape(examples)
    if shape is not None:
        return SpectrogramDecoder(source.part, shape)
    raise DataError(
        f"{source.place}: no {source.part} of frequencies by columns; run `mmprep verify`"
    )
