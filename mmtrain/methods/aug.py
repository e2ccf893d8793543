"""AUG: adaptive unimodal boosting (Jiang et al., NeurIPS 2025, arXiv 2502.20120, Sec. 3.2, 3.3).

A modality that falls behind gets one more classifier, which is trained on the residual of those
before it. The classifiers are appended while the run goes on.

The paper has two modalities. With more, the one of the lowest score gets the classifier, compared
with the one of the highest.

Differs from the paper where its text cannot be meant, as the authors' code does: the sums of Eq. 2
to 4 are of logits, not of probabilities; a first classifier has one cross-entropy and not Eq. 5;
the score is of the summed logits, or else it would grow with each addition; the classifier goes to
the weaker modality, where Algorithm 1 says the stronger.

Differs from the authors' code:
- There the optimizer never hears of added classifiers, so their first layers stay as they were
  drawn. Here they are trained; `freeze_added` gives theirs.
- There the ratio of the two scores is compared with ``sigma +- 0.01``. Here it is their difference,
  as in the paper; `rule="ratio"` is nearest to theirs.
- There the modality that waits for its turn still moves by momentum and weight decay, on gradients
  that are zero. Here only parameters that a loss reaches are updated.
- A classifier is added before the epoch that first trains it, so that none is evaluated untrained
  and none comes behind the last epoch.
- There the fused logits are weighted 0.4 audio, 0.6 visual on CREMA-D. Here all weigh the same,
  unless `weights` says so; the paper gives none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.fields import above, at_least, between, one_of
from mmtrain.methods.base import Method, Run, state
from mmtrain.methods.shared.numbers import named_numbers
from mmtrain.models.fusions.boosted import Boosted
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.tasks.task import Task
from mmtrain.types import Batch


def boosting_losses(
    task: Task,
    logits: Sequence[Float[Tensor, "batch classes"]],
    target: Tensor,
    softening: float,
) -> Float[Tensor, " batch"]:
    """Loss of each sample of one modality, Eq. 5: newest, all, and all but the newest classifier.

    ``(1 - lambda q) CE(z_t, y) + CE(Z_t, y) + CE(Z_{t-1}, y)`` with ``Z_t = z_1 + ... + z_t`` and
    ``q = softmax(Z_{t-1})_y``, through which no gradient flows. The first term is the cross-entropy
    of ``z_t`` with the residual label ``y - lambda y q``. Of one classifier, ``CE(z_1, y)``.

    Args:
        task: Task whose losses stand for ``CE``.
        logits: ``z_1 ... z_t``.
        target: ``y``.
        softening: ``lambda``, in [0, 1].
    """
    *earlier, newest = logits
    newest_losses = task.losses(newest, target)
    if not earlier:
        return newest_losses
    before = reduce(torch.add, earlier)
    residual = 1 - softening * task.confidence(before.detach(), target)
    of_all, of_earlier = (task.losses(z, target) for z in (before + newest, before))
    return residual * newest_losses + of_all + of_earlier


def weakest(
    scores: Mapping[str, float], sigma: float, tau: float, rule: str = "difference"
) -> str | None:
    """The modality that gets a classifier, if any (Sec. 3.3).

    The one of the lowest score ``lo`` where ``hi - sigma * lo > tau``, or by ratio
    ``hi / lo > sigma + tau``; ``hi`` is the highest score.

    Args:
        scores: Modality to its mean confidence, in [0, 1].
        sigma: Factor on the lowest.
        tau: Least distance at which the lowest is behind.
        rule: ``difference`` or ``ratio``.
    """
    high, low = max(scores, key=scores.__getitem__), min(scores, key=scores.__getitem__)
    bar = (sigma + tau) * scores[low] if rule == "ratio" else sigma * scores[low] + tau
    return low if high != low and scores[high] > bar else None


def fused_weights(text: str, modalities: Sequence[str]) -> dict[str, float]:
    """Modality to its weight, from ``audio=0.4,visual=0.6``; without text all are ``1 / M``.

    Raises:
        ConfigError: A modality is missing or unknown, or a weight is not a number above 0.
    """
    if not text:
        return {m: 1 / len(modalities) for m in modalities}
    return named_numbers("weights", text, modalities)


@dataclass(kw_only=True, eq=False)
class AUG(Method):
    """Modalities take turns, and the weakest gets more and more classifiers.

    ``L_m = (1 - lambda q) CE(z_t, y) + CE(Z_t, y) + CE(Z_{t-1}, y)`` where ``z_t`` are the logits
    of the newest of modality ``m``'s classifiers, ``Z`` their sums and ``q = softmax(Z_{t-1})_y``;
    with one classifier ``CE(z_1, y)``. Each ``L_m`` is an update of its own. After the first epoch,
    and then every ``interval`` epochs, the modality of the lowest mean ``s = softmax(Z_t)_y`` in
    training gets a classifier if ``s_high - sigma s_low > tau``. Prediction: ``sum_m w_m Z^m``, in
    the place of the fusion, whichever was chosen; a modality's own logits are ``Z^m``.

    Cost: an optimizer step a modality instead of one, and 256 units for each classifier.

    Remembers: the number of classifiers a modality; and the sum of ``s`` a modality with the number
    of visits that it is of, reset at the start of an epoch. All of it is saved.

    Args:
        interval: Epochs between two checks, ``t_N``: 20 on CREMA-D, 10 on Kinetics-Sounds.
        softening: ``lambda``, in [0, 1]: share of the label that classifiers leave to the newest.
        sigma: Factor on the lowest score, above 0.
        tau: Least distance at which the lowest score is behind, at least 0.
        rule: ``difference`` of scores, or ``ratio``: ``s_high / s_low > sigma + tau``.
        weights: Weights of the fused logits, as ``audio=0.4,visual=0.6``; empty: all the same.
        max_classifiers: Most classifiers of a modality; 0 is no limit.
        alternate: Whether each modality has an update in turn, and not all one by their sum.
        freeze_added: Whether first layers of added classifiers stay untrained (authors' code).
    """

    interval: int = at_least(1, default=10)
    softening: float = between(0, 1, default=0.5)
    sigma: float = above(0, default=1.0)
    tau: float = at_least(0, default=0.01)
    rule: str = one_of("difference", "ratio")
    weights: str = ""
    max_classifiers: int = at_least(0, default=0)
    alternate: bool = True
    freeze_added: bool = False
    counts: dict[str, int] = state(default_factory=dict)
    scores: Tensor = state(default_factory=lambda: torch.zeros(0))
    visits: Tensor = state(default_factory=lambda: torch.zeros(()))

    @property
    def needs(self) -> Needs:
        return {PROBABILITY: "how sure each modality is of the truth"}

    def setup(self, run: Run) -> None:
        fusion = run.model.fusion
        weights = fused_weights(self.weights, fusion.modalities)
        boosted = Boosted(fusion.widths, fusion.classes, weights, run.seed)
        run.model.fusion = boosted
        if not self.counts:
            self.counts = dict.fromkeys(fusion.modalities, 1)
            self.scores = torch.zeros(len(self.counts), device=run.device)
        for modality, count in self.counts.items():
            for number in range(count):
                boosted.grow(modality).requires_grad_(not (number and self.freeze_added))
        run.adopt(boosted)

    def fit(self, run: Run) -> None:
        for epoch in run.epochs():
            if not run.position:
                if epoch == 1 or (epoch and epoch % self.interval == 0):
                    self.assign(run)
                self.scores = torch.zeros_like(self.scores)
                self.visits = self.scores.new_zeros(())
            run.train_epoch(self)
            # Not by `run.position`, which counts visits to damaged samples too.
            self.scores = self.scores / self.visits.clamp(min=1)
            for modality, score in zip(self.counts, self.scores, strict=True):
                classifiers = self.counts[modality]
                run.log(**{f"score.{modality}": score, f"classifiers.{modality}": classifiers})

    def assign(self, run: Run) -> None:
        """Gives the modality that was behind in the last epoch one more classifier."""
        scores = dict(zip(self.counts, self.scores.tolist(), strict=True))
        modality = weakest(scores, self.sigma, self.tau, self.rule)
        if modality is None or self.counts[modality] == self.max_classifiers:
            return
        layer = cast(Boosted, run.model.fusion).grow(modality)
        run.adopt(layer.requires_grad_(not self.freeze_added))
        self.counts[modality] += 1

    def step(self, run: Run, batch: Batch) -> None:
        features = run.model.encode(batch)
        with torch.no_grad():
            run.observe(run.model.classify(features), batch)
        losses, sums = [], []
        for modality, feature in features.items():
            logits = cast(Boosted, run.model.fusion).classifier_logits(modality, feature)
            losses.append(boosting_losses(run.task, logits, batch.target, self.softening).mean())
            total = reduce(torch.add, logits).detach()
            sums.append(run.task.confidence(total, batch.target).sum())
            run.log(**{f"loss.{modality}": losses[-1]})
            if self.alternate:
                run.minimise(losses[-1])
        if not self.alternate:
            run.minimise(torch.stack(losses).sum())
        *scores, visits = run.sum(torch.stack([*sums, sums[0].new_full((), len(batch))]))
        self.scores += torch.stack(scores)
        self.visits = self.visits + visits

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        # Checkpoints from before visits were counted hold no number of them.
        super().load_state_dict({"visits": torch.zeros(()), **saved})
