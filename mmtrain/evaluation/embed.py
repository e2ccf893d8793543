"""Features of runs in the plane (t-SNE), and how many directions they fill (singular values)."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from mmtrain.errors import ConfigError
from mmtrain.evaluation.many import Measurements, measure_all
from mmtrain.evaluation.open_run import open_run, require_split
from mmtrain.evaluation.sampling import sample_ids
from mmtrain.training.linear_probe import features_of
from mmtrain.training.run import Run

log = logging.getLogger(__name__)

Matrix = NDArray[np.float64]

FUSED: Final = "fused"
# t-SNE starts from the principal components, and computes distances in as many as these.
_COMPONENTS: Final = 50
_PERPLEXITY: Final = 30.0
_FEWEST: Final = 5


def embed(
    runs: Sequence[Path],
    *,
    split: str = "test",
    limit: int = 1000,
    seed: int = 0,
    data: str | None = None,
    device: str | None = None,
) -> Measurements:
    """Embeds the features of the best weights of runs; where one fails, goes on with the others.

    Args:
        runs: Folders of the runs.
        split: Name of the split.
        limit: Largest number of samples; of more, as many are drawn, the same for all runs.
        seed: Seed of that draw and of t-SNE.
        data: Place of the shards, if they have moved.
        device: Device to compute on, if not the one of training.

    Returns:
        A report for each run: ``keys`` and ``labels`` of its samples, names of ``classes``, and
        ``parts``, which has for ``fused`` (features of all modalities next to each other, as the
        fusion takes them) and for each modality the ``points`` of the samples, ``width``,
        ``singular_values`` of the centred features, over the root of the number of samples, and
        ``effective_rank``.
    """

    def measure(run: Path) -> dict[str, Any]:
        with open_run(run, data, device) as opened:
            require_split(opened, split)
            return _report(opened, split, limit, seed)

    return measure_all(runs, measure, raising=len(runs) == 1)


def _report(run: Run, split: str, limit: int, seed: int) -> dict[str, Any]:
    dataset = run.feed.dataset
    ids, examples = features_of(run.evaluation, split, sample_ids(dataset.ids(split), limit, seed))
    if len(ids) < _FEWEST:
        raise ConfigError(f"{len(ids)} samples of {split} are too few to embed; {_FEWEST} are not")
    features = {m: each.features.double().cpu().numpy() for m, each in examples.items()}
    if len(features) > 1:
        features = {FUSED: np.concatenate([*features.values()], axis=1), **features}
    log.info("%s: t-SNE of %d samples, %d times", run.folder, len(ids), len(features))
    return {
        "run": str(run.folder),
        "method": run.config.method,
        "split": split,
        "samples": len(ids),
        "seed": seed,
        "classes": list(run.classes),
        "keys": [dataset.key(i) for i in ids.tolist()],
        "labels": next(iter(examples.values())).target.tolist(),
        "parts": {name: _part(values, seed) for name, values in features.items()},
    }


def _part(features: Matrix, seed: int) -> dict[str, Any]:
    left, values, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
    return {
        "width": features.shape[1],
        "points": [[round(float(v), 4) for v in p] for p in plane(left * values, seed)],
        "singular_values": (values / np.sqrt(len(features))).tolist(),
        "effective_rank": effective_rank(values),
    }


def effective_rank(singular_values: Matrix) -> float:
    """Number of directions that features fill (Roy & Vetterli, EUSIPCO 2007).

    ``exp H(p)`` with ``p_i = s_i / sum_j s_j``: 1 where they lie on a line, the width where all
    directions have the same spread; 0 where there is no spread at all.
    """
    total = singular_values.sum()
    if total <= 0:
        return 0.0
    shares = torch.from_numpy(singular_values / total)
    return float(torch.special.entr(shares).sum().exp())


def plane(components: Matrix, seed: int) -> Matrix:
    """(n, 2) t-SNE of n samples, from all their principal components, the largest first.

    It starts from the first two components, so that the seed matters little; the perplexity is 30,
    or a third of the other samples where these are fewer.
    """
    components = components[:, :_COMPONENTS]
    count = len(components)
    start = np.zeros((count, 2))
    start[:, : min(2, components.shape[1])] = components[:, :2]
    # The scale that t-SNE starts from: small, so that early steps can move samples freely.
    start *= 1e-4 / max(float(start[:, 0].std()), 1e-30)
    tsne = TSNE(
        perplexity=min(_PERPLEXITY, (count - 1) / 3),
        init=start.astype(np.float32),
        random_state=seed,
        n_jobs=1,
    )
    points: Matrix = tsne.fit_transform(components.astype(np.float32)).astype(np.float64)
    return points


def rows_of(reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One mapping for each point: run, part, key, class and place, as a CSV file has them."""
    return [
        {
            "run": report["run"],
            "part": name,
            "key": key,
            "class": report["classes"][label] if report["classes"] else label,
            "x": x,
            "y": y,
        }
        for report in reports
        for name, part in report["parts"].items()
        for key, label, (x, y) in zip(report["keys"], report["labels"], part["points"], strict=True)
    ]
