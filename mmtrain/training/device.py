"""The device of this process: which one, how it is set up, and how models and batches lie on it.

No other module sets CUDA up. What it calls of ``torch.cuda`` goes through `Cuda`, so that tests
without a GPU put a fake in its place.
"""

import platform
import resource
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

import torch
from torch import Tensor, nn

from mmtrain.errors import ConfigError
from mmtrain.models.multimodal import MultimodalModel
from mmtrain.training.launch import launch_of
from mmtrain.types import Batch

_Model = TypeVar("_Model", bound=nn.Module)


class Event(Protocol):
    """A point in the work of a stream, see `torch.cuda.Event`."""

    def record(self) -> None:
        """Marks the end of what the current stream has been given so far."""

    def query(self) -> bool:
        """Whether the device has come to the mark."""

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds from this mark to a later one, both of which the device has passed."""


class Cuda:
    """The calls of ``torch.cuda`` that set a device up and copy to it."""

    def device_count(self) -> int:
        """Number of devices that this process sees."""
        return torch.cuda.device_count() if torch.cuda.is_available() else 0

    def name(self) -> str:
        """Name of the current device, such as that of its maker."""
        return torch.cuda.get_device_name()

    def set_device(self, index: int) -> None:
        """Makes a device the current one, on which allocations without a device land."""
        torch.cuda.set_device(index)

    def tune(self) -> None:
        """Lets cuDNN try its algorithms once for each shape; shapes do not change in a run."""
        torch.backends.cudnn.benchmark = True

    def stream(self, device: torch.device) -> Any:
        """Makes a stream beside the current one."""
        return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def current_stream(self, device: torch.device) -> Any:
        """Stream on which the model computes."""
        return torch.cuda.current_stream(device)

    def using(self, stream: Any) -> Any:
        """Context in which work goes to ``stream``."""
        return torch.cuda.stream(stream)

    def keep(self, tensor: Tensor, stream: Any) -> None:
        """Keeps the memory of ``tensor`` until ``stream`` has done its work so far."""
        tensor.record_stream(stream)

    def forget_peak(self, device: torch.device) -> None:
        """Starts the count of the most memory anew, from what is in use."""
        torch.cuda.reset_peak_memory_stats(device)

    def finish(self, device: torch.device) -> None:
        """Waits until the device has done all its work."""
        torch.cuda.synchronize(device)

    def peak_bytes(self, device: torch.device) -> int:
        """Most memory of tensors that this process has had on the device at once.

        `forget_peak` begins the count anew.
        """
        return torch.cuda.max_memory_allocated(device)

    def event(self) -> Event:
        """Makes an event that takes the time."""
        return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


CUDA: Final = Cuda()


def device_of(name: str, cuda: Cuda = CUDA) -> torch.device:
    """Device of a name, as it is written: ``auto`` is a GPU where there is one.

    Touches no device; `set_up` does.
    """
    if name == "auto":
        return torch.device("cuda" if cuda.device_count() else "cpu")
    return torch.device(name)


def device_name(name: str, cuda: Cuda = CUDA) -> str:
    """Kind of a device that is set up: the GPU's name, or that of the CPU's architecture."""
    if device_of(name, cuda).type == "cuda":
        return cuda.name()
    return f"cpu ({platform.machine()})"


def set_up(name: str, cuda: Cuda = CUDA) -> torch.device:
    """Picks this rank's device, and makes it the current one before anything is allocated.

    The rank is that on this host, such as torchrun's ``LOCAL_RANK``. Where each process sees one
    GPU only (Slurm with one GPU a task), that one is taken whatever the rank.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        cuda: Calls of ``torch.cuda``.

    Raises:
        ConfigError: There is no CUDA device, or none for this rank.
    """
    device = device_of(name, cuda)
    if device.type != "cuda":
        return device
    index = _index(device, cuda.device_count())
    # Before pinned memory, NCCL or a model make a context: each rank's would lie on GPU 0.
    cuda.set_device(index)
    cuda.tune()
    return torch.device("cuda", index)


def _index(device: torch.device, visible: int) -> int:
    if not visible:
        raise ConfigError("there is no CUDA device here; choose --device cpu or auto")
    rank = launch_of().local_rank
    if device.index is None:
        index, place = rank if visible > 1 else 0, f"local rank {rank}"
    else:
        index, place = device.index, f"--device {device}"
        if rank:
            raise ConfigError(
                f"--device {device} is one device, and the local rank is {rank}; choose "
                "--device cuda, which gives each rank its own"
            )
    if index >= visible:
        raise ConfigError(
            f"{place} has no device: this process sees {visible}. Start no more than {visible} "
            "ranks on this machine, or show each process one device of its own"
        )
    return index


def finish(device: torch.device, cuda: Cuda = CUDA) -> None:
    """Waits until a device has done all its work, as a CPU has at once."""
    if device.type == "cuda":
        cuda.finish(device)


def peak_bytes(device: torch.device, cuda: Cuda = CUDA) -> int:
    """Most memory that this process has had at once; on a GPU, that of its tensors."""
    if device.type == "cuda":
        return cuda.peak_bytes(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def place(model: _Model, device: torch.device) -> _Model:
    """Moves a model to its device; on CUDA its weights become channels-last."""
    return place_channels_last(model, device) if device.type == "cuda" else model.to(device)


def place_channels_last(model: _Model, device: torch.device) -> _Model:
    """Moves a model, and lays the weights of its convolutions out channels-last.

    Convolutions take the layout of their weights or inputs, and tensor cores want channels last.
    """
    moved: _Model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def copy_batch(batch: Batch, device: torch.device) -> Batch:
    """Copies a batch to its device, without waiting where its memory is pinned."""
    here = batch.to(device)
    return channels_last(here) if device.type == "cuda" else here


def copy_ahead(values: Tensor, device: torch.device) -> Tensor:
    """Copies values of the CPU to a device, without waiting for what it still computes."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)


def channels_last(batch: Batch) -> Batch:
    """The batch with spectrograms laid out channels-last.

    Pictures are so from the start, for JPEG decoders write pixel by pixel.
    """

    def laid_out(values: Tensor) -> Tensor:
        if values.ndim != 4:
            return values
        return values.contiguous(memory_format=torch.channels_last)

    return replace(batch, inputs={m: laid_out(x) for m, x in batch.inputs.items()})


def compile_encoders(model: MultimodalModel, enabled: bool) -> None:
    """Compiles the encoders in place, where ``enabled``; names of parameters stay.

    Methods call encoders, heads and fusion one by one, so there is no whole forward to compile, and
    nearly all of the work is in the encoders.
    """
    if enabled:
        for encoder in model.encoders.values():
            encoder.compile(dynamic=False)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Context in which forward passes compute in ``precision``."""
    if precision != "bf16":
        return full_precision(device)
    # Without the cache, which would serve stale weights after an update inside a step.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Context in which nothing is computed in less precision than its inputs have."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()  # Cheaper: several are entered in each step.


def copy_to(device: torch.device, value: Any) -> Any:
    """Copies ``value`` with its tensors, in containers too, to ``device``."""
    if isinstance(value, Tensor):
        return value.to(device, copy=True)
    if isinstance(value, dict):
        return {key: copy_to(device, each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(copy_to(device, each) for each in value)
    return value
