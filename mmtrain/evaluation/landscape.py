"""Loss around the trained weights, along filter-normalised random directions.

The samples are read once; each batch is predicted with the weights of every point of the grid.
Batch normalisation keeps the running statistics of the trained weights, as in the authors' code:
in the middle the loss is that of the run, and nothing depends on the batches.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.evaluation.directions import Walk, random_direction
from mmtrain.evaluation.many import Measurements, measure_all
from mmtrain.evaluation.measured import read_current, weights_digest
from mmtrain.evaluation.open_run import open_run, require_split, write_json
from mmtrain.evaluation.sampling import sample_ids
from mmtrain.training.passes import evaluating
from mmtrain.training.run import Run
from mmtrain.types import Batch

log = logging.getLogger(__name__)

FUSED: Final = "fused"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Points of a landscape, and the samples whose loss it is of.

    Attributes:
        axes: Number of directions, 1 or 2.
        points: Number of points an axis; odd, so that the trained weights are one of them.
        extent: Coordinate of the last point of an axis; the first is its opposite. At 1, a filter
            is moved by as much as its own norm.
        limit: Largest number of samples; of more, as many are drawn, the same for all runs.
        seed: Seed of the directions, and of that draw.
    """

    axes: int = 1
    points: int = 21
    extent: float = 1.0
    limit: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if self.axes not in (1, 2):
            raise ConfigError(f"a landscape has 1 or 2 directions; got {self.axes}")
        if self.points < 3 or self.points % 2 == 0:
            raise ConfigError(
                f"points are odd, so that the trained weights are one, and at least 3; "
                f"got {self.points}"
            )
        if not 0 < self.extent < float("inf"):
            raise ConfigError(f"the extent is above 0; got {self.extent}")

    @property
    def coordinates(self) -> list[float]:
        """Coordinates of the points of an axis, ascending, with 0 in the middle."""
        half = self.points // 2
        return [self.extent * (i - half) / half for i in range(self.points)]

    @property
    def places(self) -> list[tuple[float, ...]]:
        """Coordinates of all points, the last axis fastest."""
        return list(product(self.coordinates, repeat=self.axes))


def landscape(
    runs: Sequence[Path],
    grid: Grid,
    *,
    split: str = "val",
    data: str | None = None,
    device: str | None = None,
    reuse: bool = True,
) -> Measurements:
    """Losses around the best weights of runs, each of which keeps them in RUN/landscape-SPLIT.json.

    Args:
        runs: Folders of the runs.
        grid: Points and samples.
        split: Name of the split.
        data: Place of the shards, if they have moved.
        device: Device to compute on, if not the one of training.
        reuse: Whether a file of the same weights and grid is read instead.

    Returns:
        The content of each file: ``grid``, ``coordinates``, number of ``samples``, and ``loss``,
        which has for ``fused`` and for each modality's own logits the mean loss of every point, a
        list an axis; None where it is not finite.
    """

    def measure(folder: Path) -> dict[str, Any]:
        path = folder / f"landscape-{split}.json"
        kept = read_current(path, folder) if reuse else None
        if kept is not None and kept["grid"] == asdict(grid):
            return {**kept, "run": str(folder)}
        with open_run(folder, data, device) as run:
            require_split(run, split)
            report = {
                "run": str(folder),
                "method": run.config.method,
                "split": split,
                "grid": asdict(grid),
                "coordinates": grid.coordinates,
                **_losses(run, split, grid),
                "weights": weights_digest(folder),
            }
        write_json(path, report)
        return report

    return measure_all(runs, measure, raising=len(runs) == 1)


def _losses(run: Run, split: str, grid: Grid) -> dict[str, Any]:
    """``samples`` and ``loss`` of a report."""
    ids = sample_ids(run.feed.dataset.ids(split), grid.limit, grid.seed)
    _log_cost(run, ids, len(grid.places))
    directions = [random_direction(run.model, grid.seed, axis) for axis in range(grid.axes)]
    walk = Walk(run.model, directions)
    heads = (FUSED, *run.model.modalities)

    def losses(batch: Batch) -> Tensor:
        """(B, points, heads) loss of each sample."""
        by_place = []
        for place in grid.places:
            with walk.at(place):
                by_place.append(_sample_losses(run, batch))
        return torch.stack(by_place, dim=1)

    by_sample = run.evaluation.score(losses, ids).double().cpu()
    # Rows that are still NaN were never predicted: their samples are damaged and were skipped.
    there = ~by_sample.isnan().flatten(1).all(1)
    mean = by_sample[there].mean(0)
    shape = (*[grid.points] * grid.axes, len(heads))
    values = mean.reshape(shape).numpy()
    return {
        "samples": int(there.sum()),
        "loss": {head: _plain(values[..., i]) for i, head in enumerate(heads)},
    }


def _sample_losses(run: Run, batch: Batch) -> Tensor:
    """(B, heads) loss of each sample by the fused logits, and by each modality's own."""
    out = run.method.predict(run.model, batch)
    logits = (out.fused, *(out.logits[m] for m in run.model.modalities))
    return torch.stack([run.task.losses(z.float(), batch.target) for z in logits], dim=1)


def _log_cost(run: Run, ids: NDArray[np.int64], points: int) -> None:
    """Logs how many batches will be predicted, and how long that takes by one that was measured."""
    batch = next(run.feed.over(ids[: run.config.batch_size])).to(run.device)
    with evaluating(run.model), torch.no_grad():
        _sample_losses(run, batch).cpu()  # The first prediction also sets things up.
        before = time.monotonic()
        _sample_losses(run, batch).cpu()
    seconds = time.monotonic() - before
    batches = -(-len(ids) // run.config.batch_size)
    log.info(
        "%s: %d points x %d batches of %s = %d predictions of about %.2g s: about %s",
        *(run.folder, points, batches, len(batch), points * batches, seconds),
        _duration(points * batches * seconds),
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _plain(values: NDArray[np.float64]) -> Any:
    """Nested lists, with None where a value is not finite, which JSON has no number for."""
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    return plain.tolist()
