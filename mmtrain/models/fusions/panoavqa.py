"""Pano-AVQA's LAViT, one transformer over all tokens (Yun et al., ICCV 2021); OGM's Table 7.

The row is the adaptation to MUSIC-AVQA of that data set's authors, who released no code of it, so
this is our reading: tokens of the question, of the sound's steps and of the pictures' grid in one
transformer without pretraining, and their mean. There is no panorama, so positions on a sphere
become places of a grid. Features end before the transformer.
"""

from collections.abc import Mapping

from torch import Tensor

from mmtrain.models.fusions.asked import asking
from mmtrain.models.fusions.base import Features
from mmtrain.models.fusions.joint_tokens import JointTransformer
from mmtrain.models.fusions.steps import StepFusion, require_positive
from mmtrain.models.layers import linear


class PanoAVQA(StepFusion):
    """Words, steps of sound and places of pictures attend to each other in one transformer.

    ``z`` is the mean over tokens of a transformer on ``P^m phi_i^m + e_i^m`` of all modalities
    together; ``f = W z + b``. Tokens are the question's steps, those of sound, and every place of
    every picture.

    Share, not exact: ``u^m`` is the logits of ``phi^m`` when the features of all others are 0, less
    ``(1 - 1/M)`` of the logits of no input. Tokens that are 0 take no part.

    Cost: attention among all tokens, by default 14 words, 10 steps of sound and 90 places.

    Args:
        widths: Modality to the width of its encoder; two or more.
        classes: Number of answers.
        question: Modality that asks; None is ``question``, or the first where there is none.
        words: Number of steps of the question; longer ones are averaged in runs.
        steps: Number of steps of each other modality.
        side: Places of a picture in a row and in a column.
        hidden: Width of a token in the transformer.
        layers: Number of its layers.
        heads: Number of attention heads, which divides ``hidden``.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        question: str | None = None,
        words: int = 14,
        steps: int = 10,
        side: int = 3,
        hidden: int = 512,
        layers: int = 2,
        heads: int = 8,
    ) -> None:
        asks = asking("panoavqa", question, widths)
        require_positive("panoavqa", words=words, steps=steps, side=side)
        counts = {m: words if m == asks else steps for m in widths}
        super().__init__(widths, classes, steps=counts, side=side)
        self.mixer = JointTransformer(
            "panoavqa",
            {m: (count * places, width) for m, (count, places, width) in self.shapes.items()},
            hidden=hidden,
            layers=layers,
            heads=heads,
        )
        self.head = linear(hidden, classes)

    def forward(self, features: Features) -> Tensor:
        """Fused logits."""
        tokens = {m: x.flatten(1, 2) for m, x in self.places(features).items()}
        logits: Tensor = self.head(self.mixer(tokens))
        return logits
