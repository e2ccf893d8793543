"""The processes that train together: torchrun starts them, and every sum over them is here."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from mmtrain.errors import ConfigError, Interrupted, RunError

_Model = TypeVar("_Model", bound=nn.Module)
# A rank that is silent for so long is taken for dead; one that has died is noticed at once.
_PATIENCE: Final = timedelta(minutes=10)
_GRACE: Final = timedelta(seconds=5)
_FAILURE: Final = "mmtrain/failure"


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those that train together; alone by default.

    Attributes:
        rank: Of this process.
        world: Number of processes.
        store: Where a rank that fails leaves its message for the others.
    """

    rank: int = 0
    world: int = 1
    store: Store | None = None

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.world == 1

    @property
    def first(self) -> bool:
        """Whether this one writes."""
        return self.rank == 0

    def average(self, values: Sequence[Tensor], weight: float, raised: bool = False) -> bool:
        """Replaces each value by its mean over ranks, in one reduction.

        Args:
            values: The same shapes on every rank; edited in place.
            weight: Of this rank's values.
            raised: A flag.

        Returns:
            Whether any rank has raised the flag.
        """
        if self.alone:
            return raised
        like = values[0] if values else self.placed(torch.empty(0))
        wide = torch.float64 if any(v.dtype == torch.float64 for v in values) else torch.float32
        tail = torch.tensor([weight, float(raised)], dtype=wide, device=like.device)
        flat = torch.cat([*(value.reshape(-1).to(wide) * weight for value in values), tail])
        self._carried_out(lambda: dist.all_reduce(flat))
        total, flags = flat[-2:].tolist()
        flat /= total
        parts = torch.split(flat[:-2], [value.numel() for value in values])
        for value, part in zip(values, parts, strict=True):
            value.copy_(part.view_as(value))
        return bool(flags)

    def sum(self, value: Tensor) -> Tensor:
        """The sum of every rank's value, on all of them."""
        if self.alone:
            return value
        total = value.detach().clone()
        self._carried_out(lambda: dist.all_reduce(total))
        return total

    def gather(self, value: Tensor) -> Tensor:
        """Every rank's rows, one rank after the other, on all of them; the numbers may differ."""
        if self.alone:
            return value
        counts = torch.zeros(self.world, dtype=torch.int64, device=value.device)
        counts[self.rank] = len(value)
        each = self.sum(counts).tolist()
        padded = value.new_zeros((max(each), *value.shape[1:]))
        padded[: len(value)] = value
        found = [torch.empty_like(padded) for _ in range(self.world)]
        self._carried_out(lambda: dist.all_gather(found, padded))
        return torch.cat([rows[:count] for rows, count in zip(found, each, strict=True)])

    def rows(self, numbers: Tensor, count: int) -> Tensor:
        """Of one row a sample of the whole batch, those of the ``count`` samples of this rank.

        The samples of a step are dealt to the ranks in turn, see `mmtrain.data.order.slots`.
        """
        at = self.rank + self.world * torch.arange(count)
        return numbers[at % len(numbers)]

    def together(self, rows: Tensor, count: int) -> Tensor:
        """The rows of all ranks, in the order of the batch before it was dealt, see `rows`.

        Gradients flow to this rank's rows. They are multiplied by the rows of all ranks over those
        of this one, so that `average` with ``count`` as weight gives the gradient which one rank
        with all of them would have, of a loss that each rank computes of all rows.

        Args:
            rows: Of this rank.
            count: How many of them are real, and come first.
        """
        if self.alone:
            return rows
        found: Tensor = _Together.apply(rows, self, count)  # type: ignore[no-untyped-call]
        return found

    def wait(self) -> None:
        """Until every rank is here."""
        if not self.alone:
            self.sum(self.placed(torch.zeros(1)))

    def placed(self, value: Tensor) -> Tensor:
        """``value`` where the ranks can add it up."""
        return value.cuda() if not self.alone and dist.get_backend() == "nccl" else value

    def synchronised(self, model: _Model) -> _Model:
        """The model with batch normalisation over the samples of all ranks, on CUDA."""
        if self.alone or next(model.parameters()).device.type != "cuda":
            return model
        convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm  # torch leaves it untyped.
        converted: _Model = convert(model)
        return converted

    def _carried_out(self, collective: Callable[[], object]) -> None:
        try:
            collective()
        except RuntimeError as error:
            raise RunError(self._reason()) from error

    def _reason(self) -> str:
        """Why there is no answer: what the rank that failed has left, or else that one is gone."""
        try:
            if self.store is not None:
                self.store.wait([_FAILURE], _GRACE)
                message: bytes = self.store.get(_FAILURE)
                return message.decode()
        except RuntimeError:
            pass
        return (
            f"rank {self.rank} has lost another rank, which died without a message (killed, or out "
            "of memory). The same command with --resume goes on from the last checkpoint"
        )


class _Together(torch.autograd.Function):
    """`Ranks.together`."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, ranks: Ranks, count: int) -> Tensor:
        dealt = ranks.rank + ranks.world * torch.arange(count, device=rows.device)
        places, order = ranks.gather(dealt).sort()
        ctx.at, ctx.shape = torch.searchsorted(places, dealt), rows.shape
        return ranks.gather(rows[:count])[order]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        own = gradient[ctx.at]
        found = gradient.new_zeros(ctx.shape)
        found[: len(own)] = own * (len(gradient) / max(1, len(own)))
        return found, None, None


ALONE: Final = Ranks()


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The ranks that torchrun has started, or this process alone.

    An error in one rank ends the others with its message.

    Args:
        device: On CUDA the ranks talk through NCCL, on the CPU through gloo.

    Raises:
        RunError: On every rank but the one that failed.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    if missing := [
        name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ
    ]:
        raise ConfigError(
            f"WORLD_SIZE is {world}, but {', '.join(missing)} is not set; start with torchrun"
        )
    store, rank, world = next(rendezvous("env://", timeout=_PATIENCE))
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=_PATIENCE)
    try:
        yield Ranks(rank=rank, world=world, store=store)
    except Interrupted:
        raise
    except BaseException as error:
        if not (isinstance(error, RunError) and isinstance(error.__cause__, RuntimeError)):
            store.set(_FAILURE, f"rank {rank} has failed: {error or type(error).__name__}")
        raise
    finally:
        dist.destroy_process_group()


def speaks() -> bool:
    """Whether this process is the first of those that torchrun started, or the only one."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK") == "0"
