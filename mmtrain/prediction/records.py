"""Records of predictions by task: plain values, one mapping a clip."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.prediction.predictor import Prediction, Predictor
from mmtrain.tasks.needs import CLASSES, PROBABILITY

_DIGITS: Final = 6


def require_top(predictor: Predictor, top: int | None) -> None:
    """Refuses a number of classes where the task has none to list.

    Raises:
        ConfigError: The task has no probabilities.
    """
    if top is not None and PROBABILITY not in predictor.task.gives:
        raise ConfigError(
            f"--top is a number of classes, and the task {predictor.task.name} gives a score"
        )


def records(
    predictor: Predictor, prediction: Prediction, names: Sequence[str], top: int | None
) -> list[dict[str, Any]]:
    """One mapping for each clip of a batch.

    Args:
        predictor: Model that predicted.
        prediction: Its predictions.
        names: Names of the clips.
        top: Number of classes that are listed with their probabilities; None lists all.
    """
    decided = prediction.decided
    return [
        {
            "clip": name,
            **_answer(predictor, prediction.fused[row], top),
            "decided": decided[row],
            "missing": [m for m, there in prediction.shown.items() if not there[row]],
            "modalities": {
                m: _answer(predictor, values[row], top)
                for m, values in prediction.by_modality.items()
                if prediction.shown[m][row]
            },
        }
        for row, name in enumerate(names)
    ]


def _answer(predictor: Predictor, values: Tensor, top: int | None) -> dict[str, Any]:
    """Prediction of one sample: probabilities (C,), those of segments (S, C), or a score (1,)."""
    if PROBABILITY not in predictor.task.gives:
        scores = [round(float(score), _DIGITS) for score in values]
        return {"score": scores[0] if len(scores) == 1 else scores}
    # A task of several decisions lists them, even where there is only one.
    if CLASSES not in predictor.task.gives:
        rows = values if values.ndim > 1 else values[None]
        return {"segments": [_choice(predictor.classes, row, top) for row in rows]}
    return _choice(predictor.classes, values, top)


def _choice(classes: Sequence[str], probabilities: Tensor, top: int | None) -> dict[str, Any]:
    count = len(probabilities) if top is None else min(top, len(probabilities))
    # Sorted stably: ties go to the lowest class, as in the measures.
    order = probabilities.sort(descending=True, stable=True).indices[:count].tolist()
    listed: Mapping[str, float] = {
        classes[c]: round(float(probabilities[c]), _DIGITS) for c in order
    }
    winner = next(iter(listed))
    return {"prediction": winner, "probability": listed[winner], "probabilities": listed}
