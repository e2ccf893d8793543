"""OGM, OGM-GE, OGM*: on-the-fly gradient modulation (Wei et al., TPAMI 2024, Sec. 3.2.2, 4.4.2).

The encoder of a modality that is ahead learns more slowly; fusion and classifier are left alone.
Differences from the authors' code, that of CVPR 2022 and that of the journal version:

- ``k`` is that of Eq. 11, which goes to 1 where the lead vanishes. Both codes have no "- 1" in it:
  ``form=cvpr22``. A value of ``alpha`` means something else in each form.
- At a tie no encoder is slowed; their else-branch slows the second of their two modalities.
- All tensors of an encoder are edited, as in the paper; theirs are convolutions: ``tensors=conv``.
- Noise has in the paper the covariance of the gradient over samples, in the code the spread of a
  tensor's entries. OGM-GE takes the code's by default; ``noise=covariance`` is the paper's, exact:
  ``h = 1/n sum_i (w_i - mean w) g_i`` with ``w_i ~ N(0, 1)``, whose covariance is ``U / n``. It is
  a weight for each sample, applied at the features, so that it costs no backward pass. The encoders
  share ``w``, so their noises covary as their gradients do.
- The ratio is of the sums over all ranks, and noise is the same on all of them.
- Fusions that are no sum are scored with the other features at 0 (Sec. 4.3.7), see each fusion's
  ``split``. Zeroing inputs instead (M more passes) is left out: encoders do not see each other, so
  nothing leaks.
- OGM* has no formula in the paper. ``form=tpami`` mirrors Eq. 11; the code's is ``form=bml``.

With AdamW a constant factor on a gradient changes nothing: there only changes of ``k``, and noise,
act.
"""

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.fields import at_least, one_of
from mmtrain.functional.gradient_edit import (
    device_generator,
    scale_gradients,
    standard_normal,
    weight_gradients,
)
from mmtrain.functional.modulation import logged_by_modality, ogm_factor, squash
from mmtrain.methods.base import Run
from mmtrain.methods.shared.modulation import Modulation
from mmtrain.types import Batch, Outputs

_BML_FACTOR: Final = 4.0
_CONV: Final = 4  # dimensions


def ogm_factor_cvpr22(
    rho: Float[Tensor, " modalities"], alpha: float, gate: float
) -> Float[Tensor, " modalities"]:
    """``k^m = 1 - tanh(alpha * rho^m)`` where ``rho^m`` is above ``gate``, else 1 (CVPR 2022)."""
    return torch.where(rho > gate, 1 - (alpha * rho).tanh(), 1.0)


def ogm_star_factor(
    behind: Float[Tensor, " modalities"], alpha: float, form: str, z: str, gate: float
) -> Float[Tensor, " modalities"]:
    """OGM*'s ``k^m = 1 + alpha * z(behind^m)`` where ``behind^m`` is above ``gate``, else 1.

    Args:
        behind: Lead of the others over each: ``1 / rho``, or ``-rho`` of a difference.
        alpha: Strength.
        form: ``tpami``; ``bml``, a constant; ``pmr``, ``1 + tanh(alpha * behind)``.
        z: Kind of `squash`.
        gate: Value where modalities are level.
    """
    if form == "bml":
        return torch.where(behind > gate, _BML_FACTOR, 1.0)
    more = (alpha * behind).tanh() if form == "pmr" else alpha * squash(behind, z)
    return torch.where(behind > gate, 1 + more, 1.0)


@dataclass(kw_only=True, eq=False)
class OGM(Modulation):
    """Scales the gradient of the encoder that is ahead.

    ``s_i^m = softmax(u_i^m)[y_i]``, ``rho^m = 1/(M-1) sum_{j != m} sum_i s_i^m / sum_i s_i^j``,
    ``k^m = 1 - alpha tanh(rho^m - 1)`` where ``rho^m > 1``, else 1;
    ``theta^m <- theta^m - eta (k^m g^m + h^m)``, ``h = 0`` without noise.

    Cost: that of joint; one pass over the encoders' gradients more, three with noise.

    Remembers: nothing.

    Logs ``score``, ``rho``, ``k``, ``gradient`` (norm of the edited gradients, before) and
    ``modulated`` (after) by modality in the epochs that it modulates.

    Args:
        alpha: Strength, at least 0.
        form: ``tpami`` or ``cvpr22``, which is ``k = 1 - tanh(alpha rho)``.
        noise: Gaussian noise ``h`` on all encoders, also those with ``k = 1``, "generalisation
            enhancement": ``none``; ``tensor-std``, with the standard deviation of the entries of
            each tensor of ``g``, as in the authors' code; ``covariance``, that of the gradient over
            samples, as in the paper.
        tensors: ``all`` of an encoder, or ``conv``, those of four or more dimensions.
    """

    alpha: float = at_least(0, default=0.8)
    form: str = one_of("tpami", "cvpr22")
    noise: str = one_of("none", "tensor-std", "covariance")
    tensors: str = one_of("all", "conv")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise == "covariance" and self.tensors == "conv":
            raise ConfigError("noise=covariance is of whole encoders; set tensors=all")

    def factors(self, rho: Float[Tensor, " modalities"]) -> Float[Tensor, " modalities"]:
        """``k`` by modality."""
        if self.form == "cvpr22":
            return ogm_factor_cvpr22(rho, self.alpha, self.gate)
        return ogm_factor(rho, self.alpha, self.z, self.gate)

    def loss(self, run: Run, out: Outputs, batch: Batch) -> Tensor:
        if self.noise == "covariance" and self.active(run.epoch):
            weights = standard_normal(run.draws())
            weights = weights - run.mean(weights.mean())
            factors = self._batch_factors(run, out, batch)
            for feature, k in zip(out.features.values(), factors, strict=True):
                weight_gradients(feature, k + weights)
        return super().loss(run, out, batch)

    def modulate(self, run: Run, out: Outputs, batch: Batch) -> None:
        if self.noise == "covariance" or not self.active(run.epoch):
            return
        k = self._batch_factors(run, out, batch)
        # Noise depends on the gradient, so all ranks must have the same one before it is added.
        run.average_gradients()
        noise = device_generator(run.generator, run.device) if self.noise == "tensor-std" else None
        least = _CONV if self.tensors == "conv" else 0
        modalities = run.model.modalities
        edited = {m: [g for g in run.model.gradients(m) if g.ndim >= least] for m in modalities}
        before, after = scale_gradients(edited, k, noise)
        run.log(**logged_by_modality(modalities, gradient=before, modulated=after))

    def _batch_factors(self, run: Run, out: Outputs, batch: Batch) -> Tensor:
        """``k`` of the batch by modality, which is logged with its scores and ``rho``."""
        scores, rho = self.lead(run.task, out, batch.target, run.model.classify, run.sum)
        k = self.factors(rho)
        run.log(**logged_by_modality(run.model.modalities, score=scores, rho=rho, k=k))
        return k


@dataclass(kw_only=True, eq=False)
class OGMStar(OGM):
    """Raises the gradient of the encoder that is behind, and leaves the one ahead alone.

    ``k^m = 1 + alpha tanh(1 / rho^m - 1)`` where ``1 / rho^m > 1``, else 1. With two modalities
    ``1 / rho^m`` is the ``rho`` of the other; of a difference it is ``-rho^m``.

    Cost: that of joint; one pass over the encoders' gradients more.

    Remembers: nothing.

    Args:
        form: ``tpami``, as above; ``bml``, 4 whatever the lead; ``pmr``, ``1 + tanh(alpha / rho)``.
    """

    form: str = one_of("tpami", "bml", "pmr")

    def factors(self, rho: Float[Tensor, " modalities"]) -> Float[Tensor, " modalities"]:
        behind = -rho if self.rho == "difference" else 1 / rho
        return ogm_star_factor(behind, self.alpha, self.form, self.z, self.gate)
