"""Parameters that the methods which modulate share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from mmtrain.errors import ConfigError, UnknownName
from mmtrain.functional.modulation import _LEVEL, _REACHES, Lead, difference
from mmtrain.functional.scores import confidence, discrepancy
from mmtrain.types import Outputs


@dataclass(kw_only=True, eq=False)
class Modulation:
    """When modalities are compared, and how: what the methods of the paper share.

    Args:
        start: First epoch that is modulated, from 0.
        end: Last epoch that is modulated; None is the last of the run.
        rho: ``ratio`` of the scores (Eq. 7), or their ``difference``.
        z: ``tanh``, which is ``tanh(x - 1)``, or ``sigmoid``.
        threshold: A modality is ahead whose ``rho`` is above it; None is where modalities are
            level, 1 for the ratio and 0 for the difference. It cannot be lower.
        bias_share: Share of the bias that counts to each modality when it is scored; None is 1 / M.
    """

    choices: ClassVar[Mapping[str, Sequence[str]]] = {}

    start: int = 0
    end: int | None = None
    rho: str = "ratio"
    z: str = "tanh"
    threshold: float | None = None
    bias_share: float | None = None

    def __post_init__(self) -> None:
        for name, known in {"rho": tuple(_LEVEL), "z": _REACHES, **self.choices}.items():
            if getattr(self, name) not in known:
                raise UnknownName(name, getattr(self, name), known)
        for name in ("end", "threshold", "bias_share"):
            value = getattr(self, name)
            if not (value is None or isinstance(value, int | float)):
                raise ConfigError(f"{name} takes a number or none; got {value!r}")
        if self.end is not None and self.end < self.start:
            raise ConfigError(f"end is before start, {self.start}; got {self.end}")
        if self.gate < _LEVEL[self.rho]:
            raise ConfigError(
                f"threshold is at least {_LEVEL[self.rho]:g} with rho={self.rho}, where modalities "
                f"are level; got {self.threshold}"
            )

    @property
    def gate(self) -> float:
        """The threshold in force."""
        return _LEVEL[self.rho] if self.threshold is None else self.threshold

    def active(self, epoch: int) -> bool:
        """Whether ``epoch`` is modulated."""
        return self.start <= epoch and (self.end is None or epoch <= self.end)

    @torch.no_grad()
    def lead(
        self,
        out: Outputs,
        target: Int[Tensor, " batch"],
        classify: Callable[[dict[str, Tensor]], Outputs],
        total: Callable[[Tensor], Tensor],
    ) -> Lead:
        """Scores and discrepancy of a batch.

        Args:
            out: What the model says of it.
            target: Its classes.
            classify: The model's, from features; asked what it says of nothing, mostly biases.
            total: The sum over ranks.
        """
        logits = torch.stack([*out.logits.values()])
        if self.bias_share is not None:
            nothing = classify({m: torch.zeros_like(x) for m, x in out.features.items()}).fused
            logits = logits + (self.bias_share - 1 / len(logits)) * nothing
        count, samples = len(logits), len(target)
        own = confidence(logits.flatten(0, 1), target.repeat(count)).view(count, samples)
        *sums, number = total(torch.cat([own.sum(1), own.new_full((1,), samples)]))
        summed = torch.stack(sums)
        if self.rho == "difference":
            return Lead(summed / number, difference(summed))
        ratios = discrepancy(dict(zip(out.logits, sums, strict=True)))
        return Lead(summed / number, torch.stack([*ratios.values()]))
