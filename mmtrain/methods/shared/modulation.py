"""Parameters that OGM and OPM share, and the comparison of the modalities."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.fields import at_least, one_of
from mmtrain.functional.modulation import LEVEL, Lead, difference
from mmtrain.functional.scores import discrepancy
from mmtrain.methods.base import Method, Run
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.tasks.task import Task
from mmtrain.types import Outputs


@dataclass(kw_only=True, eq=False)
class Modulation(Method):
    """Base of the methods that compare modalities in each step, and of their common parameters.

    Args:
        start: First epoch that is modulated, from 0.
        end: Last epoch that is modulated; None is the last of the run.
        rho: ``ratio`` of the scores (Eq. 7), or their ``difference``.
        z: ``tanh``, which is ``tanh(x - 1)``, or ``sigmoid``.
        threshold: Value of ``rho`` above which a modality is ahead; None is where modalities are
            level, 1 for the ratio and 0 for the difference. It cannot be lower.
        bias_share: Share of the fused bias that counts to a modality when it is scored, such as
            0.5; or the shares of all modalities in their order, such as 0.33,0.67 (Table 14). None
            is 1 / M for each.
    """

    start: int = at_least(0, default=0)
    end: int | None = at_least(0, default=None)
    rho: str = one_of(*LEVEL)
    z: str = one_of("tanh", "sigmoid")
    threshold: float | None = at_least(0, default=None)
    bias_share: float | str | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        bias_shares(self.bias_share)
        if self.end is not None and self.end < self.start:
            raise ConfigError(f"end is before start, {self.start}; got {self.end}")
        if self.gate < LEVEL[self.rho]:
            raise ConfigError(
                f"threshold is at least {LEVEL[self.rho]:g} with rho={self.rho}, where modalities "
                f"are level; got {self.threshold}"
            )

    @property
    def needs(self) -> Needs:
        return {PROBABILITY: "how sure each modality is of the truth"}

    def setup(self, run: Run) -> None:
        shares, modalities = bias_shares(self.bias_share), run.model.modalities
        if len(shares) not in (0, 1, len(modalities)):
            raise ConfigError(
                f"bias_share takes a number, or {len(modalities)} with commas between, for "
                f"{', '.join(modalities)}; got {len(shares)}"
            )

    @property
    def gate(self) -> float:
        """The threshold in force."""
        return LEVEL[self.rho] if self.threshold is None else self.threshold

    def active(self, epoch: int) -> bool:
        """Whether ``epoch`` is modulated."""
        return self.start <= epoch and (self.end is None or epoch <= self.end)

    @torch.no_grad()
    def lead(
        self,
        task: Task,
        out: Outputs,
        target: Tensor,
        classify: Callable[[dict[str, Tensor]], Outputs],
        total: Callable[[Tensor], Tensor],
    ) -> Lead:
        """Scores and discrepancy of a batch.

        Args:
            task: Task whose confidence is the score of a sample.
            out: Outputs of the model for the batch.
            target: Targets of the batch.
            classify: The model's `classify`; its logits of features that are all 0 are the bias.
            total: Sum over ranks.
        """
        logits = [*out.logits.values()]
        if shares := bias_shares(self.bias_share):
            bias = classify({m: torch.zeros_like(x) for m, x in out.features.items()}).fused
            excess = [share - 1 / len(logits) for share in shares * (len(logits) // len(shares))]
            logits = [z + more * bias for z, more in zip(logits, excess, strict=True)]
        scores = torch.stack([task.confidence(z, target).sum() for z in logits])
        *sums, number = total(torch.cat([scores, scores.new_full((1,), len(target))]))
        summed = torch.stack(sums)
        if self.rho == "difference":
            return Lead(summed / number, difference(summed))
        ratios = discrepancy(dict(zip(out.logits, sums, strict=True)))
        return Lead(summed / number, torch.stack([*ratios.values()]))


def bias_shares(given: object) -> tuple[float, ...]:
    """Numbers of `Modulation.bias_share`: none for None, one, or one a modality.

    Raises:
        ConfigError: Something else than finite numbers.
    """
    if given is None:
        return ()
    parts = given.split(",") if isinstance(given, str) else given
    try:
        shares = tuple(float(p) for p in (parts if isinstance(parts, list | tuple) else (parts,)))
    except (TypeError, ValueError):
        shares = ()
    if not shares or not all(map(math.isfinite, shares)):
        raise ConfigError(
            f"bias_share takes a number, or one a modality with commas between; got {given!r}"
        )
    return shares
