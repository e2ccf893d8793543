"""Passes over samples without training: eval mode, no gradients, no chance, shared by the ranks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.curricula.memory import Judged
from mmtrain.functional import agreement
from mmtrain.methods.base import Method
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.tasks.task import Task
from mmtrain.training.feed import Feed
from mmtrain.training.ranks import Ranks
from mmtrain.types import Batch, Outputs


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Forward passes in ``precision``."""
    # Without the cache, which would serve stale weights after an update inside a step.
    enabled = precision == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)


class Judging:
    """What a model says of samples.

    Args:
        method: Method that predicts.
        task: Kind of the targets.
        model: On ``device``.
        feed: Gives the samples.
        ranks: Each looks at its share, and all get the whole answer.
        device: Where to compute.
        precision: Of the forward passes.
    """

    def __init__(
        self,
        method: Method,
        task: Task,
        model: MultimodalModel,
        feed: Feed,
        ranks: Ranks,
        device: torch.device,
        precision: str,
    ) -> None:
        self._method, self._task, self._model, self._feed = method, task, model, feed
        self._ranks, self._device, self._precision = ranks, device, precision

    def scored(self, fn: Callable[[Batch], Tensor], ids: NDArray[np.int64]) -> Tensor:
        """(n, ...) what ``fn`` says of each of ``ids``, which ascend, float32, on the CPU.

        NaN for a sample that was skipped as damaged.
        """
        seen, said = [], []
        with self._still():
            for batch in self._feed.over(ids):
                here = batch.to(self._device)
                real = ~here.filler
                seen.append(here.ids[real])
                said.append(fn(here)[real].float())
        places = np.searchsorted(ids, self._ranks.gather(torch.cat(seen)).cpu().numpy())
        values = self._ranks.gather(torch.cat(said)).cpu()
        rows = values.new_full((len(ids), *values.shape[1:]), torch.nan)
        rows[torch.from_numpy(places)] = values
        return rows

    def judged(self, ids: NDArray[np.int64]) -> Judged:
        """What the model says of ``ids``, for a curriculum."""

        def fn(batch: Batch) -> Tensor:
            return self.said(self._method.predict_trained(self._model, batch), batch)

        return Judged(*self.scored(fn, ids).T.contiguous().numpy())

    def said(self, out: Outputs, batch: Batch) -> Tensor:
        """(b, 2) similarity of the modalities' probabilities, and loss."""
        with torch.no_grad():
            alike = agreement({m: z.float().softmax(-1) for m, z in out.logits.items()})
            return torch.stack(
                [alike, self._method.sample_losses(self._task, out, batch.target).float()], -1
            )

    def measured(self, split: str, refused: Callable[[Batch], Exception]) -> dict[str, Any]:
        """`mmtrain.metrics.of_outputs` of what the method predicts on ``split``.

        Args:
            split: Its name.
            refused: What to raise where a prediction is not finite.
        """
        modalities = self._model.modalities

        def logits(batch: Batch) -> Tensor:
            out = self._method.predict(self._model, batch)
            if not bool(out.fused.isfinite().all()):
                raise refused(batch)
            return torch.stack([out.fused, *(out.logits[m] for m in modalities)], 1)

        ids = self._feed.dataset.ids(split)
        found = self.scored(logits, ids)
        whole = ~found[:, 0, 0].isnan()  # The others were skipped as damaged.
        fused, *own = found[whole].unbind(1)
        target = torch.from_numpy(self._feed.dataset.targets[ids].astype(np.int64))[whole]
        return self._task.measures(fused, dict(zip(modalities, own, strict=True)), target)

    @contextmanager
    def _still(self) -> Iterator[None]:
        training = self._model.training
        self._model.eval()
        try:
            with torch.no_grad(), autocast(self._device, self._precision):
                yield
        finally:
            self._model.train(training)
