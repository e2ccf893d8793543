"""Remix: each sample with its least certain modality alone (Ma et al., ICML 2025).

After a warm-up a sample keeps the modality whose prediction is the nearest to uniform; the others
are hidden, and their bytes are not read. An epoch goes through one modality's samples after the
other's. How a batch is trained on is another matter: the authors' loss is the method `remix`.

This follows the authors' code, of which it differs:

- A hidden modality has inputs of 0 and is not read; theirs is read, and has features of 0, as the
  method `remix` has too.
- The samples of one modality follow those of the other in one order, so that a batch at the border
  may hold both; theirs come from two loaders, each with a last batch that is not full.
- More than two modalities, of which the least certain is shown. Blocks come in the reverse order of
  names, and of equals the last by name is shown: with two both are theirs, video before audio.
- The certainty counts the classes of the data; theirs 6, for any data.
- A damaged sample has no certainty, and counts as one whose modalities are equal.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.curricula.base import Curriculum, Scorer
from mmtrain.curricula.memory import Memory, SampleFacts
from mmtrain.data.order import SampleOrder
from mmtrain.fields import at_least, check_fields
from mmtrain.functional.scores import entropy
from mmtrain.methods.base import Method
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.tasks.task import Task, mean_by_sample
from mmtrain.types import Batch, Outputs

_CERTAINTY: Final = "certainty."  # Begins the name of a modality's column.


def certainties(
    logits: Mapping[str, Float[Tensor, "batch classes"]],
) -> dict[str, Float[Tensor, " batch"]]:
    """``k^m = KL(p^m || uniform) = log2 C - H(p^m) / ln 2`` in bits, in [0, log2 C]."""
    return {m: math.log2(z.shape[-1]) - entropy(z) / math.log(2) for m, z in logits.items()}


def blocks(facts: SampleFacts) -> dict[str, NDArray[np.bool_]]:
    """Fact to True (n,) where it is the smallest of the sample, in the order of training.

    Each sample has one. Of equal ones it is the first here, which is the last by name; NaN counts
    as the largest.
    """
    names = sorted(facts, reverse=True)
    values = np.stack([facts[name] for name in names])
    places = np.where(np.isnan(values), np.inf, values).argmin(0)
    return {name: places == place for place, name in enumerate(names)}


@dataclass(kw_only=True)
class Remix(Curriculum):
    """Every sample once, after the warm-up with its least certain modality alone.

    Sample ``i`` shows ``m_i = argmin_m k_i^m`` only, where ``k_i^m = KL(p_i^m || uniform)`` of the
    probabilities of the modality's own logits. The samples of one modality follow those of another,
    in random order each: visual before audio.

    In memory: ``k`` of each sample and modality, 4 bytes each, of the last scoring; the score is
    how far the most certain modality is ahead of the least, in bits.

    Cost: after the warm-up, training reads and decodes one modality of each sample. A scoring is a
    forward pass that reads all of them, so that an epoch with one reads more in all than a plain
    epoch does; only with ``every`` above 1 does a run read less.

    Args:
        warm_up: Number of epochs that show all modalities of every sample, in random order.
        every: Number of epochs between scorings; 0 scores once.
    """

    warm_up: int = at_least(0, default=10)
    every: int = at_least(0, default=1)

    def __post_init__(self) -> None:
        check_fields(self)
        self.memory: Memory = Memory(_lead, every=self.every, start=self.warm_up)

    @property
    def needs(self) -> Needs:
        return {PROBABILITY: "how far each modality's prediction is from uniform"}

    def order(self, run: Scorer) -> SampleOrder:
        """The visits of the epoch that begins; the samples are scored first where that is due."""
        # The same columns of scores.h5 in each epoch, from the warm-up on.
        self.memory.columns = tuple(f"{_CERTAINTY}{m}" for m in run.model.modalities)
        return super().order(run)

    def facts(self, out: Outputs, batch: Batch, method: Method, task: Task) -> dict[str, Tensor]:
        """See `certainties`."""
        known = certainties({m: task.decisions(z) for m, z in out.logits.items()})
        return {f"{_CERTAINTY}{m}": mean_by_sample(k, len(batch)) for m, k in known.items()}

    def visits(self, ids: NDArray[np.int64], seed: int, epoch: int) -> SampleOrder:
        """All of ``ids``: by the modality that they show, or with all of them in the warm-up."""
        mixed = np.random.default_rng([seed, epoch]).permutation(len(ids))
        if self.memory.score is None or epoch < self.warm_up:
            return SampleOrder(ids[mixed])
        chosen = blocks(self.memory.facts)
        order = np.concatenate([mixed[mask[mixed]] for mask in chosen.values()])
        shown = {name.removeprefix(_CERTAINTY): mask[order] for name, mask in chosen.items()}
        return SampleOrder(ids[order], shown)


def _lead(facts: SampleFacts) -> NDArray[np.float32]:
    """``max_m k^m - min_m k^m`` (n,)."""
    values = np.stack([*facts.values()])
    return np.asarray(values.max(0) - values.min(0), np.float32)
