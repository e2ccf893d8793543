"""Passes over samples without training: eval mode, no gradients, no augmentation, all ranks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from mmtrain.functional import discrepancy
from mmtrain.methods.base import IDs, Method
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.annotations import Annotations
from mmtrain.tasks.needs import PROBABILITY
from mmtrain.tasks.task import Task
from mmtrain.training.device import autocast
from mmtrain.training.feed import Feed
from mmtrain.training.ranks import Ranks
from mmtrain.types import Batch

Scored = Tensor | Mapping[str, Tensor]
_ALONE: Final = ""  # Name of the only column, where a function gives one tensor.


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Puts ``model`` in eval mode, and afterwards in the mode that it was in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@dataclass(frozen=True, kw_only=True)
class EvaluationPass:
    """Passes of one model over samples.

    Attributes:
        method: Method that predicts.
        task: Kind of the targets.
        model: Model, on ``device``.
        feed: Source of the samples.
        ranks: Processes that share a pass; all get the whole result.
        device: Device that computes.
        precision: Precision of the forward passes.
    """

    method: Method
    task: Task
    model: MultimodalModel
    feed: Feed
    ranks: Ranks
    device: torch.device
    precision: str

    def score(self, fn: Callable[[Batch], Scored], ids: IDs) -> Any:
        """(n, ...) values of ``fn`` for each of ``ids``, see `methods.base.Run.score`.

        Raises:
            ValueError: No ``ids``, or one that comes twice.
        """
        wanted = np.asarray(torch.as_tensor(ids).cpu())
        order = np.argsort(wanted, kind="stable")
        ascending = wanted[order]
        if not len(wanted) or (np.diff(ascending) == 0).any():
            raise ValueError("scores are of distinct samples, of at least one")
        seen: list[Tensor] = []
        columns: dict[str, list[Tensor]] = {}
        with evaluating(self.model), torch.no_grad(), autocast(self.device, self.precision):
            for batch in self.feed.over(ascending):
                # All rows are real, or none. A mask on a GPU would make the CPU wait for it.
                real = int((~batch.filler).sum())
                seen.append(batch.ids[:real])
                values = fn(batch.to(self.device))
                named = {_ALONE: values} if isinstance(values, Tensor) else values
                for name, column in named.items():
                    columns.setdefault(name, []).append(_plain(column)[:real])
        gathered = self.ranks.gather(torch.cat(seen)).numpy()
        places = torch.from_numpy(order[np.searchsorted(ascending, gathered)])
        rows = {
            name: _placed(self.ranks.gather(torch.cat(parts)), places.to(self.device), len(wanted))
            for name, parts in columns.items()
        }
        return rows[_ALONE] if [*rows] == [_ALONE] else rows

    def measure(self, split: str, refused: Callable[[Tensor], Exception]) -> dict[str, Any]:
        """Measures of what the method predicts on ``split``, and ``rho.<modality>``.

        Args:
            split: Name of the split.
            refused: Makes the error of samples whose prediction is not finite, from their ids.
        """
        modalities = self.model.modalities

        ids_of, finite = list[Tensor](), list[Tensor]()

        def logits(batch: Batch) -> Tensor:
            out = self.method.predict(self.model, batch)
            ids_of.append(batch.ids)
            finite.append(out.fused.isfinite().all())
            return torch.stack([out.fused, *(out.logits[m] for m in modalities)], 1)

        ids = self.feed.dataset.ids(split)
        rows = self.score(lambda batch: {"logits": logits(batch)}, ids)["logits"].cpu()
        # Looked at together: each look makes the CPU wait for a GPU.
        for batch_ids, good in zip(ids_of, torch.stack(finite).tolist(), strict=True):
            if not good:
                raise refused(batch_ids)
        whole = ~rows[:, 0, 0].isnan()  # The others were skipped as damaged.
        fused, *own = rows[whole].unbind(1)
        by_modality = dict(zip(modalities, own, strict=True))
        data = self.feed.dataset.annotations.of(ids[whole.numpy()])
        rho = {f"rho.{m}": value for m, value in leads(self.task, by_modality, data).items()}
        return {**self.task.measures(fused, by_modality, data), **rho}


def leads(task: Task, by_modality: Mapping[str, Tensor], data: Annotations) -> dict[str, float]:
    """Modality to OGM's discrepancy ``rho`` over samples; none where nothing has a probability.

    Args:
        task: Kind of the targets.
        by_modality: Modality to its own logits (n, outputs).
        data: Annotations of the n samples.
    """
    if PROBABILITY not in task.gives:
        return {}
    target = torch.from_numpy(task.targets(data))
    sums = {m: task.confidence(z, target).sum() for m, z in by_modality.items()}
    return {m: value.item() for m, value in discrepancy(sums).items()}


def finite_rows(values: Tensor) -> Tensor:
    """(n,) True for each row of (n, ...) ``values`` that has no NaN and no infinity."""
    return values.isfinite().flatten(1).all(1)


def _plain(values: Tensor) -> Tensor:
    return values.float() if values.is_floating_point() else values.long()


def _placed(values: Tensor, places: Tensor, count: int) -> Tensor:
    """``count`` rows, of which ``values`` are those at ``places``; the others were not seen."""
    unseen = torch.nan if values.is_floating_point() else -1
    rows = values.new_full((count, *values.shape[1:]), unseen)
    rows[places] = values
    return rows
