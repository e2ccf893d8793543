"""Processes that write rows of scores and die, really, at each moment of it in turn.

A moment is a call of `os.fsync`, before which a process ends without any clean-up.
"""

import json
import os
import shutil
import sys
from itertools import count
from pathlib import Path

import numpy as np

from mmtrain.data import SampleOrder, open_dataset
from mmtrain.training import scores
from tests.support import forked


def rows(epoch, samples):
    """A row that depends on the epoch."""
    return {
        "score": np.arange(samples, dtype=np.float32) + epoch,
        "loss": np.full(samples, epoch / 2, np.float32),
    }


def write(dataset, folder, epoch):
    ids = dataset.ids("train")
    scores.write(folder, epoch, dataset, ids, rows(epoch, len(ids)), SampleOrder(ids[: 1 + epoch]))


def die_before(moment):
    sync, calls = os.fsync, count(1)

    def fsync(descriptor):
        if next(calls) == moment:
            os._exit(9)
        sync(descriptor)

    os.fsync = fsync


def moments_of(shards, folder, befores):
    """Maps the number of rows before to the number of moments; a folder for one RUN each."""
    text = forked.call(kill_each, shards, folder, befores)
    return dict(json.loads(text))


def kill_each(shards, folder, befores):
    json.dump([(before, kill_one(shards, folder, before)) for before in befores], sys.stdout)


def kill_one(shards, folder, before):
    """Kills the writing of row ``before`` of a run that has so many."""
    for moment in count(1):
        run = Path(folder) / f"{before}.{moment}"
        if before:
            shutil.copytree(Path(folder) / f"base.{before}", run)
        else:
            run.mkdir()
        child = os.fork()
        if not child:
            with open_dataset(shards) as dataset:
                die_before(moment)
                write(dataset, run, before)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            return moment - 1
    raise AssertionError
