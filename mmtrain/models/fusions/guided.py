"""Attention to places of a picture by another modality (Tian et al., ECCV 2018, Eq. 2 and 3)."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from mmtrain.models.layers import linear


class GuidedAttention(nn.Module):
    """Mean of the places of each step, weighted by what the guide makes of them.

    ``v' = relu(W_v V + b_v)``, ``a' = relu(W_a a + b_a)``, ``s = tanh(U_v v' + U_a a')``,
    ``alpha = softmax(s w)`` over places and ``c = sum alpha V``.

    Args:
        width: Features of a place.
        guide: Features of a step of the guide.
        hidden: Entries of ``v'`` and ``a'``.
        units: Entries of ``s``.
    """

    def __init__(self, width: int, guide: int, hidden: int, units: int) -> None:
        super().__init__()
        self.place, self.guide = linear(width, hidden), linear(guide, hidden)
        self.place_units, self.guide_units, self.score = (
            nn.Linear(inputs, outputs, bias=False)
            for inputs, outputs in ((hidden, units), (hidden, units), (units, 1))
        )
        for layer in (self.place_units, self.guide_units, self.score):
            nn.init.xavier_normal_(layer.weight)

    def forward(
        self,
        places: Float[Tensor, "batch steps places width"],
        guide: Float[Tensor, "batch steps guide"],
    ) -> Float[Tensor, "batch steps width"]:
        """``c`` of every step."""
        weights = self.weights(places, guide)
        return (weights * places).sum(2)

    def weights(
        self,
        places: Float[Tensor, "batch steps places width"],
        guide: Float[Tensor, "batch steps guide"],
    ) -> Float[Tensor, "batch steps places 1"]:
        """``alpha`` of every step and place."""
        units = self.guide_units(self.guide(guide).relu())[:, :, None]
        scores: Tensor = self.score((self.place_units(self.place(places).relu()) + units).tanh())
        return scores.softmax(2)


class GuidedSteps(nn.Module):
    """One vector a step of every modality: attended where a step has several places.

    The guide's own places are averaged.

    Args:
        shapes: Modality to its steps, the places of a step and the features of a place.
        guide: Modality that guides the attention.
        hidden: Entries of the projected features in the attention.
        units: Entries behind its tanh.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, int, int]], guide: str, hidden: int, units: int
    ) -> None:
        super().__init__()
        self.guide = guide
        self.attentions = nn.ModuleDict(
            {
                m: GuidedAttention(width, shapes[guide][2], hidden, units)
                for m, (_, places, width) in shapes.items()
                if m != guide and places > 1
            }
        )

    def forward(
        self, places: Mapping[str, Float[Tensor, "batch steps _ _"]]
    ) -> dict[str, Float[Tensor, "batch steps _"]]:
        """Modality to the vectors of its steps."""
        steps = {m: x.mean(2) for m, x in places.items()}
        guide = steps[self.guide]
        return steps | {m: attend(places[m], guide) for m, attend in self.attentions.items()}
