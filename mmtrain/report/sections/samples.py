"""Small pictures of samples, as the stream gives them to training: frames, sound, motion, depth."""

from collections.abc import Sequence
from typing import Final

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from mmtrain.data import OrderedStream, SampleOrder, ShardedDataset, StreamOptions, View
from mmtrain.modalities import PICTURES, SPECTROGRAM, modality
from mmtrain.report.charts.lines import data_url
from mmtrain.report.markup import Markup, el

_FRAMES: Final = 3
_SIDE: Final = 80
_SOUND: Final = (200, 48)
_QUALITY: Final = 72


def gallery(
    dataset: ShardedDataset,
    modalities: Sequence[str],
    ids: NDArray[np.int64],
    captions: Sequence[str],
) -> Markup:
    """Each sample's modalities one below the other, with key, class and what is said of it.

    Args:
        dataset: Is read.
        modalities: What is shown.
        ids: Samples, in the order in which they are shown.
        captions: What is said of each.

    Raises:
        DataError: A sample is damaged.
    """
    view = View(frames=_FRAMES, size=_SIDE, crop="resize", flip=False).evaluation()
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
        said = el("figcaption", el("strong", label), f"{key}: {caption}")
        figures.append(el("figure", *pictures, said))
    return el("div", *figures, class_="samples")


def _draw_spectrogram(values: NDArray[np.generic], alt: str) -> Markup:
    """Draws a spectrogram (1, frequencies, columns) in colours."""
    address = _address(_sound(values[0].astype(np.float32)))
    return el("img", src=address, alt=alt, class_="sound")


def _draw_pictures(values: NDArray[np.generic], alt: str) -> Markup:
    """Draws pictures (T, channels, H, W) side by side."""
    frames = values.astype(np.uint8)
    if frames.shape[1] != 3:
        # Motion and depth have a plane or more a frame; the first says enough at this size.
        frames = np.repeat(frames[:, :1], 3, axis=1)
    strip = np.concatenate(list(frames.transpose(0, 2, 3, 1)), axis=1)
    return el("img", src=_address(strip), alt=alt)


# Kind of tensor, as the table of modalities has it, to the function that draws one sample of it.
_DRAW: Final = {SPECTROGRAM: _draw_spectrogram, PICTURES: _draw_pictures}


def _sound(values: NDArray[np.float32]) -> NDArray[np.uint8]:
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
