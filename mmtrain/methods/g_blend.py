"""G-Blend: gradient blending (Wang, Tran & Feiszli, CVPR 2020, Alg. 1 and 2).

Weighs the losses of all heads, each modality's own and the fused one, by how much each generalises
and how little it overfits. To know, each head is trained alone for a while, in a trial.

Differs from the paper:
- Loss is measured on the run's val, which also chooses the best epoch, and never on test.
- A head whose loss on val rises gets nothing, and overfitting counts as at least ``floor``: the
  quotient is negative there, or without bound. Where no head gains, all weigh the same.
- The last probes of a run are no longer than what is left of it.

Differs from the authors' code, which has no estimate, only weights of three data sets (audio,
visual, fused): .014, .630, .356 on Kinetics-400, .239, .384, .377 on AudioSet, .524, .247, .229 on
verbs of EPIC-Kitchens. ``given`` takes such weights.

BalanceBenchmark's version takes the absolute value of the quotient, adds losses up over batches, so
that train and val differ in scale, probes modalities by the fused head with the other inputs at 0,
and forgets momentum. Here losses are means, heads are the modalities' own, and a trial leaves no
trace.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.fields import above, at_least
from mmtrain.methods.base import Method, Run, state
from mmtrain.methods.shared.numbers import named_numbers
from mmtrain.methods.shared.validation import require_val
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs

FUSED: Final = "fused"  # Name of the head of all modalities.


class Growth(NamedTuple):
    """Outcome of a probe, by head.

    Attributes:
        gain: ``G``, how much the loss on val has fallen.
        overfitting: ``O``, how much the gap between val and train has grown.
    """

    gain: Float[Tensor, " heads"]
    overfitting: Float[Tensor, " heads"]


def growth(train: Float[Tensor, "heads 2"], val: Float[Tensor, "heads 2"]) -> Growth:
    """``G = V_0 - V_1`` and ``O = (V_1 - T_1) - (V_0 - T_0)`` of losses before and after (Alg. 1).

    Args:
        train: ``T_0`` and ``T_1``, mean losses on train.
        val: ``V_0`` and ``V_1``, mean losses on val.
    """
    gap = val - train
    return Growth(val[:, 0] - val[:, 1], gap[:, 1] - gap[:, 0])


def blended(grown: Growth, floor: float) -> Float[Tensor, " heads"]:
    """``w_k = G_k / O_k^2``, over their sum (Alg. 1); all equal where no head gains.

    Args:
        grown: ``G``, of which what is below 0 counts as 0, and ``O``.
        floor: Least ``|O|`` that counts, above 0.
    """
    raw = grown.gain.clamp(min=0) / grown.overfitting.abs().clamp(min=floor).square()
    total = raw.sum()
    return torch.where(total > 0, raw / total, 1 / len(raw))


def logits_of(model: MultimodalModel, head: str, batch: Batch) -> Float[Tensor, "batch classes"]:
    """Logits of a modality's own head, which runs its encoder only, or of the fused one."""
    if head == FUSED:
        return model(batch).fused
    feature = model.feature(head, batch)
    with torch.autocast(feature.device.type, enabled=False):
        logits: Tensor = model.heads[head](feature)
    return logits


@dataclass(kw_only=True, eq=False)
class Probe(Method):
    """Trains one head, and whatever is below it, alone.

    Args:
        head: Modality, or ``fused``.
    """

    head: str

    def step(self, run: Run, batch: Batch) -> None:
        logits = logits_of(run.model, self.head, batch)
        run.minimise(run.task.losses(logits, batch.target).mean())


@dataclass(kw_only=True, eq=False)
class GBlend(Method):
    """Weighs each modality's loss and the fused one by how well its head generalises.

    ``L = sum_m w_m CE(u^m, y) + w_f CE(f, y)`` with ``w_k = G_k / O_k^2 / Z``: each head is trained
    alone for ``n`` epochs from the weights as they are, by which its loss on val falls by ``G`` and
    the gap between val and train grows by ``O``. The prediction is ``f``.

    Cost: that of `joint` and a linear layer a modality; and, each time that weights are estimated,
    ``n`` epochs of each modality alone and of all together, a pass of all heads over train and val
    before, and one of each behind its probe. Online that is 3x with two alike; offline it is once.

    Remembers: the weights, M + 1 numbers, until the next estimate; saved.

    Logs ``weight`` by head, modalities and ``fused``, and in epochs that begin with an estimate
    ``gain`` and ``overfitting``.

    Args:
        interval: ``n``, epochs of a probe, and online also between two estimates.
        online: Whether weights are estimated again and again, or once, before the first epoch.
        floor: Least overfitting that counts, in nats, above 0; what is smaller is noise of the
            measurement.
        given: Weights instead of an estimate, as ``audio=0.36,visual=0.27,fused=0.37``.
    """

    interval: int = at_least(1, default=10)
    online: bool = True
    floor: float = above(0, default=0.01)
    given: str = ""
    weights: Tensor = state(default_factory=partial(torch.zeros, 0))

    def setup(self, run: Run) -> None:
        if not self.given:
            require_val(run, "g-blend")
        run.adopt(run.model.add_heads())
        heads = self.heads(run)
        weights = {head: 1 / len(heads) for head in heads}
        if self.given:
            weights = named_numbers("given weights", self.given, heads)
        self.weights = torch.tensor([*weights.values()], device=run.device)

    def fit(self, run: Run) -> None:
        for epoch in run.epochs():
            due = epoch % self.interval == 0 if self.online else epoch == 0
            if due and not run.position and not self.given:
                self.estimate(run)
            run.train_epoch(self)
            run.log(**by_head("weight", self.heads(run), self.weights))

    def heads(self, run: Run) -> tuple[str, ...]:
        """Names of the heads, the fused one last."""
        return (*run.model.modalities, FUSED)

    def estimate(self, run: Run) -> None:
        """Sets the weights by a trial of each head."""
        heads = self.heads(run)
        before = initial_losses(run, heads)
        losses = [torch.stack([before[head], self.probed(run, head)], 1) for head in heads]
        train, val = torch.stack(losses).unbind(1)
        grown = growth(train, val)
        # The mean, for ranks on unlike devices may round differently.
        self.weights = run.mean(blended(grown, self.floor).float())
        run.log(**by_head("gain", heads, grown.gain))
        run.log(**by_head("overfitting", heads, grown.overfitting))

    def probed(self, run: Run, head: str) -> Float[Tensor, "2"]:
        """Mean losses of a head on train and val, after it was trained alone."""
        probe = Probe(head=head)
        with run.trial():
            for _ in range(min(self.interval, run.planned - run.epoch)):
                run.train_epoch(probe)
            return mean_losses(run, head)

    def sample_losses(self, task: Task, out: Outputs, target: Tensor) -> Tensor:
        logits = (*out.logits.values(), out.fused)
        losses = torch.stack([task.losses(z, target) for z in logits])
        return (self.weights[:, None] * losses).sum(0)


def mean_losses(run: Run, head: str) -> Float[Tensor, "2"]:
    """Mean losses of a head on train and on val, in the view of evaluation."""

    def losses(batch: Batch) -> Tensor:
        return run.task.losses(logits_of(run.model, head, batch), batch.target)

    # Samples that were skipped as damaged have none.
    return torch.stack([run.score(losses, s).double().nanmean() for s in ("train", "val")])


def initial_losses(run: Run, heads: Sequence[str]) -> dict[str, Float[Tensor, "2"]]:
    """Head to its `mean_losses`, of the weights as they are: one pass of the model for all heads.

    Args:
        run: The run.
        heads: Modalities, and ``fused``.
    """

    def losses(batch: Batch) -> dict[str, Tensor]:
        out = run.model(batch)
        logits = {**out.logits, FUSED: out.fused}
        return {head: run.task.losses(logits[head], batch.target) for head in heads}

    train, val = (run.score(losses, split) for split in ("train", "val"))
    return {h: torch.stack([s[h].double().nanmean() for s in (train, val)]) for h in heads}


def by_head(name: str, heads: Sequence[str], values: Tensor) -> dict[str, Tensor]:
    """``name.head`` to its value, as it is logged."""
    return {f"{name}.{head}": value for head, value in zip(heads, values.unbind(), strict=True)}
