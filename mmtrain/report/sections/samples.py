"""Samples as training gets them: frames, sound, motion, depth, texts and sequences."""

from collections.abc import Sequence
from typing import Final

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from mmprep.html.markup import Markup, data_url, el
from mmtrain.data import OrderedStream, SampleOrder, ShardedDataset, StreamOptions, View
from mmtrain.modalities import PICTURES, SEQUENCE, SPECTROGRAM, TOKENS, modality

_FRAMES: Final = 3
_SIDE: Final = 80
_SOUND: Final = (200, 48)
_QUALITY: Final = 72
# Bytes of a text, and steps of a sequence, that are shown.
_LENGTH: Final = 280
_STEPS: Final = 100


def gallery(
    dataset: ShardedDataset,
    modalities: Sequence[str],
    ids: NDArray[np.int64],
    captions: Sequence[str],
) -> Markup:
    """Shows samples with their modalities one below the other, key, class and caption.

    Args:
        dataset: Open shards that contain the samples.
        modalities: Modalities to show.
        ids: Samples, in the order in which they are shown.
        captions: Text below each sample.

    Raises:
        DataError: A sample is damaged.
    """
    # Texts by bytes, whatever the tokenizer of the run: these turn into characters again.
    view = View(
        frames=_FRAMES, size=_SIDE, crop="resize", flip=False, length=_LENGTH, steps=_STEPS
    ).evaluation()
    stream = OrderedStream(dataset, modalities, len(ids), view, options=StreamOptions(workers=1))
    stream.begin(SampleOrder(ids), seed=0, epoch=0)
    (batch,) = stream
    figures = []
    for i, caption in enumerate(captions):
        key, label = dataset.key(int(ids[i])), dataset.classes[int(batch.target[i])]
        pictures = [
            _DRAW[modality(m).kind](batch.inputs[m][i].numpy(), f"{m} of {key}, {label}")
            for m in modalities
        ]
        text = el("figcaption", el("strong", label), f"{key}: {caption}")
        figures.append(el("figure", *pictures, text))
    return el("div", *figures, class_="samples")


def _draw_spectrogram(values: NDArray[np.generic], alt: str) -> Markup:
    """Draws a spectrogram (1, frequencies, columns) in colours."""
    address = _address(_spectrogram(values[0].astype(np.float32)))
    return el("img", src=address, alt=alt, class_="sound")


def _draw_pictures(values: NDArray[np.generic], alt: str) -> Markup:
    """Draws pictures (T, channels, H, W) side by side."""
    frames = values.astype(np.uint8)
    if frames.shape[1] != 3:
        # Motion and depth have one or more planes a frame; at this size the first is enough.
        frames = np.repeat(frames[:, :1], 3, axis=1)
    strip = np.concatenate(list(frames.transpose(0, 2, 3, 1)), axis=1)
    return el("img", src=_address(strip), alt=alt)


def _draw_text(values: NDArray[np.generic], alt: str) -> Markup:
    """Shows a text, of which ``values`` (L,) are the bytes plus one, 0 behind the end."""
    tokens = values[values.astype(np.int64) > 0].astype(np.int64)
    # A text that was cut may end within a character.
    text = (tokens - 1).astype(np.uint8).tobytes().decode(errors="ignore")
    shown = f"{text} …" if len(tokens) == len(values) else text or "(no text)"
    return el("p", shown, title=alt, class_="words", dir="auto")


def _draw_sequence(values: NDArray[np.generic], alt: str) -> Markup:
    """Draws a sequence (T, D + 1) in colours, steps to the right and features upwards."""
    steps = values.astype(np.float32)
    real = steps[steps[:, -1] > 0, :-1]
    if not len(real):
        return el("p", "(no steps)", title=alt, class_="words")
    # Features have units of their own, so that each is drawn by its own spread.
    spread = np.maximum(real.std(0), np.float32(1e-6))
    address = _address(_spectrogram(((real - real.mean(0)) / spread).T))
    return el("img", src=address, alt=alt, class_="sound")


# Kind of tensor, as the table of modalities has it, to the function that draws one sample of it.
_DRAW: Final = {
    SPECTROGRAM: _draw_spectrogram,
    PICTURES: _draw_pictures,
    TOKENS: _draw_text,
    SEQUENCE: _draw_sequence,
}


def _spectrogram(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W, 3) picture of (frequencies, columns), low ones at the bottom."""
    # Without the extreme hundredths, or a click rules the colours.
    low, high = np.quantile(values, (0.01, 0.99))
    small = cv2.resize(values, _SOUND, interpolation=cv2.INTER_AREA)[::-1]
    bright = np.clip((small - low) / max(float(high - low), 1e-6), 0, 1)
    return np.asarray(matplotlib.colormaps["magma"](bright, bytes=True)[..., :3], np.uint8)


def _address(picture: NDArray[np.uint8]) -> str:
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], quality)
    return data_url("jpeg", encoded.tobytes())
