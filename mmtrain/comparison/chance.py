"""The control of chance: the most frequent class of train, a uniform draw, or the median score."""

import math
from typing import Any

import torch

from mmtrain.comparison.presentation import CHANCE, MAJORITY, MEDIAN, UNIFORM
from mmtrain.config.run import TrainConfig
from mmtrain.data import ShardedDataset
from mmtrain.tasks.annotations import Annotations
from mmtrain.tasks.measures import MEASURES, shown
from mmtrain.tasks.needs import PROBABILITY
from mmtrain.tasks.task import Task
from mmtrain.training.parts import task_of


def chance_rows(
    config: TrainConfig, dataset: ShardedDataset, split: str
) -> tuple[list[dict[str, Any]], str]:
    """Rows of the table for what needs no training, and the sentence that explains them.

    Args:
        config: Config that all rows share.
        dataset: Shards with a train split.
        split: Name of the split on which rows are measured.
    """
    task = task_of(config, dataset)
    train = dataset.annotations.of(dataset.ids("train"))
    truth = dataset.annotations.of(dataset.ids(split))
    targets = torch.from_numpy(task.targets(train))
    if PROBABILITY not in task.gives:
        median = float(targets.double().quantile(0.5))
        logits = torch.full((len(truth.label), task.outputs), median)
        note = f"{MEDIAN.capitalize()}: {median:g} for every sample, the median of train."
        return [_row(MEDIAN, split, _measures(task, logits, truth))], note
    counts = torch.bincount(task.decided(targets))
    most, classes = int(counts.argmax()), task.classes(train)
    # A draw has no order of samples, and so nothing that mAP could measure.
    uniform = {"accuracy": 1 / len(classes)}
    share = 100 * float(counts[most]) / float(counts.sum())
    note = (
        f"{MAJORITY.capitalize()}: {classes[most]} for every sample, the most frequent class of "
        f"train ({share:.1f} %). {UNIFORM.capitalize()}: one of the {len(classes)} classes, drawn."
    )
    always = _measures(task, _always(task, len(truth.label), most), truth)
    return [_row(MAJORITY, split, always), _row(UNIFORM, split, uniform)], note


def _always(task: Task, samples: int, choice: int) -> torch.Tensor:
    """Logits that predict one class for all samples."""
    logits = torch.zeros(samples, task.outputs)
    # The rows of decisions share the memory of the logits.
    task.decisions(logits)[:, choice] = 1.0
    return logits


def _measures(task: Task, logits: torch.Tensor, truth: Annotations) -> dict[str, float]:
    """Measures of predictions, without those that a constant leaves undefined."""
    measures = task.measures(logits, {}, truth)
    known = {name: measures[name] for name in shown(measures) if MEASURES[name].chooses}
    return {name: v for name, v in known.items() if v is not None and not math.isnan(v)}


def _row(label: str, split: str, measures: dict[str, float]) -> dict[str, Any]:
    return {
        "label": label,
        "control": CHANCE,
        "method": CHANCE,
        "curriculum": None,
        "setting": None,
        "epochs": None,
        "batch_size": None,
        "seeds": [],
        "runs": [],
        "split": split,
        **{name: {"mean": value, "std": 0.0} for name, value in measures.items()},
        "modalities": {},
        "seconds_an_epoch": None,
    }
