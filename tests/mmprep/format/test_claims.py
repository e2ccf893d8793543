"""Sizes that a header claims are compared with the bytes that are there, before memory is taken."""

import io
import tracemalloc

import numpy as np
import pytest
import simplejpeg

from mmprep.format.jpeg import picture_size
from mmprep.format.npy import parse_array
from mmtrain.data.batches.array import array_header
from mmtrain.data.batches.decode import ColourDecoder, PartSource, spectrogram_decoder
from mmtrain.data.batches.view import View
from mmtrain.errors import DataError


def picture(height: int, width: int, *, claimed: tuple[int, int] | None = None) -> bytes:
    data = simplejpeg.encode_jpeg(np.full((height, width, 3), 90, np.uint8), quality=1)
    at = data.index(b"\xff\xc0") + 5
    claim = claimed or (height, width)
    return data[:at] + b"".join(n.to_bytes(2, "big") for n in claim) + data[at + 4 :]


def as_bytes(data: bytes):
    return np.frombuffer(data, np.uint8)


@pytest.mark.parametrize("claimed", [(65_500, 65_500), (30_000, 30_000), (65_500, 40)])
def test_a_picture_that_claims_more_than_its_bytes_hold_takes_no_memory(claimed) -> None:
    data = picture(32, 40, claimed=claimed)
    view = View(frames=1, size=16, crop="resize", flip=False)
    decoder = ColourDecoder("frames", view, checked=True)
    row = np.zeros((1, 16, 16, 3), np.uint8)
    tracemalloc.start()
    with pytest.raises(DataError, match=f"claims {claimed[1]} x {claimed[0]} pixels"):
        decoder.decode(as_bytes(data), None, row, 0)
    with pytest.raises(ValueError, match="claims"):
        picture_size(data)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_pictures_of_one_colour_pass() -> None:
    for shape in ((16, 16), (4096, 4096), (8, 16_000)):
        assert picture_size(picture(*shape)) == shape


def test_a_picture_larger_than_those_of_its_data_set_is_refused() -> None:
    view = View(frames=1, size=16, crop="resize", flip=False)
    decoder = ColourDecoder("frames", view, checked=True, short_side=64)
    with pytest.raises(DataError, match="is 400 x 300 where the shorter side is 64"):
        decoder.decode(as_bytes(picture(300, 400)), None, np.zeros((1, 16, 16, 3), np.uint8), 0)


def array(shape, kind: str = "<f2", values: int = 0) -> bytes:
    file = io.BytesIO()
    header = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + bytes(values)


@pytest.mark.parametrize("shape", [(10**9, 10**9), (-1, 5), (2**63, 1), (3, 4)])
def test_an_array_of_a_shape_that_is_not_there_is_refused(shape) -> None:
    with pytest.raises(ValueError, match="shape"):
        parse_array(array(shape, values=20))
    source = PartSource(
        part="spectrogram",
        place="data",
        view=View(),
        checked=True,
        parameters={},
        examples=lambda: (data for data in [as_bytes(array(shape, values=20))]),
    )
    with pytest.raises(DataError, match="data: no spectrogram of frequencies by columns"):
        spectrogram_decoder(source)


@pytest.mark.parametrize(
    "header", [b"{'descr': (((((", b"{" * 5000, b"\x00" * 40, b"import os", b"{'descr': '|O'}"]
)
def test_a_header_that_is_no_header_is_refused(header: bytes) -> None:
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with pytest.raises(DataError, match=r"is no \.npy array"):
        array_header(as_bytes(data))


def test_arrays_pass() -> None:
    file = io.BytesIO()
    np.save(file, np.arange(12, dtype=np.float16).reshape(3, 4))
    assert parse_array(file.getvalue()).tolist() == np.arange(12).reshape(3, 4).tolist()
    assert len(parse_array(array((2,), "<i8", 40), more=True)) == 2
