from functools import cache

import pytest

from mmtrain.training.train import train
from tests.support.enginework import small


@pytest.fixture(scope="session")
def teacher_of(shards, tmp_path_factory):
    """Makes the finished run of one modality, or several, once."""

    @cache
    def finished(*modalities):
        folder = tmp_path_factory.mktemp("teachers") / "-".join(modalities)
        train(small(shards, epochs=1, modalities=modalities), folder)
        return str(folder)

    return finished
