"""DOMFN: divergence-oriented multimodal fusion (Yang et al., ACM MM 2022).

Samples on which the modalities agree train the fusion and all modalities, and the fusion predicts
them; on the others each modality learns by itself, and the surest of them predicts.

Read in the code of OMML; differences from it:

- There a modality gives sigmoids that go into a cross-entropy as if they were logits; here a
  modality has logits, and divergence is between their softmax probabilities.
- There a batch is a sample; here the gate is by sample within a batch.
- There each stage and branch has an optimizer and a rate of its own (Adam; 1e-3, 1e-4, 5e-5); here
  all have the rate of the run. The branches' layers of 512, 256 and 128 units are those of features
  made beforehand; here a modality has an encoder and a linear layer.
- Of modalities that are equally sure the first predicts; there it is undefined. One of the code's
  comparisons repeats a modality.
- The prediction before the fusion is trained is that of the surest modality.

With two modalities and ``tau = 0.5`` the gate never closes: ``pen <= 1/4``, so that ``pen / tau``
is at most ``0.5``, below ``gamma = 0.8``. Lower `threshold` or `tau` to see it act.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.fields import above, at_least
from mmtrain.functional.modulation import logged_by_modality
from mmtrain.methods.base import Method, Run, state
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.needs import CLASSES, Needs
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs


def penalties(
    logits: Mapping[str, Float[Tensor, "batch classes"]],
) -> Float[Tensor, "modalities batch"]:
    """``pen^m = max_c (p_c^m - pbar_c)^2``, ``pbar`` the mean over modalities; float32.

    In ``[0, ((M - 1) / M)^2]``.
    """
    probs = torch.stack([*logits.values()]).float().softmax(-1)
    return (probs - probs.mean(0)).square().amax(-1)


def surest(
    logits: Mapping[str, Float[Tensor, "batch classes"]],
) -> Float[Tensor, "batch classes"]:
    """Of each sample the logits of the modality with the highest probability of any class."""
    stacked = torch.stack([*logits.values()])
    best = stacked.float().softmax(-1).amax(-1).argmax(0)
    return stacked[best, torch.arange(len(best), device=best.device)]


@dataclass(kw_only=True, eq=False)
class DOMFN(Method):
    """Fuses where modalities agree, and lets the surest decide where they do not.

    ``pen^m = max_c (p_c^m - pbar_c)^2`` and ``l^m = 1/2 CE(u^m, y)^2 - eta pen^m``. Where all
    ``pen^m / tau < gamma``, ``L = sum_m (l^m + CE(u^m, y)) + CE(f, y)`` and the prediction is
    ``f``; elsewhere ``L = sum_m CE(u^m, y)`` and the prediction is that of the surest modality. In
    the first epochs ``L = sum_m CE(u^m, y)`` for all.

    Cost: that of `joint`; a linear layer a modality more.

    Remembers: whether the first epochs are over, a flag that is saved.

    Logs ``penalty`` by modality, and ``agreeing``, the share of samples that are fused.

    Args:
        eta: Weight of the divergence, at least 0; the loss rewards it.
        threshold: ``gamma``, the divergence at which modalities disagree, above 0.
        tau: Scale of the divergence, above 0: 0.5, or 0.2 on the paper's resumes.
        pretrain: Epochs in which modalities are trained apart, before the others.
    """

    eta: float = at_least(0, default=0.5)
    threshold: float = above(0, default=0.8)
    tau: float = above(0, default=0.5)
    pretrain: int = at_least(0, default=30)
    fusing: bool = state(False)

    @property
    def needs(self) -> Needs:
        return {CLASSES: "whether the modalities of a sample agree on it"}

    def setup(self, run: Run) -> None:
        if self.pretrain >= run.planned:
            raise ConfigError(
                f"domfn fuses after {self.pretrain} epochs, and the run has {run.planned}; raise "
                "--epochs, or lower method.pretrain"
            )
        run.adopt(run.model.add_heads())

    def fit(self, run: Run) -> None:
        for epoch in run.epochs():
            self.fusing = epoch >= self.pretrain
            run.train_epoch(self)

    def agreeing(self, penalty: Float[Tensor, "modalities batch"]) -> Bool[Tensor, " batch"]:
        """Whether a sample's modalities agree."""
        return (penalty / self.tau < self.threshold).all(0)

    def loss(self, run: Run, out: Outputs, batch: Batch) -> Tensor:
        penalty = penalties(out.logits)
        run.log(agreeing=self.agreeing(penalty).float().mean())
        run.log(**logged_by_modality(run.model.modalities, penalty=penalty.mean(1)))
        return super().loss(run, out, batch)

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Tensor:
        own = torch.stack([task.losses(logits, target) for logits in out.logits.values()])
        if not self.fusing:
            return own.sum(0)
        penalty = penalties(out.logits)
        more = (own.square() / 2 - self.eta * penalty).sum(0) + task.losses(out.fused, target)
        return own.sum(0) + torch.where(self.agreeing(penalty), more, 0.0)

    def predict(self, model: MultimodalModel, batch: Batch) -> Outputs:
        out = model(batch)
        alone = surest(out.logits)
        if not self.fusing:
            return replace(out, fused=alone)
        together = self.agreeing(penalties(out.logits))
        return replace(out, fused=torch.where(together[:, None], out.fused, alone))

    def predict_trained(self, model: MultimodalModel, batch: Batch) -> Outputs:
        return model(batch)
