"""Ends of the decoding threads, which must not be alive while a process is forked."""

import ctypes
import os
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from mmtrain.data import ShardedDataset, StreamOptions
from mmtrain.data.batches.workers import Workers
from mmtrain.errors import ConfigError
from tests.mmtrain.data.test_loops import FORKS, assert_same, stream_of


def linger(seconds: float) -> int:
    """Lets the system take so long to end the thread that calls this; returns its number."""
    libc, key = ctypes.CDLL(None), ctypes.c_uint()
    libc.pthread_setspecific.argtypes = ctypes.c_uint, ctypes.c_void_p
    # The destructor of the value is `usleep`, with the value as its argument.
    assert not libc.pthread_key_create(ctypes.byref(key), libc.usleep)
    assert not libc.pthread_setspecific(key, round(1e6 * seconds))
    return int(os.readlink("/proc/thread-self").rpartition("/")[2])


@pytest.mark.skipif(not Path("/proc/thread-self").exists(), reason="no list of threads here")
def test_threads_have_ended_for_the_system_too(farm: ShardedDataset) -> None:
    with Workers(farm, StreamOptions(workers=1), {}) as workers:
        thread = workers._pool.submit(linger, 0.3).result()
    assert not Path(f"/proc/self/task/{thread}").exists()


@FORKS
def test_a_process_that_is_forked_while_threads_decode_is_refused(farm: ShardedDataset) -> None:
    batches = iter(stream_of(farm))
    next(batches)
    loader = DataLoader(stream_of(farm), batch_size=None, num_workers=1)
    with pytest.raises(ConfigError, match="multiprocessing_context='forkserver', or end that"):
        list(loader)
    list(batches)
    loader = DataLoader(stream_of(farm), batch_size=None, num_workers=1)
    assert_same(list(loader), list(stream_of(farm)))
