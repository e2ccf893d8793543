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

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmtrain.curricula.balance import balance_facts, balance_score, fact_names
from mmtrain.curricula.base import Curriculum
from mmtrain.curricula.memory import Memory
from mmtrain.data.order import SampleOrder
from mmtrain.errors import ConfigError
from mmtrain.fields import at_least, between, check_fields, one_of
from mmtrain.methods.base import Method
from mmtrain.tasks.needs import PROBABILITY, Needs
from mmtrain.tasks.task import Task
from mmtrain.types import Batch, Outputs

_BOTH: Final = "presim,loss"
COLUMNS: Final = fact_names(_BOTH)
# Added to each of the code's linear weights, so that none is 0.
_LEAST: Final = 0.01


def pacing(t: int, start: float, grow: int, pace: str = "root") -> float:
    """``lambda(t)`` in (0, 1], the share of the data in use.

    ``min(1, sqrt((1 - lambda_0^2) / T_grow * t + lambda_0^2))`` (talk, Algorithm 1) for ``root``;
    ``min(1, (1 - lambda_0) / T_grow * t + lambda_0)`` for ``linear``.

    Args:
        t: Epoch.
        start: ``lambda_0``, the share at 0.
        grow: ``T_grow``, from which epoch on it is 1.
        pace: ``root``, ``linear``, or ``none``, which is 1 throughout.
    """
    if pace == "none":
        return 1.0
    if pace == "linear":
        return float(min(1.0, (1 - start) / grow * t + start))
    return float(min(1.0, np.sqrt((1 - start**2) / grow * t + start**2)))


def probabilities(score: NDArray[np.float32], weighting: str = "softmax") -> NDArray[np.float64]:
    """``p`` (n,), all above 0, summing to 1.

    ``softmax``: ``p_i = exp(s_i) / sum_j exp(s_j)`` (slides). ``linear``: ``p_i`` in proportion to
    ``s_i - b + 0.01`` with ``b`` the least score that there may be, -1 by both criteria (the
    authors' code).
    """
    wide = score.astype(np.float64)
    least = min(-1.0, float(wide.min()))
    weights = np.exp(wide - wide.max()) if weighting == "softmax" else -least + wide + _LEAST
    normalised: NDArray[np.float64] = weights / weights.sum()
    return normalised


def draw_order(
    p: NDArray[np.float64], generator: np.random.Generator, *, replacement: bool = False
) -> NDArray[np.int64]:
    """(n,) places in the order in which n draws by ``p`` give them.

    Without replacement, a permutation: sorted by ``ln p_i`` plus Gumbel noise, which has the law of
    drawing again and again from the rest.
    """
    if replacement:
        return generator.choice(len(p), len(p), p=p)
    return np.argsort(-(np.log(p) + generator.gumbel(size=len(p))), kind="stable")


@dataclass(kw_only=True)
class Balanced(Curriculum):
    """Base of both forms: scores of balance, and the memory of them.

    Args:
        criteria: Terms of the score: ``presim``, the similarity of the modalities' probabilities;
            ``features``, that of their features; less ``loss``, the method's, or ``gradient``, the
            norm of the head's. Several with commas between; ``none`` scores nothing.
        scoring: ``pass`` is an evaluation pass over the training set; ``online`` costs none and
            takes the outputs of training when it last showed each sample.
        every: Number of epochs between scorings; 0 scores once.
        beta: Weight of a new score; the rest is that of the score before.
    """

    criteria: str = _BOTH
    scoring: str = "pass"
    every: int = 0
    beta: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        names = fact_names(self.criteria)
        memory = Memory(balance_score, names or COLUMNS, self.scoring, self.every, self.beta)
        # Without criteria there is nothing to score, so that no pass is taken.
        self.memory = memory if names else None

    @property
    def needs(self) -> Needs:
        use = "the similarity of predictions; criteria=features,loss has no need of it"
        return {PROBABILITY: use} if "similarity" in fact_names(self.criteria) else {}

    def facts(self, out: Outputs, batch: Batch, method: Method, task: Task) -> dict[str, Tensor]:
        """See `balance_facts`."""
        return balance_facts(fact_names(self.criteria), out, batch, method, task)


@dataclass(kw_only=True)
class BSSH(Balanced):
    """The most balanced share of the data, in random order; the share grows to all of it.

    ``floor(n lambda(t))`` samples with the highest ``s_i = norm(sim_i) - norm(l_i)``, where
    ``sim_i`` is the mean cosine of the modalities' probabilities, ``l_i`` the method's loss, and
    ``norm`` scales to [0, 1] over the training set.
    ``lambda(t) = min(1, sqrt((1 - lambda_0^2) / T_grow t + lambda_0^2))``.

    By default samples are scored once, by the untrained model, as in the authors' code. Without
    criteria the share is random, drawn anew in each epoch.

    Cost: one evaluation pass over the training set for each scoring.

    Remembers: score, two facts and the epoch of the scoring, 16 bytes a sample; replaced by each
    scoring, and saved.

    Args:
        start: ``lambda_0``, the share of the data at ``t = 0``.
        grow: ``T_grow``, the number of epochs until all data are shown.
        pace: Growth of the share: ``root``, ``linear``, or ``none``, which shows all data.
        offset: ``t`` of the first epoch: 1 as in the code, 0 as in the talk.
    """

    start: float = between(0, 1, default=0.1, ends="(]")
    grow: int = at_least(1, default=40)
    pace: str = one_of("root", "linear", "none")
    offset: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.offset not in (0, 1):
            raise ConfigError(f"offset is 0 or 1; got {self.offset}")

    def visits(self, ids: NDArray[np.int64], seed: int, epoch: int) -> SampleOrder:
        """The best scored of ``ids``, shuffled; all of them where there is no score yet."""
        generator = np.random.default_rng([seed, epoch])
        share = pacing(epoch + self.offset, self.start, self.grow, self.pace)
        count = max(1, int(len(ids) * share))
        if self.memory is None:
            return SampleOrder(generator.permutation(ids)[:count])
        if self.memory.score is None:
            return SampleOrder(generator.permutation(ids))
        best = np.argsort(-self.memory.score, kind="stable")[:count]
        return SampleOrder(generator.permutation(ids[best]))


@dataclass(kw_only=True)
class BSSL(Balanced):
    """Every sample once an epoch, in an order drawn by score: the balanced come early.

    Draws without replacement by ``p_i = exp(s_i) / sum_j exp(s_j)``, where
    ``s <- (1 - beta) s + beta (norm(sim) - norm(l))``: ``sim_i`` is the mean cosine of the
    modalities' probabilities, ``l_i`` the method's loss, and ``norm`` scales to [0, 1] over the
    training set. Without criteria the order is random.

    Cost: one evaluation pass over the training set for each scoring.

    Remembers: score, two facts and the epoch of the scoring, 16 bytes a sample; the score decays by
    ``1 - beta`` with each scoring, and all is saved.

    Args:
        beta: Weight of a new score; the best of the authors' sweep. Their code has 1.
        every: ``E``, the number of epochs between scorings; 0 scores once.
        weighting: ``softmax``, or ``linear`` as in the authors' code.
        replacement: Whether an order is drawn with replacement: some samples then come several
            times and some not at all.
    """

    beta: float = 0.6
    every: int = 1
    weighting: str = one_of("softmax", "linear")
    replacement: bool = False

    def visits(self, ids: NDArray[np.int64], seed: int, epoch: int) -> SampleOrder:
        """As many of ``ids`` as there are, drawn; in random order where there is no score yet."""
        generator = np.random.default_rng([seed, epoch])
        if self.memory is None or self.memory.score is None:
            return SampleOrder(generator.permutation(ids))
        p = probabilities(self.memory.score, self.weighting)
        return SampleOrder(ids[draw_order(p, generator, replacement=self.replacement)])
