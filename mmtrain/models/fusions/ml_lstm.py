"""ML-LSTM, an LSTM over modalities at several levels (Nie et al., MTAP 2021).

AUG and LFM list it in their tables. Neither its text nor code was to be had, so all of this is our
reading: a level is a stage of the encoders, its sequence the modalities in their order, and the
last state of a level is the first of the next.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmtrain.models.fusions.base import Features
from mmtrain.models.fusions.levels import LevelFusion
from mmtrain.models.layers import linear


class MLLSTM(LevelFusion):
    """One LSTM a level reads the modalities one after another; its last state starts the next.

    ``(h, c) <- LSTM_l(P_l^m s_l^m, (h, c))`` for each level ``l`` and in it each modality ``m``,
    from ``(0, 0)``; ``f = W h + b``. ``s_l^m`` are the pooled maps behind one of the encoder's last
    stages, and the feature vector at the last level; ``P_l^m`` makes all equally wide. The order of
    modalities matters.

    Share, not exact: ``u^m`` is the logits of ``phi^m`` when the features of all others are 0, less
    ``(1 - 1/M)`` of the logits of no input.

    Args:
        widths: Modality to the width of its encoder, with the channels of its stages.
        classes: Number of classes.
        hidden: Entries of the LSTMs' states, and width to which all are projected.
        levels: Number of the encoders' last stages that are read; 1 is the feature vector alone.
    """

    def __init__(
        self, widths: Mapping[str, int], classes: int, *, hidden: int = 512, levels: int = 4
    ) -> None:
        super().__init__("ml-lstm", widths, classes, hidden, levels)
        self.cells = nn.ModuleList(nn.LSTMCell(hidden, hidden) for _ in range(levels))
        self.head = linear(hidden, classes)

    def forward(self, features: Features) -> Tensor:
        """Fused logits."""
        vectors = self.projected(features)
        rest = torch.zeros_like(vectors[self.modalities[0]][0])
        state = (rest, rest)
        for level, cell in enumerate(self.cells):
            for modality in self.modalities:
                state = cell(vectors[modality][level], state)
        logits: Tensor = self.head(state[0])
        return logits
