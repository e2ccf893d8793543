"""MSES: modality-specific early stopping (Fujimori, Endo, Kawai & Mochizuki, ACPR 2020).

A modality whose own loss on val has not fallen for some time is done: it goes back to where that
loss was lowest and learns no more, while the others go on. Known from AGM's code and from tables;
the paper itself has not been available to us.

Differs from AGM's code, which has it as a baseline:

- Loss is that on val; theirs is on test.
- What goes back is the modality's encoder and head, with their momentum; theirs is the whole model,
  which throws the other modalities back as well: ``restores=model``.
- A modality that is stopped stays bit for bit. There its gradients are multiplied by 0, while
  momentum, weight decay and batch normalisation go on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from typing import Any, Final, cast

import torch
from torch import Tensor

from mmtrain.fields import at_least, one_of
from mmtrain.methods.base import Method, Run, state
from mmtrain.methods.shared.frozen import features_of
from mmtrain.methods.shared.late_fusion import fuse_late
from mmtrain.methods.shared.validation import measured_by_modality, require_val
from mmtrain.models.fusions.sum import Sum
from mmtrain.types import Batch

_PAST: Final = 0.6  # Share of the past in a smoothed loss.


def smoothed(losses: Sequence[float], smoothing: str = "two-tap") -> list[float]:
    """``l_t = .6 v_{t-1} + .4 v_t`` of losses ``v``, from ``l_0 = v_0``.

    Args:
        losses: ``v`` of the epochs, in their order.
        smoothing: ``two-tap``, as above; ``average``, which is ``l_t = .6 l_{t-1} + .4 v_t``.
    """
    smooth = [*losses[:1]]
    for before, loss in pairwise(losses):
        past = smooth[-1] if smoothing == "average" else before
        smooth.append(_PAST * past + (1 - _PAST) * loss)
    return smooth


def best_epoch(losses: Sequence[float]) -> int:
    """The first epoch of the lowest loss."""
    return min(range(len(losses)), key=losses.__getitem__)


@dataclass(kw_only=True, eq=False)
class MSES(Method):
    """Stops each modality at its own time.

    ``L = CE(sum_m u^m, y)``. After each epoch ``l_t^m = .6 v_{t-1}^m + .4 v_t^m`` of the loss ``v``
    of a modality's own logits on val. Where ``t - argmin l^m > P``, the modality's encoder and head
    go back to the epoch of ``argmin l^m`` and are trained no more. The run ends early when all are
    stopped. Which epoch is the best is up to the fused logits, as in every run.

    It brings its own fusion, the sum of a linear layer for each modality; the one that the run
    chooses is not used.

    Cost: that of `joint`, and no backward pass of what is stopped.

    Remembers: the losses, a number a modality and epoch; who is stopped; and of each modality that
    is not, its weights and optimizer state of its best epoch, together one more model (with
    ``restores=model`` one for each modality); saved.

    Logs ``smoothed`` by modality, its newest ``l``, and ``stopped``, 1 where it is.

    Args:
        stop_after: ``P``, the patience in epochs.
        smoothing: ``two-tap``, as above and in AGM's code; ``average`` has the smoothed loss of the
            epoch before in the place of ``v_{t-1}``.
        restores: ``modality``, or ``model``, by which all go back when one is stopped.
    """

    stop_after: int = at_least(0, default=80)
    smoothing: str = one_of("two-tap", "average")
    restores: str = one_of("modality", "model")
    losses: dict[str, list[float]] = state(default_factory=dict)
    stopped: list[str] = state(default_factory=list)
    kept: dict[str, Any] = state(default_factory=dict)

    def setup(self, run: Run) -> None:
        require_val(run, "mses")
        fuse_late(run)
        self.losses = {m: [] for m in run.model.modalities}

    def fit(self, run: Run) -> None:
        for _ in run.epochs():
            if not run.position:
                self.judge(run)
                if len(self.stopped) == len(self.losses):
                    return
            run.train_epoch(self)
            for modality, losses in self.losses.items():
                run.log(**{f"stopped.{modality}": float(modality in self.stopped)})
                if losses:
                    newest = smoothed(losses, self.smoothing)[-1]
                    run.log(**{f"smoothed.{modality}": newest})

    def judge(self, run: Run) -> None:
        """Takes the losses of the last epoch, and stops who is overdue."""
        for modality, loss in (measured_by_modality(run, "loss") or {}).items():
            if modality in self.stopped:
                continue
            self.losses[modality].append(loss)
            smooth = smoothed(self.losses[modality], self.smoothing)
            waited = len(smooth) - 1 - best_epoch(smooth)
            if not waited:
                self.kept[modality] = run.snapshot(*self.parts(run, modality))
            elif waited > self.stop_after:
                run.restore(self.kept.pop(modality))
                self.stopped.append(modality)

    def parts(self, run: Run, modality: str) -> tuple[torch.nn.Module, ...]:
        """Modules that go back when the modality is stopped."""
        if self.restores == "model":
            return (run.model,)
        head = cast("Sum", run.model.fusion).heads[modality]
        return run.model.encoders[modality], head

    def step(self, run: Run, batch: Batch) -> None:
        trained = [m for m in run.model.modalities if m not in self.stopped]
        out = run.model.classify(features_of(run.model, trained, batch))
        run.observe(out, batch)
        logits = [z if m in trained else z.detach() for m, z in out.logits.items()]
        fused: Tensor = reduce(torch.add, logits)
        run.minimise(self.loss(run, replace(out, fused=fused), batch))
