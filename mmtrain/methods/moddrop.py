"""ModDrop: modalities dropped at random (Neverova et al., "ModDrop", TPAMI 2016).

The fixed-probability companion of OPM, as OPM's paper (TPAMI 2024, Table 6) compares with it: on
features before the fusion, in training only, nothing rescaled. Differences from the original, which
drops whole channels of the input after training each modality alone: features, from scratch. Its
probability for this use is published nowhere; 0.5 is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmtrain.errors import UnknownName
from mmtrain.fields import between, one_of
from mmtrain.functional.masking import has_any_modality, mask_features, restore_emptied
from mmtrain.functional.modulation import logged_by_modality
from mmtrain.methods.base import Method, Run
from mmtrain.types import Batch


def keep_given_any(
    draws: Float[Tensor, "batch modalities"], p: Sequence[float]
) -> Bool[Tensor, "batch modalities"]:
    """Mask of ``r_i^m ~ Bernoulli(1 - p^m)``, given that a sample keeps a modality.

    It has the law of drawing again until one is kept, from a single draw for each: where all before
    ``m`` were dropped, it is dropped with ``p^m (1 - prod_{j > m} p^j) / (1 - prod_{j >= m} p^j)``.

    Args:
        draws: Uniform numbers in [0, 1).
        p: Probability of dropping each modality, below 1.
    """
    columns: list[Tensor] = []
    none_kept = torch.ones_like(draws[:, 0], dtype=torch.bool)
    for m, plain in enumerate(p):
        later, here = prod(p[m + 1 :]), prod(p[m:])
        chance = torch.where(none_kept, plain * (1 - later) / (1 - here), plain)
        columns.append(draws[:, m] >= chance)
        none_kept = none_kept & ~columns[-1]
    return torch.stack(columns, 1)


@dataclass(kw_only=True, eq=False)
class ModDrop(Method):
    """Drops features of each modality with a fixed probability, sample by sample.

    ``phi_i^m <- r_i^m phi_i^m`` with ``r_i^m ~ Bernoulli(1 - p^m)``; ``L = CE(f, y)``.

    Cost: that of joint; one classification of the features more.

    Remembers: nothing.

    Logs ``dropped`` (samples a step) by modality.

    Args:
        p: Probability of dropping, in [0, 1).
        among: Modalities that may be dropped; empty is all.
        empty: Treatment of a sample that would lose all: ``resample`` draws again, ``keep`` trains
            on the biases alone, ``omit`` leaves it out of the loss.
    """

    p: float = between(0, 1, default=0.5, ends="[)")
    among: tuple[str, ...] = ()
    empty: str = one_of("resample", "keep", "omit")

    def setup(self, run: Run) -> None:
        for strange in set(self.among) - set(run.model.modalities):
            raise UnknownName("modality for moddrop.among", strange, run.model.modalities)

    def step(self, run: Run, batch: Batch) -> None:
        features = run.model.encode(batch)
        with torch.no_grad():
            run.observe(run.model.classify(features), batch)
        keep = self.keep_mask(run, batch)
        run.log(**logged_by_modality(run.model.modalities, dropped=run.sum((~keep).sum(0).float())))
        losses = self.sample_losses(
            run.task, run.model.classify(mask_features(features, keep)), batch.target
        )
        if self.empty == "omit":
            counted = has_any_modality(keep, batch.shown, run.model.modalities).float()
            losses = losses * counted / run.mean(counted.mean()).clamp(min=1e-8)
        run.minimise(losses.mean())

    def keep_mask(self, run: Run, batch: Batch) -> Bool[Tensor, "batch modalities"]:
        """Mask of the features of the step's batch that are not dropped."""
        modalities = run.model.modalities
        p = [self.p if m in self.among or not self.among else 0.0 for m in modalities]
        draws = run.draws(len(p))
        if self.empty != "resample":
            return torch.stack([draws[:, m] >= each for m, each in enumerate(p)], 1)
        return restore_emptied(keep_given_any(draws, p), batch.shown, modalities)
