"""DI-MML: detached and interactive multimodal learning (Fan et al., ACM MM 2024).

First each modality is trained apart, by a head of its own and by one that all share, which brings
their features into one space; from some epoch on, each also learns from the others the dimensions
that separate classes in theirs but not in its own. Then encoders and heads are frozen and the
fusion is trained on their features. The heads and the fusion vote, each by how sure it is.

Differences from the authors' code:

- Their contrastive term takes no logarithm of a sum and may overflow, for which they need
  ``T = 50``; here it is a cross-entropy.
- Dimensions are compared in the view of evaluation, theirs of augmented samples; a class without
  samples is left out, there it divides by zero. Where a modality has no dimension to teach the term
  is left out; there it is a constant.
- The epoch is chosen on val, theirs on test. One of the first stage may be chosen: the fusion,
  which is not trained yet, has no vote in it.
- Frozen encoders are in eval mode. The schedule of the learning rate begins anew with the second
  stage, whose rate is published nowhere.
- The fusion is whichever is chosen; `concat` is theirs.
- More than two modalities are our reading: the mean over pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mmtrain.errors import ConfigError
from mmtrain.fields import above, at_least
from mmtrain.methods.base import Method, Run, state
from mmtrain.models.layers import linear, seeded
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.needs import CLASSES, Needs
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs


def effective(
    features: Float[Tensor, "samples width"], target: Int[Tensor, " samples"], classes: int
) -> Bool[Tensor, " width"]:
    """Whether a dimension separates the classes better than the mean dimension does.

    By the share of samples whose value in that dimension is nearest to the mean of their own class.
    Of classes at the same distance the first counts.
    """
    nearest = torch.full_like(features, -1, dtype=torch.int64)
    least = torch.full_like(features, torch.inf)
    for number in range(classes):  # One by one: all at once would be samples x classes x width.
        own = features[target == number]
        if len(own):
            distance = (features - own.mean(0)).abs()
            nearest = torch.where(distance < least, number, nearest)
            least = torch.minimum(least, distance)
    right = (nearest == target[:, None]).double().mean(0)
    return right > right.mean()


def contrast(
    learner: Float[Tensor, "batch width"], teacher: Float[Tensor, "batch width"], temperature: float
) -> Float[Tensor, ""]:
    """``-mean_i ln(exp(l_i . t_i / T) / sum_j exp(l_i . t_j / T))``; none flows to the teacher."""
    with torch.autocast(learner.device.type, enabled=False):
        alike = learner @ teacher.detach().T / temperature
        return F.cross_entropy(alike, torch.arange(len(alike), device=alike.device))


def interaction(
    features: Mapping[str, Float[Tensor, "batch width"]],
    dimensions: Mapping[str, Bool[Tensor, " width"]],
    temperature: float,
) -> Float[Tensor, ""]:
    """``L_c``: `contrast` in both directions, summed; the mean over pairs of modalities.

    Modality ``j`` learns from ``m`` the dimensions that are in ``E^m`` and not in ``E^j``; where
    there are none, nothing.
    """
    losses = []
    for pair in combinations(features, 2):
        for teacher, learner in (pair, pair[::-1]):
            own = dimensions[teacher] & ~dimensions[learner]
            # Zeros add nothing to products. Picking columns would make the CPU wait for a GPU.
            loss = contrast(features[learner] * own, features[teacher] * own, temperature)
            losses.append(loss * own.any())
    return 2 * torch.stack(losses).mean()


def vote(
    logits: Float[Tensor, "heads batch classes"], temperature: float
) -> Float[Tensor, "batch classes"]:
    """``sum_h w_h u_h`` with ``w = softmax over h of max_c softmax(u_h)_c / T_2``, by sample."""
    sure = logits.float().softmax(-1).amax(-1)
    weights = (sure / temperature).softmax(0)
    return (weights[..., None] * logits).sum(0)


@dataclass(kw_only=True, eq=False)
class DIMML(Method):
    """Trains modalities apart, lets them teach each other dimensions, then trains the fusion.

    First ``L = sum_m CE(u^m, y) + w sum_m CE(h(phi^m), y) + L_c`` with the shared head ``h`` and,
    from epoch `start` on, ``L_c = -mean_i ln(exp(v_i . a_i / T) / sum_j exp(v_i . a_j / T))``:
    ``v`` learns from ``a`` the dimensions that are effective in ``a`` and not in ``v``, and the
    other way round. In the last `fusion_epochs` ``L = CE(f, y)`` for the fusion alone. Prediction:
    ``sum_h w_h u_h`` over the heads ``u^m`` and ``f``, ``w = softmax(max_c p_h / T_2)``.

    Cost: that of `joint`, a B x B similarity a pair of modalities and one pass over the train
    split; the last epochs need no backward pass through the encoders.

    Remembers: which dimensions are effective, a flag for each feature of each modality, set once
    before epoch `start`; and whether the fusion is trained already. Both are saved.

    Logs ``shared`` (the loss of the shared head), ``interaction`` (``L_c``) and, in the epoch in
    which it is measured, ``effective`` by modality, the number of such dimensions.

    Args:
        start: Epoch from which modalities learn from each other, from 0.
        fusion_epochs: Epochs at the end in which the fusion is trained, at least 1.
        shared: ``w``, the weight of the shared head's losses.
        temperature: ``T`` of the contrast, above 0: 50 on CREMA-D, 10 on AVE and UCF-101.
        vote_temperature: ``T_2`` of the vote, above 0: 1 on CREMA-D and UCF-101, 3 on AVE.
    """

    start: int = at_least(0, default=20)
    fusion_epochs: int = at_least(1, default=20)
    shared: float = at_least(0, default=1.0)
    temperature: float = above(0, default=50.0)
    vote_temperature: float = above(0, default=1.0)
    dimensions: dict[str, Tensor] = state(default_factory=dict)
    fusing: bool = state(False)

    @property
    def needs(self) -> Needs:
        return {CLASSES: "which dimensions of the features separate classes"}

    def setup(self, run: Run) -> None:
        model = run.model
        widths = model.feature_widths
        if len(widths) < 2 or len({*widths.values()}) > 1:
            raise ConfigError(
                f"di-mml has a head that two modalities or more share, of one width; got {widths}. "
                "Give the encoders the same"
            )
        if model.fusion.joint:
            raise ConfigError("di-mml trains encoders apart; choose a fusion without exchange")
        if self.start + self.fusion_epochs >= run.planned:
            raise ConfigError(
                f"di-mml needs more than start + fusion_epochs = {self.start + self.fusion_epochs} "
                f"epochs; got {run.planned}. Raise --epochs, or lower method.start and "
                "method.fusion_epochs"
            )
        with seeded(run.seed, "di-mml"):
            model.shared_head = linear(next(iter(widths.values())), len(run.classes))
        run.adopt(model.shared_head)
        run.adopt(model.add_heads())

    def fit(self, run: Run) -> None:
        for epoch in run.epochs():
            if not run.position and epoch == self.start:
                self.measure(run)
            if not run.position and epoch == run.planned - self.fusion_epochs:
                self.fusing = True
                run.restart_schedule()
            run.train_epoch(self)

    def measure(self, run: Run) -> None:
        """Sets the dimensions that are effective in each modality."""

        def seen(batch: Batch) -> dict[str, Tensor]:
            return {"target": batch.target} | {
                f"of {m}": x for m, x in run.model.encode(batch).items()
            }

        rows = run.score(seen)
        there = rows["target"] >= 0  # The others were skipped as damaged.
        for modality in run.model.modalities:
            features = rows[f"of {modality}"][there]
            own = effective(features, rows["target"][there], len(run.classes))
            self.dimensions = {**self.dimensions, modality: own}
            run.log(**{f"effective.{modality}": own.sum()})

    def step(self, run: Run, batch: Batch) -> None:
        if not self.fusing:
            super().step(run, batch)
            return
        with run.evaluating(), torch.no_grad():
            features = run.model.encode(batch)
        out = run.model.classify(features)
        run.observe(out, batch)
        run.minimise(super().loss(run, out, batch))

    def loss(self, run: Run, out: Outputs, batch: Batch) -> Tensor:
        head = cast(nn.Module, run.model.shared_head)
        with torch.autocast(run.device.type, enabled=False):
            common = [run.task.losses(head(x), batch.target).mean() for x in out.features.values()]
        shared = torch.stack(common).sum()
        loss = super().loss(run, out, batch) + self.shared * shared
        run.log(shared=shared)
        if self.dimensions:
            rows = {m: run.gather_rows(x) for m, x in out.features.items()}
            between = interaction(rows, self.dimensions, self.temperature)
            run.log(interaction=between)
            loss = loss + between
        return loss

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Tensor:
        if self.fusing:
            return task.losses(out.fused, target)
        return torch.stack([task.losses(logits, target) for logits in out.logits.values()]).sum(0)

    def predict(self, model: MultimodalModel, batch: Batch) -> Outputs:
        out = model(batch)
        heads = [*out.logits.values(), *([out.fused] if self.fusing else [])]
        return replace(out, fused=vote(torch.stack(heads), self.vote_temperature))

    def predict_trained(self, model: MultimodalModel, batch: Batch) -> Outputs:
        return model(batch)
