"""MMTM, squeeze and excitation between encoders (Joze et al., CVPR 2020); "Channel" in tables.

Differs from the released code, whose gates are ``sigmoid`` (``scale=1``): with 2 a gate is 1 where
its layer gives 0, as the paper has it. For more than two modalities the squeezes of all are joined,
which is our reading. Acts behind the last three stages, as in Greedy's code.
"""

from collections.abc import Mapping
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.errors import ConfigError
from mmtrain.models.encoders.base import Encoder
from mmtrain.models.fusions.base import Features, Fusion
from mmtrain.models.fusions.stages import last_stages
from mmtrain.models.layers import linear


class Exchange(nn.Module):
    """Gates for the channels of each modality, from the squeezed channels of all.

    ``z = relu([s^1; ...; s^M] W_z^T + b_z)``, ``E^m = scale sigmoid(z W_m^T + b_m)``.

    Args:
        channels: Modality to the channels of its maps.
        ratio: Twice the channels of all are divided by it for the width of ``z``.
        scale: Largest value of a gate.
    """

    def __init__(self, channels: Mapping[str, int], ratio: float, scale: float) -> None:
        super().__init__()
        total = sum(channels.values())
        width = max(1, int(2 * total / ratio))
        self.squeeze = linear(total, width)
        self.gates = nn.ModuleDict({m: linear(width, count) for m, count in channels.items()})
        self.scale = scale

    def forward(self, squeezed: Features) -> dict[str, Float[Tensor, "batch _"]]:
        """``E^m`` by modality."""
        joined = torch.cat([squeezed[m] for m in self.gates], dim=-1)
        z = self.squeeze(joined).relu()
        return {m: self.scale * gate(z).sigmoid() for m, gate in self.gates.items()}


class MMTM(Fusion):
    """Encoders gate each other's channels behind their last stages; logits are averaged.

    ``s^m`` is the mean of each channel over all places, of all pictures of a clip;
    ``z = relu([s^1; ...; s^M] W_z^T + b_z)``, ``E^m = 2 sigmoid(z W_m^T + b_m)`` and
    ``X^m <- E^m X^m`` in every picture and place, behind each of the last ``levels`` stages;
    ``f = 1/M sum_m (phi^m (V^m)^T + c^m)``.

    Share: ``u^m = (phi^m (V^m)^T + c^m) / M``, the modality's own logits. Exact, but features have
    seen the other modalities through the gates, and so has the gradient: the encoder of a modality
    also learns what helps the others. Dropping a feature drops what follows the encoders only.

    The encoders run in step, so a method that trains one modality alone refuses this fusion.

    Args:
        widths: Modality to the width of its encoder, with the channels of its stages; two or more.
        classes: Number of classes.
        levels: Number of the encoders' last stages behind which they exchange.
        ratio: Twice the channels of all are divided by it for the width of ``z``.
        scale: Largest value of a gate; 1 as in the released code.
    """

    joint = True

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        levels: int = 3,
        ratio: float = 4.0,
        scale: float = 2.0,
    ) -> None:
        super().__init__(widths, classes)
        if len(widths) < 2:
            raise ConfigError(f"mmtm needs two modalities or more; got {', '.join(widths)}")
        if ratio <= 0 or scale <= 0:
            raise ConfigError(f"mmtm's ratio and scale are above 0; got {ratio}, {scale}")
        channels = last_stages("mmtm", widths, levels)
        self.exchanges = nn.ModuleList(
            Exchange({m: channels[m][level] for m in widths}, ratio, scale)
            for level in range(levels)
        )
        self.heads = nn.ModuleDict({m: linear(width, classes) for m, width in widths.items()})

    def encode(
        self, encoders: Mapping[str, Encoder], prepared: Mapping[str, Tensor]
    ) -> dict[str, Float[Tensor, "batch _"]]:
        """Features of encoders that run in step; earlier stages of a deeper one run before."""
        maps = {m: encoder.begin(prepared[m]) for m, encoder in encoders.items()}
        levels = len(self.exchanges)
        stages = {m: [*encoder.stages()] for m, encoder in encoders.items()}
        for m, own in stages.items():
            for stage in own[:-levels]:
                maps[m] = stage(maps[m])
        for level, exchange in enumerate(self.exchanges):
            maps = {m: own[level - levels](maps[m]) for m, own in stages.items()}
            gates = cast(Exchange, exchange)({m: encoders[m].pool(x) for m, x in maps.items()})
            maps = {m: encoders[m].gate(x, gates[m].to(x.dtype)) for m, x in maps.items()}
        return {m: encoder.finish(maps[m]) for m, encoder in encoders.items()}

    def split(self, features: Features) -> dict[str, Tensor]:
        """Each modality's own logits, divided by the number of modalities."""
        return {m: head(features[m]) / len(self.heads) for m, head in self.heads.items()}
