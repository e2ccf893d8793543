"""Linear probe: measures how good an encoder training left behind.

The encoder is frozen, and a fresh linear head is fitted on its features (OGM, TPAMI 2024, its
figures; a method's own unimodal head is another measure). A head is logistic regression on
standardised features, see `mmtrain.evaluation.regression`. The train split gives statistics and
weights, val the strength; the reported split has no influence on any of them.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from mmtrain.errors import ConfigError, DataError, RunError
from mmtrain.evaluation.evaluate import finite_rows
from mmtrain.evaluation.open_run import open_run, require_split, write_json
from mmtrain.evaluation.regression import Examples, fit, logits_of
from mmtrain.metrics import measures
from mmtrain.tasks.needs import CLASSES, require
from mmtrain.training.parts import config_of
from mmtrain.training.run import Run
from mmtrain.types import Batch

log = logging.getLogger(__name__)

# From the strongest to the weakest, so that each fit starts near its solution.
STRENGTHS: Final = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
# Strength where there is no val split to choose one on.
FIXED: Final = 1e-3
_REPORTED: Final = ("accuracy", "map", "macro_f1")
# A feature with a smaller deviation is constant but for rounding, which must not be amplified.
_STD_FLOOR: Final = 1e-6


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
        folder: Folder of the run.
        split: Name of the reported split.
        alone: Runs of one modality each on the same data, to compare with.
        data: Place of the shards, if they have moved.
        device: Device to compute on, if not the one of training.

    Returns:
        The content of the file: ``modalities`` holds for each modality the accuracy, mAP and
        macro-F1 of its probe, the ``strength`` chosen, ``own_accuracy`` of the method's own
        unimodal logits, and under ``alone`` the same of the encoder trained alone, with ``gap``, by
        how much that is better, or None. ``skipped`` is the number of damaged samples left out.

    Raises:
        ConfigError: No such run or split, no best weights yet, or a run of ``alone`` that is not of
            a single modality that this run has.
        DataError: Weights are damaged or were trained on other data, or a sample is damaged.
        RunError: A feature is not finite.
    """
    with open_run(folder, data, device) as run:
        require_split(run, split)
        needs = {CLASSES: "the head that it fits"}
        require("measurement", "probe", needs, run.task.name, run.task.gives)
        partners = _partners(run, alone)
        examples = examples_of(run, split)
        probes = probe_encoders(run, split, examples)
        strength_from, place = _strength_from(run), run.config.data
        skipped = {name: _skipped(run, name, each) for name, each in examples.items()}
    by_modality: dict[str, dict[str, Any]] = {
        m: {**values, "alone": None} for m, values in probes.items()
    }
    for modality, partner in partners.items():
        with open_run(partner, place, device) as other:
            values = probe_encoders(other, split, examples_of(other, split))[modality]
        gap = values["accuracy"] - probes[modality]["accuracy"]
        by_modality[modality]["alone"] = {"run": str(partner), **values, "gap": gap}
    report = {
        "run": str(folder),
        "method": run.config.method,
        "split": split,
        "skipped": sum(skipped.values()),
        "strength_from": strength_from,
        "modalities": by_modality,
    }
    write_json(folder / f"probe-{split}.json", report)
    return report


def examples_of(run: Run, split: str) -> dict[str, dict[str, Examples]]:
    """Split to modality to its examples: of train, of val if there is one, and of ``split``.

    Args:
        run: Run with the weights to use.
        split: Name of the reported split.
    """
    val = ("val",) if _strength_from(run) == "val" else ()
    return {name: features_of(run, name) for name in dict.fromkeys(("train", *val, split))}


def probe_encoders(
    run: Run, split: str, examples: Mapping[str, Mapping[str, Examples]]
) -> dict[str, dict[str, float]]:
    """Modality to accuracy, map, macro_f1 and strength of its probe, and own_accuracy.

    Args:
        run: Run with the weights to use.
        split: Name of the reported split.
        examples: Its `examples_of`.
    """
    own = run.evaluate(split)["modalities"]
    probes = {}
    for modality in run.model.modalities:
        values, strength = measure_probe(
            {name: each[modality] for name, each in examples.items()}, split, len(run.classes)
        )
        probes[modality] = {
            **{name: values[name] for name in _REPORTED},
            "strength": strength,
            "own_accuracy": own[modality]["accuracy"],
        }
    return probes


def features_of(run: Run, split: str) -> dict[str, Examples]:
    """Modality to the features of ``split``, in one pass in the evaluation view.

    Damaged samples that the run skips are left out.

    Raises:
        DataError: Every sample of the split is damaged.
        RunError: A feature is not finite; names modality and sample.
    """
    modalities = run.model.modalities
    widths = [run.model.feature_widths[m] for m in modalities]
    dataset = run.feed.dataset
    ids = dataset.ids(split)
    log.info("%s: features of %d samples", split, len(ids))

    def encoded(batch: Batch) -> Tensor:
        features = run.model.encode(batch)
        for modality in modalities:
            broken = batch.ids[~finite_rows(features[modality]) & ~batch.filler].tolist()
            if broken:
                raise RunError(
                    f"{run.folder}: the {modality} encoder gives no number for sample "
                    f"{dataset.key(broken[0])} of {split}; train it again with a lower lr, or set "
                    "clip"
                )
        return torch.cat([features[m] for m in modalities], dim=1)

    features = run.score(encoded, split)
    # Rows that are still NaN were never encoded: their samples are damaged and were skipped.
    there = finite_rows(features)
    if not bool(there.any()):
        raise DataError(f"{run.config.data}: every sample of {split} is damaged")
    target = torch.from_numpy(run.task.labels(dataset.annotations.of(ids))).to(features.device)
    parts = torch.split(features[there], widths, dim=1)
    return {m: Examples(part, target[there]) for m, part in zip(modalities, parts, strict=True)}


def measure_probe(
    examples: Mapping[str, Examples], split: str, classes: int
) -> tuple[dict[str, float], float]:
    """Measures on ``split`` of a head fitted on train, and the strength that was best on val.

    Best is the highest accuracy, then the lowest loss. Without val the strength is `FIXED`.

    Args:
        examples: Examples of ``train``, of ``val`` if there is one, and of ``split``.
        split: Name of the reported split, on which only the chosen head is measured.
        classes: Number of classes.
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
    chooser = examples.get("val", train)
    fits: list[tuple[tuple[float, float], float, Tensor]] = []
    for strength in STRENGTHS if "val" in examples else (FIXED,):
        head = fit(standardised, fits[-1][2] if fits else start, strength)
        values = measures(logits_of(standard(chooser.features), head), chooser.target)
        fits.append(((values["accuracy"], -values["loss"]), strength, head))
    _, strength, head = max(fits, key=lambda each: each[0])
    reported = examples[split]
    return measures(logits_of(standard(reported.features), head), reported.target), strength


def _skipped(run: Run, split: str, examples: Mapping[str, Examples]) -> int:
    """Number of samples of a split that have no features, because they are damaged."""
    return len(run.feed.dataset.ids(split)) - len(next(iter(examples.values())).target)


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
        for line in run.config.only(modality).differences(config.only(modality)):
            if line.startswith(("encoder", "settings.encoder", "view.")):
                log.warning("--alone %s differs: %s", folder, line)
        partners[modality] = folder
    return partners
