"""Steps of several batches: which runs can take them, see `mmtrain.models.pieces`."""

from torch import nn

from mmtrain.config.run import TrainConfig
from mmtrain.errors import ConfigError
from mmtrain.methods.base import Method
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.training.ranks import Ranks


def take_pieces(config: TrainConfig, method: Method, model: MultimodalModel, ranks: Ranks) -> None:
    """Lets a model encode each batch in as many pieces as the config accumulates.

    Raises:
        ConfigError: The method needs whole batches, or ranks share statistics of batches.
    """
    if config.accumulate == 1:
        return
    if method.whole_batches:
        raise ConfigError(
            f"{config.method} takes no --accumulate: {method.whole_batches}; choose a smaller "
            "--batch-size"
        )
    norms = nn.modules.batchnorm._BatchNorm
    if not ranks.alone and any(isinstance(module, norms) for module in model.modules()):
        # Ranks wait for each other in every layer, and may have unlike numbers of pieces.
        raise ConfigError(
            "--accumulate on several ranks needs encoders without batch normalisation, such as "
            "small-cnn; choose those, or one process"
        )
    model.pieces = config.accumulate
