"""Missing modalities: a share of a split's samples loses a modality (OPM, TPAMI 2024, Sec. 4.4.3).

Sample ``i`` loses modality ``m`` iff ``U_im < p_m``, independently of the others; a lost input is 0
after normalisation. All rates are compared with the same ``U``, so whoever loses a modality at one
rate loses it at every larger one. A column of ``U`` depends on the seed and on the modality's name
alone, so that runs of other modalities, or of another order of them, lose it in the same samples.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmtrain.errors import ConfigError
from mmtrain.evaluation.settings import modalities_in, parse_settings


@dataclass(frozen=True, kw_only=True)
class Missing:
    """The rates to try, and the number of draws for each.

    Attributes:
        rates: Settings, each a mapping of modality to ``p_m``, the share of samples that lose it,
            in [0, 1].
        draws: Number of matrices ``U``.
        seed: Seed of these matrices, apart from every run's own, so that all runs lose the same.
    """

    rates: tuple[Mapping[str, float], ...] = ()
    draws: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ConfigError(f"draws is at least 1; got {self.draws}")
        for modality, rate in (pair for rates in self.rates for pair in rates.items()):
            if not 0 <= rate <= 1:
                raise ConfigError(f"the missing share of {modality} is in [0, 1]; got {rate}")

    def masks(
        self, modalities: Sequence[str], samples: int
    ) -> list[list[dict[str, NDArray[np.bool_]]]]:
        """For each setting and draw: modality to (n,), True for the samples that keep it.

        Args:
            modalities: Modalities of the model.
            samples: Number of samples in the split.

        Raises:
            UnknownName: A rate for a modality that the model does not have.
        """
        lost = modalities_in(self.rates, modalities)
        columns = [{m: self._column(draw, m, samples) for m in lost} for draw in range(self.draws)]
        return [
            [{m: column[m] >= p for m, p in rates.items()} for column in columns]
            for rates in self.rates
        ]

    def _column(self, draw: int, modality: str, samples: int) -> NDArray[np.float64]:
        """One column of ``U``."""
        # Python's own hash of a text differs from process to process; its bytes do not.
        return np.random.default_rng([self.seed, draw, *modality.encode()]).random(samples)


def parse_rates(texts: Iterable[str]) -> tuple[dict[str, float], ...]:
    """Settings from texts such as ``audio=0.3``, ``audio=0.1,visual=0:0.3:0.1`` or ``audio``.

    A modality without a share is missing from every sample, as by ``audio=1``; for ranges see
    `mmtrain.evaluation.settings`.

    Raises:
        ConfigError: A text of another form.
    """
    return parse_settings(texts, "--missing", "SHARE", alone=1.0)
