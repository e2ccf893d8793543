"""Features by steps of time, for the fusions that label seconds or read sequences."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.modalities import PICTURES, SPECTROGRAM, modality
from mmtrain.models.encoders.base import Encoder, Pictures
from mmtrain.models.fusions.base import Features, Fusion, zero_out
from mmtrain.models.fusions.stages import Widths


class StepFusion(Fusion):
    """Base of these fusions; a subclass adds its layers and gives `forward`.

    The features of a modality are its steps side by side, each of them its places side by side. So
    every encoder can run alone, and OGM and OPM act before modalities meet.

    Args:
        widths: Modality to the width of its encoder, with that of its tokens.
        classes: Number of classes.
        steps: Modality to the number of its steps.
        side: Places of a picture in a row and in a column; other modalities have one place a step.

    Attributes:
        shapes: Modality to its steps, the places of a step and the features of a place.
    """

    additive = False

    def __init__(
        self, widths: Mapping[str, int], classes: int, *, steps: Mapping[str, int], side: int = 1
    ) -> None:
        super().__init__(widths, classes)
        each = widths.tokens if isinstance(widths, Widths) else widths
        self.side = side
        self.shapes = {
            m: (steps[m], side**2 if modality(m).kind == PICTURES else 1, each[m]) for m in widths
        }
        self.feature_widths = {m: math.prod(shape) for m, shape in self.shapes.items()}

    def encode(
        self, encoders: Mapping[str, Encoder], prepared: Mapping[str, Tensor]
    ) -> dict[str, Float[Tensor, "batch _"]]:
        """Steps of each modality side by side, from the maps behind its last stage."""
        return {
            m: steps_of(m, encoder, prepared[m], self.shapes[m][0], self.side).flatten(1)
            for m, encoder in encoders.items()
        }

    def places(self, features: Features) -> dict[str, Float[Tensor, "batch steps places _"]]:
        """Modality to its features by step and place, in the order of modalities."""
        return {m: features[m].reshape(-1, *shape) for m, shape in self.shapes.items()}

    def split(self, features: Features) -> dict[str, Tensor]:
        """Each modality's share by zeroing the others; see the class."""
        return zero_out(self.forward, features)


def segment_outputs(kind: str, classes: int, segments: int) -> int:
    """Logits of each segment, where all segments of a sample have ``classes`` together.

    Raises:
        ConfigError: They cannot be divided evenly.
    """
    if segments < 1 or classes % segments:
        raise ConfigError(
            f"{kind} labels every segment of a sample, and the task's {classes} logits are not "
            f"those of {segments} segments; set fusion.segments to the number that the data have"
        )
    return classes // segments


def require_positive(kind: str, **sizes: int) -> None:
    """Refuses sizes of a fusion below 1.

    Raises:
        ConfigError: One of them is.
    """
    if wrong := [f"{name} {size}" for name, size in sizes.items() if size < 1]:
        raise ConfigError(f"{kind} takes sizes of 1 or more; got {', '.join(wrong)}")


def steps_of(
    name: str, encoder: Encoder, inputs: Tensor, steps: int, side: int
) -> Float[Tensor, "batch steps places features"]:
    """Features of one modality by step and place, in float32.

    Pictures are averaged over runs of time, rows and columns. The columns of a spectrogram are its
    time, and its frequencies are averaged. Padding of texts and sequences counts nowhere, and a run
    of nothing else is 0.

    Args:
        name: Name of the modality.
        encoder: Encoder of the modality.
        inputs: Input of the encoder.
        steps: Number of steps that are returned.
        side: Places of a picture in a row and in a column.

    Raises:
        ConfigError: The encoder has no maps of pictures.
    """
    kind = modality(name).kind
    if kind not in (PICTURES, SPECTROGRAM):
        tokens = encoder.tokens(inputs).float()
        real = (tokens != 0).any(-1, keepdim=True).float()
        means = averaged(tokens, 1, steps) / averaged(real, 1, steps).clamp(min=1e-6)
        return means[:, :, None]
    if not isinstance(encoder, Pictures):
        raise ConfigError(
            f"the encoder {type(encoder).__name__} of {name} gives no maps by time and place; "
            "choose another, such as resnet18, or another fusion"
        )
    maps = encoder.begin(inputs)
    for stage in encoder.stages():
        maps = stage(maps)
    maps = maps.float()
    if kind == SPECTROGRAM:
        return averaged(maps.mean((1, 3)), -1, steps).transpose(1, 2)[:, :, None]
    for dim, runs in ((1, steps), (3, side), (4, side)):
        maps = averaged(maps, dim, runs)
    return maps.movedim(2, -1).flatten(2, 3)


def averaged(maps: Float[Tensor, "*shape"], dim: int, runs: int) -> Float[Tensor, "*result"]:
    """Means over ``runs`` runs of a dimension; runs overlap or repeat where they must.

    Run r is from ``floor(r n / runs)`` to ``ceil((r + 1) n / runs)`` of n, as in adaptive pooling,
    whose gradient is not reproducible on a GPU.
    """
    count = maps.shape[dim]
    if count == runs:
        return maps
    # Made on the device: the CPU would wait for a copy.
    run = torch.arange(runs, device=maps.device)[:, None]
    step = torch.arange(count, device=maps.device)
    first, last = run * count // runs, -(-(run + 1) * count // runs)
    weights = ((first <= step) & (step < last)) / (last - first)
    means = maps.movedim(dim, -1) @ weights.to(maps).T
    return means.movedim(-1, dim)
