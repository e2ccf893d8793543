"""Measures on val that methods go by."""

from mmtrain.errors import ConfigError
from mmtrain.methods.base import Run


def require_val(run: Run, method: str) -> None:
    """Refuses data without a split to measure on.

    Raises:
        ConfigError: There is no val.
    """
    if not run.splits.get("val"):
        raise ConfigError(
            f"{method} goes by measures on val, and these shards have {', '.join(run.splits)} only"
        )


def measured_by_modality(run: Run, measure: str) -> dict[str, float] | None:
    """Modality to a measure of its own logits on val; None before the first evaluation."""
    measured = run.measured("val")
    if measured is None:
        return None
    return {m: measured["modalities"][m][measure] for m in run.model.modalities}
