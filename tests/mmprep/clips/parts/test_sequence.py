"""Sequences of features: their type, their shape, and the values that cannot be stored."""

import io

import numpy as np
import pytest

from mmprep.clips.parts.sequence import npy, sequence
from mmprep.config import SequenceConfig
from mmprep.errors import ConfigError
from mmprep.failure import ClipError
from mmprep.format.npy import parse_array

SINGLE, HALF = SequenceConfig(), SequenceConfig(dtype="float16")


def cause(values: object) -> str:
    with pytest.raises(ClipError) as caught:
        sequence(values, SINGLE)
    return caught.value.cause


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "f2", "i2", ">u4", "?"])
def test_any_numbers_become_the_type_of_the_parameters(dtype: str) -> None:
    values = np.arange(6).reshape(2, 3).astype(dtype)
    for config in (SINGLE, HALF):
        stored = np.load(io.BytesIO(npy(sequence(values, config).values)))
        assert stored.dtype == config.dtype
        assert stored.tolist() == values.astype(float).tolist()


def test_the_files_are_those_that_the_format_reads() -> None:
    values = np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3))
    data = npy(sequence(values, SINGLE).values)
    assert parse_array(data).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert len(data) == 128 + 24


def test_values_that_are_no_numbers_become_zero_and_are_counted() -> None:
    values = np.array([[1, -np.inf], [np.nan, np.inf]])
    features = sequence(values, SINGLE)
    assert features.values.tolist() == [[1, 0], [0, 0]]
    assert (features.nonfinite, features.clipped) == (3, 0)
    assert np.isnan(values[1, 0])  # those of the caller stay


def test_values_beyond_the_type_become_its_largest() -> None:
    values = np.array([[1e5, -1e300], [65504, 0]])
    features = sequence(values, HALF)
    assert features.values.tolist() == [[65504, -65504], [65504, 0]]
    assert (features.nonfinite, features.clipped) == (0, 2)
    assert sequence(values, SINGLE).clipped == 1
    assert np.isfinite(sequence(values, SINGLE).values).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.zeros(3), "not-array"),
        (np.zeros((1, 2, 3)), "not-array"),
        (np.array(1.0), "not-array"),
        (np.array([["a"]]), "not-array"),
        (np.zeros((2, 2), complex), "not-array"),
        (np.empty((2, 2), object), "not-array"),
        ([[1.0]], "not-array"),
        (np.zeros((0, 5)), "too-short"),
        (np.zeros((5, 0)), "too-short"),
        (np.broadcast_to(np.float32(0), (1 << 14, 1 << 11)), "too-large"),
    ],
)
def test_what_is_no_sequence_is_refused(values: object, expected: str) -> None:
    assert cause(values) == expected


def test_other_types_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="float64"):
        SequenceConfig(dtype="float64")
