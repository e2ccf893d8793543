"""Parameters as units: the channels of convolutions and the rows of linear layers."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.models.encoders import Encoder
from mmtrain.models.multimodal import MultimodalModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """What is masked, as rows of units from which one drawing takes, padded to equal length.

    Attributes:
        parts: Weights, and the columns of each that belong to one modality.
        shapes: Of the mask of each part: (filters, 1, 1, 1), or that of a matrix whose entries are
            units and whose rows are rows here.
        there: Where there is a unit. Along its rows are the units of all parts, one after another.
        places: Of those, in ``there`` laid flat.
        sizes: Units of each row.
        modality: Number of each row's modality.
    """

    parts: list[tuple[Tensor, slice]]
    shapes: list[tuple[int, ...]]
    there: Bool[Tensor, "rows units"]
    places: Int[Tensor, " total"]
    sizes: Int[Tensor, " rows"]
    modality: Int[Tensor, " rows"]

    @classmethod
    def of(cls, model: MultimodalModel, scope: str) -> "Units":
        """Those of a model's encoders, of its fusion, or both."""
        parts, shapes, rows = [], [], []
        for number, modality in enumerate(model.modalities):
            encoder = cast("Encoder", model.encoders[modality])
            for weight in encoder.filters() if scope != "head" else ():
                parts.append((weight, slice(None)))
                shapes.append((len(weight), *[1] * (weight.dim() - 1)))
                rows.append((len(weight), number))
            if scope != "encoders" and (matrix := model.fusion.matrix(modality)) is not None:
                parts.append(matrix)
                classes, width = matrix[0][:, matrix[1]].shape
                shapes.append((classes, width))
                rows += [(width, number)] * classes
        if {number for _, number in rows} != {*range(len(model.modalities))}:
            raise ConfigError(
                f"amss finds nothing to mask in some modality with scope={scope}: encoders need a "
                "convolution behind the first, the head a fusion such as concat; set another scope"
            )
        sizes, owners = torch.tensor(rows, device=parts[0][0].device).unbind(1)
        there = torch.arange(int(sizes.max()), device=sizes.device) < sizes[:, None]
        return cls(
            parts=parts,
            shapes=shapes,
            there=there,
            places=there.flatten().nonzero().squeeze(1),
            sizes=sizes,
            modality=owners,
        )

    def gradients(self) -> list[Tensor]:
        """Of each part, a view."""
        return [w.grad[:, columns] for w, columns in self.parts if w.grad is not None]

    def squares(self, gradients: list[Tensor]) -> Float[Tensor, "rows units"]:
        """``F``: each unit's sum of squared gradients; 0 where there is none."""
        sums = [(g * g).sum_to_size(shape) for g, shape in zip(gradients, self.shapes, strict=True)]
        flat = torch.cat([each.flatten() for each in sums])
        empty = flat.new_zeros(self.there.numel())
        return empty.index_copy(0, self.places, flat).view_as(self.there)

    def masks(self, factors: Float[Tensor, "rows units"]) -> list[Tensor]:
        """What each part's gradient is multiplied with."""
        flat = factors.flatten()[self.places]
        pieces = torch.split(flat, [math.prod(shape) for shape in self.shapes])
        return [piece.view(shape) for piece, shape in zip(pieces, self.shapes, strict=True)]
