"""DGL: disentangled gradient learning (Wei et al., ICCV 2025, arXiv 2507.10213).

Encoders learn from the losses of their own modality only, the fusion from the fused loss only: no
gradient of the fused loss enters an encoder, none of a modality's own loss enters the fusion.
Beside it belong encoders trained alone with a head on their frozen features, to which it is close.

Differences from the authors' code:

- One backward where theirs has two, with the head's gradients set to None in between; the gradients
  are the same, and clipping sees all of them, as there.
- ``u^m`` is the fusion's answer to a modality alone, the others' features being 0, so that any
  fusion will do; with concatenation it is theirs, with the whole bias. Where a fusion lets encoders
  exchange between their stages, those layers count as the encoders'.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.func import functional_call

from mmtrain.fields import above
from mmtrain.functional.masking import zero_others
from mmtrain.methods.base import Method, Run
from mmtrain.models.fusions.base import Fusion
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs


def unimodal_logits(fusion: Fusion, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``u^m``, logits of each modality alone; gradients flow to the features, not to ``fusion``."""
    frozen = {name: p.detach() for name, p in fusion.named_parameters()}
    logits: dict[str, Tensor] = {}
    with torch.autocast(next(iter(features.values())).device.type, enabled=False):
        for m in features:
            logits[m] = functional_call(fusion, frozen, (zero_others(features, {m}),))
    return logits


@dataclass(kw_only=True, eq=False)
class DGL(Method):
    """Trains encoders by their own modality's loss, and the fusion by the fused loss.

    ``L = CE(f(sg(phi)), y) + alpha sum_m CE(u^m(phi^m), y)``, where ``sg`` stops gradients, and
    those of ``u^m``, the fusion's logits of ``phi^m`` alone, stop at the fusion's parameters.

    With AdamW ``unimodal`` changes next to nothing.

    Cost: that of `joint`; a classification of the features more for each modality.

    Remembers: nothing.

    Args:
        unimodal: ``alpha``, the weight of the encoders' losses, above 0.
    """

    unimodal: float = above(0, default=4.0)

    def step(self, run: Run, batch: Batch) -> None:
        out = self.predict(run.model, batch)
        run.observe(out, batch)
        losses = {m: run.task.losses(u, batch.target).mean() for m, u in out.logits.items()}
        run.log(**{f"loss.{m}": loss for m, loss in losses.items()})
        run.minimise(self.loss(run, out, batch))

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Tensor:
        own = torch.stack([task.losses(logits, target) for logits in out.logits.values()])
        return task.losses(out.fused, target) + self.unimodal * own.sum(0)

    def predict(self, model: MultimodalModel, batch: Batch) -> Outputs:
        """Fused logits, and each modality's with the whole bias; gradients flow as in training."""
        features = model.encode(batch)
        out = model.classify({m: x.detach() for m, x in features.items()})
        return replace(out, logits=unimodal_logits(model.fusion, features), features=features)
