"""PSP, positive sample propagation (Zhou et al., CVPR 2021); a row of OGM's Table 7.

Differs from the paper and its code: ResNet-18 or another encoder learns with it where VGG-19 and
VGGish features are fixed; the loss is the task's alone, for the similarity loss (100 times the
squared error of the segments' cosines) is not a fusion's to add; no dropout unless asked for.
Features end before the attention, as the conference paper of OGM has it for PSP. More than two
modalities are our reading: each takes from every other.
"""

import math
from collections.abc import Mapping
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.errors import ConfigError
from mmtrain.models.fusions.base import Features, leader
from mmtrain.models.fusions.guided import GuidedSteps
from mmtrain.models.fusions.steps import StepFusion, require_positive, segment_outputs
from mmtrain.models.layers import linear

_NONE: Final = 1e-8  # added to a sum that may be 0


def affinity(
    queries: Float[Tensor, "*batch queries width"],
    keys: Float[Tensor, "*batch keys width"],
    threshold: float,
) -> Float[Tensor, "*batch queries keys"]:
    """``gamma``: ``relu(Q K^T / sqrt(width))`` by rows of sum 1, without weak pairs.

    Entries up to ``threshold`` become 0, and the rows that remain get the sum 1 again; those of
    which nothing remains are 0.
    """
    beta = (queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])).relu()
    shares = beta / (beta.sum(-1, keepdim=True) + _NONE)
    strong = torch.where(shares > threshold, shares, 0.0)
    return strong / (strong.sum(-1, keepdim=True) + _NONE)


class PSP(StepFusion):
    """Segments of one modality take from the segments of the others that match them well.

    ``x^m`` is a two-way LSTM over ``a`` or, where there are pictures, over their places attended to
    as in ``avga``. ``q^m`` and ``p^m`` are branches ``relu(W x^m + b)``; ``gamma^mj`` is
    ``relu(q^m (q^j)^T / sqrt(d))`` by rows of sum 1, entries up to ``tau`` set to 0, by rows of sum
    1 again; ``y^m = x^m + sum_{j != m} gamma^mj p^j``. Then ``f_t = W_2 relu(W_1 z_t)`` with
    ``z_t = 1/M sum_m LN(relu(W^m y_t^m))``, for each of S segments. The logits are those of the
    segments one after the other, as the task ``localisation`` has them.

    Share, not exact: ``u^m`` is the logits of ``phi^m`` when the features of all others are 0, less
    ``(1 - 1/M)`` of the logits of no input.

    Cost: features of all places, S x places x channels numbers a sample, and an S x S affinity for
    each ordered pair of modalities.

    Args:
        widths: Modality to the width of its encoder; two or more.
        classes: Number of logits of all segments.
        segments: Number of segments of a sample, S.
        guide: Modality that guides the attention; None is the first.
        side: Places of a picture in a row and in a column.
        hidden: Entries of the projected features, in the attention twice as many.
        units: Entries behind the tanh of the attention.
        state: Entries of each direction of an LSTM.
        threshold: Share of a row up to which a pair is weak, in [0, 1); ``tau``.
        dropout: Probability of dropping an entry behind the branches; the paper has 0.1.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        segments: int = 10,
        guide: str | None = None,
        side: int = 7,
        hidden: int = 256,
        units: int = 49,
        state: int = 128,
        threshold: float = 0.099,
        dropout: float = 0.0,
    ) -> None:
        guide = leader("psp", "guide", guide, widths)
        outputs = segment_outputs("psp", classes, segments)
        require_positive("psp", side=side, hidden=hidden, units=units, state=state)
        if not 0 <= threshold < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f"psp's threshold and dropout are in [0, 1); got {threshold}, {dropout}"
            )
        super().__init__(widths, classes, steps=dict.fromkeys(widths, segments), side=side)
        self.threshold, self.dropout = threshold, nn.Dropout(dropout)
        self.attend = GuidedSteps(self.shapes, guide, 2 * hidden, units)
        self.projections = nn.ModuleDict(
            {
                m: nn.Sequential(linear(width, hidden), nn.ReLU(), linear(hidden, state))
                for m, (_, _, width) in self.shapes.items()
            }
        )
        self.readers = nn.ModuleDict(
            {m: nn.LSTM(state, state, batch_first=True, bidirectional=True) for m in widths}
        )
        both = 2 * state
        self.queries = nn.ModuleDict({m: linear(both, both) for m in widths})
        self.passed = nn.ModuleDict({m: linear(both, both) for m in widths})
        self.outs = nn.ModuleDict({m: _unbiased(both, both) for m in widths})
        self.norm = nn.LayerNorm(both, eps=1e-6)
        self.hidden, self.head = _unbiased(both, 64), _unbiased(64, outputs)

    def forward(self, features: Features) -> Tensor:
        """Fused logits, segment by segment."""
        steps = self.attend(self.places(features))
        steps = {m: self.readers[m](self.projections[m](x))[0] for m, x in steps.items()}
        queries = {m: self.dropout(self.queries[m](x).relu()) for m, x in steps.items()}
        passed = {m: self.dropout(self.passed[m](x).relu()) for m, x in steps.items()}
        normed = []
        for m, own in steps.items():
            taken = own
            for j in steps:
                if j != m:
                    taken = taken + affinity(queries[m], queries[j], self.threshold) @ passed[j]
            normed.append(self.norm(self.dropout(self.outs[m](taken).relu())))
        logits: Tensor = self.head(self.hidden(torch.stack(normed).mean(0)).relu())
        return logits.flatten(1)


def _unbiased(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer without bias, Xavier-uniform as in the authors' code."""
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.xavier_uniform_(layer.weight)
    return layer
