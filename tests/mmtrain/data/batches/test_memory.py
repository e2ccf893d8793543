"""Memory of batches: used again when a batch is dropped, and never before."""

import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmtrain.data import ShardedDataset, StreamOptions
from mmtrain.data.batches.memory import BatchMemory
from tests.mmtrain.data.test_loops import begin, stream_of

SHAPE = (4, 3, 5)


@pytest.fixture
def memory() -> BatchMemory:
    return BatchMemory(StreamOptions(ahead=1))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.int64])
def test_memory_of_a_dropped_tensor_is_the_next_ones(
    memory: BatchMemory, dtype: torch.dtype
) -> None:
    tensor = memory.empty(SHAPE, dtype)
    assert (tensor.shape, tensor.dtype, tensor.is_contiguous()) == (SHAPE, dtype, True)
    place = tensor.data_ptr()
    del tensor
    assert memory.empty(SHAPE, dtype).data_ptr() == place


def hold_slice(tensor: Tensor) -> object:
    return tensor[1:, None].permute(0, 3, 1, 2)


def hold_array(tensor: Tensor) -> object:
    return tensor.numpy()[1:]


def hold_array_of_array(tensor: Tensor) -> object:
    return tensor.numpy().reshape(-1)[3:].view("u1")


def hold_storage(tensor: Tensor) -> object:
    return tensor.untyped_storage()


@pytest.mark.parametrize("hold", [hold_slice, hold_array, hold_array_of_array, hold_storage])
def test_what_shows_a_part_of_a_batch_keeps_its_memory(
    memory: BatchMemory, hold: Callable[[Tensor], object]
) -> None:
    tensor = memory.empty(SHAPE, torch.float32)
    place, held = tensor.data_ptr(), hold(tensor)
    del tensor
    other = memory.empty(SHAPE, torch.float32)
    assert other.data_ptr() != place
    del held
    assert memory.empty(SHAPE, torch.float32).data_ptr() == place


def test_no_more_waits_than_a_stream_takes(memory: BatchMemory) -> None:
    tensors = [memory.empty(SHAPE, torch.uint8) for _ in range(8)]
    tensors.clear()
    [waiting] = memory._free.values()
    assert len(waiting) == 3


def test_memory_of_another_size_is_not_taken(memory: BatchMemory) -> None:
    memory.empty(SHAPE, torch.uint8)
    assert memory.empty((4, 3, 4), torch.uint8).untyped_storage().nbytes() == 48


def test_a_pickled_stream_takes_no_memory_along(memory: BatchMemory) -> None:
    memory.empty((1 << 20,), torch.uint8)
    assert len(pickle.dumps(memory)) < 4096


def test_batches_that_are_held_do_not_change(farm: ShardedDataset) -> None:
    stream = stream_of(farm)
    held = list(stream)
    begin(stream, 0)
    copies = [{name: x.clone() for name, x in batch.inputs.items()} for batch in stream]
    begin(stream, 1)
    list(stream)
    for batch, copy in zip(held, copies, strict=True):
        for name, values in batch.inputs.items():
            assert torch.equal(values, copy[name])
