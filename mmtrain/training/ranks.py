"""The processes that train together, and every sum over them; `launch` says who started them.

Tensors on a GPU are added up there, through NCCL. Messages that steer the run (waiting for each
other, flags, counts, meters) go between CPUs, through gloo: the answer is there when the call
returns, and the GPU need not stop for it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from mmtrain.errors import Interrupted, RunError
from mmtrain.training.failure_watch import FAILURE, watching_for_failure
from mmtrain.training.launch import Launch, launch_of

_Model = TypeVar("_Model", bound=nn.Module)
# A rank that is silent for so long is taken for dead; one that has died is noticed at once. A
# kernel of NCCL cannot be asked, so GPUs are given less: still more than a slow bucket takes.
_PATIENCE: Final = {"cpu": timedelta(minutes=10), "cuda": timedelta(minutes=4)}
_GRACE: Final = timedelta(seconds=5)
# Number of ranks that have left with an error, and a value once all have.
_LEFT: Final = "mmtrain/left"
_ALL_LEFT: Final = "mmtrain/all-left"


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those that train together; alone by default.

    Attributes:
        rank: Number of this process, from 0.
        world: Number of processes.
        store: Where a rank that fails leaves its message for the others.
    """

    rank: int = 0
    world: int = 1
    store: Store | None = None

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.world == 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes the run's files."""
        return self.rank == 0

    def average(self, values: Sequence[Tensor], weight: float) -> None:
        """Replaces each value by its mean over ranks, in one reduction on the values' device.

        A rank of weight 0 takes part and adds nothing, whatever its values are. Where all have
        weight 0 the values become 0.

        Args:
            values: Tensors of the same shapes on every rank; edited in place.
            weight: Weight of this rank's values; a whole number.
        """
        if self.alone or not values:
            return
        wide = torch.float64 if any(v.dtype == torch.float64 for v in values) else torch.float32
        tail = torch.zeros(1, dtype=wide, device=values[0].device)
        flat = torch.cat([*(value.reshape(-1).to(wide) for value in values), tail])
        # Not by multiplication: the loss of rows that are only fillers may be infinite.
        flat = flat * weight if weight else torch.zeros_like(flat)
        # The sum of the weights stays on the device too: reading it would make the CPU wait.
        flat[-1].fill_(weight)
        self._reduce(flat)
        flat /= flat[-1].clamp(min=1)
        parts = torch.split(flat[:-1], [value.numel() for value in values])
        for value, part in zip(values, parts, strict=True):
            value.copy_(part.view_as(value))

    def sum(self, value: Tensor) -> Tensor:
        """Sum of every rank's value, on all of them."""
        if self.alone:
            return value
        return self._reduce(value.detach().clone())

    def total(self, count: int) -> int:
        """Sum of every rank's count."""
        return count if self.alone else int(self._reduce(torch.tensor([count])))

    def counts(self, count: int) -> list[int]:
        """Count of each rank."""
        if self.alone:
            return [count]
        counts = torch.zeros(self.world, dtype=torch.int64)
        counts[self.rank] = count
        return [int(each) for each in self._reduce(counts).tolist()]

    def any(self, flag: bool) -> bool:
        """Whether any rank has raised its flag; the same answer on all."""
        return self.total(int(flag)) > 0

    def wait(self) -> None:
        """Waits until every rank is here."""
        # A sum between CPUs cannot be done before the last rank has given its part.
        self.total(0)

    def gather(self, value: Tensor) -> Tensor:
        """Every rank's rows, one rank after the other, on all of them; the numbers may differ."""
        return value if self.alone else self._gather(value, self.counts(len(value)))

    def rows(self, numbers: Tensor, count: int) -> Tensor:
        """Rows of this rank's ``count`` samples, of one row for each sample of the whole batch.

        The samples of a step are dealt to the ranks in turn, see `mmtrain.data.order.slots`.
        """
        at = self.rank + self.world * torch.arange(count)
        return numbers[at % len(numbers)]

    def gather_rows(self, rows: Tensor, count: int) -> Tensor:
        """Rows of all ranks, in the order of the batch before it was dealt, see `rows`.

        Gradients flow to this rank's rows. They are multiplied by the rows of all ranks over those
        of this one, so that `average` with ``count`` as weight gives the gradient which one rank
        with all of them would have, of a loss that each rank computes of all rows.

        Args:
            rows: Rows of this rank.
            count: Number of those that are real; they come first.
        """
        if self.alone:
            return rows
        gathered: Tensor = _GatherRows.apply(rows, self, count)  # type: ignore[no-untyped-call]
        return gathered

    def synchronise_batch_norm(self, model: _Model) -> _Model:
        """Makes batch normalisation run over the samples of all ranks, on CUDA."""
        if self.alone or next(model.parameters()).device.type != "cuda":
            return model
        convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm  # torch leaves it untyped.
        converted: _Model = convert(model)
        return converted

    def _reduce(self, value: Tensor) -> Tensor:
        """Adds up in place. Of a tensor on the CPU, the sum is there when this returns."""
        self._carry_out(lambda: dist.all_reduce(value))
        return value

    def _gather(self, value: Tensor, counts: Sequence[int]) -> Tensor:
        padded = value.new_zeros((max(counts), *value.shape[1:]))
        padded[: len(value)] = value
        each = [torch.empty_like(padded) for _ in counts]
        self._carry_out(lambda: dist.all_gather(each, padded))
        return torch.cat([rows[:count] for rows, count in zip(each, counts, strict=True)])

    def _carry_out(self, collective: Callable[[], object]) -> None:
        try:
            collective()
        except RuntimeError as error:
            raise RunError(self._reason()) from error

    def _reason(self) -> str:
        """Why there is no answer: the message of the rank that failed, or else that one is gone."""
        try:
            if self.store is not None:
                self.store.wait([FAILURE], _GRACE)
                message: bytes = self.store.get(FAILURE)
                return message.decode()
        except RuntimeError:
            pass
        return (
            f"rank {self.rank} has lost another rank, which died without a message (killed, or out "
            "of memory). The same command with --resume goes on from the last checkpoint"
        )


class _GatherRows(torch.autograd.Function):
    """`Ranks.gather_rows`."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, ranks: Ranks, count: int) -> Tensor:
        counts = ranks.counts(count)
        # Row k of rank r was row r + world * k of the undivided batch.
        places = [r + ranks.world * torch.arange(c) for r, c in enumerate(counts)]
        ordered, order = torch.cat(places).sort()
        ctx.at = torch.searchsorted(ordered, places[ranks.rank]).to(rows.device)
        ctx.shape = rows.shape
        return ranks._gather(rows[:count], counts)[order.to(rows.device)]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        own = gradient[ctx.at]
        widened = gradient.new_zeros(ctx.shape)
        widened[: len(own)] = own * (len(gradient) / max(1, len(own)))
        return widened, None, None


ALONE: Final = Ranks()


@contextmanager
def join_ranks(device: torch.device, backend: str | None = None) -> Iterator[Ranks]:
    """Joins the ranks that a launcher has started; this process alone, if none did.

    An error in one rank ends the others with its message.

    Args:
        device: Device of this rank, set up. On CUDA, tensors there go through NCCL.
        backend: Backend of `torch.distributed`, such as ``gloo`` for ranks that share one GPU,
            which NCCL refuses; the one that suits the device by default.

    Raises:
        ConfigError: The environment names some ranks, but not where they meet.
        RunError: They do not meet; or, on every rank but the one that failed, its message.
    """
    launch = launch_of()
    if launch.world == 1 and backend is None:
        yield Ranks()
        return
    patience = _PATIENCE[device.type]
    store, rank, world = _meet(launch, patience)
    backend = backend or ("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    dist.init_process_group(
        backend,
        store=store,
        rank=rank,
        world_size=world,
        timeout=patience,
        # So that NCCL connects now, where a wrong set-up has a clear message.
        device_id=device if "nccl" in backend else None,
    )
    try:
        with watching_for_failure(store, rank):
            yield Ranks(rank=rank, world=world, store=store)
    except Interrupted:
        raise
    except BaseException as error:
        if not (isinstance(error, RunError) and isinstance(error.__cause__, RuntimeError)):
            store.set(FAILURE, f"rank {rank} has failed: {error or type(error).__name__}")
        _leave(store, rank, world)
        raise
    finally:
        dist.destroy_process_group()


def _leave(store: Store, rank: int, world: int) -> None:
    """Leaves with an error; rank 0 last, for a moment: the others may read its store until then."""
    with suppress(RuntimeError):
        if store.add(_LEFT, 1) == world:
            store.set(_ALL_LEFT, "")
        # Of a rank that died without a message nothing can be read, and it never leaves.
        if rank == 0 and store.check([FAILURE]):
            store.wait([_ALL_LEFT], _GRACE)


def _meet(launch: Launch, patience: timedelta) -> tuple[Store, int, int]:
    """Store, rank and number of the ranks, when all of them have come."""
    address = "env://"
    if launch.meeting is not None:
        host, port = launch.meeting
        address = f"tcp://{host}:{port}?rank={launch.rank}&world_size={launch.world}"
    try:
        store, rank, world = next(rendezvous(address, timeout=patience))
    except (RuntimeError, OSError) as error:
        place = "MASTER_ADDR and MASTER_PORT" if launch.meeting is None else f"{host}:{port}"
        text = str(error).partition("\n")[0]
        raise RunError(
            f"rank {launch.rank} of {launch.world} does not meet the others at {place} "
            f"({text:.200}); set MASTER_ADDR and MASTER_PORT to a host and a free port that all of "
            "them reach"
        ) from error
    return store, rank, world


def speaks() -> bool:
    """Whether this process is the first of those that a launcher started, or the only one."""
    return launch_of().rank == 0
