"""One linear layer on the mean step of a sequence, for embeddings that were computed elsewhere.

The row "X-vector" of OGM's Table 8 (Wei et al., TPAMI 2024) by our reading: an embedding of the
speaker from a pretrained network (Pappagari et al., ICASSP 2020), which stays as it is in its file,
through one layer of 512. OGM and OPM act on that layer. A layer and a width of that kind are in a
model file of the authors' later code, whose embedding has 256 entries and is a d-vector.
"""

from jaxtyping import Float
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.modalities import SEQUENCE
from mmtrain.models.encoders.base import InputSize
from mmtrain.models.encoders.steps import Steps, join_mask, split_mask
from mmtrain.models.layers import linear


class Projection(Steps):
    """A linear layer on the mean of a sequence's steps: ``phi = W mean_t x_t + b``.

    For embeddings of whole clips, such as one of the speaker, which are sequences of one step: the
    part ``speech`` with an array (1, D). Features of frames get no sense of order. An input of
    nothing but padding has the feature 0.

    Args:
        size: Number of features of a step.
        width: Entries of a feature vector.
    """

    kinds = (SEQUENCE,)

    def __init__(self, size: InputSize, *, width: int = 512) -> None:
        super().__init__()
        if width < 1:
            raise ConfigError(f"projection's width is 1 or more; got {width}")
        self.width = width
        self.layer = linear(int(size), width)

    def begin(
        self, inputs: Float[Tensor, "batch steps channels"]
    ) -> Float[Tensor, "batch steps width_and_mask"]:
        """Steps behind the layer, whose mean is the layer's output for the mean step."""
        features, mask = split_mask(inputs)
        return join_mask(self.layer(features), mask)
