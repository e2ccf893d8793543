"""Criteria of balance: facts about samples that BSS scores them by (Guan et al., IJCAI 2025).

The appendix of arXiv 2501.01470 names four, and pairs of a similarity with one of the others; only
its beginning was at hand, so ``features`` and ``gradient`` are readings.
"""

import logging
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.curricula.memory import SampleFacts
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.functional import agreement
from mmtrain.methods.base import Method
from mmtrain.tasks.task import Task, mean_by_sample
from mmtrain.types import Batch, Outputs

log = logging.getLogger(__name__)

NONE: Final = "none"
# Criterion to the name of its fact, in the order in which scores add them.
FACTS: Final = {
    "presim": "similarity",
    "features": "features",
    "loss": "loss",
    "gradient": "gradient",
}
# A high similarity is balanced, a high loss or gradient is not.
_SIGNS: Final = {"similarity": 1, "features": 1, "loss": -1, "gradient": -1}


def fact_names(criteria: str) -> tuple[str, ...]:
    """Names of the facts that ``criteria`` need; none for ``none``.

    Args:
        criteria: ``presim``, ``features``, ``loss`` or ``gradient``, several with commas between;
            or ``none``.

    Raises:
        UnknownName: There is no such criterion.
        ConfigError: ``none`` beside another, or none at all.
    """
    names = [name.strip() for name in criteria.split(",")]
    for name in names:
        if name not in (*FACTS, NONE):
            raise UnknownName("criterion", name, (*FACTS, NONE))
    if NONE in names and len(names) > 1:
        raise ConfigError(f"the criterion none stands alone; got {criteria!r}")
    return tuple(fact for name, fact in FACTS.items() if name in names)


def balance_facts(
    names: tuple[str, ...], out: Outputs, batch: Batch, method: Method, task: Task
) -> dict[str, Tensor]:
    """Name to facts (b,) of the samples of a batch.

    ``similarity`` is the `agreement` of the modalities' probabilities, ``features`` that of their
    features, ``loss`` the method's loss, and ``gradient`` the `head_gradient_norm`.

    Raises:
        ConfigError: ``features`` of unequal widths.
    """
    widths = {m: x.shape[1] for m, x in out.features.items()}
    if "features" in names and len({*widths.values()}) > 1:
        raise ConfigError(
            f"the criterion features compares vectors of one width; got {widths}. Give the "
            "encoders the same, or choose presim"
        )
    facts = {
        "similarity": lambda: _similarity(task, out),
        "features": lambda: agreement(out.features),
        "loss": lambda: method.sample_losses(task, out, batch.target).float(),
        "gradient": lambda: head_gradient_norm(task, out, batch.target),
    }
    return {name: facts[name]() for name in names}


def _similarity(task: Task, out: Outputs) -> Tensor:
    """Agreement of the modalities' probabilities; of a sample with several decisions, the mean."""
    probs = {m: task.decisions(z.float()).softmax(-1) for m, z in out.logits.items()}
    return mean_by_sample(agreement(probs), len(out.fused))


def head_gradient_norm(task: Task, out: Outputs, target: Tensor) -> Float[Tensor, " batch"]:
    """Norm of the gradient of each sample's fused loss for a linear head with bias on the features.

    ``||p - e_y|| sqrt(||z||^2 + 1)`` with ``z`` the features of all modalities, one behind another:
    that of the outer product of ``p - e_y`` with ``z`` and 1, so that no backward pass is needed.
    """
    features = torch.cat([x.float() for x in out.features.values()], dim=1)
    with torch.enable_grad():
        logits = out.fused.detach().float().requires_grad_()
        (gradient,) = torch.autograd.grad(task.losses(logits, target).sum(), logits)
    norm: Tensor = gradient.norm(dim=1) * (features.square().sum(1) + 1).sqrt()
    return norm


def balance_score(facts: SampleFacts) -> NDArray[np.float32]:
    """``s`` (n,), high where a sample is balanced; in [-1, 1] for one similarity and one other.

    ``s_i = (sim_i - min sim) / (max sim - min sim) - (l_i - min l) / (max l - min l)``, over the
    whole training set (talk); other facts take the place of ``sim`` and ``l``, or neither. A term
    whose values are all equal is 0. A loss that is not finite counts as the largest that is, a
    similarity as the smallest.
    """
    terms = [_SIGNS[name] * _ranged(_finite(name, facts[name])) for name in facts]
    score: NDArray[np.float32] = np.sum(terms, axis=0, dtype=np.float32)
    return score


def _finite(name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values, in which each that is no number counts as the least balanced that is one."""
    good = np.isfinite(values)
    if good.all():
        return values
    log.warning("BSS: %s of %d samples is no number", name, int((~good).sum()))
    if not good.any():
        return np.zeros_like(values)
    worst = values[good].min() if _SIGNS[name] > 0 else values[good].max()
    return np.where(good, values, worst)


def _ranged(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values scaled to [0, 1]; all 0 where they are equal."""
    low, high = values.min(), values.max()
    return np.zeros_like(values) if low == high else (values - low) / (high - low)
