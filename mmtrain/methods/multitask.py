"""Multitask: uniform unimodal losses beside the fused one (Wei & Hu, ICML 2024, their baseline).

The control of every method that adds heads. Same heads, no surgery on gradients.
The fused logits do not go through the heads, so `unimodal=0` is joint training.

BSS trains so too. Differs from its authors' code: there the prediction is the sum of the heads'
logits on CREMA-D, and of those and the fused elsewhere; here it is the fused, unless `inference`
says so.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmtrain.fields import one_of
from mmtrain.methods.base import Method, Run
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs


@dataclass(kw_only=True, eq=False)
class Multitask(Method):
    """A cross-entropy of the fused logits and one of each modality's own head.

    ``L = w_f CE(f, y) + w_u sum_m CE(u^m, y)``. BSS's authors take 0.1 and 0.9 on CREMA-D, 1 and 1
    elsewhere.

    Cost: that of `joint`; a linear layer a modality more.

    Remembers: nothing.

    Args:
        fused: ``w_f``, the weight of the fused loss.
        unimodal: ``w_u``, the weight of each modality's loss.
        inference: Logits of the prediction: ``fused`` is ``f``; ``sum`` is ``f + sum_m u^m``,
            ``heads`` is ``sum_m u^m``, as BSS's authors do, the latter on CREMA-D.
    """

    fused: float = 1.0
    unimodal: float = 1.0
    inference: str = one_of("fused", "sum", "heads", kind="inference of multitask")

    @property
    def needs(self) -> Needs:
        use = "a sum of logits as prediction; inference=fused has no need of it"
        return {PROBABILITY: use} if self.inference != "fused" else {}

    def setup(self, run: Run) -> None:
        run.adopt(run.model.add_heads())

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Tensor:
        unimodal = torch.stack([task.losses(logits, target) for logits in out.logits.values()])
        fused = task.losses(out.fused, target)
        return self.fused * fused + self.unimodal * unimodal.sum(0)

    def predict(self, model: MultimodalModel, batch: Batch) -> Outputs:
        out = model(batch)
        if self.inference == "fused":
            return out
        heads = torch.stack([*out.logits.values()]).sum(0)
        return replace(out, fused=heads + out.fused if self.inference == "sum" else heads)

    def predict_trained(self, model: MultimodalModel, batch: Batch) -> Outputs:
        return model(batch)
