"""The base of the encoders of steps: tokens of a text, or features of a sequence."""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from mmtrain.models.encoders.base import Encoder


class Steps(Encoder):
    """Base of the encoders of (B, L) tokens and (B, T, D + 1) sequences.

    Maps are (B, T, channels + 1): features of each step, and 1 at real steps or 0 at padding in the
    last channel. So the mask passes through the stages without being an argument of theirs. Padding
    counts nowhere: a text of nothing but padding has the feature 0.
    """

    def finish(
        self, maps: Float[Tensor, "batch steps channels_and_mask"]
    ) -> Float[Tensor, "batch features"]:
        """The mean over the real steps."""
        return self.pool(maps)

    def pool(
        self, maps: Float[Tensor, "batch steps channels_and_mask"]
    ) -> Float[Tensor, "batch channels"]:
        """The mean of each channel over the real steps."""
        features, mask = split_mask(maps)
        return masked_mean(features, mask)

    def gate(
        self,
        maps: Float[Tensor, "batch steps channels_and_mask"],
        gates: Float[Tensor, "batch channels"],
    ) -> Float[Tensor, "batch steps channels_and_mask"]:
        """Maps whose channels are multiplied by ``gates`` at every step."""
        features, mask = split_mask(maps)
        return join_mask(features * gates[:, None], mask)

    def tokens(self, inputs: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch steps features"]:
        """Features of the last stage at every step; 0 at padding."""
        features, mask = split_mask(self._maps(inputs))
        return features * mask[..., None]


def join_mask(
    features: Float[Tensor, "batch steps channels"], mask: Bool[Tensor, "batch steps"]
) -> Float[Tensor, "batch steps channels_and_mask"]:
    """Maps of features and their mask."""
    return torch.cat([features, mask[..., None].to(features.dtype)], dim=-1)


def split_mask(
    maps: Float[Tensor, "batch steps channels_and_mask"],
) -> tuple[Float[Tensor, "batch steps channels"], Bool[Tensor, "batch steps"]]:
    """Features of maps, and their mask."""
    return maps[..., :-1], maps[..., -1] > 0.5


def masked_mean(
    features: Float[Tensor, "batch steps channels"], mask: Bool[Tensor, "batch steps"]
) -> Float[Tensor, "batch channels"]:
    """The mean over the steps of the mask; 0 where there is none."""
    weights = mask[..., None].to(features.dtype)
    # In float32, for bfloat16 counts no further than 256.
    return (features * weights).float().sum(1) / weights.float().sum(1).clamp(min=1)
