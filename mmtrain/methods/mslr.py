"""MSLR: modality-specific learning rates for late fusion (Yao & Mihalcea, Findings of ACL 2022).

Each modality has its own learning rate, for it may need another than the rest. Two of the paper's
strategies are here: rates that are given and stay, and rates that follow accuracy on val.
The third sets them by a rule from the rates that were best for each modality alone. Those are
searched for outside of a run; give the outcome by ``factors``.

Differs from AGM's code, which has the second strategy as a baseline:

- Accuracy is that on val; theirs is on test.
- Factors are on the learning rate; theirs multiply gradients, which with Adam changes next to
  nothing, and leaves weight decay as it is.
- Until enough epochs are over, and where accuracy was 0 in all of them, the ratio is 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from mmtrain.fields import at_least, one_of
from mmtrain.methods.base import Method, Run, state
from mmtrain.methods.shared.late_fusion import fuse_late
from mmtrain.methods.shared.numbers import named_numbers
from mmtrain.methods.shared.validation import measured_by_modality, require_val
from mmtrain.models.fusions.sum import Sum
from mmtrain.tasks.needs import ACCURACY, Needs


def pace(accuracies: Sequence[float], window: int) -> float:
    """``r_t = acc_t / mean(acc_{t-w} ... acc_{t-1})``; 1 while there are fewer, or that mean is 0.

    Args:
        accuracies: ``acc`` of the epochs so far, the newest last; each in [0, 1].
        window: ``w``, at least 1.
    """
    earlier = accuracies[-window - 1 : -1]
    if len(earlier) < window or not any(earlier):
        return 1.0
    return accuracies[-1] / (sum(earlier) / window)


@dataclass(kw_only=True, eq=False)
class MSLR(Method):
    """Gives each modality a learning rate of its own, which follows its accuracy on val.

    The rate of modality ``m``'s encoder and head is ``c^m r_t^m eta``, where ``eta`` is that of the
    schedule and ``r_t^m = acc_t^m / mean(acc_{t-w}^m ... acc_{t-1}^m)`` of its own logits after the
    last epoch. ``r`` does not accumulate, and is 1 in the first ``w + 1`` epochs.
    ``L = CE(sum_m u^m, y)``.

    It brings its own fusion, the sum of a linear layer for each modality; the one that the run
    chooses is not used.

    Cost: that of `joint`.

    Remembers: the last ``w + 1`` accuracies of each modality; saved.

    Logs ``rate`` by modality, its factor on the learning rate.

    Args:
        strategy: ``dynamic``, or ``keep``, where ``r = 1``.
        factors: ``c``, as ``audio=0.9,visual=1.1``, above 0; empty: 1 for all.
        window: ``w``, the number of epochs with which the last one is compared.
    """

    strategy: str = one_of("dynamic", "keep")
    factors: str = ""
    window: int = at_least(1, default=5)
    accuracies: dict[str, list[float]] = state(default_factory=dict)

    @property
    def needs(self) -> Needs:
        use = "rates that follow accuracy; strategy=keep has no need of it"
        return {ACCURACY: use} if self.strategy == "dynamic" else {}

    def setup(self, run: Run) -> None:
        if self.strategy == "dynamic":
            require_val(run, "mslr")
        fuse_late(run)
        self.accuracies = {m: [] for m in run.model.modalities}
        self.given_factors(run.model.modalities)

    def fit(self, run: Run) -> None:
        for _ in run.epochs():
            if not run.position:
                if self.strategy == "dynamic":
                    self.remember(run)
                for modality, factor in self.rates(run).items():
                    head = cast("Sum", run.model.fusion).heads[modality]
                    run.set_rate(factor, run.model.encoders[modality], head)
            run.train_epoch(self)
            run.log(**{f"rate.{m}": factor for m, factor in self.rates(run).items()})

    def remember(self, run: Run) -> None:
        """Takes the accuracies of the last epoch."""
        for modality, accuracy in (measured_by_modality(run, "accuracy") or {}).items():
            own = [*self.accuracies[modality], accuracy]
            self.accuracies[modality] = own[-self.window - 1 :]

    def rates(self, run: Run) -> dict[str, float]:
        """Modality to its factor on the learning rate."""
        factors = self.given_factors(run.model.modalities)
        if self.strategy == "keep":
            return factors
        return {m: c * pace(self.accuracies[m], self.window) for m, c in factors.items()}

    def given_factors(self, modalities: Sequence[str]) -> dict[str, float]:
        """Modality to ``c``."""
        if not self.factors:
            return dict.fromkeys(modalities, 1.0)
        return named_numbers("factors", self.factors, modalities)
