"""scores.h5 from a stranger reads its own rows and no other file."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from mmtrain.data import open_dataset
from mmtrain.errors import DataError
from mmtrain.training import scores
from tests.support import mutants
from tests.support.scorekiller import write

# Kinds that leave a table of numbers.
PLAIN = {"largest values", "one value", "other numbers", "swapped bytes"}


@pytest.fixture
def run(shards, tmp_path: Path) -> Path:
    with open_dataset(str(shards)) as dataset:
        for epoch in range(2):
            write(dataset, tmp_path, epoch)
    with h5py.File(tmp_path / "canary.h5", "w") as file:
        file["canary"] = np.full(4096, 7, np.uint32)
    os.mkfifo(tmp_path / "canary.h5.pipe")
    return tmp_path


@pytest.mark.parametrize("kind", sorted({*mutants.KINDS} - PLAIN))
@pytest.mark.parametrize("name", ["scores.h5", "scores/epoch-00001.h5"])
def test_a_table_that_shows_other_files_is_refused(run: Path, name: str, kind: str) -> None:
    with h5py.File(run / name, "r+") as file:
        del file["visits"]
        mutants.KINDS[kind](file, "visits", np.ones((18,), "<u4"), run / "canary.h5")
    with pytest.raises(DataError, match=r"scores|epoch-00001\.h5"):
        scores.read(run / "scores.h5")


def test_a_pipe_in_place_of_a_row_is_not_waited_for(run: Path) -> None:
    (run / "scores/epoch-00001.h5").unlink()
    os.mkfifo(run / "scores/epoch-00001.h5")
    with pytest.raises(DataError, match=r"epoch-00001\.h5: not a file"):
        scores.read(run / "scores.h5")
