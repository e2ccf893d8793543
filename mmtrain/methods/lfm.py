"""LFM: label fitting mixed with alignment of the modalities (Yang et al., NeurIPS 2024).

Early on, unsupervised alignment takes the place of part of the label fitting (Eq. 1). Its weight
falls by a formula (`lfm-h`) or is learned in the outer level of Eq. 2 (`lfm-lb`). Later papers by
the same group also call it LFA, with LFA-H and LFA-LB; their constant and stepwise weights are
`weights` of `lfm-h`.

The paper has two modalities; with more, the alignment loss is the mean over the unordered pairs.

Differs from the authors' code, which is for CREMA-D:
- Theirs aligns softmax outputs of unimodal heads by a reversed Jensen-Shannon divergence, which is
  `align="js"` here. Default is the paper's InfoNCE on features. No source gives ``tau``: ours is
  0.07.
- Theirs averages the logits of two heads. The fusion is whichever is chosen; `sum` is nearest.
- Their heuristic weight is a polynomial of degree 5 in the epoch, fitted to a learned curve. Here
  it is the paper's ``1 - exp(-1 / t)``, for epoch ``t`` from 1; Algorithm 1 would use it late.
- Their gradient of ``alpha`` is the mean over the audio stem of a Hessian times the gradient of the
  label loss, which has neither inverse nor mixed term. Here it is Eq. 3, with the identity in the
  place of the Hessian. Theirs takes both losses of the same 8 held-out samples; here the inner
  losses are of a training batch, as Eq. 2 has it, and only the outer loss is held out.
- Theirs multiplies the loss by 2, and steps ``alpha`` by 1e-4, halved every 20 epochs, which is
  next to nothing. Here the step is constant; 0.01 is ours, about the pace of their fitted curve.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.fields import above, at_least, between, one_of
from mmtrain.functional import infonce
from mmtrain.methods.base import Method, Run, state
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.types import Batch, Outputs

# Range of the learned weight, as in the authors' code: some of either loss always remains.
_LOW, _HIGH = _BOUNDS = (0.05, 0.95)
_WEIGHTS: Final = "0.5, or 0:0.05,50:0.95 for 0.05 from epoch 0 and 0.95 from epoch 50"


def heuristic(t: int) -> float:
    """``alpha_t = 1 - exp(-1 / t)``, the weight of alignment in epoch ``t`` from 1."""
    return -math.expm1(-1 / t)


def weight_steps(text: str) -> dict[int, float]:
    """Epoch, from 0, to the weight in force from there on, in ascending order.

    Args:
        text: One weight, or pairs ``EPOCH:WEIGHT`` with commas between, of which the first is of
            epoch 0; empty gives none.

    Raises:
        ConfigError: No such text, or a weight out of [0, 1].
    """
    pairs = [part.rpartition(":")[::2] for part in text.split(",")] if text else []
    try:
        steps = {int(epoch or 0): float(weight) for epoch, weight in pairs}
    except ValueError:
        steps = {}
    epochs = list(steps)
    rising = len(steps) == len(pairs) and epochs == sorted(epochs) and epochs[:1] in ([], [0])
    if not rising or not all(0 <= weight <= 1 for weight in steps.values()):
        raise ConfigError(f"weights are in [0, 1], such as {_WEIGHTS}; got {text!r}")
    return steps


def reversed_js(
    logits: Mapping[str, Float[Tensor, "batch classes"]],
) -> Float[Tensor, ""]:
    """Mean over pairs and samples of ``(KL(m || p) + KL(m || q)) / 2``, ``m = (p + q) / 2``.

    ``p`` and ``q`` are the softmax of two modalities' logits. In nats, at least 0, without an upper
    bound: unlike the Jensen-Shannon divergence, it has the mean first. From the authors' code.
    """
    log_probs = [z.float().log_softmax(-1) for z in logits.values()]
    losses = []
    for p, q in combinations(log_probs, 2):
        m = torch.logaddexp(p, q) - math.log(2)
        losses.append((m.exp() * (m - (p + q) / 2)).sum(-1).mean())
    return torch.stack(losses).mean()


def hypergradient(
    fitting: Sequence[Tensor], aligning: Sequence[Tensor], outer: Sequence[Tensor]
) -> Float[Tensor, ""]:
    """``-<grad L_MM - grad L_CLS, v>``: Eq. 3 with ``v = grad L_CLS`` of held-out samples.

    The inverse Hessian in front of ``v`` is left out. Up to the rate, the result is the gradient of
    the held-out loss through one step of SGD.

    Args:
        fitting: Gradients of ``L_CLS`` for training samples.
        aligning: Gradients of ``L_MM`` for the same samples and parameters.
        outer: Gradients of ``L_CLS`` for held-out samples.
    """
    mixed = torch._foreach_sub(list(aligning), list(fitting))
    products = [m.flatten().dot(v.flatten()) for m, v in zip(mixed, outer, strict=True)]
    return -torch.stack(products).sum()


@dataclass(kw_only=True, eq=False)
class LFM(Method):
    """Base of both forms: ``L = (1 - alpha) CE(f, y) + alpha L_MM``.

    Args:
        align: ``infonce`` on features, or ``js``, the reversed Jensen-Shannon divergence of the
            modalities' probabilities (authors' code).
        temperature: ``tau`` of InfoNCE, above 0.
    """

    align: str = one_of("infonce", "js", kind="alignment")
    temperature: float = above(0, default=0.07)

    @property
    def needs(self) -> Needs:
        use = "the divergence of align=js; infonce has no need of it"
        return {PROBABILITY: use} if self.align == "js" else {}

    def setup(self, run: Run) -> None:
        widths = run.model.feature_widths
        if len(widths) < 2:
            raise ConfigError(
                f"lfm aligns two modalities or more; got {', '.join(widths)}. Add one to "
                "--modalities, or choose --method joint"
            )
        if self.align == "infonce" and len({*widths.values()}) > 1:
            raise ConfigError(
                f"InfoNCE compares features of one width; got {widths}. Give the encoders the "
                "same, or set align=js"
            )

    def loss(self, run: Run, out: Outputs, batch: Batch) -> Tensor:
        fitting = self.sample_losses(run.task, out, batch.target).mean()
        aligning = self.alignment(run, out)
        alpha = self.weight(run, fitting, aligning)
        run.log(alpha=alpha, fitting=fitting, alignment=aligning)
        return (1 - alpha) * fitting + alpha * aligning

    def alignment(self, run: Run, out: Outputs) -> Tensor:
        """``L_MM`` of the step's batch."""
        if self.align == "js":
            return reversed_js({m: run.task.decisions(z) for m, z in out.logits.items()})
        return infonce({m: run.gather_rows(z) for m, z in out.features.items()}, self.temperature)

    def weight(self, run: Run, fitting: Tensor, aligning: Tensor) -> float:
        """``alpha`` of this step."""
        raise NotImplementedError


@dataclass(kw_only=True, eq=False)
class Heuristic(LFM):
    """Mixes label fitting with alignment, whose weight falls from epoch to epoch.

    ``L = (1 - alpha_t) CE(f, y) + alpha_t L_MM`` with ``alpha_t = 1 - exp(-1 / t)`` in epoch ``t``:
    0.63, 0.39, 0.28, 0.22, ... ``L_MM`` is the symmetric InfoNCE of the features over the batch,
    averaged over the pairs of modalities.

    Cost: one B x B similarity a pair of modalities.

    Remembers: nothing.

    Args:
        weights: ``alpha`` in the place of the formula: one for the whole run, such as 0.5, or one
            from each given epoch on, counted from 0, such as 0:0.05,50:0.95. With 1 the classifier
            is never trained.
    """

    weights: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        weight_steps(self.weights)

    def weight(self, run: Run, fitting: Tensor, aligning: Tensor) -> float:
        steps = [alpha for start, alpha in weight_steps(self.weights).items() if start <= run.epoch]
        return steps[-1] if steps else heuristic(run.epoch + 1)


@dataclass(kw_only=True, eq=False)
class Learned(LFM):
    """Mixes label fitting with alignment, whose weight is learned on held-out samples.

    ``L = (1 - alpha) CE(f, y) + alpha L_MM``. Before each epoch but the first,
    ``alpha <- clip(alpha - rate * g, 0.05, 0.95)`` with
    ``g = -<grad L_MM - grad CE, grad CE_held>`` over all parameters: the first two of the epoch's
    first batch, the last of a batch of held-out samples. Alignment gains weight where it helps the
    held-out samples more than label fitting does.

    Cost: one B x B similarity a pair of modalities; once an epoch a forward pass of the held-out
    batch and three backward passes.

    Remembers: ``alpha``, and whether its update is due, which each epoch sets; both saved.

    Args:
        start: ``alpha`` of the first epoch, in [0.05, 0.95].
        rate: ``eta_alpha``, the step of ``alpha``.
        held: Samples of the train split that are held out of it; half of them at most.
    """

    start: float = between(*_BOUNDS, default=0.95)
    rate: float = 0.01
    held: int = at_least(1, default=16)
    alpha: float = state(0.0)
    due: bool = state(False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.alpha = self.start

    @property
    def holds_out(self) -> int:
        return self.held

    def fit(self, run: Run) -> None:
        for epoch in run.epochs():
            if not run.position:
                self.due = epoch > 0
            run.train_epoch(self)

    def weight(self, run: Run, fitting: Tensor, aligning: Tensor) -> float:
        if self.due:
            gradient = self.gradient(run, fitting, aligning)
            run.log(hypergradient=gradient)
            self.alpha = min(max(self.alpha - self.rate * gradient, _LOW), _HIGH)
            self.due = False
        return self.alpha

    def gradient(self, run: Run, fitting: Tensor, aligning: Tensor) -> float:
        """The `hypergradient` of all ranks' samples."""
        fit, align = (run.gradients(loss, run.model) for loss in (fitting, aligning))
        held = run.held_out()
        run.model.eval()
        outer = run.gradients(
            self.sample_losses(run.task, run.model(held), held.target).mean(), run.model
        )
        run.model.train()
        run.average([*fit, *align])
        run.average(outer, held)
        return hypergradient(fit, align, outer).item()
