"""AVSDN, dual sequence to sequence (Lin, Li and Wang, ICASSP 2019); a row of OGM's Table 7.

There is no code, and the paper leaves sizes open: those are our reading, and so is the averaging of
each second's pictures over area. Differs from the paper: ResNet-18 or another encoder learns with
it where its features are fixed, and the decoder reads no label of the segment before. Features end
before the sequence encoders' states meet in the decoder; it takes any number of modalities.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmtrain.errors import ConfigError
from mmtrain.models.fusions.base import Features
from mmtrain.models.fusions.steps import StepFusion, require_positive, segment_outputs
from mmtrain.models.layers import linear


class AVSDN(StepFusion):
    """An LSTM reads all segments of each modality; their states start one that labels segments.

    ``(h^m, c^m) = LSTM^m(x_1^m, .., x_S^m)``; the decoder starts from ``[h^1; ..; h^M]`` and
    ``[c^1; ..; c^M]`` and reads ``[x_t^1; ..; x_t^M]`` at step t; ``f_t = W s_t + b`` of its
    state, for each of S segments. The logits are those of the segments one after the other, as the
    task ``localisation`` has them.

    Share, not exact: ``u^m`` is the logits of ``phi^m`` when the features of all others are 0, less
    ``(1 - 1/M)`` of the logits of no input.

    Cost: two passes of an LSTM over S segments, which no step of which can be done before the last.

    Args:
        widths: Modality to the width of its encoder; two or more.
        classes: Number of logits of all segments.
        segments: Number of segments of a sample, S.
        state: Entries of the state of each modality's LSTM; the decoder has those of all together.
    """

    def __init__(
        self, widths: Mapping[str, int], classes: int, *, segments: int = 10, state: int = 128
    ) -> None:
        if len(widths) < 2:
            raise ConfigError(f"avsdn needs two modalities or more; got {', '.join(widths)}")
        outputs = segment_outputs("avsdn", classes, segments)
        require_positive("avsdn", state=state)
        super().__init__(widths, classes, steps=dict.fromkeys(widths, segments))
        sizes = {m: width for m, (_, _, width) in self.shapes.items()}
        self.readers = nn.ModuleDict(
            {m: nn.LSTM(width, state, batch_first=True) for m, width in sizes.items()}
        )
        joined = state * len(widths)
        self.decoder = nn.LSTM(sum(sizes.values()), joined, batch_first=True)
        self.head = linear(joined, outputs)

    def forward(self, features: Features) -> Tensor:
        """Fused logits, segment by segment."""
        steps = {m: x.squeeze(2) for m, x in self.places(features).items()}
        states = [self.readers[m](x)[1] for m, x in steps.items()]
        start = tuple(torch.cat(each, dim=-1) for each in zip(*states, strict=True))
        decoded, _ = self.decoder(torch.cat([*steps.values()], dim=-1), start)
        logits: Tensor = self.head(decoded)
        return logits.flatten(1)
