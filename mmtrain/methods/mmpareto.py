"""MMPareto: Pareto integration of multimodal and unimodal gradients (Wei & Hu, ICML 2024).

Every modality has a head of its own beside the fused one, as in `multitask`. An encoder thus gets
two gradients. Where they agree, it takes their sum; where they conflict, the mixture of least norm,
which helps both losses, made as long as the sum.

The text of the paper was not at hand; this follows the authors' code, and differs from it:

- The fused gradient is the one that the update itself brings, for there the modalities' own losses
  stop at the features: M passes through one encoder each and one through all. Theirs are M + 2
  through the whole model, one of them for norms that are known already. The numbers are the same.
- Mixture weights are one number an encoder, norms are restored tensor by tensor, as theirs. A
  tensor whose mixture is 0 stays 0, where theirs is 0/0.
- Encoders and heads are known as such; theirs are found by the word "head" in a name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.fields import above
from mmtrain.methods.base import Method, Run
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs

# Of the authors' solver: where the shorter gradient alone has least norm, the other keeps so much.
_LEAST = 1e-3


def inner(one: Sequence[Tensor], other: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Inner product of two gradients, each a tensor a parameter, as one vector each."""
    return torch.stack([(a * b).sum() for a, b in zip(one, other, strict=True)]).sum()


def fused_weight(
    fused: Float[Tensor, ""], own: Float[Tensor, ""], product: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """``c``, the weight of the fused gradient ``g_1`` against the modality's own ``g_2``.

    1/2 where ``<g_1, g_2> > 0``; else ``c`` of least ``||c g_1 + (1 - c) g_2||``, which is
    ``(||g_2||^2 - <g_1, g_2>) / ||g_1 - g_2||^2``, in [0.001, 0.999].

    Args:
        fused: ``||g_1||^2``.
        own: ``||g_2||^2``.
        product: ``<g_1, g_2>``.
    """
    apart = fused + own - 2 * product
    least = (own - product) / torch.where(apart > 0, apart, 1)
    least = torch.where(product >= own, _LEAST, torch.where(product >= fused, 1 - _LEAST, least))
    return torch.where(product > 0, 0.5, least)


def integrated(
    fused: Tensor, own: Tensor, c: Float[Tensor, ""], gamma: float
) -> Float[Tensor, "..."]:
    """``gamma n max(||g_1 + g_2|| / ||n||, 1)`` with ``n = 2 c g_1 + 2 (1 - c) g_2``.

    Args:
        fused: ``g_1`` of one tensor.
        own: ``g_2`` of it.
        c: See `fused_weight`.
        gamma: Factor on it all.
    """
    mixed = 2 * c * fused + 2 * (1 - c) * own
    length = mixed.norm()
    longer = (fused + own).norm() / torch.where(length > 0, length, 1)
    whole: Tensor = gamma * mixed * longer.clamp(min=1)
    return whole


@dataclass(kw_only=True, eq=False)
class MMPareto(Method):
    """Mixes each encoder's gradients of the fused and of its own loss so that neither suffers.

    ``L = CE(f, y) + sum_m CE(u^m, y)``. For the encoder of ``m``, with ``g_1`` of ``CE(f, y)`` and
    ``g_2`` of ``CE(u^m, y)``: ``n = g_1 + g_2`` where ``<g_1, g_2> > 0``, else ``n = 2 c g_1 +
    2 (1 - c) g_2`` of least norm; each of its tensors is updated by
    ``gamma n max(||g_1 + g_2|| / ||n||, 1)``. Fusion and heads are left alone.

    Cost: a second backward pass through the encoders beside that of `joint`; a linear layer a
    modality more.

    Remembers: nothing.

    Logs by modality ``cosine`` of the two gradients, ``fused_weight``, which is ``c``, and
    ``scale``, the length of the new gradient over that of the sum.

    Args:
        rescale: ``gamma``, the factor on the encoders' gradients, above 0; with 1 and no conflict
            the method is `multitask`.
    """

    rescale: float = above(0, default=1.5)

    def setup(self, run: Run) -> None:
        run.adopt(run.model.add_heads())

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Tensor:
        return reduce(
            torch.add, (task.losses(z, target) for z in (out.fused, *out.logits.values()))
        )

    def step(self, run: Run, batch: Batch) -> None:
        out = run.model(batch)
        run.observe(out, batch)
        own = {}
        for modality, logits in out.logits.items():
            loss = run.task.losses(logits, batch.target).mean()
            own[modality] = run.gradients(loss, run.model.encoders[modality])
            run.average(own[modality])
        with torch.autocast(run.device.type, enabled=False):
            apart = {m: run.model.heads[m](x.detach()) for m, x in out.features.items()}
        stopped = Outputs(fused=out.fused, logits=apart, features=out.features)
        with run.update(self.loss(run, stopped, batch)):
            run.average_gradients()
            for modality, gradients in own.items():
                self._integrate(run, modality, gradients)

    def _integrate(self, run: Run, modality: str, own: Sequence[Tensor]) -> None:
        """Puts the mixture in the place of an encoder's gradient of the fused loss."""
        trained = [p for p in run.model.parameters_of(modality) if p.requires_grad]
        pairs = [
            (p.grad, gradient)
            for p, gradient in zip(trained, own, strict=True)
            if p.grad is not None
        ]
        if not pairs:  # A frozen encoder.
            return
        fused, theirs = zip(*pairs, strict=True)
        square, other, product = inner(fused, fused), inner(theirs, theirs), inner(fused, theirs)
        c = fused_weight(square, other, product)
        mixed = [integrated(g, h, c, self.rescale) for g, h in pairs]
        whole = (square + other + 2 * product).clamp(min=0).sqrt()
        tiny = torch.finfo(whole.dtype).tiny
        run.log(
            **{
                f"cosine.{modality}": product / (square.sqrt() * other.sqrt()).clamp(min=tiny),
                f"fused_weight.{modality}": c,
                f"scale.{modality}": inner(mixed, mixed).sqrt() / whole.clamp(min=tiny),
            }
        )
        torch._foreach_copy_([*fused], mixed)
