"""BSS: balance-aware sequence sampling (Guan et al., IJCAI 2025).

Samples are scored by how balanced they are: modalities that agree, and a low loss. BSS-H shows the
best scored share of the data, and lets the share grow; BSS-L draws an order in which good scores
come early. How a batch is trained on is another matter: the authors use `multitask`.

Only poster, talk and slides of the paper were at hand. The authors' code differs: BSS-L has linear
weights and no memory there (``weighting=linear``, ``beta=1``); samples are scored in train mode,
with augmentation, which moves the statistics of batch normalisation (here in eval mode, where
nothing moves); a last batch that is not full is dropped (here it is not). Its Twitter script has
the sign of the score exchanged, its NVGesture script takes cosines of logits, not of probabilities.
The talk counts BSS-H's epochs from 0, the code from 1: ``offset``, by default the code's.
"""

import logging
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.curricula.base import Curriculum
from mmtrain.curricula.memory import Memory, SampleFacts
from mmtrain.data.order import SampleOrder
from mmtrain.errors import ConfigError, UnknownName
from mmtrain.functional import agreement
from mmtrain.methods.base import Method
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs

log = logging.getLogger(__name__)

WEIGHTINGS: Final = ("softmax", "linear")
COLUMNS: Final = ("similarity", "loss")
# Added to each of the code's linear weights, so that none is 0.
_LEAST: Final = 0.01


def balance_facts(out: Outputs, batch: Batch, method: Method, task: Task) -> dict[str, Tensor]:
    """``similarity`` (b,), see `agreement` of the modalities' probabilities, and ``loss`` (b,)."""
    return {
        "similarity": agreement({m: z.float().softmax(-1) for m, z in out.logits.items()}),
        "loss": method.sample_losses(task, out, batch.target).float(),
    }


def balance_score(facts: SampleFacts) -> NDArray[np.float32]:
    """``s`` (n,) in [-1, 1], high where a sample is balanced.

    ``s_i = (sim_i - min sim) / (max sim - min sim) - (l_i - min l) / (max l - min l)``, over the
    whole training set (talk). A term whose values are all equal is 0. A loss that is not finite
    counts as the largest that is, a similarity as the smallest.
    """
    similarity = _ranged(_finite("similarity", facts["similarity"], -1))
    return similarity - _ranged(_finite("loss", facts["loss"], 1))


def pacing(t: int, start: float, grow: int) -> float:
    """``lambda(t)`` in (0, 1], the share of the data in use.

    ``min(1, sqrt((1 - lambda_0^2) / T_grow * t + lambda_0^2))`` (talk, Algorithm 1).

    Args:
        t: Epoch.
        start: ``lambda_0``, the share at 0.
        grow: ``T_grow``, from which epoch on it is 1.
    """
    return float(min(1.0, np.sqrt((1 - start**2) / grow * t + start**2)))


def probabilities(score: NDArray[np.float32], weighting: str = "softmax") -> NDArray[np.float64]:
    """``p`` (n,), all above 0, summing to 1.

    ``softmax``: ``p_i = exp(s_i) / sum_j exp(s_j)`` (slides). ``linear``: ``p_i`` in proportion to
    ``1 + s_i + 0.01`` (the authors' code).
    """
    wide = score.astype(np.float64)
    weights = np.exp(wide - wide.max()) if weighting == "softmax" else 1 + wide + _LEAST
    normalised: NDArray[np.float64] = weights / weights.sum()
    return normalised


def draw_order(
    p: NDArray[np.float64], generator: np.random.Generator, *, replacement: bool = False
) -> NDArray[np.int64]:
    """(n,) places in the order in which n draws by ``p`` give them.

    Without replacement, a permutation: sorted by ``ln p_i`` plus Gumbel noise, which is drawing
    again and again from what is left.
    """
    if replacement:
        return generator.choice(len(p), len(p), p=p)
    return np.argsort(-(np.log(p) + generator.gumbel(size=len(p))), kind="stable")


@dataclass(kw_only=True)
class BSSH(Curriculum):
    """The most balanced share of the data, in random order; the share grows to all of it.

    ``floor(n lambda(t))`` samples with the highest ``s_i = norm(sim_i) - norm(l_i)``, where
    ``sim_i`` is the mean cosine of the modalities' probabilities, ``l_i`` the method's loss, and
    ``norm`` scales to [0, 1] over the training set.
    ``lambda(t) = min(1, sqrt((1 - lambda_0^2) / T_grow t + lambda_0^2))``.

    By default samples are scored once, by the untrained model, as in the authors' code.

    Args:
        start: ``lambda_0``, the share of the data at ``t = 0``.
        grow: ``T_grow``, the number of epochs until all data are shown.
        offset: ``t`` of the first epoch: 1 as in the code, 0 as in the talk.
        scoring: ``pass`` is an evaluation pass over the training set; ``online`` costs none and
            takes the outputs of training when it last showed each sample.
        every: Number of epochs between scorings; 0 scores once.
        beta: Weight of a new score; the rest is that of the score before.
    """

    start: float = 0.1
    grow: int = 40
    offset: int = 1
    scoring: str = "pass"
    every: int = 0
    beta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.start <= 1:
            raise ConfigError(f"start is a share of the data, in (0, 1]; got {self.start}")
        if self.grow < 1:
            raise ConfigError(f"grow is at least 1 epoch; got {self.grow}")
        if self.offset not in (0, 1):
            raise ConfigError(f"offset is 0 or 1; got {self.offset}")
        self.memory = Memory(balance_score, COLUMNS, self.scoring, self.every, self.beta)

    def facts(self, out: Outputs, batch: Batch, method: Method, task: Task) -> dict[str, Tensor]:
        """See `balance_facts`."""
        return balance_facts(out, batch, method, task)

    def visits(self, ids: NDArray[np.int64], seed: int, epoch: int) -> SampleOrder:
        """The best scored of ``ids``, shuffled; all of them where there is no score yet."""
        generator = np.random.default_rng([seed, epoch])
        if self.memory is None or self.memory.score is None:
            return SampleOrder(generator.permutation(ids))
        share = pacing(epoch + self.offset, self.start, self.grow)
        best = np.argsort(-self.memory.score, kind="stable")[: max(1, int(len(ids) * share))]
        return SampleOrder(generator.permutation(ids[best]))


@dataclass(kw_only=True)
class BSSL(Curriculum):
    """Every sample once an epoch, in an order drawn by score: the balanced come early.

    Draws without replacement by ``p_i = exp(s_i) / sum_j exp(s_j)``, where
    ``s <- (1 - beta) s + beta (norm(sim) - norm(l))``: ``sim_i`` is the mean cosine of the
    modalities' probabilities, ``l_i`` the method's loss, and ``norm`` scales to [0, 1] over the
    training set.

    Args:
        beta: Weight of a new score; the best of the authors' sweep. Their code has 1.
        every: ``E``, the number of epochs between scorings; 0 scores once.
        weighting: ``softmax``, or ``linear`` as in the authors' code.
        replacement: Draw with it: some samples then come several times and some not at all.
        scoring: ``pass`` is an evaluation pass over the training set; ``online`` costs none and
            takes the outputs of training when it last showed each sample.
    """

    beta: float = 0.6
    every: int = 1
    weighting: str = "softmax"
    replacement: bool = False
    scoring: str = "pass"

    def __post_init__(self) -> None:
        if self.weighting not in WEIGHTINGS:
            raise UnknownName("weighting", self.weighting, WEIGHTINGS)
        self.memory = Memory(balance_score, COLUMNS, self.scoring, self.every, self.beta)

    def facts(self, out: Outputs, batch: Batch, method: Method, task: Task) -> dict[str, Tensor]:
        """See `balance_facts`."""
        return balance_facts(out, batch, method, task)

    def visits(self, ids: NDArray[np.int64], seed: int, epoch: int) -> SampleOrder:
        """As many of ``ids`` as there are, drawn; in random order where there is no score yet."""
        generator = np.random.default_rng([seed, epoch])
        if self.memory is None or self.memory.score is None:
            return SampleOrder(generator.permutation(ids))
        p = probabilities(self.memory.score, self.weighting)
        return SampleOrder(ids[draw_order(p, generator, replacement=self.replacement)])


def _finite(name: str, values: NDArray[np.float32], worst: int) -> NDArray[np.float32]:
    """Values; one that is no number counts as the largest (``worst`` 1) or the smallest (-1)."""
    good = np.isfinite(values)
    if good.all():
        return values
    log.warning("BSS: %s of %d samples is no number", name, int((~good).sum()))
    if not good.any():
        return np.zeros_like(values)
    finite = values[good]
    return np.where(good, values, finite.max() if worst > 0 else finite.min())


def _ranged(values: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = values.min(), values.max()
    return np.zeros_like(values) if low == high else (values - low) / (high - low)
