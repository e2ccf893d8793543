"""Numbers in the records of samples."""

import numpy as np
import pytest

from mmtrain.data import open_dataset
from mmtrain.data.records import NOISE, extra_numbers
from mmtrain.errors import DataError
from tests.support.noisy_shards import make_noisy_shards


def test_numbers_come_in_the_order_of_the_ids(tmp_path):
    with open_dataset(make_noisy_shards(tmp_path / "a", ["3", "4.5", 60])) as dataset:
        found = extra_numbers(dataset, NOISE, np.array([2, 0, 1]))

    np.testing.assert_array_equal(found, [60, 3, 4.5])


def test_a_sample_without_the_number_has_nan(tmp_path):
    with open_dataset(make_noisy_shards(tmp_path / "a", ["3", None, "loud", [1]])) as dataset:
        found = extra_numbers(dataset, NOISE, np.arange(4))

    np.testing.assert_array_equal(found, [3, np.nan, np.nan, np.nan])


def test_where_the_first_sample_has_none_there_are_none(tmp_path):
    with open_dataset(make_noisy_shards(tmp_path / "a", [None, "3"])) as dataset:
        assert extra_numbers(dataset, NOISE, np.arange(2)) is None
        assert extra_numbers(dataset, NOISE, np.arange(0)) is None


def test_a_damaged_record_is_refused_by_name(tmp_path):
    folder = make_noisy_shards(tmp_path / "a", ["3", "4"])
    tar = folder / "test/000000.tar"
    tar.write_bytes(tar.read_bytes().replace(b'"clip1"', b'"clip7"'))

    with (
        open_dataset(folder) as dataset,
        pytest.raises(DataError, match=r"clip1\.json does not fit its checksum"),
    ):
        extra_numbers(dataset, NOISE, np.arange(2))
