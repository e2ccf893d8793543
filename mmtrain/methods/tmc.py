"""TMC and ETMC: trusted multi-view classification (Han et al., ICLR 2021; TPAMI 2022 for ETMC).

Each modality gives evidence for the classes, by which its opinion has an uncertainty; opinions are
combined by the reduced rule of Dempster. Differences from the authors' code:

- The combination is computed from the evidence itself, in which the conflict cancels out: the same
  numbers, without a division by ``1 - K``. See `mmtrain.models.fusions.evidential`.
- Losses are computed in float64, for the divergence is a difference of large numbers.
- Classifiers have no hidden layers, as theirs of pictures by default.
- Logits are ``ln alpha``, whose softmax is the expected probability; so the loss that is reported
  of ``val`` is a cross-entropy.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mmtrain.fields import at_least
from mmtrain.methods.base import Method, Run
from mmtrain.models.fusions.evidential import Evidential
from mmtrain.models.layers import seeded
from mmtrain.tasks.needs import CLASSES, Needs
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs


def divergence_from_uniform(alpha: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """``KL(Dir(alpha) || Dir(1))`` of each sample in nats, at least 0."""
    total = alpha.sum(-1, keepdim=True)
    expected = ((alpha - 1) * (alpha.digamma() - total.digamma())).sum(-1)
    return total.lgamma()[:, 0] - math.lgamma(alpha.shape[-1]) - alpha.lgamma().sum(-1) + expected


def evidential_losses(
    evidence: Float[Tensor, "batch classes"], target: Int[Tensor, " batch"], weight: float
) -> Float[Tensor, " batch"]:
    """``digamma(S) - digamma(alpha_y) + a_t KL(Dir(alpha~) || Dir(1))`` of one opinion.

    ``alpha = 1 + e``, ``S = sum alpha``; ``alpha~`` is ``alpha`` with 1 in the place of
    ``alpha_y``. The first part is the expected cross-entropy under ``Dir(alpha)``.

    Args:
        evidence: ``e``, at least 0.
        target: ``y``.
        weight: ``a_t``, in [0, 1].
    """
    alpha = evidence.double() + 1
    own = alpha.gather(-1, target[:, None]).squeeze(-1)
    wrong = alpha.scatter(-1, target[:, None], 1.0)
    losses = alpha.sum(-1).digamma() - own.digamma() + weight * divergence_from_uniform(wrong)
    return losses.float()


@dataclass(kw_only=True, eq=False)
class TMC(Method):
    """Combines the modalities' opinions by the evidence that each has.

    ``L = sum_o [digamma(S) - digamma(alpha_y) + a_t KL(Dir(alpha~) || Dir(1))]`` over the opinion
    of each modality, ``alpha^m = 1 + softplus(V^m phi^m + c^m)``, and their combination, with
    ``a_t = min(1, t / T)`` in epoch ``t`` from 0. Prediction: the largest combined ``alpha``.

    It brings its own fusion; the one that the run chooses is not used. Classification only.

    Cost: that of `joint`.

    Remembers: nothing.

    Logs ``uncertainty``, ``C / S``, of each modality and ``uncertainty.fused``.

    Args:
        annealing: ``T``, epochs until the divergence counts in full; 0 is from the first on.
        joint_view: One more opinion, from all features side by side, as in ETMC.
    """

    annealing: int = at_least(0, default=10)
    joint_view: bool = False

    @property
    def needs(self) -> Needs:
        return {CLASSES: "the evidence for each class"}

    def setup(self, run: Run) -> None:
        fusion = run.model.fusion
        with seeded(run.seed, "fusion"):
            evidential = Evidential(fusion.widths, fusion.classes, joint_view=self.joint_view)
        run.model.fusion = evidential
        run.adopt(evidential)

    def loss(self, run: Run, out: Outputs, batch: Batch) -> Tensor:
        weight = min(1.0, run.epoch / self.annealing) if self.annealing else 1.0
        losses = [_losses(out, batch.target, weight)]
        if self.joint_view:
            with torch.autocast(run.device.type, enabled=False):
                *_, view = cast(Evidential, run.model.fusion).opinions(out.features)
            losses.append(evidential_losses(view, batch.target, weight))
        for name, logits in {**out.logits, "fused": out.fused}.items():
            uncertainty = logits.shape[-1] / logits.detach().exp().sum(-1)
            run.log(**{f"uncertainty.{name}": uncertainty.mean()})
        return torch.stack(losses).sum(0).mean()

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Tensor:
        # Without the joint view, of which outputs know nothing, and as after the annealing.
        return _losses(out, target, 1.0)


def _losses(out: Outputs, target: Tensor, weight: float) -> Tensor:
    """Losses of the modalities' opinions and the combined one."""
    opinions = [logits.expm1() for logits in (*out.logits.values(), out.fused)]
    return torch.stack([evidential_losses(each, target, weight) for each in opinions]).sum(0)
