"""Facts about samples that training itself has shown within an epoch, for a curriculum."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.curricula.base import Curriculum
from mmtrain.training.passes import EvaluationPass
from mmtrain.types import Batch, Outputs


@dataclass
class Observations:
    """Collects a curriculum's facts, if it takes them from training.

    Attributes:
        curriculum: Curriculum that names the facts and remembers them.
        evaluation: Method, task, ranks and device of the run.
    """

    curriculum: Curriculum
    evaluation: EvaluationPass
    _ids: list[Tensor] = field(default_factory=list)
    _values: list[Tensor] = field(default_factory=list)

    @property
    def wanted(self) -> bool:
        """Whether the curriculum takes its facts from training."""
        memory = self.curriculum.memory
        return memory is not None and memory.observes

    def add(self, out: Outputs, batch: Batch) -> None:
        """Takes the facts of one batch."""
        with torch.no_grad():
            facts = self.curriculum.facts(out, batch, self.evaluation.method, self.evaluation.task)
        self._ids.append(batch.ids)
        self._values.append(torch.stack([facts[name].float() for name in self._names], -1))

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Ids (k,), ascending, and facts (k, columns) of the epoch so far, of all ranks."""
        none = torch.empty(0, dtype=torch.int64, device=self.evaluation.device)
        ids = self.evaluation.ranks.gather(torch.cat([none, *self._ids]))
        empty = none.new_empty(0, len(self._names)).float()
        values = self.evaluation.ranks.gather(torch.cat([empty, *self._values]))
        # Sorted, so that sums over visits do not depend on how samples were dealt to ranks.
        ids, order = ids.sort(stable=True)
        return ids, values[order]

    def load(self, saved: Sequence[Tensor]) -> None:
        """Goes on from `tensors` that were saved; only one rank may, or they would count twice."""
        ids, values = (tensor.to(self.evaluation.device) for tensor in saved)
        self._ids, self._values = [ids], [values]

    def hand_over(self, samples: NDArray[np.int64], epoch: int) -> None:
        """Gives the facts of ``epoch`` to the curriculum's memory, and forgets them.

        Args:
            samples: Ids (n,) of the memory's samples, ascending.
            epoch: Epoch that is over.
        """
        memory = self.curriculum.memory
        if memory is None or not memory.observes:
            return
        ids, values = self.tensors()
        columns = dict(zip(self._names, values.T.cpu().numpy(), strict=True))
        memory.observe(np.searchsorted(samples, ids.cpu().numpy()), columns, epoch)
        self._ids, self._values = [], []

    @property
    def _names(self) -> Sequence[str]:
        memory = self.curriculum.memory
        # Checkpoints have two empty columns where there are no facts.
        return memory.columns if memory is not None and memory.observes else ("", "")
