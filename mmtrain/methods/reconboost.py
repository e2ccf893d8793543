"""ReconBoost: modalities as learners of a boosted ensemble (Hua et al., ICML 2024).

Modalities are trained in stages, each to fit what the others leave open, and after each stage all
of them together. What one modality has learnt does not take the gradient of another.

The loss of a stage is that of the authors' code: the paper has the residual ``y - softmax(Z)`` as
target, the code weighs the cross-entropy of ``y`` by what is left of it.

Differs from the authors' code:
- There the assistance is computed from detached probabilities and has no gradient, so that it
  trains nothing: ``assistance=0`` is their training. Here it reaches the modality of the stage.
- In the first stage, when there is no other modality, they take a softmax over one number, and
  ``q = 1``; here no logits give ``q = 1 / C``.
- The last batch of an epoch is trained on too.
- The rate is the run's schedule over all epochs; theirs is divided by 10 every 30 stages, which is
  ``--set schedule.every=240``. Momentum starts anew in each half of a stage, as there.
- Encoders start as the run makes them; theirs may be loaded from runs of each modality alone. Who
  does so by ``encoder.MODALITY.weights`` sets ``pretrained``.
- Batch normalisation of the modalities that stand still remembers nothing.
- Each epoch is measured, and the best one kept; they look at the end of each stage only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.fields import above, at_least
from mmtrain.methods.base import Method, Run, state
from mmtrain.methods.shared.frozen import features_of
from mmtrain.models.fusions.shared_head import SharedHead
from mmtrain.models.layers import seeded
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs


class Stage(NamedTuple):
    """Place of an epoch in the alternation.

    Attributes:
        number: Number of the stage, from 0.
        alone: Whether one modality is trained, or all together.
        first: Whether this half of the stage begins with the epoch.
    """

    number: int
    alone: bool
    first: bool


def stage_of(epoch: int, alone: int, together: int) -> Stage:
    """Stage of an epoch, where stages have ``alone`` and then ``together`` epochs."""
    number, place = divmod(epoch, alone + together)
    return Stage(number, place < alone, place in (0, alone))


def boosting(
    task: Task,
    logits: Float[Tensor, "batch classes"],
    others: Float[Tensor, "batch classes"],
    target: Tensor,
    weights: tuple[float, float],
) -> Float[Tensor, " batch"]:
    """``(w_1 - w_2 q) CE(z, y) / C`` of each sample, with ``q = softmax(Z)_y``.

    Args:
        task: Task whose losses stand for ``CE``.
        logits: ``z`` of the modality of the stage.
        others: ``Z``, the ensemble's without it, through which no gradient flows.
        target: ``y``.
        weights: ``w_1`` and ``w_2``.
    """
    left = weights[0] - weights[1] * task.confidence(others.detach(), target)
    return left * task.losses(logits, target) / task.decisions(logits).shape[-1]


def disagreement(
    logits: Float[Tensor, "batch classes"], before: Float[Tensor, "batch classes"]
) -> Float[Tensor, " batch"]:
    """Mean squared difference of probabilities over the classes, in [0, 2 / C].

    Args:
        logits: ``z`` of the modality of the stage.
        before: That of the stage before, through which no gradient flows.
    """
    return (logits.softmax(-1) - before.detach().softmax(-1)).square().mean(-1)


@dataclass(kw_only=True, eq=False)
class ReconBoost(Method):
    """Trains each modality on what the others leave open, and then all together, in turn.

    ``z^m`` are the logits of a head that all modalities share, ``Z = beta sum_m z^m`` those of the
    ensemble. Stage ``s`` trains encoder ``m = s mod M`` and the head by
    ``L = (w_1 - w_2 q) CE(z^m, y) / C + a MSE(p^m, p^k)``, where ``q = softmax(beta sum_{j != m}
    z^j)_y``, ``p = softmax(z)`` and ``k`` is the modality of the stage before; then everything by
    ``CE(Z, y)``. A modality joins the ensemble with its first stage. The optimizer starts anew in
    each half of a stage. The prediction is ``Z``.

    It brings its own fusion; the one that the run chooses is not used. Features must be equally
    wide.

    Cost: with two alike, epochs alone about 2/3 of `joint`, the others as `joint`; the authors
    train for hundreds of stages.

    Remembers: the number of modalities in the ensemble, which grows to M; saved.

    Logs ``boosting`` and ``assistance``, the two terms, in epochs that train a modality alone.

    Args:
        alone: Epochs of a stage that train its modality.
        together: Epochs of a stage that train the ensemble, behind those.
        weight: ``w_1``, the weight of the modality's own loss, above 0: 5 on CREMA-D, 4 on AVE.
        rivalry: ``w_2``, how much of it is taken off where the others are sure; at most ``w_1``.
        assistance: ``a``, the weight of the agreement with the stage before; 0 is the authors'
            code.
        scale: ``beta`` at the start, above 0.
        pretrained: Whether all modalities are in the ensemble from the first stage on.
    """

    alone: int = at_least(1, default=4)
    together: int = at_least(1, default=4)
    weight: float = above(0, default=5.0)
    rivalry: float = at_least(0, default=1.0)
    assistance: float = at_least(0, default=0.5)
    scale: float = above(0, default=1.0)
    pretrained: bool = False
    joined: int = state(1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rivalry > self.weight:
            raise ConfigError(
                f"rivalry is at most weight, {self.weight:g}, or a modality would unlearn what the "
                f"others know; got {self.rivalry:g}"
            )

    @property
    def needs(self) -> Needs:
        return {PROBABILITY: "what the other modalities leave open"}

    def setup(self, run: Run) -> None:
        fusion = run.model.fusion
        with seeded(run.seed, "fusion"):
            run.model.fusion = SharedHead(fusion.widths, fusion.classes, self.scale)
        run.adopt(run.model.fusion)
        self.joined = len(fusion.widths) if self.pretrained else 1

    def fit(self, run: Run) -> None:
        for epoch in run.epochs():
            stage = stage_of(epoch, self.alone, self.together)
            if stage.first and not run.position:
                run.renew_optimizer()
                joined = min(stage.number + 1, len(run.model.modalities))
                self.joined = max(self.joined, joined)
            run.train_epoch(self)

    def step(self, run: Run, batch: Batch) -> None:
        stage = stage_of(run.epoch, self.alone, self.together)
        if not stage.alone:
            out = self.predict(run.model, batch)
            run.observe(out, batch)
            run.minimise(self.loss(run, out, batch))
            return
        modalities = run.model.modalities
        modality = modalities[stage.number % len(modalities)]
        features = features_of(run.model, (modality,), batch)
        fusion = cast("SharedHead", run.model.fusion)
        with torch.no_grad():
            run.observe(self.ensemble(run.model.classify(features)), batch)
            logits = {m: fusion.own_logits(feature) for m, feature in features.items()}
            others = [logits[m] for m in modalities[: self.joined] if m != modality]
            rest = fusion.scale * reduce(torch.add, others, torch.zeros_like(logits[modality]))
        own = fusion.own_logits(features[modality])
        loss = boosting(run.task, own, rest, batch.target, (self.weight, self.rivalry)).mean()
        run.log(boosting=loss)
        if stage.number:
            before = logits[modalities[(stage.number - 1) % len(modalities)]]
            rows = run.task.decisions
            apart = disagreement(rows(own), rows(before)).mean()
            run.log(assistance=apart)
            loss = loss + self.assistance * apart
        run.minimise(loss)

    def predict(self, model: MultimodalModel, batch: Batch) -> Outputs:
        return self.ensemble(model(batch))

    def ensemble(self, out: Outputs) -> Outputs:
        """The outputs with the fused logits of the modalities that have joined."""
        if self.joined == len(out.logits):
            return out
        members: Sequence[Tensor] = [*out.logits.values()][: self.joined]
        return replace(out, fused=reduce(torch.add, members))
