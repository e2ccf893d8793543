"""Convolutions over tokens (Kim, EMNLP 2014), the ``CNN-rand`` of its tables.

Differs from the paper: no dropout and no bound on the norm of weights unless asked for, as other
encoders here have none; words of the paper are whatever the tokenizer gives.
"""

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mmtrain.errors import ConfigError
from mmtrain.modalities import TOKENS
from mmtrain.models.encoders.base import Stage
from mmtrain.models.encoders.steps import Steps, join_mask, split_mask

_SPANS: Final = (3, 4, 5)


class TextCNN(Steps):
    """Filters over 3, 4 and 5 tokens, and the largest answer of each over the text.

    ``c_i = relu(w * [x_i; ...; x_{i+h-1}] + b)`` for spans ``h`` of 3, 4 and 5 embedded tokens,
    and ``phi = max_i c_i`` of every filter. Padding answers 0, so a text of nothing but padding has
    the feature 0. One stage, behind which fusions may act.

    Args:
        vocabulary: Number of tokens, padding included.
        width: Entries of a feature vector, about a third of them for each span; 3 or more.
        embedding: Entries of an embedded token.
        dropout: Probability of dropping an entry of the feature vector; the paper has 0.5.
    """

    kinds = (TOKENS,)

    def __init__(
        self, vocabulary: int, *, width: int = 128, embedding: int = 64, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if width < len(_SPANS) or embedding < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                "text-cnn's width is 3 or more, its embedding 1 or more and its dropout in [0, 1); "
                f"got {width}, {embedding}, {dropout}"
            )
        self.width, self.stage_widths = width, (width,)
        self.embed = nn.Embedding(int(vocabulary), embedding, padding_idx=0)
        self.convolutions = nn.ModuleList(
            # What three do not divide goes to the first spans.
            nn.Conv2d(1, (width + 2 - number) // 3, kernel_size=(span, embedding))
            for number, span in enumerate(_SPANS)
        )
        for module in self.convolutions:
            nn.init.kaiming_normal_(module.get_parameter("weight"), nonlinearity="relu")
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Int[Tensor, "batch length"]) -> Float[Tensor, "batch features"]:
        """The feature vector of each text."""
        return self.finish(self._maps(inputs))

    def begin(
        self, inputs: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch steps embedding_and_mask"]:
        """Embedded tokens, with the mask of those that are no padding."""
        embedded = self.embed(inputs)
        return join_mask(embedded, inputs > 0)

    def stages(self) -> Sequence[Stage]:
        """All convolutions, side by side."""
        return [self._convolved]

    def finish(
        self, maps: Float[Tensor, "batch steps channels_and_mask"]
    ) -> Float[Tensor, "batch features"]:
        """The largest answer of each filter over the text, with dropout."""
        features, mask = split_mask(maps)
        # Answers are at least 0, so padding never is the largest.
        feature: Tensor = self.dropout((features * mask[..., None]).amax(1))
        return feature

    def filters(self) -> list[Tensor]:
        """Those of all convolutions, which follow the embedding."""
        weights = [module.get_parameter("weight") for module in self.convolutions]
        return [weight for weight in weights if weight.requires_grad]

    def _convolved(
        self, maps: Float[Tensor, "batch steps embedding_and_mask"]
    ) -> Float[Tensor, "batch steps channels_and_mask"]:
        """Answers of the filters at every token, centred on it."""
        features, mask = split_mask(maps)
        answers = []
        for span, convolution in zip(_SPANS, self.convolutions, strict=True):
            before = (span - 1) // 2
            padded = F.pad(features, (0, 0, before, span - 1 - before))
            answers.append(convolution(padded[:, None])[..., 0].transpose(1, 2).relu())
        return join_mask(torch.cat(answers, dim=-1), mask)
