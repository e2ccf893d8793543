"""Features that are withheld from the fusion, sample by sample."""

from collections.abc import Collection, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def masked(
    features: Mapping[str, Float[Tensor, "batch _"]], keep: Bool[Tensor, "batch modalities"]
) -> dict[str, Float[Tensor, "batch _"]]:
    """``r_i^m phi_i^m``: features where they are kept, 0 elsewhere, and so are their gradients.

    Args:
        features: Modality to its features.
        keep: A column for each of them, in their order.
    """
    return {m: x * keep[:, [i]] for i, (m, x) in enumerate(features.items())}


def heard(
    keep: Bool[Tensor, "batch modalities"],
    shown: Mapping[str, Bool[Tensor, " batch"]],
    modalities: Sequence[str],
) -> Bool[Tensor, " batch"]:
    """Whether anything is left of a sample: kept, and shown.

    Args:
        keep: What is not dropped.
        shown: Modality to which samples show it; absent means all.
        modalities: The columns of ``keep``.
    """
    columns = zip(modalities, keep.unbind(1), strict=True)
    return torch.stack([own & shown[m] if m in shown else own for m, own in columns]).any(0)


def spared(
    keep: Bool[Tensor, "batch modalities"],
    shown: Mapping[str, Bool[Tensor, " batch"]],
    modalities: Sequence[str],
) -> Bool[Tensor, "batch modalities"]:
    """``keep``, and all of a sample of which nothing would be left; see `heard`."""
    return keep | ~heard(keep, shown, modalities)[:, None]


def only(
    features: Mapping[str, Float[Tensor, "batch _"]], names: Collection[str]
) -> dict[str, Float[Tensor, "batch _"]]:
    """Features of the modalities ``names``; those of the others are 0."""
    return {m: x if m in names else torch.zeros_like(x) for m, x in features.items()}
