"""Small clips made by PyAV, so that tests need no files."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def picture(number: int, size: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    """A picture whose mean grey says which it is: 5, 10, 15 ... (40 of them), with some texture."""
    width, height = size
    texture = np.arange(width * height, dtype=np.uint8).reshape(height, width, 1) % 3
    return np.broadcast_to(texture + 5 * (1 + number % 40), (height, width, 3)).astype(np.uint8)


def number_of(image: NDArray[np.uint8]) -> int:
    """The number that `picture` drew, from a decoded picture."""
    return round((float(image.mean()) - 1) / 5) - 1


def tone(seconds: float, rate: int = 16_000, hz: float = 1000.0) -> NDArray[np.int16]:
    """A sine at half of full scale."""
    t = np.arange(round(seconds * rate)) / rate
    return (16_384 * np.sin(2 * np.pi * hz * t)).astype(np.int16)


def write_clip(
    path: Path,
    *,
    seconds: float = 2.0,
    fps: int = 10,
    size: tuple[int, int] = (64, 48),
    sound: NDArray[np.int16] | None = None,
    rate: int = 16_000,
    stamps_ms: Sequence[int] | None = None,
    video: bool = True,
    codec: str = "libx264",
    b_frames: int = 0,
    audio_codec: str = "aac",
    sound_at_s: float = 0.0,
    faststart: bool = False,
    shows: Callable[[int], NDArray[np.uint8]] | None = None,
) -> Path:
    """Writes numbered pictures and, unless ``sound`` is empty, a tone; returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = tone(seconds, rate) if sound is None else sound
    muxer = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", container_options=muxer) as container:
        if video:
            options = {"crf": "4", "bf": str(b_frames)} if codec == "libx264" else {}
            stream = container.add_stream(codec, rate=fps, options=options)
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            unit = Fraction(1, 1000) if stamps_ms else Fraction(1, fps)
            stream.codec_context.time_base = unit
        if len(sound):
            speech = container.add_stream(audio_codec, rate=rate, layout="mono")
        if video:
            for number, stamp in enumerate(stamps_ms or range(round(seconds * fps))):
                rgb = shows(number) if shows else picture(number, size)
                frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
                frame.pts, frame.time_base = stamp, unit
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        if len(sound):
            for start in range(0, len(sound), 1024):
                piece = sound[None, start : start + 1024]
                frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = start + round(sound_at_s * rate)
                container.mux(speech.encode(frame))
            container.mux(speech.encode(None))
    return path
