"""Evaluation of a trained run: one pass over a split gives every measure that a table needs."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.data.batches.text import vocabulary_of
from mmtrain.errors import DataError, RunError
from mmtrain.evaluation.measured import read_current, weights_digest
from mmtrain.evaluation.missing import Missing
from mmtrain.evaluation.noise import Draw, Noise, adding_noise
from mmtrain.evaluation.open_run import open_run, require_split, write_json
from mmtrain.metrics import mean_and_std
from mmtrain.modalities import TOKENS, modality
from mmtrain.tasks.annotations import Annotations
from mmtrain.tasks.task import Task
from mmtrain.training.passes import finite_rows, leads
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
        noisy: Fused logits for each level of noise, and for each draw of it.
    """

    ids: NDArray[np.int64]
    fused: Tensor
    by_modality: dict[str, Tensor]
    masked: list[Tensor]
    noisy: list[Tensor]


def evaluate(
    folder: Path,
    *,
    split: str = "test",
    missing: Missing | None = None,
    noise: Noise | None = None,
    data: str | None = None,
    device: str | None = None,
    reuse: bool = False,
) -> dict[str, Any]:
    """Evaluates the best weights of the run in ``folder``, and writes RUN/eval-SPLIT.json.

    Args:
        folder: Folder of the run.
        split: Name of the split, which is predicted once as it is and once for each draw of
            missing modalities and of noise.
        missing: Modalities to take away, if any.
        noise: Noise to put on modalities, if any.
        data: Place of the shards, if they have moved.
        device: Device to compute on, if not the one of training.
        reuse: Whether settings in the file, of the same weights, are kept instead of measured
            again, besides those that are asked for.

    Returns:
        The content of the file: the measures of the split, fused and by modality, ``samples`` and,
        for a run that skips damaged samples, how many were ``skipped``, ``discrepancy`` (OGM's
        ``rho`` of each modality over the split, where the task has it), ``missing`` and ``noise``,
        one object for each setting, ``weights``, the digest of what was measured, and what
        `Task.details` gives: in classification ``by_class`` and ``confusion`` (rows are true
        classes, columns predicted ones).

    Raises:
        ConfigError: No such run, split or modality, or no best weights yet.
        DataError: The weights are damaged or were trained on other data, or a sample is damaged.
        RunError: A prediction is not finite.
    """
    path = folder / f"eval-{split}.json"
    missing, noise = missing or Missing(), noise or Noise()
    before = read_current(path, folder) if reuse else None
    if before is not None:
        missing = replace(missing, rates=_unmeasured(missing, before["missing"], "rates"))
        noise = replace(noise, levels=_unmeasured(noise, before["noise"], "levels"))
        if not missing.rates and not noise.levels:
            return {**before, "run": str(folder)}
    with open_run(folder, data, device) as run:
        report = _report(run, split, missing, noise)
    report["weights"] = weights_digest(folder)
    if before is not None:
        for kind in ("missing", "noise"):
            report[kind] = before[kind] + report[kind]
    write_json(path, report)
    return report


def _report(run: Run, split: str, missing: Missing, noise: Noise) -> dict[str, Any]:
    require_split(run, split)
    dataset, modalities = run.feed.dataset, run.model.modalities
    listed = len(dataset.ids(split))
    masks = [mask for setting in missing.masks(modalities, listed) for mask in setting]
    noise.require(modalities)
    times = 1 + len(masks) + noise.draws * len(noise.levels)
    log.info("%s: predicting %d samples, %d times", split, listed, times)
    ids, fused, by_modality, masked, noisy = predictions(run, split, masks, noise)
    truth = dataset.annotations.of(ids)
    measured = partial(_over_draws, task=run.task, data=truth)
    return {
        "run": str(run.folder),
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
        "missing": measured([{"rates": dict(s)} for s in missing.rates], missing, masked),
        "noise": measured([{"levels": dict(s)} for s in noise.levels], noise, noisy),
    }


def _unmeasured(
    asked: Missing | Noise, before: Sequence[Mapping[str, Any]], name: str
) -> tuple[Mapping[str, float], ...]:
    """The settings that are asked for and not among those measured before."""
    same = [e[name] for e in before if (e["draws"], e["seed"]) == (asked.draws, asked.seed)]
    settings: tuple[Mapping[str, float], ...] = getattr(asked, name)
    return tuple(setting for setting in settings if dict(setting) not in same)


def predictions(run: Run, split: str, masks: Masks = (), noise: Noise | None = None) -> Predictions:
    """Predicts the samples of ``split`` in one pass over it, in the order of their ids.

    Args:
        run: Run with the weights to use.
        split: Name of the split.
        masks: For each further prediction, modality to (n,), True for samples that keep it.
        noise: Noise of still further predictions.

    Raises:
        DataError: Every sample of the split is damaged.
        RunError: A prediction is not finite.
    """
    ids, modalities = run.feed.dataset.ids(split), run.model.modalities
    tensors = [{m: torch.from_numpy(shown) for m, shown in mask.items()} for mask in masks]
    noisy = _NoisyPredictions(run, noise or Noise())
    broken: list[int] = []

    def predicted(batch: Batch) -> Tensor:
        out = run.method.predict(run.model, batch)
        each = [out.fused, *(out.logits[m] for m in modalities)]
        rows = torch.from_numpy(np.searchsorted(ids, batch.ids.cpu().numpy()))
        for mask in tensors:
            hidden = {m: ~keep[rows].to(run.device) for m, keep in mask.items()}
            each.append(run.method.predict(run.model, batch.hiding(**hidden)).fused)
        each += noisy.of(batch)
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
    rest = rest[len(modalities) :]
    return Predictions(
        ids[there.numpy()], fused, by_modality, rest[: len(masks)], rest[len(masks) :]
    )


class _NoisyPredictions:
    """Fused logits of a batch at each level of noise, and for each draw of it."""

    def __init__(self, run: Run, noise: Noise) -> None:
        self._run, self._noise = run, noise
        texts = any(modality(m).kind == TOKENS for levels in noise.levels for m in levels)
        self._vocabulary = vocabulary_of(run.config.view.tokenizer) if texts else 0

    def of(self, batch: Batch) -> list[Tensor]:
        """Logits, one draw behind the other for each level."""
        by_draw = []
        for number in range(self._noise.draws if self._noise.levels else 0):
            # One draw after the other: the noise of a batch is as large as the batch.
            draw = Draw(
                seed=self._noise.seed,
                number=number,
                ids=batch.ids.tolist(),
                vocabulary=self._vocabulary,
            )
            by_draw.append([self._predicted(batch, draw, levels) for levels in self._noise.levels])
        return [logits for of_level in zip(*by_draw, strict=True) for logits in of_level]

    def _predicted(self, batch: Batch, draw: Draw, levels: Mapping[str, float]) -> Tensor:
        with adding_noise(self._run.model, draw, levels):
            return self._run.method.predict(self._run.model, batch).fused


def _over_draws(
    settings: Sequence[Mapping[str, Any]],
    asked: Missing | Noise,
    logits: Sequence[Tensor],
    task: Task,
    data: Annotations,
) -> list[dict[str, Any]]:
    """One object for each setting, from the fused logits (n, C) of each draw of each setting."""
    described = []
    for i, setting in enumerate(settings):
        draws = logits[i * asked.draws :][: asked.draws]
        by_draw = [task.measures(each, {}, data) for each in draws]
        described.append(
            {
                **setting,
                "draws": asked.draws,
                "seed": asked.seed,
                **{
                    name: mean_and_std([m[name] for m in by_draw])
                    for name in task.measured
                    if all(m.get(name) is not None for m in by_draw)
                },
            }
        )
    return described
