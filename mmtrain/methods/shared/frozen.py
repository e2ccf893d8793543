"""Forward passes in which some modalities stand still."""

from collections.abc import Collection

import torch
from torch import Tensor

from mmtrain.models.layers import frozen_batch_norm
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.types import Batch


def features_of(
    model: MultimodalModel, trained: Collection[str], batch: Batch
) -> dict[str, Tensor]:
    """Features of all modalities; gradients reach the encoders of the ``trained`` ones only.

    Batch normalisation of the others remembers nothing of the batch.
    """
    features = {}
    for modality in model.modalities:
        if modality in trained:
            features[modality] = model.feature(modality, batch)
            continue
        with torch.no_grad(), frozen_batch_norm(model.encoders[modality]):
            features[modality] = model.feature(modality, batch)
    return features
