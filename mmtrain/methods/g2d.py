"""G2D: gradient-guided distillation (Rakib & Bagavathi, ICCV 2025, arXiv 2506.21514, Sec. 3).

Joint training that also learns from frozen teachers of one modality each, by features and by
logits; for the first half of the run only the encoder of the weakest modality learns, the one whose
teacher is least sure of the batch ("sequential modality prioritisation").

Differences from the authors' code:

- Theirs raises an error where two teachers are equally sure; here both encoders learn then.
- Theirs stops the gradient of convolutions only; here it is that of the whole encoder. As there, a
  gradient is multiplied by 0, so that momentum and weight decay go on.
- Epochs 0 to 150 of 300 are there a constant; here it is a share of the run.
- The direction of the divergence is that of the code, ``KL(teacher || student)``.
- Confidence is summed over all ranks.
- More than two modalities are our reading: the encoder of the single weakest learns.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.fields import at_least, between
from mmtrain.functional.distillation import divergences, feature_distance
from mmtrain.functional.modulation import logged_by_modality
from mmtrain.methods.base import Method, Run, Teacher
from mmtrain.methods.shared.teachers import alike_teachers
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.types import Batch, Outputs


def prioritised(scores: Float[Tensor, " modalities"]) -> Float[Tensor, " modalities"]:
    """``k^m``: 1 for the modality of the lowest score, or those, and 0 for the others."""
    return (scores == scores.min()).to(scores.dtype)


@dataclass(kw_only=True, eq=False)
class G2D(Method):
    """Learns from a teacher for each modality, the encoder of the weakest first.

    ``L = CE(f, y) + w_l sum_m KL(softmax(f_teacher^m) || softmax(f)) + w_f sum_m MSE(phi^m,
    phi_teacher^m)``. In the first epochs the gradient of each encoder is multiplied by ``k^m``, 1
    for the modality whose teacher gives the targets of the batch the lowest probability and 0 for
    the others. Before it, train each teacher with ``--method joint --modalities audio`` and so on,
    with the same encoder on the same data.

    Cost: a forward pass of every encoder more, about 1.3x `joint`, and before it the training of
    the teachers.

    Remembers: nothing. Teachers are read from their folders again when a run is resumed or
    evaluated.

    Logs ``distance`` (the sum of the MSE), ``divergence`` (that of the KL), and by modality
    ``score`` (mean confidence of the teacher) and ``k``, 1 for all after the first epochs.

    Args:
        teachers: Folders of finished runs, one for each modality, in any order.
        logits: ``w_l``, the weight of the divergence from the teachers' predictions.
        features: ``w_f``, the weight of the distance from the teachers' features.
        share: Share of the run's epochs, from the first, in which only the weakest encoder learns.
    """

    teachers: tuple[str, ...] = ()
    logits: float = at_least(0, default=1.0)
    features: float = at_least(0, default=1.0)
    share: float = between(0, 1, default=0.5)

    @property
    def needs(self) -> Needs:
        return {PROBABILITY: "the divergence from the teachers' predictions"}

    def setup(self, run: Run) -> None:
        self._teachers: dict[str, Teacher] = alike_teachers(run, self.teachers)

    def step(self, run: Run, batch: Batch) -> None:
        out = run.model(batch)
        run.observe(out, batch)
        taught = {m: teacher(batch) for m, teacher in self._teachers.items()}
        k = self.pace(run, taught, batch)
        with run.update(self.loss(run, out, batch) + self.distillation(run, out, taught)):
            for modality, factor in zip(taught, k, strict=True):
                for gradient in run.model.gradients(modality):
                    gradient.mul_(factor)

    def distillation(self, run: Run, out: Outputs, taught: dict[str, Outputs]) -> Tensor:
        """The loss but for ``CE(f, y)``."""
        rows = run.task.decisions
        divergence = torch.stack(
            [divergences(rows(out.fused), rows(own.fused)).mean() for own in taught.values()]
        ).sum()
        distance = feature_distance(out.features, {m: o.features[m] for m, o in taught.items()})
        run.log(divergence=divergence, distance=distance)
        return self.logits * divergence + self.features * distance

    def pace(self, run: Run, taught: dict[str, Outputs], batch: Batch) -> Tensor:
        """``k`` by modality."""
        sure = [run.task.confidence(own.fused, batch.target) for own in taught.values()]
        scores = run.mean(torch.stack(sure).mean(1))
        early = run.epoch < self.share * run.planned
        k = prioritised(scores) if early else torch.ones_like(scores)
        run.log(**logged_by_modality(run.model.modalities, score=scores, k=k))
        return k
