"""MLA: alternating unimodal adaptation (Zhang et al., CVPR 2024, arXiv 2311.10707, Sec. 3).

The modalities are trained one after the other in each step, through one classifier that they share.
Its gradient keeps to directions in which the modality before says little, and a prediction weighs
modalities by how certain they are of the sample. Any number of modalities.

Differences from the authors' code, whose numbers `mla-released` gives:

- Their projection looks for a parameter by a name that is never passed, so it does nothing:
  ``projection=off``. Were it reached, it would take the outer product of two vectors for their
  product in the denominator, divide by it entry by entry, scale ``P`` to Frobenius norm 1 each
  time, and update it by the modality's own features before its gradient, not after.
- ``alpha`` is constant. Theirs falls from 0.1 to 0.01 in each epoch; the paper gives no number.
- Their entropy is of a softmax over the samples of a batch, summed over all classes: one weight a
  modality for the whole batch, which depends on who else is in it: ``inference=batch``. Without
  their flag for it they take fixed weights, equal ones by default: ``inference=mean``.
- Only what a loss reaches moves. With PyTorch before 2.0 their zeroed gradients let momentum and
  weight decay move the encoders of the other modalities, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.fields import above, one_of
from mmtrain.functional.scores import entropy
from mmtrain.methods.base import Method, Run, state
from mmtrain.methods.shared.decisions import Decisions, rows_of_task
from mmtrain.models.fusions.shared import Shared
from mmtrain.models.layers import seeded
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs


def deflated(
    projector: Float[Tensor, "width width"], feature: Float[Tensor, " width"], alpha: float
) -> Float[Tensor, "width width"]:
    """``P - k k^T / (alpha + r^T k)`` with ``k = P r``: recursive least squares (Sec. 3.2).

    Afterwards ``P r`` is ``alpha / (alpha + r^T P r)`` times what it was. ``P`` stays symmetric and
    positive semi-definite, so the denominator is at least ``alpha``.

    Args:
        projector: ``P``.
        feature: ``r``, the mean feature of a modality in a batch.
        alpha: Above 0; the smaller, the less of ``r`` is left.
    """
    k = projector @ feature
    return projector - torch.outer(k, k) / (alpha + feature @ k)


def certainty(entropies: Float[Tensor, "modalities ..."]) -> Float[Tensor, "modalities ..."]:
    """``lambda^m = exp(max_j H^j - H^m) / sum``, which sum to 1 (Sec. 3.3)."""
    return (-entropies).softmax(0)


def batch_entropy(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, ""]:
    """``H = -sum_i,c p_ic ln p_ic`` with a softmax over the samples ``i``, of the authors' code."""
    log_probs = logits.float().log_softmax(0)
    return -(log_probs.exp() * log_probs).sum()


@dataclass(kw_only=True, eq=False)
class MLA(Method):
    """Trains the modalities in turn within each step, through a classifier that they share.

    For each modality ``m`` in their order an update of its own by ``CE(u^m, y)``,
    ``u^m = W phi^m + c``, with ``grad W <- (grad W) P``. Then ``P <- P - k k^T / (alpha + r^T k)``,
    ``r`` the mean of ``phi^m`` over the batch and ``k = P r``, starting from the identity.
    Prediction: ``f = sum_m lambda^m u^m`` with ``lambda^m = exp(max_j H^j - H^m) / sum`` and ``H``
    the entropy of ``softmax(u^m)``, sample by sample.

    It brings its own classifier; the fusion that the run chooses is not used. Features must be
    equally wide. As ``P`` only ever shrinks, the classifier moves less and less.

    Cost: each encoder once, as in `joint`; an optimizer step a modality instead of one.

    Remembers: ``P``, width x width in float64 (2 MB at 512), from the first step to the last, never
    reset; saved. Nothing with ``projection=off``.

    Logs ``loss`` and ``kept``, the share ``||grad W P|| / ||grad W||``, by modality.

    Args:
        projection: ``rls`` as above; ``off``, the identity, as in the authors' code.
        alpha: ``alpha``, above 0.
        inference: Weights of the modalities in a prediction: ``entropy`` of the sample; ``batch``,
            one for all samples that are predicted at once, as in the authors' code, so that
            another batch size, or number of ranks, is another prediction; ``mean``, all the same.
    """

    projection: str = one_of("rls", "off")
    alpha: float = above(0, default=0.1)
    inference: str = one_of("entropy", "batch", "mean")
    projector: Tensor = state(default_factory=partial(torch.zeros, 0))
    rows: Decisions = rows_of_task()

    @property
    def needs(self) -> Needs:
        use = "the entropies that weigh a prediction; inference=mean has no need of it"
        return {PROBABILITY: use} if self.inference != "mean" else {}

    def setup(self, run: Run) -> None:
        self.rows = run.task.decisions
        fusion = run.model.fusion
        with seeded(run.seed, "fusion"):
            shared = Shared(fusion.widths, fusion.classes)
        run.model.fusion = shared
        run.adopt(shared)
        if self.projection == "rls":
            width = shared.head.in_features
            self.projector = torch.eye(width, dtype=torch.float64, device=run.device)

    def step(self, run: Run, batch: Batch) -> None:
        features = run.model.encode(batch)
        with torch.no_grad():
            run.observe(run.model.classify(features), batch)
        head = cast(Shared, run.model.fusion).head
        for modality, feature in features.items():
            with torch.autocast(run.device.type, enabled=False):
                loss = run.task.losses(head(feature), batch.target).mean()
            run.log(**{f"loss.{modality}": loss})
            with run.update(loss):
                if self.projection == "rls" and head.weight.grad is not None:
                    run.average_gradients()
                    run.log(**{f"kept.{modality}": self._project(head.weight.grad)})
            if self.projection == "rls":
                mean = run.mean(feature.detach().double().mean(0))
                self.projector = deflated(self.projector, mean, self.alpha)

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Tensor:
        return torch.stack([task.losses(own, target) for own in out.logits.values()]).sum(0)

    def predict(self, model: MultimodalModel, batch: Batch) -> Outputs:
        out = model(batch)
        logits = [*out.logits.values()]
        if self.inference == "mean":
            return out
        if self.inference == "entropy":
            rows = [self.rows(own) for own in logits]
            weights = certainty(torch.stack([entropy(own) for own in rows]))[..., None]
            fused = (weights * torch.stack(rows)).sum(0).view_as(out.fused)
        else:
            fused = (self._weights_of_batch(logits, batch) * torch.stack(logits)).sum(0)
        return replace(out, fused=fused)

    def predict_trained(self, model: MultimodalModel, batch: Batch) -> Outputs:
        return model(batch)

    def _project(self, gradient: Tensor) -> Tensor:
        """Projects the gradient of the classifier in place; the share of its norm that is left."""
        before = gradient.norm()
        with torch.autocast(gradient.device.type, enabled=False):
            gradient.copy_(gradient @ self.projector.to(gradient.dtype))
        share: Tensor = gradient.norm() / before.clamp(min=torch.finfo(before.dtype).tiny)
        return share

    def _weights_of_batch(self, logits: Sequence[Tensor], batch: Batch) -> Tensor:
        # A batch of nothing but fillers is nobody's prediction, yet must be finite.
        real = ~batch.filler | batch.filler.all()
        return certainty(torch.stack([batch_entropy(own[real]) for own in logits]))[:, None, None]
