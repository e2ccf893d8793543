"""The local cache that several processes share, and that is killed."""

import multiprocessing
import os
import time
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

import numpy as np
import pytest

from mmtrain.data import ShardedDataset
from tests.mmtrain.data.reading.test_cache import SMALL, assert_sound, cache, packs_of, size_of

TURNS = 10  # of a process through all members


def store_and_look_up(
    pipe: Connection, folder: Path, farm: ShardedDataset, members: dict[int, np.ndarray]
) -> None:
    """Sends "ready", "met" after some turns, and when asked whether there were hits, and faults.

    Faults are hits of wrong bytes, and moments at which the folder was larger than its limit.
    """
    random = np.random.default_rng(os.getpid())
    turns = hits = wrong = large = 0
    pipe.send("ready")
    # Each has done its turns before either ends, so that they meet.
    while not pipe.poll():
        if turns == TURNS:
            pipe.send("met")
        turns += 1
        opened = cache(folder, farm, SMALL)
        for number in random.permutation(len(members)).tolist():
            data = opened.get(number)
            hits += data is not None
            wrong += data is not None and not np.array_equal(data, members[number])
            opened.put(number, members[number])
        large += size_of(folder) > SMALL
    pipe.send((hits > 0, wrong, large))


@pytest.fixture
def writers(
    tmp_path: Path, farm: ShardedDataset, members: dict[int, np.ndarray]
) -> Iterator[list[tuple[ForkProcess, Connection]]]:
    """Starts two processes that store and look up, in a cache that is too small."""
    context, processes = multiprocessing.get_context("fork"), []
    for _ in range(2):
        ours, theirs = context.Pipe()
        args = (theirs, tmp_path / "cache", farm, members)
        with warnings.catch_warnings():
            # Nothing that another thread may hold is used there.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = context.Process(target=store_and_look_up, args=args)
            process.start()
        processes.append((process, ours))
    yield processes
    for process, _ in processes:
        process.kill()
        process.join()


def test_processes_share_a_folder(writers: list[tuple[ForkProcess, Connection]]) -> None:
    for _, pipe in writers:
        assert [pipe.recv(), pipe.recv()] == ["ready", "met"]
    for _, pipe in writers:
        pipe.send("end")
    assert [pipe.recv() for _, pipe in writers] == [(True, 0, 0)] * 2


def test_a_kill_leaves_a_folder_that_can_be_used(
    writers: list[tuple[ForkProcess, Connection]],
    tmp_path: Path,
    farm: ShardedDataset,
    members: dict[int, np.ndarray],
) -> None:
    folder = tmp_path / "cache"
    for _, pipe in writers:
        assert pipe.recv() == "ready"
    while len(packs_of(folder)) < 2:
        time.sleep(0.001)
    for process, _ in writers:
        process.kill()
        process.join()
    opened = cache(folder, farm, SMALL)
    assert_sound(opened, members, 1)
    for number, data in members.items():
        opened.put(number, data)
    assert_sound(opened, members, 20)
    assert size_of(folder) <= SMALL
