"""What every encoder has in common: it looks at pictures one by one and averages over time."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn


class Encoder(nn.Module):
    """Base of the encoders. A subclass sets ``width`` and says what ``picture`` does.

    Attributes:
        width: Entries of a feature vector.
    """

    width: int

    __call__: Callable[..., Tensor]

    def picture(
        self, pictures: Float[Tensor, "pictures channels height width"]
    ) -> Float[Tensor, "pictures features"]:
        """The feature vector of each picture, pooled over its area."""
        raise NotImplementedError

    def filters(self) -> list[Tensor]:
        """Weights of the convolutions behind the first, one filter a row, for methods that mask.

        Those that take part in training.
        """
        layers = [m for m in self.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d))]
        return [layer.weight for layer in layers[1:] if layer.weight.requires_grad]

    def forward(
        self, clip: Float[Tensor, "batch time channels height width"]
    ) -> Float[Tensor, "batch features"]:
        """The mean of the vectors of a clip's T pictures, which are folded into the batch.

        Equal to pooling over time and area at once, as OGM's authors do, whatever the order of the
        pictures. Batch statistics are thus those of B T pictures.
        """
        batch, time = clip.shape[:2]
        return self.picture(clip.flatten(0, 1)).view(batch, time, self.width).mean(1)
