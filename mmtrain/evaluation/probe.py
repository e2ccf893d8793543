"""Linear probe: measures how good an encoder training left behind.

The encoder is frozen, and a fresh linear head is fitted on its features (OGM, TPAMI 2024, its
figures; a method's own unimodal head is another measure), see `mmtrain.training.linear_probe`.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mmtrain.config.overrides import with_defaults
from mmtrain.errors import ConfigError
from mmtrain.evaluation.measured import read_current, weights_digest
from mmtrain.evaluation.open_run import open_run, require_split, write_json
from mmtrain.tasks.needs import CLASSES, require
from mmtrain.training.linear_probe import examples_of, measure_probe
from mmtrain.training.parts import config_of
from mmtrain.training.regression import Examples
from mmtrain.training.run import Run

log = logging.getLogger(__name__)

_REPORTED: Final = ("accuracy", "map", "macro_f1")


def probe(
    folder: Path,
    *,
    split: str = "test",
    alone: Sequence[Path] = (),
    data: str | None = None,
    device: str | None = None,
    reuse: bool = False,
) -> dict[str, Any]:
    """Probes each encoder of the run in ``folder``, and writes RUN/probe-SPLIT.json.

    Args:
        folder: Folder of the run.
        split: Name of the reported split.
        alone: Runs of one modality each on the same data, to compare with.
        data: Place of the shards, if they have moved.
        device: Device to compute on, if not the one of training.
        reuse: Whether values in the file, of the same weights, are kept instead of measured again;
            those of ``alone`` are also taken from the files of those runs.

    Returns:
        The content of the file: ``modalities`` holds for each modality the accuracy, mAP and
        macro-F1 of its probe, the ``strength`` chosen, ``own_accuracy`` of the method's own
        unimodal logits, and under ``alone`` the same of the encoder trained alone, with ``gap``, by
        how much that is better, or None. ``skipped`` is the number of damaged samples left out,
        ``weights`` the digest of what was measured.

    Raises:
        ConfigError: No such run or split, no best weights yet, or a run of ``alone`` that is not of
            a single modality that this run has.
        DataError: Weights are damaged or were trained on other data, or a sample is damaged.
        RunError: A feature is not finite.
    """
    path = folder / f"probe-{split}.json"
    partners = _partners(folder, alone)
    report = read_current(path, folder) if reuse else None
    if report is None:
        report = _probed(folder, split, data, device)
    report["run"] = str(folder)
    for modality, partner in partners.items():
        values = report["modalities"][modality]
        weights = weights_digest(partner)
        if not reuse or (values["alone"] or {}).get("weights") != weights:
            other = read_current(partner / path.name, partner) if reuse else None
            # Of the same data: otherwise opening the partner refuses.
            place = data or config_of(folder).data
            own = (other or _probed(partner, split, place, device))["modalities"][modality]
            plain = {name: value for name, value in own.items() if name != "alone"}
            gap = own["accuracy"] - values["accuracy"]
            values["alone"] = {"run": str(partner), "weights": weights, **plain, "gap": gap}
    write_json(path, report)
    return report


def _probed(folder: Path, split: str, data: str | None, device: str | None) -> dict[str, Any]:
    """A report without partners."""
    with open_run(folder, data, device) as run:
        require_split(run, split)
        needs = {CLASSES: "the head that it fits"}
        require("measurement", "probe", needs, run.task.name, run.task.gives)
        examples = examples_of(run.evaluation, split)
        probes = _probe_encoders(run, split, examples)
        skipped = {name: _skipped(run, name, each) for name, each in examples.items()}
        return {
            "run": str(folder),
            "method": run.config.method,
            "split": split,
            "skipped": sum(skipped.values()),
            "strength_from": "val" if run.feed.dataset.splits.get("val") else "fixed",
            "modalities": {m: {**values, "alone": None} for m, values in probes.items()},
            "weights": weights_digest(folder),
        }


def _probe_encoders(
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


def _skipped(run: Run, split: str, examples: Mapping[str, Examples]) -> int:
    """Number of samples of a split that have no features, because they are damaged."""
    return len(run.feed.dataset.ids(split)) - len(next(iter(examples.values())).target)


def _partners(folder: Path, alone: Sequence[Path]) -> dict[str, Path]:
    """Modality to the run that was trained on it alone."""
    partners: dict[str, Path] = {}
    mine = with_defaults(config_of(folder))
    for partner in alone:
        config = with_defaults(config_of(partner))
        if len(config.modalities) != 1:
            raise ConfigError(
                f"--alone {partner}: a run of {', '.join(config.modalities)}; name one that was "
                "trained with --modalities and a single name"
            )
        (modality,) = config.modalities
        if modality not in mine.modalities:
            raise ConfigError(
                f"--alone {partner}: a run of {modality}, which {folder} lacks; it has "
                f"{', '.join(mine.modalities)}"
            )
        if modality in partners:
            raise ConfigError(f"--alone: {partner} and {partners[modality]} are both of {modality}")
        for line in mine.only(modality).differences(config.only(modality)):
            if line.startswith(("encoder", "settings.encoder", "view.")):
                log.warning("--alone %s differs: %s", partner, line)
        partners[modality] = partner
    return partners
