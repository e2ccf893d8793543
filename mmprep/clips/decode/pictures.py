"""Decodes chosen pictures, and hands each on as soon as it is decoded.

A picture at full size may take 100 MB, so none is held: the caller's function makes of each what
the parts need.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from mmprep.clips.decode.bounds import MAX_PIXELS, check_picture
from mmprep.clips.decode.orientation import Orientation
from mmprep.clips.decode.packets import AnyPacket, runs_to_decode
from mmprep.failure import ClipError

T = TypeVar("T")

# Seconds within which a neighbour may replace a chosen frame that does not decode.
_SUBSTITUTE_S: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Times of the pictures of a clip.

    Attributes:
        times: (n,) seconds of every picture from the clip's start, ascending.
        first: Number of pictures of the packets that lie before the clip.
        stamps: Time stamp of each picture; None for AVI, whose pictures are counted.
        zero_s: Time stamp of the clip's start in seconds.
    """

    times: NDArray[np.float64]
    first: int
    stamps: list[int] | None
    zero_s: float


class PictureDecoder:
    """Decodes pictures of one stream.

    Args:
        stream: Stream of the pictures.
        packets: Packets of the clip in the order of decoding.
        timeline: Times of the pictures.
        pruned: Whether the stream has packets before ``packets``.

    Attributes:
        timeline: Times of the pictures.
        damaged: Number of packets that did not decode so far.
        rotation: Rotation of the pictures in degrees, which is undone.
        orientation: Orientation of the last picture, which is undone.
    """

    def __init__(
        self,
        stream: VideoStream,
        packets: Sequence[AnyPacket],
        timeline: Timeline,
        *,
        pruned: bool,
    ) -> None:
        self._context = stream.codec_context
        self._packets = packets
        self.timeline = timeline
        self._pruned = pruned
        self.damaged = 0
        self.rotation = 0
        self.orientation = Orientation()
        check_picture(self._context.width, self._context.height)
        if not self._context.is_open:
            # A stream may change its size on the way.
            self._context.options["max_pixels"] = str(MAX_PIXELS)

    def decode(
        self, wanted: Sequence[int], convert: Callable[[int, NDArray[np.uint8]], T]
    ) -> dict[int, T]:
        """Decodes the pictures ``wanted``, which are indices in the timeline.

        Args:
            wanted: Indices of pictures.
            convert: Function of the index and the upright RGB picture (H, W, 3), called for each
                picture in the order of display.

        Raises:
            ClipError: The cause is `unsupported-codec`, `corrupt`, `truncated` or `too-large`.
        """
        decoded: dict[int, T] = {}
        stamps = self.timeline.stamps
        frames: Iterator[tuple[int, VideoFrame]]
        if stamps is None:
            frames = ((k, f) for k, f in self._decode_counted() if k in set(wanted))
        else:
            frames = self._decode_stamped({stamps[i]: i for i in wanted})
        for index, frame in frames:
            decoded[index] = convert(index, self._to_upright_rgb(frame))
        for index in sorted(set(wanted) - set(decoded)):
            decoded[index] = convert(index, self._decode_neighbour(index))
        return decoded

    def _decode(
        self, packets: Sequence[AnyPacket], chosen: set[int] | None
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yields frames in presentation order, each with the number of packets read before it.

        Args:
            packets: Packets of whole groups of pictures.
            chosen: Stamps of the wanted frames; frames that are neither wanted nor referred to by
                others are skipped. None decodes all.
        """
        context = self._context
        for number, packet in enumerate([*packets, None]):
            if chosen is not None and packet is not None:
                context.skip_frame = "DEFAULT" if packet.pts in chosen else "NONREF"
            try:
                for frame in context.decode(packet):
                    yield number, frame
            except av.error.DecoderNotFoundError as error:
                raise ClipError(
                    "video", "unsupported-codec", "no decoder for the pictures"
                ) from error
            except av.error.EOFError:
                break
            except av.FFmpegError:
                self.damaged += 1
        context.skip_frame = "DEFAULT"
        context.flush_buffers()

    def _decode_stamped(self, chosen: Mapping[int, int]) -> Iterator[tuple[int, VideoFrame]]:
        """Yields the frames with the stamps ``chosen``, each with the index of its stamp."""
        for run in runs_to_decode(self._packets, set(chosen)):
            for _, frame in self._decode(run, set(chosen)):
                if frame.pts is not None and frame.pts in chosen:
                    yield chosen[frame.pts], frame

    def _decode_counted(self) -> Iterator[tuple[int, VideoFrame]]:
        """Yields every frame with its index in the timeline, found by counting."""
        by_chunk = {packet.pts: number for number, packet in enumerate(self._packets)}
        count, at_once = -1, False
        for number, frame in self._decode(self._packets, None):
            count += 1
            if not count:
                delay = self._context.reorder_depth
                at_once = not number and not delay
                if self._pruned:
                    # Pictures that refer to what was dropped do not come out, and yet count.
                    count = max(number - delay, 0)
            if at_once and frame.pts in by_chunk:
                # Without reordering each picture is that of its chunk, whatever was damaged before.
                count = by_chunk[frame.pts]
            yield count - self.timeline.first, frame

    def _decode_all(self) -> Iterator[tuple[float, VideoFrame]]:
        """Yields every frame with its seconds from the clip's start."""
        times = self.timeline.times
        if self.timeline.stamps is not None:
            for _, frame in self._decode(self._packets, None):
                yield (frame.time or 0) - self.timeline.zero_s, frame
            return
        for index, frame in self._decode_counted():
            if 0 <= index < len(times):
                yield float(times[index]), frame

    def _decode_neighbour(self, index: int) -> NDArray[np.uint8]:
        """Decodes the picture nearest to ``times[index]``, which itself does not decode."""
        wanted_s = float(self.timeline.times[index])
        best: tuple[float, VideoFrame] | None = None
        last = -np.inf
        for time_s, frame in self._decode_all():
            last = max(last, time_s)
            gap_s = abs(time_s - wanted_s)
            if gap_s <= _SUBSTITUTE_S and (best is None or gap_s < best[0]):
                best = gap_s, frame
        if best is None:
            cause = "truncated" if -np.inf < last < wanted_s else "corrupt"
            raise ClipError("video", cause, f"nothing decodes near {wanted_s:.2f} s")
        self.damaged += 1
        return self._to_upright_rgb(best[1])

    def _to_upright_rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        check_picture(frame.width, frame.height)
        self.rotation = frame.rotation
        self.orientation = Orientation.of(frame)
        try:
            picture = frame.to_ndarray(format="rgb24", threads=1).view(np.uint8)
        except (ValueError, av.FFmpegError) as error:
            message = f"no pictures of format {frame.format.name} are read"
            raise ClipError("video", "unsupported-codec", message) from error
        return self.orientation.apply(picture)
