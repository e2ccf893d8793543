"""ARL: asymmetric representation learning (Wei et al., ICCV 2025, arXiv 2507.10203, Sec. 3).

Modalities should count in inverse proportion to their variance, not equally. The encoder of one
that counts less than its certainty deserves gets larger gradients; each learns by itself as well,
through the classifier that all share.

Differences from the authors' code, which cannot be run as it is published: it stops after building
the model; behind that its weights are printed and not used, and multiplying a gradient by a tuple
fails. So the formula is what is implemented here, and nobody's figures can be reproduced.

The rest is a reading:

- With M modalities a weight is ``exp(T r^m mean_{j != m} c^j)`` over the sum of all, which is the
  formula of two. The floor of an entropy's share is 0.6 / M, which is their 0.3 for two.
- ``u^m`` is the fusion's answer to a modality alone, the others' features being 0, so that any
  fusion will do; with concatenation it is theirs, with the whole bias.
- Entropies and contributions are of the samples of all ranks.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.fields import at_least
from mmtrain.functional.gradient_edit import weight_gradients
from mmtrain.functional.masking import zero_others
from mmtrain.functional.modulation import logged_by_modality
from mmtrain.functional.scores import entropy
from mmtrain.methods.base import Method, Run
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs


def shares(values: Float[Tensor, " modalities"]) -> Float[Tensor, " modalities"]:
    """Values over their sum; all 0 where that is 0."""
    return values / values.sum().clamp(min=torch.finfo(values.dtype).tiny)


def reliance(entropies: Float[Tensor, " modalities"]) -> Float[Tensor, " modalities"]:
    """``r^m = (1/h^m) / sum_j (1/h^j)`` with ``h^m = max(H^m / sum_j H^j, 0.6 / M)``.

    Args:
        entropies: ``H``, mean or sum over the same samples.
    """
    floor = 0.6 / len(entropies)
    return shares(1 / shares(entropies).clamp(min=floor))


def asymmetry(
    reliances: Float[Tensor, " modalities"],
    contributions: Float[Tensor, " modalities"],
    temperature: float,
) -> Float[Tensor, " modalities"]:
    """``softmax_m(T r^m mean_{j != m} c^j)``: high where a certain modality contributes little.

    Args:
        reliances: ``r``, see `reliance`.
        contributions: ``c``, which sum to 1.
        temperature: ``T``, at least 0; 0 gives equal weights.
    """
    others = (contributions.sum() - contributions) / max(len(contributions) - 1, 1)
    return (temperature * reliances * others).softmax(0)


@dataclass(kw_only=True, eq=False)
class ARL(Method):
    """Enlarges the gradients of encoders that count for less than their certainty deserves.

    ``L = CE(f, y) + gamma sum_m CE(u^m, y)``, ``u^m`` the fusion's logits of ``phi^m`` alone, the
    other features being 0. The gradient that enters an encoder is multiplied by ``1 + w^m``,
    ``w^m = softmax_m(T r^m mean_{j != m} c^j)``, with the entropy ``H`` of ``softmax(u)``,
    ``r^m = (1/h^m) / sum_j (1/h^j)``, ``h^m = max(H^m / sum_j H^j, 0.6 / M)``, and
    ``c^m = sum_ic |u_ic^m| / sum_j sum_ic |u_ic^j|``. In the first epochs ``gamma`` is 1 and all
    weights are ``1 / M``.

    With AdamW a factor on a gradient changes next to nothing; there the unimodal losses act.

    Cost: that of `joint`; a classification of the features more for each modality.

    Remembers: nothing.

    Logs ``entropy`` (mean), ``contribution`` (``c``) and ``weight`` by modality.

    Args:
        unimodal: ``gamma``, the weight of the modalities' own losses, at least 0.
        temperature: ``T``, at least 0.
        start: First epoch, from 0, that is weighed and has ``gamma``.
    """

    unimodal: float = at_least(0, default=4.0)
    temperature: float = at_least(0, default=8.0)
    start: int = at_least(0, default=5)

    def step(self, run: Run, batch: Batch) -> None:
        out = self.predict(run.model, batch)
        run.observe(out, batch)
        weights = self.weights(run, out)
        for feature, weight in zip(out.features.values(), weights, strict=True):
            weight_gradients(feature, (1 + weight).expand(len(feature)))
        run.minimise(self.loss(run, out, batch))

    def loss(self, run: Run, out: Outputs, batch: Batch) -> Tensor:
        gamma = self.unimodal if run.epoch >= self.start else 1.0
        return _losses(run.task, out, batch.target, gamma).mean()

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Tensor:
        return _losses(task, out, target, self.unimodal)

    @torch.no_grad()
    def weights(self, run: Run, out: Outputs) -> Float[Tensor, " modalities"]:
        """``w`` of the step, equal on all ranks."""
        logits = [*out.logits.values()]
        entropies = run.mean(torch.stack([entropy(u).mean() for u in logits]))
        contributions = shares(run.sum(torch.stack([u.abs().sum() for u in logits])))
        weights = asymmetry(reliance(entropies), contributions, self.temperature)
        if run.epoch < self.start:
            weights = torch.full_like(weights, 1 / len(weights))
        run.log(
            **logged_by_modality(
                [*out.logits], entropy=entropies, contribution=contributions, weight=weights
            )
        )
        return weights

    def predict(self, model: MultimodalModel, batch: Batch) -> Outputs:
        """Fused logits, and each modality's with the whole bias."""
        features = model.encode(batch)
        alone = {m: model.classify(zero_others(features, {m})).fused for m in features}
        return replace(model.classify(features), logits=alone)


def _losses(task: Task, out: Outputs, target: Tensor, gamma: float) -> Tensor:
    own = torch.stack([task.losses(logits, target) for logits in out.logits.values()])
    return task.losses(out.fused, target) + gamma * own.sum(0)
