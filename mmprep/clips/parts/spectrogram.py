"""Log spectrograms of 16 kHz mono sound, as float16 arrays in `.npy`.

``psd``   `scipy.signal.spectrogram` defaults (Tukey window, constant detrend, power density), bit
          for bit, then ``log(x + 1e-7)``: the 257 x 1004 of OGM's and VGGSound's loaders for 10 s.
``stft``  magnitude of `librosa.stft`, not centred, on the same grid, then ``log(x + 1e-7)``.
``fbank`` `torchaudio.compliance.kaldi.fbank`, hanning, 10 ms shift, transposed to (mels, columns).

Values are not standardised here but at loading, because a method may want the level of a clip.
"""

import io
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmprep.config import SpectrogramConfig

# Added before the logarithm, so that silence has one; the constant of the published loaders.
FLOOR: Final = 1e-7
# Share of the window of `psd` that is tapered, at both ends together.
_TAPER: Final = 0.25


def fit_length(wave: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Loops or cuts ``wave`` to exactly ``samples``; an empty wave becomes silence."""
    if not len(wave):
        return np.zeros(samples, np.float32)
    return np.resize(np.clip(wave, -1, 1), samples)


def spectrogram(wave: NDArray[np.float32], config: SpectrogramConfig) -> NDArray[np.float16]:
    """Log spectrogram of ``wave`` (samples,) in [-1, 1]: (frequencies, columns) float16."""
    values = _RECIPES[config.recipe](wave, config)
    # The largest float16 is 65504.
    halves: NDArray[np.float16] = np.clip(values, -6e4, 6e4).astype(np.float16)
    return halves


def npy(values: NDArray[np.float16]) -> bytes:
    """Bytes of an `.npy` file of ``values``, without pickle."""
    buffer = io.BytesIO()
    np.lib.format.write_array(
        buffer, np.ascontiguousarray(values), version=(1, 0), allow_pickle=False
    )
    return buffer.getvalue()


def axes(
    config: SpectrogramConfig, shape: tuple[int, int]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Centres of the rows in Hz and of the columns in seconds, for a picture of ``shape``."""
    rows, columns = shape
    if config.recipe == "fbank":
        mel = np.linspace(_mel(20.0), _mel(config.rate_hz / 2), rows + 2)[1:-1]
        # Kaldi: mel filters from 20 Hz to half the rate, windows of 25 ms every 10 ms.
        return 700 * (np.exp(mel / 1127) - 1), 0.0125 + 0.01 * np.arange(columns)
    hop = config.window - config.overlap
    seconds = (config.window / 2 + hop * np.arange(columns)) / config.rate_hz
    return np.fft.rfftfreq(config.window, 1 / config.rate_hz), seconds


def _mel(hz: float) -> float:
    return float(1127 * np.log1p(hz / 700))


def _psd(wave: NDArray[np.float32], config: SpectrogramConfig) -> NDArray[np.float32]:
    # Not `scipy.signal`, whose bits these are: its import takes a second of every decoding process.
    from scipy import fft

    window, scale = _psd_window(config.window, config.rate_hz)
    hop = config.window - config.overlap
    cut = np.lib.stride_tricks.sliding_window_view(wave, config.window)[::hop]
    pieces = cut - cut.mean(axis=-1, keepdims=True)
    pieces *= window
    spectra = fft.rfft(pieces)
    # A product of complex numbers, because two squares and a sum round in another way.
    power: NDArray[np.float32] = (spectra.conj() * spectra).real * scale
    # The spectrum has one side: all but 0 Hz and half the rate stand for two.
    power[:, 1 : (config.window + 1) // 2] *= 2
    power += np.float32(FLOOR)
    return np.log(power, out=power).T


@cache
def _psd_window(size: int, rate_hz: int) -> tuple[NDArray[np.float32], np.float32]:
    """Periodic Tukey window of which a quarter is tapered, and the scale of its power density."""
    flanks = np.arange(size) / (_TAPER * size / 2)
    taper = np.minimum(np.minimum(flanks, 2 / _TAPER - flanks), 1)
    window = (0.5 * (1 - np.cos(np.pi * taper))).astype(np.complex64)
    scale = 1.0 / (rate_hz * (window * window).sum())
    return window.real.copy(), scale.real


def _stft(wave: NDArray[np.float32], config: SpectrogramConfig) -> NDArray[np.float32]:
    import librosa

    hop = config.window - config.overlap
    magnitude = np.abs(librosa.stft(wave, n_fft=config.window, hop_length=hop, center=False))
    values: NDArray[np.float32] = np.log(magnitude + np.float32(FLOOR))
    return values


def _fbank(wave: NDArray[np.float32], config: SpectrogramConfig) -> NDArray[np.float32]:
    import torch
    from torchaudio.compliance import kaldi

    # One decoding process has one core.
    torch.set_num_threads(1)
    values = kaldi.fbank(
        torch.from_numpy(wave - wave.mean())[None],
        htk_compat=True,
        sample_frequency=config.rate_hz,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=config.mels,
        dither=0.0,
        frame_shift=10,
    ).numpy()
    padded = np.zeros((config.columns, config.mels), np.float32)
    padded[: len(values)] = values[: config.columns]
    return padded.T


_RECIPES: Final[Mapping[str, Callable[[NDArray[np.float32], SpectrogramConfig], NDArray[Any]]]] = {
    "psd": _psd,
    "stft": _stft,
    "fbank": _fbank,
}
