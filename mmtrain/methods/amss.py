"""AMSS, AMSS+: adaptively masked subnetworks (Yang et al., TPAMI 2025, Sec. III).

Of every layer only some units are updated, drawn by importance: fewer in the modality that is
ahead. AMSS+ scales what is drawn up, so that the masked gradient is right on average.

Differs from the paper:
- Importance is the square of the gradient of the batch, as in the code, not the mean of the squares
  of each sample's, and is normalised by layer, as in the code and the supplement, not over the
  network; 0.1 % of it is spread evenly, so that a layer without gradient draws evenly.
- ``scale="inclusion"``: the paper asks for ``1 / Pr(j is drawn)`` but prints ``1 / (p + C_l)``,
  about ``1 / C_l``; the authors' code has ``1 / (p + 1 / C_l)``, up to ``C_l / 2`` on average units
  (``scale="official"``). Neither is unbiased. Here units are drawn with fixed probabilities, and
  scaled by their inverse.
- What the paper leaves open is as in the authors' audio-visual code: the entropy of a modality is
  that of the softmax of its features, the offset, the clamp, no moving average.

Differs from the authors' code:
- tau is 0.25, not 0.2. The entropy of the classes is in nats and a true entropy; the code takes the
  cross-entropy of the frequencies with themselves as logits.
- The fused head is masked, which the paper does and the audio-visual script computes and forgets.
- Where a bound on the information is not positive, each modality gets ``1 - 1/M``, as if level;
  the code says 0.5 whatever M.
- Shares are those of the fusion, whose bias is split evenly.
- Counts are rounded up in the head too, where the audio-visual script cuts off.
- The encoder is whichever is chosen; theirs is a ResNet-18 with GELU for ReLU.

As in the code, what is masked still moves by momentum and weight decay.
"""

from dataclasses import dataclass, field
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from mmtrain.errors import ConfigError
from mmtrain.fields import above, between, one_of
from mmtrain.functional import draw_successive, draw_systematic, entropy, inclusion_probabilities
from mmtrain.functional.modulation import logged_by_modality
from mmtrain.methods.base import Method, Run, state
from mmtrain.methods.shared.draws import uniform_like
from mmtrain.methods.shared.units import Units, unit_counts, unit_shares
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.types import Batch, Outputs

_LEAST: Final = 1e-6


def information(
    cross_entropy: Float[Tensor, " modalities"], frequencies: Float[Tensor, " classes"]
) -> Float[Tensor, " modalities"]:
    """``I^k = H(Y) - CE^k``, Eq. 2: lower bound on a modality's information in nats.

    Args:
        cross_entropy: Mean cross-entropy of each modality's share over the batch.
        frequencies: Frequencies of the classes in the batch, summing to 1.
    """
    return -torch.xlogy(frequencies, frequencies).sum() - cross_entropy


def ratios(significance: Float[Tensor, " modalities"], tau: float) -> Float[Tensor, " modalities"]:
    """``rho^k = 1 - exp(u^k / tau) / sum_n exp(u^n / tau)``, Eq. 4: the part that is updated.

    They sum to M - 1.
    """
    return 1 - (significance / tau).softmax(0)


def official_factors(
    shares: Float[Tensor, "rows units"], units: Int[Tensor, " rows"]
) -> Float[Tensor, "rows units"]:
    """``1 / (p_j + 1 / C_l)``: factor of the authors' AMSS+ on the drawn units."""
    return 1 / (shares + 1 / units[:, None])


def unbiased_factors(
    shares: Float[Tensor, "rows units"], drawn: Int[Tensor, " rows"], start: Float[Tensor, " rows"]
) -> Float[Tensor, "rows units"]:
    """``1 / pi_j`` where a unit is drawn, else 0, with a mean of 1; float32.

    ``pi_j = min(1, c p_j)``, summing to ``drawn``.
    """
    chances = inclusion_probabilities(shares, drawn)
    return torch.where(draw_systematic(chances, start), 1 / chances, 0).float()


@dataclass(kw_only=True, eq=False)
class AMSS(Method):
    """Updates of each layer some units only, drawn by importance; fewer where a modality is ahead.

    ``u^k = (H(Y) - CE(u^k, y) + offset) / H(X^k)``, ``rho^k = 1 - softmax(u / tau)^k``. Of the
    ``C_l`` units of layer l in modality k, ``ceil(rho^k C_l)`` are drawn without replacement with
    weights ``p_j = F_j / sum F``, where ``F_j`` is the sum of the squared gradients of unit j. The
    gradient of all others is 0. A unit is a filter of a convolution of the encoder, the first one
    and shortcuts apart; or an entry of the fused head, where a layer is the row of a class in the
    columns of a modality. In a fusion without such columns (film, gated) the encoders alone are
    masked.

    Cost: as `joint`; no further pass, and one drawing for all layers together.

    Remembers: ``u`` where ``ema`` is above 0, a number a modality; never reset, and saved.

    Args:
        tau: Temperature; a small one makes the modalities differ more. The paper has 0.5 for three
            modalities and for text, the authors' audio-visual code 0.2.
        ema: ``lambda`` of Eq. 3, the share of the past in ``u``, in [0, 1); 0 is the batch alone.
        offset: Nats added to the information, which is negative at first. Where the sum still is,
            modalities count as level.
        clamp: Distance from 0 and from 1 that ``rho`` keeps at least.
        scope: Masked parameters: ``both``, ``encoders`` or ``head``.
    """

    tau: float = above(0, default=0.25)
    ema: float = between(0, 1, default=0.0, ends="[)")
    offset: float = 0.5
    clamp: float = between(0, 0.5, default=0.1)
    scope: str = one_of("both", "encoders", "head", kind="scope of amss")
    significance: Tensor | None = state()
    _units: Units = field(init=False, repr=False)

    @property
    def needs(self) -> Needs:
        return {PROBABILITY: "what a modality says about the class"}

    def setup(self, run: Run) -> None:
        if len(run.model.modalities) < 2:
            raise ConfigError(
                f"amss weighs modalities against each other; {run.model.modalities[0]} is alone"
            )
        self._units = Units.of(run.model, self.scope)

    def modulate(self, run: Run, out: Outputs, batch: Batch) -> None:
        run.average_gradients()
        rho = self._ratios(run, out, batch)
        run.log(**logged_by_modality(run.model.modalities, rho=rho))
        units = self._units
        gradients = units.gradients()
        shares = unit_shares(units.squares(gradients), units.there)
        factors = self.factors(run, shares, unit_counts(rho[units.modality], units.sizes))
        torch._foreach_mul_(gradients, units.masks(factors))

    def factors(
        self, run: Run, shares: Float[Tensor, "rows units"], drawn: Int[Tensor, " rows"]
    ) -> Float[Tensor, "rows units"]:
        """Factor on each unit's gradient, of which ``drawn`` a row are not 0."""
        return draw_successive(shares, drawn, uniform_like(run, shares)).float()

    def _ratios(self, run: Run, out: Outputs, batch: Batch) -> Float[Tensor, " modalities"]:
        """``rho``, of the samples of all ranks."""
        modalities = run.model.modalities
        losses = [run.task.losses(out.logits[m], batch.target).mean() for m in modalities]
        entropies = [entropy(out.features[m]).mean() for m in modalities]
        choices = run.task.decisions(out.fused).shape[1]
        frequencies = F.one_hot(run.task.decided(batch.target), choices).float().mean(0)
        means = run.mean(torch.cat([torch.stack(losses + entropies), frequencies]))
        sizes = [len(losses), len(losses), len(frequencies)]
        loss, spread, frequency = torch.split(means, sizes)
        bound = information(loss, frequency) + self.offset
        significance = bound / spread.clamp(min=_LEAST)
        if self.ema:
            before = significance if self.significance is None else self.significance
            significance = self.ema * before + (1 - self.ema) * significance
            self.significance = significance
        level = torch.full_like(significance, 1 - 1 / len(losses))
        rho = torch.where((bound > 0).all(), ratios(significance, self.tau), level)
        return rho.clamp(self.clamp, 1 - self.clamp)


@dataclass(kw_only=True, eq=False)
class AMSSPlus(AMSS):
    """AMSS whose masked gradient is right on average: what is drawn rarely is scaled up.

    As `amss`, but unit j is drawn with the probability ``pi_j = min(1, c p_j)``, where ``c`` makes
    them sum to ``ceil(rho^k C_l)``, by systematic sampling, and its gradient is multiplied by
    ``1 / pi_j``. So a modality that is ahead is not updated less, but more coarsely.

    ``scale=official`` is the authors' code: drawn as in `amss`, times ``1 / (p_j + 1 / C_l)``. That
    is up to ``C_l``, so it suits what is normalised afterwards: take ``scope=encoders`` with it.

    Cost: as `amss`.

    Remembers: as `amss`.

    Args:
        scale: ``inclusion`` or ``official``.
    """

    scale: str = one_of("inclusion", "official", kind="scale of amss+")

    def factors(self, run: Run, shares: Tensor, drawn: Tensor) -> Tensor:
        if self.scale == "official":
            return super().factors(run, shares, drawn) * official_factors(shares, self._units.sizes)
        return unbiased_factors(shares, drawn, uniform_like(run, shares[:, 0].double()))
