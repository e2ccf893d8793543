"""A method of one's own: each modality's own loss counts by how far the modality is behind.

mmtrain methods --check own_method.py:CatchUp
mmtrain train --data out/keypad --recipe keypad --method own_method.py:CatchUp --out runs/mine
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mmtrain import Batch, Method, Outputs
from mmtrain.fields import above, between
from mmtrain.methods.base import Run, state


def weights(losses: Mapping[str, float], temperature: float) -> dict[str, float]:
    """``w^m``: 1 for all where the losses are level, more for a modality that is behind."""
    values = torch.tensor([*losses.values()]) / temperature
    return dict(zip(losses, (len(losses) * values.softmax(0)).tolist(), strict=True))


@dataclass(kw_only=True, eq=False)
class CatchUp(Method):
    """A loss for each modality, which weighs more for one that is behind.

    ``L = CE(f, y) + sum_m w^m CE(u^m, y)`` with ``w^m = M softmax(a / T)^m``, where ``a^m`` is a
    moving average of the modality's own loss.

    Remembers: a moving average of each modality's loss; never reset, and saved.

    Args:
        temperature: Temperature ``T``; a high one makes the weights equal.
        memory: Share of the past in the moving averages, in [0, 1).
    """

    # Fields are parameters that `--set method.NAME=VALUE` takes, with their checks.
    temperature: float = above(0, default=1.0)
    memory: float = between(0, 1, ends="[)", default=0.9)
    # What a method remembers is declared, so that checkpoints have it and a run can resume.
    averages: dict[str, float] = state(default_factory=dict)

    def loss(self, run: Run, out: Outputs, batch: Batch) -> Tensor:
        """The loss that is minimised; the rest of a step is inherited."""
        fused = run.task.losses(out.fused, batch.target).mean()
        own = {m: run.task.losses(z, batch.target).mean() for m, z in out.logits.items()}
        for modality, loss in own.items():
            # The mean over the processes that train together, so that all have the same weights.
            now = run.mean(loss.detach()).item()
            before = self.averages.get(modality, now)
            self.averages[modality] = self.memory * before + (1 - self.memory) * now
        weight = weights(self.averages, self.temperature)
        run.log(**{f"weight.{modality}": weight[modality] for modality in own})
        return fused + torch.stack([weight[m] * loss for m, loss in own.items()]).sum()
