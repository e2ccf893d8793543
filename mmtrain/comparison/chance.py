"""The control of chance: the most frequent class of train for every sample, and a uniform draw."""

from typing import Any

import torch

from mmtrain.comparison.presentation import CHANCE, MAJORITY, UNIFORM
from mmtrain.config.run import TrainConfig
from mmtrain.data import ShardedDataset
from mmtrain.tasks.measures import MEASURES, shown
from mmtrain.tasks.task import Task
from mmtrain.training.parts import task_of


def chance_rows(
    config: TrainConfig, dataset: ShardedDataset, split: str
) -> tuple[list[dict[str, Any]], str]:
    """Rows of the table for both kinds of chance, and the sentence that explains them.

    Args:
        config: Config that all rows share.
        dataset: Shards with a train split.
        split: Name of the split on which rows are measured.
    """
    task = task_of(config, dataset)
    train = dataset.annotations.of(dataset.ids("train"))
    truths = task.decided(torch.from_numpy(task.targets(train)))
    counts = torch.bincount(truths)
    most = int(counts.argmax())
    measured = _always(task, dataset, split, most)
    classes = task.classes(train)
    # A draw has no order of samples, and so nothing that mAP could measure.
    uniform = {"accuracy": 1 / len(classes)}
    share = 100 * float(counts[most]) / len(truths)
    note = (
        f"{MAJORITY.capitalize()}: {classes[most]} for every sample, the most frequent class of "
        f"train ({share:.1f} %). {UNIFORM.capitalize()}: one of the {len(classes)} classes, drawn."
    )
    return [_row(MAJORITY, split, measured), _row(UNIFORM, split, uniform)], note


def _always(task: Task, dataset: ShardedDataset, split: str, choice: int) -> dict[str, float]:
    """Measures of predicting one class for all samples of a split."""
    truth = dataset.annotations.of(dataset.ids(split))
    logits = torch.zeros(len(truth.label), task.outputs)
    # The rows of decisions share the memory of the logits.
    task.decisions(logits)[:, choice] = 1.0
    measures = task.measures(logits, {}, truth)
    return {name: measures[name] for name in shown(measures) if MEASURES[name].chooses}


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
