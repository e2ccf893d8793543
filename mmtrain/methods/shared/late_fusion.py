"""Additive late fusion, for methods that bring it."""

from mmtrain.methods.base import Run
from mmtrain.models.fusions.sum import Sum
from mmtrain.models.layers import seeded


def fuse_late(run: Run) -> Sum:
    """Puts the sum of a linear layer for each modality in the place of the run's fusion."""
    fusion = run.model.fusion
    with seeded(run.seed, "fusion"):
        late = Sum(fusion.widths, fusion.classes)
    run.model.fusion = late
    run.adopt(late)
    return late
