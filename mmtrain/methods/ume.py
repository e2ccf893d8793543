"""UME: unimodal ensemble (Du et al., ICML 2023, arXiv 2305.01233, Sec. 4).

Models of one modality each, trained apart, whose predictions are averaged: no joint training at
all. The control that a method of joint training should beat.

The authors' code was not found. Readings: predictions are probabilities, unless `average` says
logits; all modalities weigh the same. Without teachers the models are trained side by side in one
run, each by its own loss. They share nothing but the order of samples, the schedule, the norm at
which gradients are clipped and the epoch that is chosen, which is the best of the ensemble.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.fields import one_of
from mmtrain.methods.base import Method, Run
from mmtrain.methods.shared.decisions import Decisions, rows_of_task
from mmtrain.methods.shared.teachers import unimodal_teachers
from mmtrain.models.fusions.base import Fusion
from mmtrain.models.fusions.ensemble import Ensemble
from mmtrain.models.fusions.sum import Sum
from mmtrain.models.layers import seeded
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs


def averaged(
    logits: Mapping[str, Float[Tensor, "batch classes"]], average: str
) -> Float[Tensor, "batch classes"]:
    """``ln(1/M sum_m softmax(u^m))``, whose softmax is the mean of the probabilities; float32.

    Args:
        logits: Modality to its logits.
        average: ``probs``, or ``logits`` for ``1/M sum_m u^m``.
    """
    stacked = torch.stack([*logits.values()]).float()
    if average == "logits":
        return stacked.mean(0)
    return stacked.log_softmax(-1).logsumexp(0) - math.log(len(logits))


@dataclass(kw_only=True, eq=False)
class UME(Method):
    """Averages the predictions of models that have one modality each.

    ``L = sum_m CE(u^m, y)`` with an encoder and a linear layer for each modality, in the place of
    the fusion, whichever was chosen; the prediction is ``1/M sum_m softmax(u^m)``.

    With `teachers` it takes encoders and classifiers of finished runs as they are and trains
    nothing, so that one epoch is enough; ``train_loss`` is 0 then.

    Cost: that of `joint`; with teachers a forward pass of the data.

    Remembers: nothing. Teachers are read from their folders again when a run is resumed or
    evaluated.

    Args:
        teachers: Folders of finished runs, one for each modality, in any order; none: they are
            trained here.
        average: Quantity that is averaged: ``probs`` or ``logits``.
    """

    teachers: tuple[str, ...] = ()
    average: str = one_of("probs", "logits")
    rows: Decisions = rows_of_task()

    @property
    def needs(self) -> Needs:
        use = "their mean; average=logits has no need of it"
        return {PROBABILITY: use} if self.average == "probs" else {}

    def setup(self, run: Run) -> None:
        self.rows = run.task.decisions
        fusion = run.model.fusion
        parts: dict[str, Fusion] = {}
        if self.teachers:
            for modality, teacher in unimodal_teachers(run, self.teachers).items():
                run.model.encoders[modality] = teacher.model.encoders[modality]
                parts[modality] = teacher.model.fusion
        else:
            for modality, width in fusion.widths.items():
                with seeded(run.seed, "ume", modality):
                    parts[modality] = Sum({modality: width}, fusion.classes)
        run.model.fusion = Ensemble(parts)
        run.adopt(run.model.fusion)

    def step(self, run: Run, batch: Batch) -> None:
        if not self.teachers:
            super().step(run, batch)
            return
        with run.evaluating(), torch.no_grad():
            run.observe(run.model(batch), batch)

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Tensor:
        return torch.stack([task.losses(logits, target) for logits in out.logits.values()]).sum(0)

    def predict(self, model: MultimodalModel, batch: Batch) -> Outputs:
        out = model(batch)
        mean = averaged({m: self.rows(z) for m, z in out.logits.items()}, self.average)
        return replace(out, fused=mean.view_as(out.fused))

    def predict_trained(self, model: MultimodalModel, batch: Batch) -> Outputs:
        return model(batch)
