"""Evaluation of a trained run: one pass over a split gives every measure that a table needs."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.errors import DataError, RunError
from mmtrain.evaluation.missing import Missing
from mmtrain.evaluation.open_run import open_run, require_split, write_json
from mmtrain.metrics import mean_and_std
from mmtrain.tasks.annotations import Annotations
from mmtrain.tasks.task import Task
from mmtrain.training.passes import leads
from mmtrain.training.run import Run
from mmtrain.training.train import named_task
from mmtrain.types import Batch

log = logging.getLogger(__name__)

Masks: TypeAlias = Sequence[Mapping[str, NDArray[np.bool_]]]


class Predictions(NamedTuple):
    """Logits of the samples of a split, (n, C) each, on the CPU.

    Attributes:
        ids: (n,) ids of the samples; damaged samples that were skipped are not among them.
        fused: Logits of all modalities together.
        by_modality: Modality to its own logits.
        masked: Fused logits for each of the masks.
    """

    ids: NDArray[np.int64]
    fused: Tensor
    by_modality: dict[str, Tensor]
    masked: list[Tensor]


def evaluate(
    folder: Path,
    *,
    split: str = "test",
    missing: Missing | None = None,
    data: str | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Evaluates the best weights of the run in ``folder``, and writes RUN/eval-SPLIT.json.

    Args:
        folder: Folder of the run.
        split: Name of the split, which is predicted once as it is and once for each draw of
            missing modalities.
        missing: Modalities to take away, if any.
        data: Place of the shards, if they have moved.
        device: Device to compute on, if not the one of training.

    Returns:
        The content of the file: the measures of the split, fused and by modality, ``samples`` and,
        for a run that skips damaged samples, how many were ``skipped``, ``discrepancy`` (OGM's
        ``rho`` of each modality over the split, where the task has it), ``missing``, one object
        for each setting, and what `Task.details` gives: in classification ``by_class`` and
        ``confusion`` (rows are true classes, columns predicted ones).

    Raises:
        ConfigError: No such run, split or modality, or no best weights yet.
        DataError: The weights are damaged or were trained on other data, or a sample is damaged.
        RunError: A prediction is not finite.
    """
    missing = missing or Missing()
    with open_run(folder, data, device) as run:
        require_split(run, split)
        dataset, modalities = run.feed.dataset, run.model.modalities
        listed = len(dataset.ids(split))
        masks = [mask for setting in missing.masks(modalities, listed) for mask in setting]
        log.info("%s: predicting %d samples, %d times", split, listed, 1 + len(masks))
        ids, fused, by_modality, masked = predictions(run, split, masks)
        truth = dataset.annotations.of(ids)
        report = {
            "run": str(folder),
            "method": run.config.method,
            **named_task(run.task.name),
            "best_epoch": run.best["epoch"],
            "split": split,
            "samples": len(ids),
            "skipped": listed - len(ids),
            "classes": list(run.classes),
            **run.task.measures(fused, by_modality, truth),
            **run.task.details(fused, truth),
            "discrepancy": leads(run.task, by_modality, truth),
            "missing": _over_draws(missing, masked, run.task, truth),
        }
    write_json(folder / f"eval-{split}.json", report)
    return report


def predictions(run: Run, split: str, masks: Masks = ()) -> Predictions:
    """Predicts the samples of ``split`` in one pass over it, in the order of their ids.

    Args:
        run: Run with the weights to use.
        split: Name of the split.
        masks: For each further prediction, modality to (n,), True for samples that keep it.

    Raises:
        DataError: Every sample of the split is damaged.
        RunError: A prediction is not finite.
    """
    ids, modalities = run.feed.dataset.ids(split), run.model.modalities
    tensors = [{m: torch.from_numpy(shown) for m, shown in mask.items()} for mask in masks]
    broken: list[int] = []

    def predicted(batch: Batch) -> Tensor:
        out = run.method.predict(run.model, batch)
        each = [out.fused, *(out.logits[m] for m in modalities)]
        rows = torch.from_numpy(np.searchsorted(ids, batch.ids.cpu().numpy()))
        for mask in tensors:
            hidden = {m: ~keep[rows].to(run.device) for m, keep in mask.items()}
            each.append(run.method.predict(run.model, batch.hiding(**hidden)).fused)
        logits = torch.stack([z.float() for z in each], dim=1)
        broken.extend(batch.ids[~finite_rows(logits) & ~batch.filler].tolist())
        return logits

    logits = run.score(predicted, split).cpu()
    if broken:
        raise RunError(
            f"{run.folder}: the model gives no number for {len(broken)} samples of {split}, "
            f"{run.feed.dataset.key(min(broken))} among them; train it again with a lower lr, or "
            "set clip"
        )
    # Rows that are still NaN were never predicted: their samples are damaged and were skipped.
    there = finite_rows(logits)
    if not bool(there.any()):
        raise DataError(f"{run.config.data}: every sample of {split} is damaged")
    fused, *rest = logits[there].unbind(1)
    by_modality = dict(zip(modalities, rest, strict=False))
    return Predictions(ids[there.numpy()], fused, by_modality, rest[len(modalities) :])


def finite_rows(values: Tensor) -> Tensor:
    """(n,) True for each row of (n, ...) ``values`` that has no NaN and no infinity."""
    return values.isfinite().flatten(1).all(1)


def _over_draws(
    missing: Missing, masked: Sequence[Tensor], task: Task, data: Annotations
) -> list[dict[str, Any]]:
    """One object for each setting, from the fused logits (n, C) of each draw of each setting."""
    settings = []
    for i, rates in enumerate(missing.rates):
        draws = masked[i * missing.draws :][: missing.draws]
        by_draw = [task.measures(logits, {}, data) for logits in draws]
        settings.append(
            {
                "rates": dict(rates),
                "draws": missing.draws,
                "seed": missing.seed,
                **{
                    name: mean_and_std([m[name] for m in by_draw])
                    for name in task.measured
                    if all(m.get(name) is not None for m in by_draw)
                },
            }
        )
    return settings
