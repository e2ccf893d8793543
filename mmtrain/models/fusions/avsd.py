"""AVSD, answers by attention to a scene (Schwartz et al., CVPR 2019); a row of OGM's Table 7.

The row is the adaptation to MUSIC-AVQA of that data set's authors, who released no code of it, so
this is our reading: an LSTM for the question and one for each other modality, whose steps are
attended to by the question; all sizes are ours too, that of the states is MUSIC-AVQA's. There is
one question and no dialogue, and answers are classes. Features end before the question attends.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.models.fusions.asked import asking
from mmtrain.models.fusions.attention import attend
from mmtrain.models.fusions.base import Features
from mmtrain.models.fusions.steps import StepFusion, require_positive
from mmtrain.models.layers import linear


class AVSD(StepFusion):
    """The last state of a question's LSTM attends to the states of each other modality's LSTM.

    ``q = h_L`` of the question, L its last step that is no padding; ``H^m = (h_1^m, .., h_T^m)`` of
    each other modality and ``c^m = softmax(q (H^m)^T / sqrt(d)) H^m``;
    ``f = W_2 tanh(W_1 [q; c^1; ..] + b_1) + b_2``.

    Share, not exact: ``u^m`` is the logits of ``phi^m`` when the features of all others are 0, less
    ``(1 - 1/M)`` of the logits of no input.

    Cost: an LSTM a modality.

    Args:
        widths: Modality to the width of its encoder; two or more.
        classes: Number of answers.
        question: Modality that asks; None is ``question``, or the first where there is none.
        words: Number of steps of the question; longer ones are averaged in runs.
        steps: Number of steps of each other modality.
        hidden: Entries of the LSTMs' states, and behind the first layer of the classifier.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        question: str | None = None,
        words: int = 14,
        steps: int = 10,
        hidden: int = 512,
    ) -> None:
        asks = asking("avsd", question, widths)
        require_positive("avsd", words=words, steps=steps, hidden=hidden)
        counts = {m: words if m == asks else steps for m in widths}
        super().__init__(widths, classes, steps=counts)
        self.question = asks
        self.readers = nn.ModuleDict(
            {
                m: nn.LSTM(width, hidden, batch_first=True)
                for m, (_, _, width) in self.shapes.items()
            }
        )
        self.hidden = linear(hidden * len(widths), hidden)
        self.head = linear(hidden, classes)

    def forward(self, features: Features) -> Tensor:
        """Fused logits."""
        steps = {m: x.squeeze(2) for m, x in self.places(features).items()}
        states = {m: self.readers[m](x)[0] for m, x in steps.items()}
        asked = at_last(states.pop(self.question), steps[self.question])
        contexts = [attend(asked, own, own) for own in states.values()]
        joined = torch.cat([asked, *contexts], dim=-1).squeeze(1)
        logits: Tensor = self.head(self.hidden(joined).tanh())
        return logits


def at_last(
    states: Float[Tensor, "batch steps hidden"], steps: Float[Tensor, "batch steps width"]
) -> Float[Tensor, "batch 1 hidden"]:
    """The state at the last step that is not all 0; the first where there is none."""
    real = (steps != 0).any(-1)
    numbers = torch.arange(steps.shape[1], device=steps.device)
    last = (real * numbers).argmax(1)
    return states[torch.arange(states.shape[0], device=steps.device), last][:, None]
