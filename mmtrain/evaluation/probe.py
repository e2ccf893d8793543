"""Linear probe: how good did training leave each encoder?

The encoder is frozen, and a fresh linear head is fitted on what it gives (OGM, TPAMI 2024, its
figures; a method's own unimodal head is another measure). A head is multinomial logistic regression
on standardised features: ``mean_i CE(x_i W + b, y_i) + strength / 2 |W|^2``. The train split gives
statistics and weights, val the strength; the split that is reported gives nothing.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from mmtrain.errors import ConfigError, RunError
from mmtrain.evaluation.open_run import opened, require, write_json
from mmtrain.metrics import measures
from mmtrain.training.assemble import config_of
from mmtrain.training.run import Run
from mmtrain.types import Batch

log = logging.getLogger(__name__)

# From the strongest, each fit starting from the one before.
STRENGTHS: Final = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
# Without a val split there is nothing to choose by.
FIXED: Final = 1e-3
_JUDGED: Final = ("accuracy", "map", "macro_f1")
# A feature that spreads less says nothing: it is rounding.
_STD_FLOOR: Final = 1e-6


class Examples(NamedTuple):
    """Features (n, width) of samples, and their classes (n,)."""

    features: Float[Tensor, "samples width"]
    target: Int[Tensor, " samples"]


def probe(
    folder: Path,
    *,
    split: str = "test",
    alone: Sequence[Path] = (),
    data: str | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Probes each encoder of the run in ``folder``, and writes RUN/probe-SPLIT.json.

    Args:
        folder: RUN.
        split: Is reported.
        alone: Runs of one modality each on the same data, to hold beside it.
        data: Where the shards are, if they have moved.
        device: Where to compute, if not where it was trained.

    Returns:
        What the file says: ``modalities`` gives for each accuracy, mAP and macro-F1 of its probe,
        the ``strength`` chosen, ``own_accuracy`` of the method's own unimodal logits, and the same
        of the encoder trained ``alone``, with ``gap``, by how much that is better, or None.

    Raises:
        ConfigError: No such run or split, no best weights yet, or a run of ``alone`` that is not of
            one modality that this run has.
        DataError: Weights are damaged, or of other data.
        RunError: Features are not finite.
    """
    with opened(folder, data, device) as run:
        require(run, split)
        partners = _partners(run, alone)
        found, strength_from = probed(run, split), _strength_from(run)
        place = run.config.data
    by_modality: dict[str, dict[str, Any]] = {
        m: {**said, "alone": None} for m, said in found.items()
    }
    for modality, partner in partners.items():
        with opened(partner, place, device) as other:
            said = probed(other, split)[modality]
        gap = said["accuracy"] - found[modality]["accuracy"]
        by_modality[modality]["alone"] = {"run": str(partner), **said, "gap": gap}
    report = {
        "run": str(folder),
        "method": run.config.method,
        "split": split,
        "strength_from": strength_from,
        "modalities": by_modality,
    }
    write_json(folder / f"probe-{split}.json", report)
    return report


def probed(run: Run, split: str) -> dict[str, dict[str, float]]:
    """Modality to accuracy, map, macro_f1 and strength of its probe, and own_accuracy.

    Args:
        run: With the weights that are asked.
        split: Is reported.
    """
    names = dict.fromkeys(("train", *(("val",) if _strength_from(run) == "val" else ()), split))
    examples = {name: features_of(run, name) for name in names}
    own = run.evaluate(split)["modalities"]
    found = {}
    for modality in run.model.modalities:
        said, strength = fitted_and_judged(
            {name: each[modality] for name, each in examples.items()}, split, len(run.classes)
        )
        found[modality] = {
            **{name: said[name] for name in _JUDGED},
            "strength": strength,
            "own_accuracy": own[modality]["accuracy"],
        }
    return found


def features_of(run: Run, split: str) -> dict[str, Examples]:
    """Modality to what its encoder gives on ``split``, in one pass without chance.

    Raises:
        RunError: A feature is not finite.
    """
    modalities = run.model.modalities
    widths = run.model.feature_widths
    ids = run.feed.dataset.ids(split)
    log.info("%s: features of %d samples", split, len(ids))

    def encoded(batch: Batch) -> Tensor:
        features = run.model.encode(batch)
        return torch.cat([features[m] for m in modalities], dim=1)

    features = run.score(encoded, split)
    if not bool(features.isfinite().all()):
        raise RunError(
            f"{run.folder}: an encoder gives no number on {split}; train it again with a lower lr, "
            "or set clip"
        )
    target = torch.from_numpy(run.feed.dataset.targets[ids].astype(np.int64)).to(features.device)
    parts = torch.split(features, [widths[m] for m in modalities], dim=1)
    return {m: Examples(part, target) for m, part in zip(modalities, parts, strict=True)}


def fitted_and_judged(
    examples: Mapping[str, Examples], split: str, classes: int
) -> tuple[dict[str, float], float]:
    """Measures on ``split`` of a head fitted on train, and the strength that was best on val.

    Best is the highest accuracy, then the lowest loss. Without val it is `FIXED`.

    Args:
        examples: ``train``, ``val`` if there is one, and ``split``.
        split: Only the head that was chosen sees it.
        classes: Width of the head.
    """
    train = examples["train"]
    std, mean = torch.std_mean(train.features.double(), dim=0, correction=0)
    scale = torch.where(std > _STD_FLOOR, std, torch.inf)

    def standard(features: Tensor) -> Tensor:
        return (features.double() - mean) / scale

    start = torch.zeros(
        train.features.shape[1] + 1, classes, dtype=torch.float64, device=std.device
    )
    standardised = Examples(standard(train.features), train.target)
    judge = examples.get("val", train)
    kept: list[tuple[tuple[float, float], float, Tensor]] = []
    for strength in STRENGTHS if "val" in examples else (FIXED,):
        head = fit(standardised, kept[-1][2] if kept else start, strength)
        said = measures(logits_of(standard(judge.features), head), judge.target)
        kept.append(((said["accuracy"], -said["loss"]), strength, head))
    _, strength, head = max(kept, key=lambda each: each[0])
    asked = examples[split]
    return measures(logits_of(standard(asked.features), head), asked.target), strength


def fit(
    examples: Examples, start: Float[Tensor, "width+1 classes"], strength: float
) -> Float[Tensor, "width+1 classes"]:
    """The head that minimises the loss above: L-BFGS on all samples at once, without chance.

    Args:
        examples: Standardised, float64.
        start: Weights, and the bias as its last row, which is not held back by ``strength``.
        strength: Of the L2 penalty.
    """
    head = start.clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [head],
        max_iter=300,
        history_size=10,
        tolerance_grad=1e-5,
        tolerance_change=1e-7,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(logits_of(examples.features, head), examples.target)
        loss = loss + strength / 2 * head[:-1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    with torch.enable_grad():
        solver.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return head.detach()


def logits_of(
    features: Float[Tensor, "samples width"], head: Float[Tensor, "width+1 classes"]
) -> Float[Tensor, "samples classes"]:
    """``x W + b``."""
    return features @ head[:-1] + head[-1]


def _strength_from(run: Run) -> str:
    return "val" if run.feed.dataset.splits.get("val") else "fixed"


def _partners(run: Run, alone: Sequence[Path]) -> dict[str, Path]:
    """Modality to the run that was trained on it alone."""
    partners: dict[str, Path] = {}
    for folder in alone:
        config = config_of(folder)
        if len(config.modalities) != 1:
            raise ConfigError(
                f"--alone {folder}: a run of {', '.join(config.modalities)}; name one that was "
                "trained with --modalities and a single name"
            )
        (modality,) = config.modalities
        if modality not in run.model.modalities:
            raise ConfigError(
                f"--alone {folder}: a run of {modality}, which {run.folder} lacks; it has "
                f"{', '.join(run.model.modalities)}"
            )
        if modality in partners:
            raise ConfigError(f"--alone: {folder} and {partners[modality]} are both of {modality}")
        for line in run.config.differences(config):
            if line.startswith(("encoder", "settings.encoder", "view.")):
                log.warning("--alone %s differs: %s", folder, line)
        partners[modality] = folder
    return partners
