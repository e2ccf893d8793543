"""InfoReg: information acquisition regulation (Huang et al., CVPR 2025, arXiv 2503.18595, Sec. 3).

While encoders still take in information fast, the prime learning window, the one that is ahead is
drawn back to where it was at the start of the epoch, so that the others get their share.

The paper has two modalities. With more, each whose score is above the mean of the others' is drawn.

Differences from the authors' code:

- ``beta`` is one number. Theirs is 0.95 where audio leads and 0.1 where the visual does; in one of
  its two versions that case cannot be reached.
- Scores are means over the batch. Theirs are sums, by which the tanh is at its end nearly always:
  ``score=sum``.
- Each modality has a window of its own, by the trace of its own encoder. Theirs is that of audio.
- The trace is of all parameters and of the loss alone. Theirs is of weights of convolutions and
  linear layers, each layer's mean, and of the gradient after the pull. Either is the square of a
  mean gradient, not the mean square over samples that a Fisher information would be.
- Three more backward passes, which serve logs, are left out.

Unimodal logits are shares of the fused, as in the later version of their code; the earlier has
heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.fields import at_least, one_of
from mmtrain.functional.modulation import difference, logged_by_modality
from mmtrain.methods.base import Method, Run, state
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs

_SPAN: Final = 10  # Epochs over which traces are averaged, in the authors' code.


def pull(gap: Float[Tensor, " modalities"], beta: float) -> Float[Tensor, " modalities"]:
    """``beta exp(tanh(gap^m))`` where ``gap^m`` is above 0, else 0; at most ``beta e``."""
    return torch.where(gap > 0, beta * gap.tanh().exp(), 0.0)


def growth(traces: Sequence[float]) -> float:
    """``(T_t - T_{t-1}) / T_t``, ``T_t`` the mean of the last ten traces; at most 1.

    Traces before the first epoch count as 0, so for ten epochs it is the last trace over the sum of
    all: 1, then a half where two are equal, and so on. It is 1 before the first.
    """
    if not traces:
        return 1.0
    padded = [0.0] * (_SPAN + 1) + [*traces]
    now, before = sum(padded[-_SPAN:]), sum(padded[-_SPAN - 1 : -1])
    return (now - before) / now if now else 0.0


@dataclass(kw_only=True, eq=False)
class InfoReg(Method):
    """Draws the encoder that is ahead back to where the epoch began, early in training.

    ``L = CE(f, y) + sum_m CE(u^m, y)`` with shares ``u`` of the fused logits. With
    ``s^m = mean_i softmax(u_i^m)[y_i]`` and ``gap^m = s^m - mean_{j != m} s^j``:
    ``g^m <- g^m + beta exp(tanh(gap^m)) (theta^m - theta^m_start)`` where ``gap^m > 0``, while
    ``(T_t - T_{t-1}) / T_t > threshold``; ``T_t`` is the mean over ten epochs of ``||g^m||^2``, the
    trace of the encoder's Fisher information.

    Cost: that of `joint`; two passes over the encoders' gradients more.

    Remembers: the parameters of the encoders whose window is open, at the start of the epoch, as
    large as they are and set anew in each; a trace of each encoder by epoch, eleven at most, and
    the sum of the epoch. All of it is saved, so a checkpoint grows by those encoders.

    Logs ``score``, ``pull`` (0 where the window is closed), ``trace`` and ``growth`` by modality.

    Args:
        beta: Strength of the pull, at least 0.
        score: ``mean`` of the batch's confidences, or their ``sum``, as in the authors' code.
        threshold: Growth of the trace above which the window is open.
    """

    beta: float = at_least(0, default=0.95)
    score: str = one_of("mean", "sum")
    threshold: float = at_least(0, default=0.05)
    start: dict[str, list[Tensor]] = state(default_factory=dict)
    traces: dict[str, list[float]] = state(default_factory=dict)
    squares: Tensor = state(default_factory=partial(torch.zeros, 0))
    steps: int = state(0)

    @property
    def needs(self) -> Needs:
        return {PROBABILITY: "how sure each modality is of the truth"}

    def setup(self, run: Run) -> None:
        self.squares = torch.zeros(len(run.model.modalities), device=run.device)

    def fit(self, run: Run) -> None:
        for _ in run.epochs():
            if not run.position:
                self.begin(run)
            run.train_epoch(self)
            self.end(run)

    def begin(self, run: Run) -> None:
        """Marks where an epoch begins, of the encoders whose window is open."""
        self.squares, self.steps = torch.zeros_like(self.squares), 0
        self.start = {
            m: [p.detach().clone() for p in run.model.parameters_of(m)]
            for m in run.model.modalities
            if growth(self.traces.get(m, [])) > self.threshold
        }

    def end(self, run: Run) -> None:
        """Adds the epoch's traces to those before it."""
        modalities = run.model.modalities
        epoch = [square / max(self.steps, 1) for square in self.squares.tolist()]
        self.traces = {
            m: [*self.traces.get(m, []), trace][-_SPAN - 1 :]
            for m, trace in zip(modalities, epoch, strict=True)
        }
        now = torch.tensor([[t[-1], growth(t)] for t in self.traces.values()]).T
        run.log(**logged_by_modality(modalities, trace=now[0], growth=now[1]))

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Tensor:
        logits = (out.fused, *out.logits.values())
        return torch.stack([task.losses(z, target) for z in logits]).sum(0)

    def modulate(self, run: Run, out: Outputs, batch: Batch) -> None:
        modalities = run.model.modalities
        sums = torch.stack(
            [run.task.confidence(z, batch.target).sum() for z in out.logits.values()]
        )
        scores = run.sum(sums) if self.score == "sum" else run.mean(sums / len(batch))
        pulls = dict(zip(modalities, pull(difference(scores), self.beta), strict=True))
        strength = torch.stack(
            [p if m in self.start else torch.zeros_like(p) for m, p in pulls.items()]
        )
        run.average_gradients()
        self.squares = self.squares + torch.stack([_square(run, m) for m in modalities])
        self.steps += 1
        for m, factor in zip(modalities, strength, strict=True):
            if m in self.start:
                _draw_back([*run.model.parameters_of(m)], self.start[m], factor)
        run.log(**logged_by_modality(modalities, score=scores, pull=strength))


def _square(run: Run, modality: str) -> Float[Tensor, ""]:
    """``||g^m||^2``; 0 where the encoder is frozen."""
    norms = torch._foreach_norm([*run.model.gradients(modality)])
    return torch.stack([torch.zeros((), device=run.device), *norms]).square().sum()


def _draw_back(parameters: Sequence[Tensor], start: Sequence[Tensor], factor: Tensor) -> None:
    """In place ``g <- g + factor (theta - theta_start)``."""
    moved = [(p, s) for p, s in zip(parameters, start, strict=True) if p.grad is not None]
    if not moved:
        return
    differences = torch._foreach_sub([p for p, _ in moved], [s for _, s in moved])
    torch._foreach_mul_(differences, factor)
    torch._foreach_add_([p.grad for p, _ in moved if p.grad is not None], differences)
