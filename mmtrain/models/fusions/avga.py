"""AVGA, audio-guided visual attention of AVEL (Tian et al., ECCV 2018); a row of OGM's Table 7.

Differs from the paper: ResNet-18 or another encoder learns with it where VGG-19 and VGGish features
are fixed, so maps of the last stage are averaged to seconds and places; the loss is that of the
task, cross-entropy, and not a multi-label margin on softmax outputs. OGM's paper does not state
where features end; before the attention is our reading, for there modalities meet first. For more
than two modalities one guides the attention in each that has pictures, which is ours too.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmtrain.models.fusions.base import Features, leader
from mmtrain.models.fusions.guided import GuidedSteps
from mmtrain.models.fusions.steps import StepFusion, require_positive, segment_outputs
from mmtrain.models.layers import linear


class AVGA(StepFusion):
    """One modality guides attention to places of pictures; an LSTM of each reads the segments.

    ``c_t = sum_p alpha_tp V_tp`` with ``alpha_t = softmax_p(tanh(relu(V_t W_v) U_v + relu(a_t W_a)
    U_a) w)``; ``h^m`` is a two-way LSTM over ``a`` or ``c``; ``f_t = W_2 relu(W_1 relu([h_t^1; ..;
    h_t^M]) + b_1) + b_2`` for each of S segments. The logits are those of the segments one after
    the other, as the task ``localisation`` has them.

    Share, not exact: ``u^m`` is the logits of ``phi^m`` when the features of all others are 0, less
    ``(1 - 1/M)`` of the logits of no input.

    Cost: features of all places, S x places x channels numbers a sample.

    Args:
        widths: Modality to the width of its encoder; two or more.
        classes: Number of logits of all segments.
        segments: Number of segments of a sample, S.
        guide: Modality that guides the attention; None is the first.
        side: Places of a picture in a row and in a column.
        hidden: Entries of the projected features in the attention.
        units: Entries behind its tanh.
        state: Entries of each direction of an LSTM.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        segments: int = 10,
        guide: str | None = None,
        side: int = 7,
        hidden: int = 512,
        units: int = 49,
        state: int = 128,
    ) -> None:
        guide = leader("avga", "guide", guide, widths)
        outputs = segment_outputs("avga", classes, segments)
        require_positive("avga", side=side, hidden=hidden, units=units, state=state)
        super().__init__(widths, classes, steps=dict.fromkeys(widths, segments), side=side)
        self.attend = GuidedSteps(self.shapes, guide, hidden, units)
        self.readers = nn.ModuleDict(
            {
                m: nn.LSTM(width, state, batch_first=True, bidirectional=True)
                for m, (_, _, width) in self.shapes.items()
            }
        )
        self.hidden = linear(2 * state * len(widths), 64)
        self.head = linear(64, outputs)

    def forward(self, features: Features) -> Tensor:
        """Fused logits, segment by segment."""
        steps = self.attend(self.places(features))
        read = [self.readers[m](x)[0] for m, x in steps.items()]
        logits: Tensor = self.head(self.hidden(torch.cat(read, dim=-1).relu()).relu())
        return logits.flatten(1)
