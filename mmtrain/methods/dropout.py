"""Dropout of single features before the fusion, at four paces.

- `dropout`: one rate (Srivastava et al., JMLR 2014).
- `dropout-annealed`: a rate that falls to 0 (Rennie et al., SLT 2014, "Annealed dropout training of
  deep networks").
- `dropout-curriculum`: a rate that grows from 0 (Morerio et al., ICCV 2017, "Curriculum dropout").
- `dropout-evolutional`: features drawn in proportion to their size in the batch (Li et al., NeurIPS
  2016, "Improved dropout for shallow and deep learning").

The baselines of OPM (Wei et al., TPAMI 2024, Table 6), which does not publish rates; 0.5 is ours.
There none of them beats joint training. Differences from the originals, which drop in every layer
of one network, and whose code was not read:

- Only the features of the encoders are dropped from, side by side, whatever the modality.
- ``t`` counts epochs, not updates.
- ``g = 10 / N``, a recommendation in the curriculum's paper, is its default here.
- A feature that is 0 in all samples has no chance in the evolutional one, and a factor of 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mmtrain.fields import above, at_least, between, one_of
from mmtrain.methods.base import Method, Run
from mmtrain.types import Batch


def annealed_rate(t: float, epochs: int, rate: float) -> float:
    """``p_t = max(0, 1 - t / N) p_0``, the rate of dropping in epoch ``t`` of ``N``, from 0."""
    return max(0.0, 1 - t / epochs) * rate


def curriculum_rate(t: float, epochs: int, rate: float, pace: float) -> float:
    """``p_t = p (1 - exp(-g t))`` with ``g = pace / N``: from 0 to ``p``.

    The paper has it as the probability of keeping, ``(1 - theta) exp(-g t) + theta`` with
    ``theta = 1 - p``.
    """
    return -rate * math.expm1(-pace * t / epochs)


def feature_chances(squares: Float[Tensor, " width"]) -> Float[Tensor, " width"]:
    """``p_j = sqrt(mean_i x_ij^2) / sum_k sqrt(mean_i x_ik^2)``; all the same where all are 0.

    Args:
        squares: ``mean_i x_ij^2``.
    """
    sizes = squares.double().sqrt()
    total = sizes.sum()
    even = torch.full_like(sizes, 1 / len(sizes))
    return torch.where(total > 0, sizes / total.clamp(min=1e-300), even)


def draw_counts(
    chance: Float[Tensor, " width"], draws: Float[Tensor, " draws"]
) -> Int[Tensor, " width"]:
    """``m ~ Multinomial(k; p)``: how many of ``k`` uniform ``draws`` in [0, 1) fall to each."""
    ends = chance.cumsum(0)
    # On the right, so that an interval without length gets none.
    drawn = torch.searchsorted(ends, draws.to(ends.dtype) * ends[-1], right=True)
    return drawn.clamp(max=len(chance) - 1).bincount(minlength=len(chance))


def feature_factors(
    chance: Float[Tensor, " width"], count: Int[Tensor, " width"]
) -> Float[Tensor, " width"]:
    """``m_j / (k p_j)``, the factor of each feature: 1 on average, 0 where ``p_j`` is 0."""
    expected = count.sum() * chance
    return torch.where(expected > 0, count / expected.clamp(min=1e-300), 0.0)


@dataclass(kw_only=True, eq=False)
class Dropout(Method):
    """Drops single features before the fusion, in training only.

    ``L = CE(f(r * [phi^1; ...; phi^M]), y)`` with ``r_ij ~ Bernoulli(1 - p_t) / (1 - p_t)``, and
    ``p_t`` by ``kind``: ``p``; ``max(0, 1 - t / N) p``; ``p (1 - exp(-g t / N))``. Evolutional:
    ``r_j = m_j / (k p_j)``, ``m ~ Multinomial(k; p)``, ``p_j`` in proportion to
    ``sqrt(mean_i phi_ij^2)``, one ``r`` for the whole batch.

    Cost: that of `joint`; one classification of the features more.

    Remembers: nothing.

    Logs ``rate``; evolutional, ``dropped``, the share of features that no draw fell to.

    Args:
        kind: ``constant``, ``annealed``, ``curriculum`` or ``evolutional``.
        p: Rate of dropping, in [0, 1): the only, the first, or the last. Not of the evolutional.
        span: ``N`` of annealed and curriculum; None is the number of epochs of the run.
        pace: ``g`` of curriculum, at least 0.
        draws: ``k`` of evolutional in multiples of the number of features, above 0.
    """

    kind: str = one_of("constant", "annealed", "curriculum", "evolutional")
    p: float = between(0, 1, default=0.5, ends="[)")
    span: int | None = at_least(1, default=None)
    pace: float = at_least(0, default=10.0)
    draws: float = above(0, default=1.0)

    def rate(self, epoch: int, planned: int) -> float:
        """``p_t``."""
        whole = planned if self.span is None else self.span
        if self.kind == "annealed":
            return annealed_rate(epoch, whole, self.p)
        if self.kind == "curriculum":
            return curriculum_rate(epoch, whole, self.p, self.pace)
        return self.p

    def step(self, run: Run, batch: Batch) -> None:
        features = run.model.encode(batch)
        with torch.no_grad():
            run.observe(run.model.classify(features), batch)
            factors = self.factors(run, features)
        parts = torch.split(factors, [x.shape[1] for x in features.values()], dim=1)
        left = {m: x * part for (m, x), part in zip(features.items(), parts, strict=True)}
        run.minimise(self.loss(run, run.model.classify(left), batch))

    def factors(self, run: Run, features: Mapping[str, Tensor]) -> Float[Tensor, "rows width"]:
        """``r``, a row for each sample of the step, or one for all."""
        if self.kind == "evolutional":
            return self._evolutional(run, torch.cat([*features.values()], 1))[None]
        rate = self.rate(run.epoch, run.planned)
        run.log(rate=rate)
        width = sum(x.shape[1] for x in features.values())
        return (run.draws(width) >= rate).float() / (1 - rate)

    def _evolutional(self, run: Run, features: Tensor) -> Tensor:
        chance = feature_chances(run.mean(features.square().mean(0))).cpu()
        number = max(1, round(self.draws * len(chance)))
        drawn = torch.rand(number, dtype=torch.float64, generator=run.generator)
        count = draw_counts(chance, drawn)
        run.log(dropped=float((count == 0).double().mean()))
        return feature_factors(chance, count).to(features)
