"""OPM: on-the-fly prediction modulation, and OPM+OGM (Wei et al., TPAMI 2024, Sec. 3.2.1, Alg. 1).

The features of a modality that is ahead are dropped, sample by sample, before the fusion: what is
left must do without them. Evaluation drops nothing. Differences from the authors' code (BML):

- ``q`` is that of the step before, as in the paper; theirs is the batch's own: ``lag=0``.
- Every batch may be dropped from; theirs are with probability .7: ``p_exe=0.7``.
- What is kept is not rescaled; theirs is, and that of all modalities alike: ``rescale``.
- No warm-up; theirs takes six epochs: ``start=6``.
- Fusions that are no sum are scored as in OGM, see its module.
- No sample loses everything, for the modality that scores least is never dropped; nothing need be
  done about it. Where a curriculum hides modalities, the only one that is shown is kept.
- OPM+OGM takes one ratio, of the features before dropping, for both, as their code does. Another
  from what is left would see the dropped as weak, and is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.functional.gradient_edit import edit, on_device
from mmtrain.functional.masking import masked, spared
from mmtrain.functional.modulation import reach, slowed, told
from mmtrain.methods.base import Method, Run, state
from mmtrain.methods.shared.modulation import Modulation
from mmtrain.types import Batch


def drop_probability(
    rho: Float[Tensor, " modalities"], base: float, lam: float, z: str = "tanh", gate: float = 1.0
) -> Float[Tensor, " modalities"]:
    """``q^m = base * (1 + lam * z(rho^m))`` where ``rho^m`` is above ``gate``, else 0 (Eq. 8).

    At most 1. See `reach` for ``z``.
    """
    return torch.where(rho > gate, (base * (1 + lam * reach(rho, z))).clamp(max=1), 0.0)


def rescaling(q: Float[Tensor, " modalities"], widths: Sequence[int]) -> Float[Tensor, ""]:
    """``1 / (1 - theta)`` with ``theta = sum_m d^m q^m / sum_m d^m``, of the authors' code."""
    theta = torch.stack([d * each for d, each in zip(widths, q, strict=True)]).sum() / sum(widths)
    return 1 / (1 - theta)


@dataclass(kw_only=True, eq=False)
class OPM(Modulation, Method):
    """Drops features of the modality that is ahead.

    ``s_i^m = softmax(u_i^m)[y_i]``, ``rho^m = 1/(M-1) sum_{j != m} sum_i s_i^m / sum_i s_i^j``,
    ``q^m = q_base (1 + lam tanh(rho^m - 1))`` where ``rho^m > 1``, else 0;
    ``phi_i^m <- r_i^m phi_i^m`` with ``r_i^m ~ Bernoulli(1 - q^m)``; ``L = CE(f, y)``.

    Cost: that of joint; one classification of the features more.

    Logs ``score``, ``rho``, ``q`` and ``dropped`` (samples a step) by modality in the epochs that
    it modulates.

    Args:
        q_base: Probability at an even score, in [0, 1].
        lam: How much a lead adds, at least 0; ``lambda`` of Eq. 8.
        lag: 1 drops by the ``q`` of the step before, 0 by that of the batch.
        p_exe: Probability that anything is dropped from a batch.
        rescale: Multiplies all features by ``1 / (1 - theta)``, ``theta`` the share of features
            that is dropped on average.
    """

    q_base: float = 0.5
    lam: float = 0.5
    lag: int = 1
    p_exe: float = 1.0
    rescale: bool = False
    stored: Tensor = state(default_factory=partial(torch.zeros, 0))

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("q_base", "p_exe"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is in [0, 1]; got {getattr(self, name)}")
        if self.lam < 0 or self.lag not in (0, 1):
            raise ConfigError(f"lam is at least 0, lag 0 or 1; got {self.lam}, {self.lag}")

    def setup(self, run: Run) -> None:
        self.stored = torch.zeros(len(run.model.modalities), device=run.device)

    def step(self, run: Run, batch: Batch) -> None:
        if not self.active(run.epoch):
            super().step(run, batch)
            return
        features = run.model.encode(batch)
        with torch.no_grad():
            whole = run.model.classify(features)
        run.observe(whole, batch)
        scores, rho = self.lead(whole, batch.target, run.model.classify, run.sum)
        run.log(**told(run.model.modalities, score=scores, rho=rho))
        out = run.model.classify(self.left(run, features, self._chances(rho), batch))
        with run.update(self.loss(run, out, batch)):
            self.slow(run, rho)

    def left(
        self, run: Run, features: Mapping[str, Tensor], q: Tensor, batch: Batch
    ) -> dict[str, Tensor]:
        """The features, dropped each with its probability ``q``."""
        if self.p_exe < 1 and float(torch.rand((), generator=run.generator)) >= self.p_exe:
            q = torch.zeros_like(q)
        keep = spared(run.draws(len(q)) >= q, batch.shown, run.model.modalities)
        run.log(**told(run.model.modalities, q=q, dropped=run.sum((~keep).sum(0).float())))
        left = masked(features, keep)
        if self.rescale:
            factor = rescaling(q, [x.shape[1] for x in left.values()])
            left = {m: x * factor for m, x in left.items()}
        return left

    def slow(self, run: Run, rho: Float[Tensor, " modalities"]) -> None:
        """Edits gradients between backward and update."""

    def _chances(self, rho: Float[Tensor, " modalities"]) -> Tensor:
        """``q`` for this batch; the next one's is stored."""
        now = drop_probability(rho, self.q_base, self.lam, self.z, self.gate)
        q, self.stored = self.stored if self.lag else now, now
        return q


@dataclass(kw_only=True, eq=False)
class OPMOGM(OPM):
    """Drops features of the modality that is ahead, and slows its encoder too.

    ``q^m`` and the dropping as in opm, ``k^m = 1 - alpha tanh(rho^m - 1)`` where ``rho^m > 1``,
    else 1, as in ogm, by the same ``rho``; ``theta^m <- theta^m - eta (k^m g^m + h^m)``.

    Cost: that of joint; one classification and one pass over the encoders' gradients more.

    Logs what opm does, and ``k``, ``gradient`` and ``modulated`` as ogm.

    Args:
        alpha: Strength of the slowing, at least 0.
        noise: ``none``, or ``tensor-std`` as in ogm-ge.
    """

    choices: ClassVar[Mapping[str, Sequence[str]]] = {"noise": ("none", "tensor-std")}

    alpha: float = 0.8
    noise: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha < 0:
            raise ConfigError(f"alpha is at least 0; got {self.alpha}")

    def slow(self, run: Run, rho: Float[Tensor, " modalities"]) -> None:
        k = slowed(rho, self.alpha, self.z, self.gate)
        run.average_gradients()
        noise = None if self.noise == "none" else on_device(run.generator, run.device)
        modalities = run.model.modalities
        before, after = edit({m: [*run.model.gradients(m)] for m in modalities}, k, noise)
        run.log(**told(modalities, k=k, gradient=before, modulated=after))
