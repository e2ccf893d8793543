"""PMR: prototypical modal rebalance (Fan et al., CVPR 2023).

Each modality's features are judged by their distances to the mean features of the classes; the one
that is behind is drawn to them by a loss of its own, and the one ahead is kept unsure at first.

`pmr` is the paper's: weights that grow with the lag, up to 1, and the entropy of the modality that
is ahead. `pmr-hard` is the released code's: the modality behind has weight 1, and there is no
entropy. Its other differences from the released code, which `pmr` shares:

- More than two modalities: how far one is ahead is the mean of its ratios to the others, see
  `discrepancy`; with two this is the paper's ratio and its inverse.
- Prototypes are made in the view of evaluation; theirs of augmented samples. Both in eval mode,
  while the features of a step are those of training mode.
- They are made when an epoch of the window begins, which is when the one before ends; theirs in
  each epoch of the run. AVE's come there from the whole validation split, here never.
- A class that the drawn samples lack keeps the prototype it had; theirs becomes 0/0. One without
  any yet takes no part in the softmax, and its samples weigh nothing.
- The ratio is of the sums over all ranks. A distance of 0 has gradient 0; theirs has NaN.

The paper's text was not at hand: weight and epochs of the entropy are settings to search.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mmtrain.errors import ConfigError
from mmtrain.fields import at_least, between, one_of
from mmtrain.functional import discrepancy, entropy
from mmtrain.methods.base import Method, Run, state
from mmtrain.tasks.needs import CLASSES, Needs
from mmtrain.types import Batch, Outputs

# Farther than any feature is: exp(-d) of a class without prototype is 0, and no difference is NaN.
_AWAY: Final = 1e6


def class_means(
    features: Float[Tensor, "samples width"], target: Int[Tensor, " samples"], classes: int
) -> Float[Tensor, "classes width"]:
    """``c_k``, the mean feature of each class; NaN for a class without samples."""
    hot = F.one_hot(target, classes).to(features.dtype)
    return (hot.T @ features) / hot.sum(0)[:, None]


def prototype_logits(
    features: Float[Tensor, "batch width"],
    prototypes: Float[Tensor, "classes width"],
    known: Bool[Tensor, " classes"],
) -> Float[Tensor, "batch classes"]:
    """``-||phi_i - c_k||_2``, of which the softmax gives ``pi_i``.

    Args:
        features: ``phi``.
        prototypes: ``c``.
        known: Whether a class has a prototype; the others have probability 0.
    """
    distances = torch.cdist(features, prototypes, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.where(known, -distances, -_AWAY)


def lags(
    rho: Mapping[str, Float[Tensor, ""]], switch: str
) -> tuple[dict[str, Float[Tensor, ""]], dict[str, Float[Tensor, ""]]]:
    """How far each modality is behind, and how far ahead, both in [0, 1].

    ``soft``: ``clip(1 / rho - 1, 0, 1)`` and ``clip(rho - 1, 0, 1)``. ``hard``: 1 where that
    is above 0.
    """
    behind = {m: (1 / r - 1).clamp(0, 1) for m, r in rho.items()}
    ahead = {m: (r - 1).clamp(0, 1) for m, r in rho.items()}
    if switch == "soft":
        return behind, ahead
    return (
        {m: (lag > 0).to(lag.dtype) for m, lag in behind.items()},
        {m: (lead > 0).to(lead.dtype) for m, lead in ahead.items()},
    )


@dataclass(kw_only=True, eq=False)
class PMR(Method):
    """Draws the modality that is behind to the prototypes of the classes.

    ``pi_i^m = softmax_k(-||phi_i^m - c_k^m||)``, ``rho^m`` the mean over ``j`` of
    ``sum_i pi_{i,y}^m / sum_i pi_{i,y}^j``;
    ``L = CE(f, y) + alpha sum_m beta^m mean_i -ln pi_{i,y}^m - mu sum_m gamma^m mean_i H(pi_i^m)``
    with ``beta^m = clip(1 / rho^m - 1, 0, 1)`` and ``gamma^m = clip(rho^m - 1, 0, 1)``, the latter
    in the first epochs only. When an epoch begins, ``c <- (1 - mu) c_new + mu c`` with
    ``c_new`` the class means of a share of the training samples, drawn anew.

    Cost: that of `joint`; a forward pass over a tenth of the training split an epoch, and distances
    to C prototypes in each step.

    Remembers: the prototypes, modality to (C, width) and which of the C classes have one; replaced
    when an epoch of the window begins, and saved.

    Logs ``rho``, ``behind`` and ``prototype_loss`` by modality in the epochs of the window.

    Args:
        alpha: Weight of the prototypes' losses, at least 0.
        prototype_momentum: Weight of the prototypes before, in [0, 1); ``mu`` in the released code.
            Those of the untrained model are given up whole.
        share: Share of the training samples that prototypes are made of, in (0, 1].
        start: First epoch of the window, from 0; outside of it training is joint.
        end: Last epoch of the window; None is the last of the run.
        switch: ``soft``, as above, or ``hard``: ``beta^m`` and ``gamma^m`` are 1 or 0.
        entropy: ``mu``, the weight of the entropy, at least 0.
        entropy_epochs: Number of epochs of the window that have the entropy.
    """

    alpha: float = at_least(0, default=1.0)
    prototype_momentum: float = between(0, 1, ends="[)", default=0.2)
    share: float = between(0, 1, ends="(]", default=0.1)
    start: int = at_least(0, default=0)
    end: int | None = at_least(0, default=None)
    switch: str = one_of("soft", "hard")
    entropy: float = at_least(0, default=0.01)
    entropy_epochs: int = at_least(0, default=10)
    prototypes: dict[str, Tensor] = state(default_factory=dict)
    known: Tensor = state(default_factory=lambda: torch.zeros(0, dtype=torch.bool))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.end is not None and self.end < self.start:
            raise ConfigError(f"end is before start, {self.start}; got {self.end}")

    @property
    def needs(self) -> Needs:
        return {CLASSES: "a prototype of each class"}

    def setup(self, run: Run) -> None:
        self.known = torch.zeros(run.task.outputs, dtype=torch.bool, device=run.device)

    def active(self, epoch: int) -> bool:
        """Whether ``epoch`` is in the window."""
        return self.start <= epoch and (self.end is None or epoch <= self.end)

    def fit(self, run: Run) -> None:
        for epoch in run.epochs():
            if self.active(epoch) and not run.position:
                self.refresh(run)
            run.train_epoch(self)

    def refresh(self, run: Run) -> None:
        """Makes the prototypes of the epoch that begins."""
        order = torch.randperm(len(run.ids), generator=run.generator).numpy()
        drawn = run.ids[order[: max(1, round(self.share * len(order)))]]
        seen = run.score(lambda b: {**run.model.encode(b), "target": b.target}, ids=drawn)
        target = seen.pop("target")
        whole = target >= 0  # Damaged samples were skipped.
        # The mean, for ranks on unlike devices may round differently.
        new = {
            m: run.mean(class_means(x[whole], target[whole], run.task.outputs))
            for m, x in seen.items()
        }
        present = ~next(iter(new.values())).isnan().any(1)
        kept = self.prototype_momentum if run.epoch > self.start + 1 else 0.0
        for modality, means in new.items():
            old = self.prototypes.get(modality, torch.zeros_like(means))
            mixed = torch.where(self.known[:, None], torch.lerp(means, old, kept), means)
            self.prototypes[modality] = torch.where(present[:, None], mixed, old)
        self.known = self.known | present

    def loss(self, run: Run, out: Outputs, batch: Batch) -> Tensor:
        loss = super().loss(run, out, batch)
        if not (self.active(run.epoch) and self.prototypes):
            return loss
        counted = self.known[batch.target].float()
        logits = {
            m: prototype_logits(x, self.prototypes[m], self.known) for m, x in out.features.items()
        }
        with torch.no_grad():
            sure = {m: run.task.confidence(z, batch.target) for m, z in logits.items()}
            rho = discrepancy({m: run.sum((p * counted).sum()) for m, p in sure.items()})
            behind, ahead = lags(rho, self.switch)
        early = run.epoch < self.start + self.entropy_epochs
        for m, z in logits.items():
            own = (run.task.losses(z, batch.target) * counted).mean()
            loss = loss + self.alpha * behind[m] * own
            if self.entropy and early:
                loss = loss - self.entropy * ahead[m] * entropy(z).mean()
            run.log(**{f"rho.{m}": rho[m], f"behind.{m}": behind[m], f"prototype_loss.{m}": own})
        return loss
