"""OPM: on-the-fly prediction modulation, and OPM+OGM (Wei et al., TPAMI 2024, Sec. 3.2.1, Alg. 1).

The features of a modality that is ahead are dropped, sample by sample, before the fusion, so that
the others must do without them. Evaluation drops nothing. Differences from the authors' code (BML):

- ``q`` is that of the step before, as in the paper; theirs is the batch's own: ``lag=0``.
- Every batch may lose features; theirs do with probability .7: ``p_exe=0.7``.
- Kept features are not rescaled; theirs are, and those of all modalities alike: ``rescale``.
- No warm-up; theirs takes six epochs: ``start=6``.
- Fusions that are no sum are scored as in OGM, see its module.
- No sample loses everything, since the modality with the lowest score is never dropped. Where a
  curriculum hides modalities, the only one that is shown is kept.
- OPM+OGM takes one ratio, of the features before dropping, for both, as their code does. Another
  after the dropping would see the dropped as weak, and is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.fields import at_least, between, one_of
from mmtrain.functional.gradient_edit import device_generator, scale_gradients
from mmtrain.functional.masking import mask_features, restore_emptied
from mmtrain.functional.modulation import logged_by_modality, ogm_factor, squash
from mmtrain.methods.base import Run, state
from mmtrain.methods.shared.modulation import Modulation
from mmtrain.types import Batch


def drop_probability(
    rho: Float[Tensor, " modalities"], base: float, lam: float, z: str = "tanh", gate: float = 1.0
) -> Float[Tensor, " modalities"]:
    """``q^m = base * (1 + lam * z(rho^m))`` where ``rho^m`` is above ``gate``, else 0 (Eq. 8).

    At most 1. See `squash` for ``z``.
    """
    return torch.where(rho > gate, (base * (1 + lam * squash(rho, z))).clamp(max=1), 0.0)


def rescale_factor(q: Float[Tensor, " modalities"], widths: Sequence[int]) -> Float[Tensor, ""]:
    """``1 / (1 - theta)`` with ``theta = sum_m d^m q^m / sum_m d^m``, of the authors' code."""
    theta = torch.stack([d * each for d, each in zip(widths, q, strict=True)]).sum() / sum(widths)
    return 1 / (1 - theta)


@dataclass(kw_only=True, eq=False)
class OPM(Modulation):
    """Drops features of the modality that is ahead.

    ``s_i^m = softmax(u_i^m)[y_i]``, ``rho^m = 1/(M-1) sum_{j != m} sum_i s_i^m / sum_i s_i^j``,
    ``q^m = q_base (1 + lam tanh(rho^m - 1))`` where ``rho^m > 1``, else 0;
    ``phi_i^m <- r_i^m phi_i^m`` with ``r_i^m ~ Bernoulli(1 - q^m)``; ``L = CE(f, y)``.

    Cost: that of joint; one classification of the features more.

    Remembers: ``q`` for the next step, a number a modality; never reset, and saved.

    Logs ``score``, ``rho``, ``q`` and ``dropped`` (samples a step) by modality in the epochs that
    it modulates.

    Args:
        q_base: Probability at an even score, in [0, 1].
        lam: Weight of the lead, at least 0; ``lambda`` of Eq. 8.
        lag: 1 drops by the ``q`` of the step before, 0 by that of the batch.
        p_exe: Probability that anything is dropped from a batch.
        rescale: Whether all features are multiplied by ``1 / (1 - theta)``, where ``theta`` is the
            share of features that is dropped on average.
    """

    q_base: float = between(0, 1, default=0.5)
    lam: float = at_least(0, default=0.5)
    lag: int = 1
    p_exe: float = between(0, 1, default=1.0)
    rescale: bool = False
    stored: Tensor = state(default_factory=partial(torch.zeros, 0))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lag not in (0, 1):
            raise ConfigError(f"lag is 0 or 1; got {self.lag}")

    def setup(self, run: Run) -> None:
        super().setup(run)
        self.stored = torch.zeros(len(run.model.modalities), device=run.device)

    def step(self, run: Run, batch: Batch) -> None:
        if not self.active(run.epoch):
            super().step(run, batch)
            return
        features = run.model.encode(batch)
        with torch.no_grad():
            whole = run.model.classify(features)
        run.observe(whole, batch)
        scores, rho = self.lead(run.task, whole, batch.target, run.model.classify, run.sum)
        run.log(**logged_by_modality(run.model.modalities, score=scores, rho=rho))
        remaining = self.drop_features(run, features, self._next_probability(rho), batch)
        with run.update(self.loss(run, run.model.classify(remaining), batch)):
            self.scale_encoders(run, rho)

    def drop_features(
        self, run: Run, features: Mapping[str, Tensor], q: Tensor, batch: Batch
    ) -> dict[str, Tensor]:
        """Features of which each is set to 0 with its probability ``q``."""
        if self.p_exe < 1 and float(torch.rand((), generator=run.generator)) >= self.p_exe:
            q = torch.zeros_like(q)
        modalities = run.model.modalities
        keep = restore_emptied(run.draws(len(q)) >= q, batch.shown, modalities)
        dropped = run.sum((~keep).sum(0).float())
        run.log(**logged_by_modality(modalities, q=q, dropped=dropped))
        remaining = mask_features(features, keep)
        if not self.rescale:
            return remaining
        factor = rescale_factor(q, [x.shape[1] for x in remaining.values()])
        return {m: x * factor for m, x in remaining.items()}

    def scale_encoders(self, run: Run, rho: Float[Tensor, " modalities"]) -> None:
        """Edits gradients between backward and update."""

    def _next_probability(self, rho: Float[Tensor, " modalities"]) -> Tensor:
        """``q`` for this batch; with a lag, that of the batch is stored for the next."""
        now = drop_probability(rho, self.q_base, self.lam, self.z, self.gate)
        q, self.stored = self.stored if self.lag else now, now
        return q


@dataclass(kw_only=True, eq=False)
class OPMOGM(OPM):
    """Drops features of the modality that is ahead, and slows its encoder too.

    ``q^m`` and the dropping as in opm, ``k^m = 1 - alpha tanh(rho^m - 1)`` where ``rho^m > 1``,
    else 1, as in ogm, by the same ``rho``; ``theta^m <- theta^m - eta (k^m g^m + h^m)``.

    Cost: that of joint; one classification and one pass over the encoders' gradients more.

    Remembers: as opm.

    Logs ``k``, ``gradient`` and ``modulated`` as ogm, besides the quantities of opm.

    Args:
        alpha: Strength of the slowing, at least 0.
        noise: ``none``, or ``tensor-std`` as in ogm-ge.
    """

    alpha: float = at_least(0, default=0.8)
    noise: str = one_of("none", "tensor-std")

    def scale_encoders(self, run: Run, rho: Float[Tensor, " modalities"]) -> None:
        k = ogm_factor(rho, self.alpha, self.z, self.gate)
        run.average_gradients()
        noise = None if self.noise == "none" else device_generator(run.generator, run.device)
        gradients = {m: [*run.model.gradients(m)] for m in run.model.modalities}
        before, after = scale_gradients(gradients, k, noise)
        run.log(**logged_by_modality(run.model.modalities, k=k, gradient=before, modulated=after))
