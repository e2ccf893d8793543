"""Parameters as units: the channels of convolutions and the rows of linear layers."""

import math
from dataclasses import dataclass
from typing import Final, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmtrain.errors import ConfigError
from mmtrain.models.encoders import Encoder
from mmtrain.models.multimodal import MultimodalModel

# Share of the importance that is spread evenly, so that a layer without gradient draws evenly.
_EVEN: Final = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """Masked parameters as rows of units, padded to equal length; each draw is from one row.

    Attributes:
        parts: Weights, and the columns of each that belong to one modality.
        shapes: Shape of the mask of each part: (filters, 1, 1, 1), or that of a matrix whose
            entries are units and whose rows are rows here.
        there: Mask of the places that hold a unit, those of all parts one after another.
        places: Indices of these places in ``there``, flattened.
        sizes: Number of units of each row.
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
        """Makes the units of a model's encoders, of its fusion, or of both."""
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
                "convolution or layer behind the first, the head a fusion such as concat; set "
                "another scope"
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
        """Gradient of each part, as a view."""
        return [w.grad[:, columns] for w, columns in self.parts if w.grad is not None]

    def squares(self, gradients: list[Tensor]) -> Float[Tensor, "rows units"]:
        """``F``: each unit's sum of squared gradients; 0 where there is none."""
        sums = [(g * g).sum_to_size(shape) for g, shape in zip(gradients, self.shapes, strict=True)]
        flat = torch.cat([each.flatten() for each in sums])
        empty = flat.new_zeros(self.there.numel())
        return empty.index_copy(0, self.places, flat).view_as(self.there)

    def masks(self, factors: Float[Tensor, "rows units"]) -> list[Tensor]:
        """Factors on each part's gradient, in its shape."""
        flat = factors.flatten()[self.places]
        pieces = torch.split(flat, [math.prod(shape) for shape in self.shapes])
        return [piece.view(shape) for piece, shape in zip(pieces, self.shapes, strict=True)]


def unit_shares(
    squares: Float[Tensor, "rows units"], there: Bool[Tensor, "rows units"]
) -> Float[Tensor, "rows units"]:
    """``p_j = F_j / sum F``, less a thousandth that is spread evenly (AMSS, Sec. III-C).

    Args:
        squares: ``F``, the sum of squared gradients of each unit of a layer.
        there: Mask of the places that hold a unit; each row has one.
    """
    least = torch.finfo(squares.dtype).tiny
    plain = squares / squares.sum(1, keepdim=True).clamp(min=least)
    mixed = (1 - _EVEN) * plain + _EVEN * there / there.sum(1, keepdim=True)
    return mixed / mixed.sum(1, keepdim=True)


def unit_counts(rho: Float[Tensor, " rows"], units: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
    """``ceil(rho C_l)`` units of each layer, at least 1."""
    # A rounding error above a whole number must not make one more, or ranks could differ.
    return (rho * units - 1e-4).ceil().long().clamp(min=1).minimum(units)
