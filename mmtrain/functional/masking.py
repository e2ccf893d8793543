"""Masks that withhold features from the fusion, sample by sample."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def mask_features(
    features: Mapping[str, Float[Tensor, "batch _"]], keep: Bool[Tensor, "batch modalities"]
) -> dict[str, Float[Tensor, "batch _"]]:
    """``r_i^m phi_i^m``: features where they are kept, else 0, and their gradients likewise.

    Args:
        features: Modality to its features.
        keep: Mask with a column for each modality, in the order of ``features``.
    """
    return {m: x * keep[:, [i]] for i, (m, x) in enumerate(features.items())}


def has_any_modality(
    keep: Bool[Tensor, "batch modalities"],
    shown: Mapping[str, Bool[Tensor, " batch"]],
    modalities: Sequence[str],
) -> Bool[Tensor, " batch"]:
    """Mask (B,) of the samples that have a modality which is both kept and shown.

    Args:
        keep: Mask of the features that are not dropped.
        shown: Modality to the mask of samples that show it; all do where it is no key.
        modalities: Names of the columns of ``keep``.
    """
    columns = zip(modalities, keep.unbind(1), strict=True)
    return torch.stack([kept & shown[m] if m in shown else kept for m, kept in columns]).any(0)


def restore_emptied(
    keep: Bool[Tensor, "batch modalities"],
    shown: Mapping[str, Bool[Tensor, " batch"]],
    modalities: Sequence[str],
) -> Bool[Tensor, "batch modalities"]:
    """``keep``, with the whole of each sample that would lose all; see `has_any_modality`."""
    return keep | ~has_any_modality(keep, shown, modalities)[:, None]
