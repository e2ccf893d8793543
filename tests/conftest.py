import gc
import os
import signal
import sys

import pytest

from tests.support.shardmaker import shards_of


def pytest_configure(config):
    # Who starts a command in the background may have it ignore Ctrl-C, and all that it starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Tests run side by side, and each has one core, as have its processes: more threads than cores
    # wait for each other, turning. Libraries ask when they are loaded.
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def pytest_collection_finish():
    # What has been imported stays: each search of it for garbage would take a third of a second.
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    # Tests of mmprep alone do not wait for torch.
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _no_sync():
    """No wait for the disk: files outlive a killed process without, and no test cuts the power.

    Tests of what is synced, and when, put their own function in this place.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """18 samples to train on, 9 each in val and test; every class is in every split."""
    return shards_of(tmp_path_factory.mktemp("shards"), frames=2)
