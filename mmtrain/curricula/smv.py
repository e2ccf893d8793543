"""SMV: sample-level modality valuation and resampling (Wei et al., CVPR 2024).

Every sample's prediction is valued by modality, with some modalities hidden. Where a modality adds
too little, the sample comes again with that modality alone: at the level of samples as often as it
lacks, at the level of modalities by chance. How a batch is trained on is another matter: the
authors train jointly, which is the method `smv`.

The text of the paper was not at hand; this follows the authors' code, and differs from it:

- A hidden modality has inputs of 0, in valuation and in training alike, so that its bytes are not
  read; theirs has features of 0. Valuation takes ``2^M - 1`` passes for that, theirs one.
- More than two modalities: a sample's copies show one modality alone, and a lack is counted in
  halves, rounded up; at the level of modalities the weakest is shown, by its gap to the strongest.
- Samples are valued in the view of evaluation; theirs with augmentation.
- The share that is valued at the level of modalities is drawn without replacement; theirs with.
- The powers and the tanh of the gap, which their code offers beside the line, are left out.
- A damaged sample has no value, and no copies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.curricula.base import Curriculum, Scorer
from mmtrain.curricula.memory import Memory, SampleFacts
from mmtrain.data.order import SampleOrder
from mmtrain.fields import at_least, between, check_fields, one_of
from mmtrain.functional.shapley import shapley, subsets
from mmtrain.tasks.needs import ACCURACY, Needs
from mmtrain.tasks.task import mean_by_sample
from mmtrain.types import Batch

_VALUE: Final = "value."  # Begins the name of a modality's column.
_STEP: Final = 0.5  # A copy for each, of what a modality lacks.
_ROUNDING: Final = 1e-3  # Of float32; values are far coarser.
_SLOPE: Final = 2 / 3  # Of the authors' code.


def valued(
    fused: Mapping[tuple[str, ...], Float[Tensor, "batch classes"]],
    target: Int[Tensor, " batch"],
    modalities: Sequence[str],
) -> dict[str, Float[Tensor, " batch"]]:
    """``Phi^m`` (b,): Shapley value where a set is worth its size if it predicts right, else 0.

    With two modalities ``(v(a) + v(av) - v(v)) / 2``, in [-0.5, 1.5]. Of a sample that all together
    predict right they sum to M, of another to 0.

    Args:
        fused: Set of modalities to logits with the others hidden.
        target: Classes.
        modalities: Names, in the order of the sets.
    """
    worth = {s: len(s) * (z.argmax(-1) == target).float() for s, z in fused.items()}
    return shapley(worth, modalities)


def copies(value: NDArray[np.float32]) -> NDArray[np.int64]:
    """Number of copies (n,) that show a modality alone: ``ceil((1 - Phi) / 0.5)``, not below 0.

    None where it adds 1 or more, 1 at 0.5, 2 at 0, 3 at -0.5; none for NaN.
    """
    lack = (1 - np.nan_to_num(value, nan=1.0)) / _STEP
    number: NDArray[np.int64] = np.ceil(lack - _ROUNDING).clip(min=0).astype(np.int64)
    return number


def weakest(facts: SampleFacts, alpha: float) -> tuple[str, float]:
    """The name of the lowest mean ``Phi``, and how many copies a sample has on average.

    ``p = 2/3 alpha (max_m mean Phi^m - min_m mean Phi^m)``; values that are NaN do not count.
    """
    means = {m: float(np.nanmean(v)) if np.isfinite(v).any() else 0.0 for m, v in facts.items()}
    low, high = min(means, key=means.__getitem__), max(means.values())
    return low, _SLOPE * alpha * (high - means[low])


@dataclass(kw_only=True)
class SMV(Curriculum):
    """Every sample once, and again with the modality alone that adds too little.

    ``Phi_i^m``: Shapley value of ``m`` for sample ``i``, a set ``S`` of modalities being worth
    ``|S|`` where it predicts right. ``sample``: ``ceil(2 (1 - Phi_i^m))`` more visits that show
    ``m`` alone, where ``Phi_i^m < 1``. ``modality``: ``floor(p n)`` more visits in all, of samples
    drawn with replacement, that show alone the modality of the lowest mean ``Phi``; ``p = 2/3 alpha
    (max mean Phi - min mean Phi)``.

    In memory: ``Phi`` of each sample and modality, 4 bytes each, of the last valuation; the score
    is the number of copies, at the level of modalities its mean.

    Cost: ``2^M - 1`` forward passes over what is valued an epoch, and the copies, often as many as
    there are samples. Steps of an epoch grow with them.

    Args:
        level: ``sample`` or ``modality``.
        warm_up: Number of epochs without copies.
        every: Number of epochs between valuations; 0 values once.
        alpha: Factor on the gap at the level of modalities, at least 0.
        share: Share of the samples that is valued at the level of modalities, in (0, 1].
    """

    level: str = one_of("sample", "modality")
    warm_up: int = at_least(0, default=5)
    every: int = at_least(0, default=1)
    alpha: float = at_least(0, default=1.0)
    share: float = between(0, 1, ends="(]", default=0.2)

    def __post_init__(self) -> None:
        check_fields(self)
        self.memory: Memory = Memory(self._score, every=self.every, start=self.warm_up)

    @property
    def needs(self) -> Needs:
        return {ACCURACY: "what a modality adds to them"}

    def order(self, run: Scorer) -> SampleOrder:
        """The visits of the epoch that begins; the samples are valued first where that is due."""
        # The same columns of scores.h5 in each epoch, from the warm-up on.
        self.memory.columns = tuple(_column(m) for m in run.model.modalities)
        return super().order(run)

    def measure(self, run: Scorer) -> SampleFacts:
        """``Phi`` (n,) of each modality for all ``run.ids``; NaN for those that are not valued."""
        modalities = run.model.modalities

        def values(batch: Batch) -> dict[str, Tensor]:
            fused = {
                s: run.method.predict_trained(run.model, batch.only(*s)).fused
                for s in subsets(modalities)
            }
            rows = {s: run.task.decisions(z) for s, z in fused.items()}
            worth = valued(rows, run.task.decided(batch.target), modalities)
            return {m: mean_by_sample(value, len(batch)) for m, value in worth.items()}

        places = np.arange(len(run.ids))
        if self.level == "modality":
            generator = np.random.default_rng([run.seed, run.epoch, 1])
            count = max(1, round(self.share * len(places)))
            places = np.sort(generator.choice(places, count, replace=False))
        facts = {_column(m): np.full(len(run.ids), np.nan, np.float32) for m in modalities}
        for modality, seen in run.score(values, ids=run.ids[places]).items():
            facts[_column(modality)][places] = seen.cpu().numpy()
        return facts

    def visits(self, ids: NDArray[np.int64], seed: int, epoch: int) -> SampleOrder:
        """All of ``ids`` and their copies, shuffled; in the warm-up each once."""
        generator = np.random.default_rng([seed, epoch])
        if self.memory.score is None or epoch < self.warm_up:
            return SampleOrder(generator.permutation(ids))
        facts = self.memory.facts
        again = dict.fromkeys(facts, ids[:0])
        if self.level == "sample":
            again |= {name: ids.repeat(copies(value)) for name, value in facts.items()}
        else:
            low, p = weakest(facts, self.alpha)
            again[low] = generator.choice(ids, int(p * len(ids)))
        parts = [ids, *again.values()]
        order = generator.permutation(sum(map(len, parts)))
        # Number of the part that a visit is of: 0 shows all modalities, the others one alone.
        part = np.repeat(np.arange(len(parts)), [len(own) for own in parts])[order]
        shown = {
            name.removeprefix(_VALUE): (part == 0) | (part == number)
            for number, name in enumerate(again, 1)
        }
        return SampleOrder(np.concatenate(parts)[order], shown)

    def _score(self, facts: SampleFacts) -> NDArray[np.float32]:
        if self.level == "modality":
            _, p = weakest(facts, self.alpha)
            return np.full(len(next(iter(facts.values()))), p, np.float32)
        number = np.stack([copies(value) for value in facts.values()]).sum(0)
        return np.asarray(number, np.float32)


def _column(modality: str) -> str:
    return f"{_VALUE}{modality}"
