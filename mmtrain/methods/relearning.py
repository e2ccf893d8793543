"""Diagnosing & Re-learning (Wei et al., ECCV 2024, Sec. 3): encoders are partly set back.

Every few epochs each encoder is diagnosed: do its features fall into clusters of classes as well on
val as on train? The wider that gap, the nearer its weights are drawn to those it started with, so
that a modality that has been memorised learns anew and one that has not may catch up. Any number of
modalities.

Differences from the authors' code:

- Epochs count from 1 here, so encoders are set back after 20, 40 and 60; there from 0, after 21, 41
  and 61.
- Val is the data set's own; there it is an eighth of CREMA-D's training split, and the best epoch
  is chosen on test.
- k-means is our own, from one draw of k-means++; theirs is scikit-learn's.
- Features of train are in the view of evaluation; theirs are augmented.

As there, statistics of batch normalisation, the fusion and the optimizer's momentum stay as they
are. Statistics adapt within the next epoch.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.fields import at_least
from mmtrain.functional.clustering import kmeans, min_max, purity
from mmtrain.functional.modulation import logged_by_modality
from mmtrain.methods.base import Method, Run
from mmtrain.tasks.needs import CLASSES, Needs
from mmtrain.types import Batch


def separability(
    features: Float[Tensor, "n width"],
    labels: Int[Tensor, " n"],
    classes: int,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """``P``: `purity` of as many clusters as there are classes, of columns in [-1, 1]."""
    return purity(labels, kmeans(min_max(features), classes, generator))


def setback(
    train: Float[Tensor, " modalities"], val: Float[Tensor, " modalities"], strength: float
) -> Float[Tensor, " modalities"]:
    """``w^m = tanh(lambda |P_train^m - P_val^m|)``, the share of the initial weights, in [0, 1)."""
    return (strength * (train - val).abs()).tanh()


@dataclass(kw_only=True, eq=False)
class Relearning(Method):
    """Draws encoders back to where they started, by how much worse they separate val than train.

    ``L = CE(f, y)``. After every ``interval``-th epoch, ``times`` times in all, for each modality:
    ``theta^m <- w^m theta_0^m + (1 - w^m) theta^m`` with ``w^m = tanh(lambda |P_train - P_val|)``,
    ``theta_0`` the initial parameters of its encoder and ``P`` the purity of k-means clusters, as
    many as classes, of its features: ``P = 1/n sum_k max_c |cluster k and class c|``.

    Val has a part in training, so figures on val flatter the method a little.

    Cost: that of `joint`; ``times`` forward passes over train and val, and k-means on the features.

    Remembers: the initial parameters of the encoders, as large as they are. They are made anew in a
    resumed run, so nothing is saved.

    Logs ``train`` and ``val``, the purities, and ``setback``, ``w``, by modality, in the epochs
    that begin with one.

    Args:
        strength: ``lambda``, at least 0; 0 is joint training.
        interval: Epochs between two diagnoses, ``E``.
        times: Diagnoses in a run, at most.
    """

    strength: float = at_least(0, default=3.0)
    interval: int = at_least(1, default=20)
    times: int = at_least(0, default=3)
    initial: dict[str, list[Tensor]] = field(init=False, repr=False, default_factory=dict)

    @property
    def needs(self) -> Needs:
        return {CLASSES: "the purity of clusters of features"}

    def setup(self, run: Run) -> None:
        if not run.splits.get("val"):
            raise ConfigError(
                "relearning compares train with val, and this data set has no val; build it with "
                "one, or choose another method"
            )
        modalities = run.model.modalities
        self.initial = {
            m: [p.detach().clone() for p in run.model.parameters_of(m)] for m in modalities
        }

    def fit(self, run: Run) -> None:
        for epoch in run.epochs():
            if not run.position and self.due(epoch):
                self.set_back(run)
            run.train_epoch(self)

    def due(self, epoch: int) -> bool:
        """Whether ``epoch``, from 0, begins with a diagnosis."""
        return epoch > 0 and epoch % self.interval == 0 and epoch // self.interval <= self.times

    @torch.no_grad()
    def set_back(self, run: Run) -> None:
        """Diagnoses all encoders, then draws each towards its initial parameters."""
        modalities = run.model.modalities
        train, val = (self.purities(run, split) for split in ("train", "val"))
        weights = setback(train, val, self.strength)
        for modality, weight in zip(modalities, weights, strict=True):
            own: list[Tensor] = [*run.model.parameters_of(modality)]
            torch._foreach_lerp_(own, self.initial[modality], weight.item())
        run.log(**logged_by_modality(modalities, train=train, val=val, setback=weights))

    def purities(self, run: Run, split: str) -> Float[Tensor, " modalities"]:
        """``P`` of each modality's features on ``split``, equal on all ranks."""

        def look(batch: Batch) -> dict[str, Tensor]:
            features = run.model.encode(batch)
            return {"target": batch.target, **{f"of {m}": x for m, x in features.items()}}

        seen = run.score(look, split)
        whole = seen["target"] >= 0  # Damaged samples were skipped.
        labels, classes = seen["target"][whole], len(run.classes)
        found = [
            separability(seen[f"of {m}"][whole], labels, classes, run.generator)
            for m in run.model.modalities
        ]
        # The mean, for ranks on unlike devices may round differently.
        return run.mean(torch.stack(found))
