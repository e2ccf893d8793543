"""MLB: multi-loss balanced training (Kontras et al., BMVC 2024).

Each modality has a loss of its own beside the fused one, and its gradient is scaled by how sure the
others are against it: up where it is behind, down where it is ahead.

Differences from the released code, whose class cannot be made as it stands (it names a parent that
is not there): more than two modalities have there a class of their own; here the score of the
others is their mean, which is our reading and for two the same. Scores are means over all ranks.
No values of ``alpha`` and ``beta`` by data set have been read; 1 and 2 are neutral ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.fields import at_least
from mmtrain.functional.modulation import logged_by_modality
from mmtrain.methods.base import Method, Run
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs

# Below it a score is none at all.
_FLOOR = 1e-8


def ratios(scores: Float[Tensor, " modalities"]) -> Float[Tensor, " modalities"]:
    """``r^m = 1/(M-1) sum_{j != m} S^j / S^m``: above 1 behind the others, below it ahead."""
    floored = scores.clamp(min=_FLOOR)
    return (floored.sum() - floored) / (len(floored) - 1) / floored


def coefficients(
    ratio: Float[Tensor, " modalities"], alpha: float, beta: float
) -> Float[Tensor, " modalities"]:
    """``k^m = 1 + (beta - 1) tanh(alpha (r^m - 1))`` where ``r^m > 1``, else without ``beta - 1``.

    In ``[1 - tanh(alpha), beta]``.
    """
    lead = (alpha * (ratio - 1)).tanh()
    return 1 + torch.where(ratio > 1, (beta - 1) * lead, lead)


@dataclass(kw_only=True, eq=False)
class MLB(Method):
    """Trains each modality by a loss of its own, and slows the strong as it speeds up the weak.

    ``L = CE(f, y) + w sum_m CE(u^m, y)``; ``S^m`` is the mean probability of the target by
    ``u^m``, ``r^m`` the mean ``S`` of the others over ``S^m``; ``k^m = 1 + tanh(alpha (r^m - 1))``,
    or ``1 + (beta - 1) tanh(alpha (r^m - 1))`` where ``r^m > 1``. ``k^m`` multiplies the gradient
    of the encoder and of the columns of the fusion that are the modality's, if there are such.

    With AdamW a constant factor on a gradient changes nothing: there only changes of ``k`` act.

    Cost: that of `joint`; a linear layer a modality more.

    Remembers: nothing.

    Logs ``score``, ``ratio`` and ``k`` by modality in the epochs that it modulates.

    Args:
        alpha: How fast ``k`` leaves 1, at least 0; with 0 it is `multitask`.
        beta: Largest ``k``, at least 1.
        unimodal: ``w``, the weight of each modality's loss.
        start: First epoch that is modulated, from 0.
        end: Last epoch that is modulated; None is the last of the run.
    """

    alpha: float = at_least(0, default=1.0)
    beta: float = at_least(1, default=2.0)
    unimodal: float = at_least(0, default=1.0)
    start: int = at_least(0, default=0)
    end: int | None = at_least(0, default=None)

    @property
    def needs(self) -> Needs:
        return {PROBABILITY: "how sure each modality is of the truth"}

    def setup(self, run: Run) -> None:
        modalities = run.model.modalities
        if len(modalities) < 2:
            raise ConfigError(
                f"mlb compares two modalities or more; got {', '.join(modalities)}. Add one to "
                "--modalities, or choose --method joint"
            )
        run.adopt(run.model.add_heads())

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Tensor:
        own = torch.stack([task.losses(logits, target) for logits in out.logits.values()])
        return task.losses(out.fused, target) + self.unimodal * own.sum(0)

    def modulate(self, run: Run, out: Outputs, batch: Batch) -> None:
        if run.epoch < self.start or (self.end is not None and run.epoch > self.end):
            return
        sure = [run.task.confidence(logits, batch.target) for logits in out.logits.values()]
        scores = run.mean(torch.stack(sure).mean(1))
        ratio = ratios(scores)
        k = coefficients(ratio, self.alpha, self.beta)
        scale(run.model, dict(zip(out.logits, k, strict=True)))
        run.log(**logged_by_modality(run.model.modalities, score=scores, ratio=ratio, k=k))


def scale(model: MultimodalModel, factors: Mapping[str, Tensor]) -> None:
    """Multiplies the gradients of each modality's encoder, and of its columns of the fusion."""
    for modality, factor in factors.items():
        for gradient in model.gradients(modality):
            gradient.mul_(factor)
        if (matrix := model.fusion.matrix(modality)) is not None:
            weight, columns = matrix
            if weight.grad is not None:
                weight.grad[:, columns].mul_(factor)
