"""UMT: unimodal teachers (Du et al., ICML 2023, arXiv 2305.01233, Sec. 4).

Joint training that also pulls each encoder's features to those of a frozen model of that modality
alone, so that features which joint training would leave unlearnt are learnt.

The authors' code was not found; the equation is the paper's, of features before the fusion.
Differences and readings:

- ``lambda`` is by data set in the paper, whose values we have not read; 10 is BalanceBenchmark's.
- The distance is the mean of squares over samples and features, as in BalanceBenchmark.
- Teachers see the batch as the student sees it, augmented alike, and are in eval mode.
- A teacher whose features have another width is refused, not projected.
"""

from dataclasses import dataclass

from torch import Tensor

from mmtrain.fields import at_least
from mmtrain.functional.distillation import feature_distance
from mmtrain.methods.base import Method, Run, Teacher
from mmtrain.methods.shared.teachers import alike_teachers
from mmtrain.types import Batch, Outputs


@dataclass(kw_only=True, eq=False)
class UMT(Method):
    """Pulls each encoder's features to those of a teacher that has this modality alone.

    ``L = CE(f, y) + lambda sum_m MSE(phi^m, phi_teacher^m)``. Before it, train each teacher with
    ``--method joint --modalities audio`` and so on, with the same encoder on the same data.

    Cost: a forward pass of every encoder more, about 1.3x `joint`, and before it the training of
    the teachers.

    Remembers: nothing. Teachers are read from their folders again when a run is resumed or
    evaluated.

    Logs ``distance`` (the sum of the MSE).

    Args:
        teachers: Folders of finished runs, one for each modality, in any order.
        weight: ``lambda``, at least 0. With 0 it is joint training.
    """

    teachers: tuple[str, ...] = ()
    weight: float = at_least(0, default=10.0)

    def setup(self, run: Run) -> None:
        self._teachers: dict[str, Teacher] = alike_teachers(run, self.teachers)

    def loss(self, run: Run, out: Outputs, batch: Batch) -> Tensor:
        taught = {m: teacher(batch).features[m] for m, teacher in self._teachers.items()}
        distance = feature_distance(out.features, taught)
        run.log(distance=distance)
        return super().loss(run, out, batch) + self.weight * distance
