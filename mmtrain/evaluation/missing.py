"""Missing modalities: a share of a split's samples loses a modality (OPM, TPAMI 2024, Sec. 4.4.3).

Sample ``i`` loses modality ``m`` iff ``U_im < p_m``, independently; what is lost is 0 after
normalisation. Every rate is held against the same ``U``, so who misses at a rate misses at every
larger one, and curves of several methods are of the same losses.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmtrain.errors import ConfigError, UnknownName


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Which rates to try, and how often.

    Attributes:
        rates: Settings, each of modality to ``p_m``, the share that is missing, in [0, 1].
        draws: How many matrices ``U``.
        seed: Of them; no run's own, so that all runs lose the same.
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
        """Setting by setting and draw by draw: modality to (n,) which samples show it.

        Args:
            modalities: Of the model; columns of ``U``.
            samples: Of the split; rows of ``U``.

        Raises:
            UnknownName: A rate of a modality that the model has not.
        """
        for modality in {m for rates in self.rates for m in rates}.difference(modalities):
            raise UnknownName("modality of this run", modality, modalities)
        uniform = [
            np.random.default_rng([self.seed, draw]).random((samples, len(modalities)))
            for draw in range(self.draws)
        ]
        return [
            [{m: u[:, modalities.index(m)] >= p for m, p in rates.items()} for u in uniform]
            for rates in self.rates
        ]


def parse_rates(texts: Iterable[str]) -> tuple[dict[str, float], ...]:
    """Settings from texts such as ``audio=0.3`` or ``audio=0.1,visual=0.2``.

    Raises:
        ConfigError: Not of this form.
    """
    return tuple(_rates(text) for text in texts)


def _rates(text: str) -> dict[str, float]:
    rates: dict[str, float] = {}
    for pair in text.split(","):
        modality, _, rate = (part.strip() for part in pair.partition("="))
        try:
            value = float(rate)
        except ValueError:
            raise ConfigError(f"--missing takes MODALITY=SHARE,...; got {text!r}") from None
        if modality in rates:
            raise ConfigError(f"--missing {text}: {modality} is there twice; repeat --missing")
        rates[modality] = value
    return rates
