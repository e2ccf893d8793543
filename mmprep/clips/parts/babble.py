"""Babble: the sounds of other clips, mixed into a clip's own at a stated ratio."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Root mean square below which a sound counts as silent: -80 dB of full scale.
SILENT: Final = 1e-4


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A clip's sound with babble.

    Attributes:
        wave: (samples,) in [-1, 1].
        gain: Factor by which own sound and babble were turned down together; 1 for most clips.
    """

    wave: NDArray[np.float32]
    gain: float


def mix(
    own: NDArray[np.float32], voices: Sequence[NDArray[np.float32]], ratio_db: float
) -> Mixture:
    """Adds ``voices``, all equally loud, to ``own``.

    Levels are root mean squares over the samples of ``own``, before it is looped; voices are looped
    or cut to them. Where the sum would exceed full scale, all of it is turned down, because
    clipping would add a noise that the ratio does not count.

    Args:
        own: (samples,) of a sound that is not silent.
        voices: (any length,) of sounds that are not silent.
        ratio_db: Level of ``own`` above that of the sum of ``voices``, in dB.
    """
    babble = np.zeros(len(own), np.float64)
    for voice in voices:
        fitted = np.resize(voice, len(own)).astype(np.float64)
        # A voice may be silent where it is cut.
        babble += fitted / max(level(fitted), SILENT)
    factor = level(own) * 10 ** (-ratio_db / 20) / max(level(babble), SILENT)
    both = own + factor * babble
    gain = 1.0 / max(1.0, float(np.abs(both).max()))
    return Mixture(wave=(gain * both).astype(np.float32), gain=gain)


def level(wave: NDArray[np.floating]) -> float:
    """Root mean square of ``wave``; 0 for an empty one."""
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0
