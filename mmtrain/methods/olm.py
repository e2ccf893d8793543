"""OLM: online logit modulation (Zong et al., IJCAI 2024, pp. 5753-5761).

The logits of each head, one a modality and the fused one, are multiplied by a number in the loss,
which is learned so that the logits of heads that lag become long. Read in the authors' repository;
of the paper only the abstract. Differences from their code:

- Losses are means over samples, theirs sums over a batch: the two forces on a number ``w`` have the
  same proportion, and a last, smaller batch does not pull less.
- The reference of the losses is the first step; theirs is overwritten by every batch of the first
  epoch: ``variant=released``.
- With ``target=generalisation`` the ratios sum to the number of heads, as with ``losses``; theirs
  sum to 1, which draws all numbers down: ``variant=released``. Samples of the train split are held
  out for it, and looked at as in evaluation; theirs are those of val, in training mode, so that
  statistics of batch normalisation have seen them, and the shorter of both ends the epoch.
- One optimizer; theirs has another for ``w``, see ``rate``.
"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.errors import ConfigError
from mmtrain.fields import above, at_least, one_of
from mmtrain.methods.base import Method, Run, state
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs

_LEAST = 1e-6
_NAME = "logit_scales"


def loss_ratios(
    losses: Float[Tensor, " heads"], first: Float[Tensor, " heads"]
) -> Float[Tensor, " heads"]:
    """``r_h = (L_h / L_h^0) / mean_j (L_j / L_j^0)``: high where a loss has fallen little."""
    tiny = torch.finfo(losses.dtype).tiny
    ratios = losses / first.clamp(min=_LEAST)
    return ratios / ratios.mean().clamp(min=tiny)


def generalisation_ratios(
    gain: Float[Tensor, " heads"], fall: Float[Tensor, " heads"]
) -> Float[Tensor, " heads"]:
    """``r = softmax(max(G, 1e-6) / max(O, 1e-6))``, which sum to 1, with ``O = fall - G``.

    Args:
        gain: ``G``, how far the loss of held-out samples has fallen.
        fall: How far the training loss has fallen.
    """
    return (gain.clamp(min=_LEAST) / (fall - gain).clamp(min=_LEAST)).softmax(0)


def scale_penalty(
    scales: Float[Tensor, " heads"],
    norms: Float[Tensor, "heads batch"],
    ratios: Float[Tensor, " heads"],
) -> Float[Tensor, " batch"]:
    """``L_w = sum_h |n_ih - T_ih|`` with ``n_ih = w_h |u_ih|``, ``T_ih = r_h mean_j n_ij``.

    Gradients flow to ``w``, but not through ``T``.

    Args:
        scales: ``w``.
        norms: ``|u_ih|``, without gradient.
        ratios: ``r``.
    """
    lengths = scales[:, None] * norms
    targets = ratios[:, None] * lengths.detach().mean(0)
    return (lengths - targets).abs().sum(0)


@dataclass(kw_only=True, eq=False)
class OLM(Method):
    """Multiplies each head's logits by a number that is learned beside the network.

    ``L = sum_h CE(w_h u_h, y) + sum_h | w_h |u_h| - r_h mean_j (w_j |u_j|) |`` over the modalities'
    own heads and the fused logits; the second sum, averaged over samples, moves ``w`` only, from 1.
    ``r_h = (L_h / L_h^0) / mean_j (L_j / L_j^0)``; or, of ``H`` heads,
    ``r = H softmax(max(G, 1e-6) / max(O, 1e-6))`` with ``G`` the fall of the held-out loss and
    ``O`` that of the training loss beyond it. Prediction: ``f``, without ``w``.

    The gradient of a ``w`` is as large as its logits: without Adam a small ``rate`` is needed.

    Cost: that of `joint`; a linear layer a modality. With ``generalisation`` one more forward pass
    a step, of the held-out samples.

    Remembers: the reference losses, two numbers for each head, set in the first step (in each of
    the first epoch with ``released``), never reset; saved.

    Logs ``scale`` (``w``), ``ratio`` (``r``) and ``loss`` by modality, and of the ``fused``.

    Args:
        target: ``losses`` or ``generalisation``: ``r`` as above.
        variant: ``mended``, or ``released``: the reference and the sum of ``r`` as in the code.
        held: Samples of the train split that are held out for ``generalisation``, at least 1.
        rate: Factor on the learning rate of ``w``, above 0: 10 in the authors' convolutional runs,
            1 with transformers, both with Adam.
    """

    target: str = one_of("losses", "generalisation")
    variant: str = one_of("mended", "released")
    held: int = at_least(1, default=64)
    rate: float = above(0, default=1.0)
    first: Tensor = state(default_factory=partial(torch.zeros, 0))
    begun: bool = state(False)

    @property
    def holds_out(self) -> int:
        return self.held if self.target == "generalisation" else 0

    def setup(self, run: Run) -> None:
        model, heads = run.model, len(run.model.modalities) + 1
        if heads < 3:
            raise ConfigError(f"olm compares modalities; {model.modalities[0]} is alone")
        run.adopt(model.add_heads())
        model.register_parameter(_NAME, nn.Parameter(torch.ones(heads)))
        run.adopt(model.get_parameter(_NAME), rate=self.rate)
        self.first = torch.zeros(2, heads, device=run.device)

    def loss(self, run: Run, out: Outputs, batch: Batch) -> Tensor:
        scales = run.model.get_parameter(_NAME)
        logits = _heads(out)
        losses = _losses(run.task, logits, scales, batch.target)
        ratios = self.ratios(run, run.mean(losses.mean(1)))
        for i, name in enumerate((*out.logits, "fused")):
            run.log(**{f"scale.{name}": scales[i].detach(), f"ratio.{name}": ratios[i]})
            run.log(**{f"loss.{name}": losses[i].detach().mean()})
        return (losses.sum(0) + scale_penalty(scales, logits.detach().norm(dim=-1), ratios)).mean()

    def ratios(self, run: Run, losses: Float[Tensor, " heads"]) -> Float[Tensor, " heads"]:
        """``r`` of the step, equal on all ranks."""
        now = torch.stack([losses, losses])
        if self.target == "generalisation":
            now[1] = self._held_losses(run)
        if not self.begun or (self.variant == "released" and run.epoch == 0):
            self.first, self.begun = now, True
        if self.target == "losses":
            return loss_ratios(losses, self.first[0])
        fall, gain = self.first - now
        ratios = generalisation_ratios(gain, fall)
        return ratios if self.variant == "released" else ratios * len(ratios)

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Tensor:
        # Of all heads, and with w = 1, for outputs do not have it.
        logits = _heads(out)
        return _losses(task, logits, torch.ones_like(logits[:, 0, 0]), target).sum(0)

    @torch.no_grad()
    def _held_losses(self, run: Run) -> Float[Tensor, " heads"]:
        held = run.held_out()
        with run.evaluating():
            logits = _heads(run.model(held))
        scales = run.model.get_parameter(_NAME)
        losses = _losses(run.task, logits, scales, held.target).mean(1)
        run.average([losses], held)
        return losses


def _heads(out: Outputs) -> Float[Tensor, "heads batch classes"]:
    """Logits of each modality, and then the fused."""
    return torch.stack([*out.logits.values(), out.fused])


def _losses(
    task: Task, logits: Tensor, scales: Float[Tensor, " heads"], target: Tensor
) -> Float[Tensor, "heads batch"]:
    """``CE(w_h u_h, y)`` of each sample."""
    return torch.stack([task.losses(w * u, target) for w, u in zip(scales, logits, strict=True)])
