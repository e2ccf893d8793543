"""Stages of encoders, for the fusions that read or change the maps between them."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.models.encoders.base import Encoder


class Widths(dict[str, int]):
    """Modality to the width of its encoder, its stages and its tokens.

    Attributes:
        stages: Modality to the channels behind each stage; none where an encoder has no stages.
        tokens: Modality to the width of its encoder's tokens.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        stages: Mapping[str, tuple[int, ...]],
        tokens: Mapping[str, int],
    ) -> None:
        super().__init__(widths)
        self.stages, self.tokens = dict(stages), dict(tokens)

    @classmethod
    def of(cls, encoders: Mapping[str, Encoder]) -> "Widths":
        """Widths of ``encoders``."""
        return cls(
            {m: encoder.width for m, encoder in encoders.items()},
            stages={m: encoder.stage_widths for m, encoder in encoders.items()},
            tokens={m: encoder.token_width for m, encoder in encoders.items()},
        )


def last_stages(kind: str, widths: Mapping[str, int], levels: int) -> dict[str, tuple[int, ...]]:
    """Modality to the channels behind its last ``levels`` stages.

    Args:
        kind: Name of the fusion, for messages.
        widths: `Widths` of the encoders.
        levels: Number of stages, at least 1.

    Raises:
        ConfigError: An encoder has fewer stages, or none.
    """
    if levels < 1:
        raise ConfigError(f"{kind}'s levels is 1 or more; got {levels}")
    stages = widths.stages if isinstance(widths, Widths) else {}
    for modality in widths:
        count = len(stages.get(modality, ()))
        if count < levels:
            raise ConfigError(
                f"{kind} acts on the last {levels} stages of each encoder; that of {modality} has "
                f"{count or 'none'}; choose another encoder or fusion, or lower fusion.levels"
            )
    return {m: stages[m][-levels:] for m in widths}


def level_widths(kind: str, widths: Mapping[str, int], levels: int) -> dict[str, tuple[int, ...]]:
    """Modality to the widths of the vectors that `levels_of` gives; the last is the encoder's.

    Raises:
        ConfigError: An encoder has fewer stages than ``levels``, and that is more than 1.
    """
    if levels == 1:
        return {m: (width,) for m, width in widths.items()}
    inner = last_stages(kind, widths, levels)
    return {m: (*inner[m][:-1], width) for m, width in widths.items()}


def levels_of(
    encoder: Encoder, inputs: Shaped[Tensor, "batch ..."], levels: int
) -> Float[Tensor, "batch vectors"]:
    """Pooled maps behind the last ``levels`` stages side by side, the feature vector in last place.

    With one level it is the feature vector alone, for which an encoder needs no stages.
    """
    if levels == 1:
        return encoder(inputs)
    maps, pooled = encoder.begin(inputs), []
    stages = encoder.stages()
    for number, stage in enumerate(stages):
        maps = stage(maps)
        if len(stages) - levels <= number < len(stages) - 1:
            pooled.append(encoder.pool(maps).float())
    return torch.cat([*pooled, encoder.finish(maps).float()], dim=-1)
