"""Evaluation of a finished run: one pass over a split, judged in every way that a table needs."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.errors import RunError
from mmtrain.evaluation.missing import Missing
from mmtrain.evaluation.open_run import opened, require, write_json
from mmtrain.functional import confidence, discrepancy
from mmtrain.metrics import by_class, confusion, judged, measures, spread
from mmtrain.training.run import Run
from mmtrain.types import Batch

log = logging.getLogger(__name__)

Masks: TypeAlias = Sequence[Mapping[str, NDArray[np.bool_]]]
_JUDGED: Final = ("accuracy", "map", "macro_f1")


def evaluate(
    folder: Path,
    *,
    split: str = "test",
    missing: Missing | None = None,
    data: str | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Judges the best weights of the run in ``folder``, and writes RUN/eval-SPLIT.json.

    Args:
        folder: RUN.
        split: Is predicted once, and once more for every draw of missing modalities.
        missing: Which modalities to take away, if any.
        data: Where the shards are, if they have moved.
        device: Where to compute, if not where it was trained.

    Returns:
        What the file says: `mmtrain.metrics.judged` of the split, ``by_class``, ``confusion``
        (rows are true, columns are predicted), ``discrepancy`` (OGM's ``rho`` of each modality over
        the split) and ``missing``, one object a setting.

    Raises:
        ConfigError: No such run, split or modality, or no best weights yet.
        DataError: The weights are damaged, or of other data.
        RunError: A prediction is not finite.
    """
    missing = missing or Missing()
    with opened(folder, data, device) as run:
        require(run, split)
        dataset, modalities = run.feed.dataset, run.model.modalities
        ids = dataset.ids(split)
        masks = missing.masks(modalities, len(ids))
        draws = [mask for setting in masks for mask in setting]
        log.info("%s: predicting %d samples, %d times", split, len(ids), 1 + len(draws))
        fused, own, hidden = predictions(run, split, draws)
        target = torch.from_numpy(dataset.targets[ids].astype(np.int64))
        sums = {m: confidence(logits, target).sum() for m, logits in own.items()}
        found = {
            "run": str(folder),
            "method": run.config.method,
            "best_epoch": run.best["epoch"],
            "split": split,
            "samples": len(ids),
            "classes": list(run.classes),
            **judged(fused, own, target),
            "by_class": by_class(fused, target, run.classes),
            "confusion": confusion(fused, target).tolist(),
            "discrepancy": {m: rho.item() for m, rho in discrepancy(sums).items()},
            "missing": _over_draws(missing, hidden, target),
        }
    write_json(folder / f"eval-{split}.json", found)
    return found


def predictions(
    run: Run, split: str, masks: Masks = ()
) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
    """What the method predicts on ``split`` in one pass over it, in the order of its ids.

    Args:
        run: With the weights that are asked.
        split: Is read once.
        masks: Modality to (n,) which samples show it, for predictions with less.

    Returns:
        Logits (n, C) on the CPU: fused, modality to its own, and fused for each of ``masks``.

    Raises:
        RunError: A prediction is not finite.
    """
    ids, modalities = run.feed.dataset.ids(split), run.model.modalities
    tensors = [{m: torch.from_numpy(shown) for m, shown in mask.items()} for mask in masks]

    def predicted(batch: Batch) -> Tensor:
        out = run.method.predict(run.model, batch)
        found = [out.fused, *(out.logits[m] for m in modalities)]
        rows = torch.from_numpy(np.searchsorted(ids, batch.ids.cpu().numpy()))
        for mask in tensors:
            shown = {m: each[rows].to(run.device) for m, each in mask.items()}
            found.append(run.method.predict(run.model, replace(batch, shown=shown)).fused)
        return torch.stack([logits.float() for logits in found], dim=1)

    logits = run.score(predicted, split).cpu()
    wrong = (~logits.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
    if wrong:
        key = run.feed.dataset.key(int(ids[wrong[0]]))
        raise RunError(
            f"{run.folder}: the model gives no number for {len(wrong)} samples of {split}, {key} "
            "among them; train it again with a lower lr, or set clip"
        )
    fused, *rest = logits.unbind(1)
    return fused, dict(zip(modalities, rest, strict=False)), rest[len(modalities) :]


def _over_draws(
    missing: Missing, hidden: Sequence[Tensor], target: Int[Tensor, " samples"]
) -> list[dict[str, Any]]:
    """One object a setting, from the fused logits (n, C) of each draw of each setting."""
    found = []
    for i, rates in enumerate(missing.rates):
        drawn = hidden[i * missing.draws :][: missing.draws]
        each = [measures(logits, target) for logits in drawn]
        found.append(
            {
                "rates": dict(rates),
                "draws": missing.draws,
                "seed": missing.seed,
                **{name: spread([said[name] for said in each]) for name in _JUDGED},
            }
        )
    return found
