"""Noise on modalities: how a trained run holds up as its inputs get worse.

Noise acts on the input of an encoder, after normalisation and before samples are hidden.

- Pictures and spectrograms: ``x' = x + level std(x) z`` with ``z`` standard normal in each entry
  and ``std(x)`` the deviation of all entries of the sample's own input. Level 1 is a ratio of
  signal to noise of 0 dB, level 0.3 one of 10 dB, whatever unit the modality has.
- Sequences: the same, with ``std(x)`` of each channel over the real steps of the sample (over the
  channels where it has a single step). Padding and the mask of steps stay as they are.
- Tokens: the level is a share in [0, 1]. A token is replaced where ``U < level``, by one that is
  drawn evenly from the vocabulary; tokens that a tokenizer puts around a text are not spared.

``z``, ``U`` and the other tokens depend on the seed, the draw, the id of the sample and the name of
the modality alone: runs of other methods, seeds or modalities meet the same noise where they have
the same view of the data, and all levels scale the same ``z``.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.evaluation.settings import modalities_in, parse_settings
from mmtrain.modalities import SEQUENCE, TOKENS, modality
from mmtrain.models.multimodal import MultimodalModel


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The levels to try, and the number of draws for each.

    Attributes:
        levels: Settings, each a mapping of modality to the level of its noise, at least 0.
        draws: Number of draws of the noise.
        seed: Seed of these draws, apart from every run's own.
    """

    levels: tuple[Mapping[str, float], ...] = ()
    draws: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ConfigError(f"draws is at least 1; got {self.draws}")
        for name, level in (pair for levels in self.levels for pair in levels.items()):
            if not (math.isfinite(level) and level >= 0):
                raise ConfigError(f"the noise of {name} is a number from 0 on; got {level}")

    def require(self, modalities: Sequence[str]) -> None:
        """Refuses levels that a model of ``modalities`` cannot have.

        Raises:
            UnknownName: A level for a modality that the model does not have.
            ConfigError: More than all tokens of a modality.
        """
        for name in modalities_in(self.levels, modalities):
            highest = max(levels.get(name, 0.0) for levels in self.levels)
            if modality(name).kind == TOKENS and highest > 1:
                raise ConfigError(
                    f"the noise of {name} is the share of its tokens that are replaced, in "
                    f"[0, 1]; got {highest}"
                )


def parse_levels(texts: Iterable[str]) -> tuple[dict[str, float], ...]:
    """Settings from texts such as ``audio=0.3`` or ``audio=0:1:0.1,visual=0.5``.

    Raises:
        ConfigError: A text of another form.
    """
    return parse_settings(texts, "--noise", "LEVEL")


@dataclass(frozen=True, kw_only=True, eq=False)
class Draw:
    """One draw of the noise of the samples of a batch.

    Attributes:
        seed: Seed of the draws.
        number: Number of this draw.
        ids: Ids of the samples, in the order of their rows.
        vocabulary: Number of tokens of a text, padding included; 0 where there are no texts.
    """

    seed: int
    number: int
    ids: Sequence[int]
    vocabulary: int = 0
    _numbers: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)

    def on(self, name: str, prepared: Tensor, level: float) -> Tensor:
        """The inputs of the encoder of the modality ``name``, with noise of a level."""
        if not level:
            return prepared
        kind = modality(name).kind
        if name not in self._numbers:
            make = self._tokens if kind == TOKENS else self._normal
            self._numbers[name] = make(name, prepared)
        if kind == TOKENS:
            uniform, others = self._numbers[name]
            return torch.where((uniform < level) & (prepared > 0), others, prepared)
        (normal,) = self._numbers[name]
        return prepared + level * deviations(prepared, kind) * normal

    def _tokens(self, name: str, prepared: Tensor) -> tuple[Tensor, ...]:
        uniform, others = [], []
        for random in self._generators(name):
            uniform.append(random.random(prepared.shape[1]))
            others.append(random.integers(1, self.vocabulary, prepared.shape[1]))
        return tuple(torch.from_numpy(np.stack(v)).to(prepared.device) for v in (uniform, others))

    def _normal(self, name: str, prepared: Tensor) -> tuple[Tensor, ...]:
        shape = prepared.shape[1:]
        rows = [random.standard_normal(shape, np.float32) for random in self._generators(name)]
        return (torch.from_numpy(np.stack(rows)).to(prepared.device),)

    def _generators(self, name: str) -> Iterator[np.random.Generator]:
        for i in self.ids:
            yield np.random.default_rng([self.seed, self.number, i, *name.encode()])


def deviations(prepared: Tensor, kind: str) -> Tensor:
    """Standard deviations by which noise is scaled, of a shape that fits ``prepared``.

    Args:
        prepared: Inputs of an encoder, first dimension the batch.
        kind: Kind of the modality, one of `mmtrain.modalities`.
    """
    if kind != SEQUENCE:
        return prepared.std(dim=tuple(range(1, prepared.ndim)), correction=0, keepdim=True)
    values, real = prepared[..., :-1], prepared[..., -1:]
    count = real.sum(1, keepdim=True)
    mean = (values * real).sum(1, keepdim=True) / count.clamp(min=1)
    by_channel = (
        ((values - mean) * real).square().sum(1, keepdim=True) / count.clamp(min=1)
    ).sqrt()
    # Of one step every channel is its own mean; all samples of an embedding are like that.
    by_step = mean.std(dim=-1, correction=0, keepdim=True)
    spread = torch.where(count > 1, by_channel, by_step) * real
    return torch.cat([spread, torch.zeros_like(real)], dim=-1)


@contextmanager
def adding_noise(model: MultimodalModel, draw: Draw, levels: Mapping[str, float]) -> Iterator[None]:
    """Puts noise on the inputs of the encoders of ``model``, for the batch of ``draw`` alone."""

    def hook(name: str, level: float) -> Any:
        return lambda _, __, prepared: draw.on(name, prepared, level)

    with ExitStack() as hooks:
        for name, level in levels.items():
            preparation = model.preparations[name]
            handle = preparation.register_forward_hook(hook(name, level))
            hooks.callback(handle.remove)
        yield
