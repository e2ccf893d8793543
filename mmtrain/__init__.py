"""Streams mmprep's shards into training with the methods that balance modalities.

The names below are imported when they are first used: ``import mmtrain`` loads no torch.

Example:
    >>> from mmtrain import TrainConfig, train
    >>> result = train(TrainConfig(data="shards/keypad", method="ogm"), Path("runs/ogm"))

    >>> from mmtrain import OrderedStream, open_dataset
    >>> stream = OrderedStream(open_dataset("shards/keypad"), ("audio", "visual"), 64)
"""

from typing import TYPE_CHECKING, Final

from mmprep.lazy import exporter
from mmprep.version import VERSION

if TYPE_CHECKING:
    from mmtrain.config.run import TrainConfig
    from mmtrain.curricula.base import Curriculum
    from mmtrain.data import OrderedStream, SampleOrder, open_dataset
    from mmtrain.evaluation.evaluate import evaluate
    from mmtrain.methods.base import Method
    from mmtrain.models.multimodal import MultimodalModel
    from mmtrain.prediction.export import export
    from mmtrain.prediction.predict import predict
    from mmtrain.prediction.predictor import Predictor, load
    from mmtrain.training.train import train
    from mmtrain.types import Batch, Outputs

__version__ = VERSION

__all__ = [
    "Batch",
    "Curriculum",
    "Method",
    "MultimodalModel",
    "OrderedStream",
    "Outputs",
    "Predictor",
    "SampleOrder",
    "TrainConfig",
    "evaluate",
    "export",
    "load",
    "open_dataset",
    "predict",
    "train",
]

_HOMES: Final = {
    "Batch": "mmtrain.types",
    "Curriculum": "mmtrain.curricula.base",
    "Method": "mmtrain.methods.base",
    "MultimodalModel": "mmtrain.models.multimodal",
    "OrderedStream": "mmtrain.data",
    "Outputs": "mmtrain.types",
    "Predictor": "mmtrain.prediction.predictor",
    "SampleOrder": "mmtrain.data",
    "TrainConfig": "mmtrain.config.run",
    "evaluate": "mmtrain.evaluation.evaluate",
    "export": "mmtrain.prediction.export",
    "load": "mmtrain.prediction.predictor",
    "open_dataset": "mmtrain.data",
    "predict": "mmtrain.prediction.predict",
    "train": "mmtrain.training.train",
}

__getattr__ = exporter(__name__, _HOMES)


def __dir__() -> list[str]:
    """Names of the module, those that are not imported yet included."""
    return sorted({*globals(), *__all__})
