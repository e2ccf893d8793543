"""MWTSM, attention over time windows of sound and face (after Ghaleb et al.); OGM's Table 8.

No code was to be had, and OGM's paper gives neither equation nor size: windows of several
modalities, embedded and attended to together, then pooled, is our reading, and so are all sizes. At
30 steps in a clip of 3 seconds windows are .4 s long and begin every .2 s. An encoder with few
columns or pictures gives fewer different steps, which then repeat. Features end before the windows
of modalities meet.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.models.fusions.base import Features
from mmtrain.models.fusions.joint_tokens import JointTransformer
from mmtrain.models.fusions.steps import StepFusion
from mmtrain.models.layers import linear


def windows(steps: int, size: int, hop: int) -> list[tuple[int, int]]:
    """First step of each window, and the one behind its last; what fills no window is left out."""
    return [(first, first + size) for first in range(0, steps - size + 1, hop)]


class MWTSM(StepFusion):
    """Overlapping windows of all modalities' steps attend to each other in one transformer.

    ``x_w^m = [phi_t^m; ..; phi_(t+size-1)^m]`` with ``t = hop w``; ``z`` is the mean over windows
    of a transformer on ``P^m x_w^m + e_w^m`` of all modalities together; ``f = W z + b``.

    Share, not exact: ``u^m`` is the logits of ``phi^m`` when the features of all others are 0, less
    ``(1 - 1/M)`` of the logits of no input. Windows of nothing but 0 take no part.

    Cost: attention among all windows of all modalities, 14 each by default.

    Args:
        widths: Modality to the width of its encoder; two or more.
        classes: Number of classes.
        steps: Number of steps into which a clip's time is divided.
        size: Number of steps in a window.
        hop: Number of steps from the start of a window to that of the next.
        hidden: Width of a window in the transformer.
        layers: Number of its layers.
        heads: Number of attention heads, which divides ``hidden``.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        steps: int = 30,
        size: int = 4,
        hop: int = 2,
        hidden: int = 256,
        layers: int = 2,
        heads: int = 4,
    ) -> None:
        if len(widths) < 2:
            raise ConfigError(f"mwtsm needs two modalities or more; got {', '.join(widths)}")
        if not 1 <= size <= steps or hop < 1:
            raise ConfigError(
                "mwtsm's size is from 1 to steps and its hop 1 or more; got "
                f"size {size}, steps {steps}, hop {hop}"
            )
        super().__init__(widths, classes, steps=dict.fromkeys(widths, steps))
        self.size, self.hop = size, hop
        count = len(windows(steps, size, hop))
        self.mixer = JointTransformer(
            "mwtsm",
            {m: (count, size * width) for m, (_, _, width) in self.shapes.items()},
            hidden=hidden,
            layers=layers,
            heads=heads,
        )
        self.head = linear(hidden, classes)

    def forward(self, features: Features) -> Tensor:
        """Fused logits."""
        tokens = {m: self.cut(x.squeeze(2)) for m, x in self.places(features).items()}
        logits: Tensor = self.head(self.mixer(tokens))
        return logits

    def cut(
        self, steps: Float[Tensor, "batch steps width"]
    ) -> Float[Tensor, "batch windows entries"]:
        """Windows, the steps of each side by side."""
        spans = windows(steps.shape[1], self.size, self.hop)
        return torch.stack([steps[:, first:last].flatten(1) for first, last in spans], dim=1)
