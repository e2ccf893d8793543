"""Streams mmprep's shards into training with the methods that balance modalities.

The names below are imported when they are first used: ``import mmtrain`` loads no torch.

Example:
    >>> from mmtrain import TrainConfig, train
    >>> result = train(TrainConfig(data="shards/keypad", method="ogm"), Path("runs/ogm"))

    >>> from mmtrain import OrderedStream, open_dataset
    >>> stream = OrderedStream(open_dataset("shards/keypad"), ("audio", "visual"), 64)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mmtrain.config.run import TrainConfig
    from mmtrain.curricula.base import Curriculum
    from mmtrain.data import OrderedStream, SampleOrder, open_dataset
    from mmtrain.evaluation.evaluate import evaluate
    from mmtrain.methods.base import Method
    from mmtrain.models.multimodal import MultimodalModel
    from mmtrain.training.train import train
    from mmtrain.types import Batch, Outputs

__all__ = [
    "Batch",
    "Curriculum",
    "Method",
    "MultimodalModel",
    "OrderedStream",
    "Outputs",
    "SampleOrder",
    "TrainConfig",
    "evaluate",
    "open_dataset",
    "train",
]

_HOMES: Final = {
    "Batch": "types",
    "Curriculum": "curricula.base",
    "Method": "methods.base",
    "MultimodalModel": "models.multimodal",
    "OrderedStream": "data",
    "Outputs": "types",
    "SampleOrder": "data",
    "TrainConfig": "config.run",
    "evaluate": "evaluation.evaluate",
    "open_dataset": "data",
    "train": "training.train",
}


def __getattr__(name: str) -> Any:
    """Imports a name of `__all__` when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mmtrain' has no attribute {name!r}")
    value = getattr(import_module(f"mmtrain.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Names of `__all__` too, for completion."""
    return sorted({*globals(), *__all__})
