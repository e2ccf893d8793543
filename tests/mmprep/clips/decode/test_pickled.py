"""Pickles are read without running them: what is plain comes out as it went in, and no more."""

import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmprep.clips.decode import pickled
from mmprep.errors import DataError

ARRAYS: dict[str, Any] = {
    "floats": np.arange(24, dtype="f4").reshape(2, 3, 4),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "every second": np.arange(12).reshape(3, 4)[:, ::2],
    "big-endian": np.arange(5, dtype=">f8"),
    "long": np.arange(20_000, dtype="i8"),
    "halves": np.array([1.5, -np.inf], "f2"),
    "truth": np.array([True, False]),
    "texts": np.array(["a", "bé", ""]),
    "bytes": np.array([b"x", b"yy"]),
    "objects": np.array(["x", ["y", 1], None], dtype=object),
    "nothing": np.zeros((0, 5)),
    "one": np.array(3),
}
PLAIN: list[Any] = [
    *(0, 1, 255, 256, -5, 2**31, 2**70, -(2**70), 3.5, float("-inf"), 1 + 2j, None, True, False),
    *("", "é😀", "a\nb", 'quote "', b"", b"abc\xff", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
    *([], [1, [2]], {}, {"k": [1], 2: "two", (1, "a"): None}, set(), {1, 2}, frozenset([3])),
]


class Evil:
    """Makes a file if it is unpickled by Python."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def read(tmp_path: Path, data: bytes) -> Any:
    path = tmp_path / "x.pkl"
    path.write_bytes(data)
    return pickled.load(path)


def refusal(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(DataError) as caught:
        read(tmp_path, data)
    return str(caught.value)


def same(a: Any, b: Any) -> None:
    assert isinstance(a, np.ndarray)
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    assert a.tolist() == b.tolist()


@pytest.mark.parametrize("protocol", range(6))
def test_what_is_plain_comes_out_as_it_went_in(tmp_path: Path, protocol: int) -> None:
    content = read(tmp_path, pickle.dumps({"arrays": ARRAYS, "plain": PLAIN}, protocol))
    assert list(content["arrays"]) == list(ARRAYS)
    for name, array in ARRAYS.items():
        same(content["arrays"][name], array)
    assert content["plain"] == PLAIN
    assert list(map(type, content["plain"])) == list(map(type, PLAIN))


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_numpy_1_are_read(tmp_path: Path, protocol: int) -> None:
    # Of protocol 4 on, names have a length in front: the letter is taken from a name behind.
    data = pickle.dumps(ARRAYS["floats"], protocol)
    if protocol < 4:
        data = data.replace(b"numpy._core", b"numpy.core")
    else:
        for module in (b"numpy._core.multiarray", b"numpy._core.numeric"):
            old = bytes([len(module)]) + module
            data = data.replace(old, bytes([len(module) - 1]) + module.replace(b"_core", b"core"))
    assert b"numpy.core" in data
    same(read(tmp_path, data), ARRAYS["floats"])


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    # {'train': array([1., 2.], '<f4')} as `cPickle.dumps(..., 2)` wrote it, bytes as old texts.
    values = np.array([1, 2], "<f4").tobytes()
    data = (
        b"\x80\x02}q\x01U\x05trainq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\n"
        b"q\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x02\x85cnumpy\ndtype\nq\x06U\x02f4K\x00K\x01\x87R"
        b"q\x07(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08" + values + b"tbs."
    )
    assert pickle.loads(data, encoding="latin1")["train"].tolist() == [1, 2]
    same(read(tmp_path, data)["train"], np.array([1, 2], "<f4"))


def test_values_that_stand_twice_are_one(tmp_path: Path) -> None:
    array = np.arange(3.0)
    content = read(tmp_path, pickle.dumps([array, {"again": array}]))
    assert content[0] is content[1]["again"]


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    content = read(tmp_path, pickle.dumps([np.float32(1.5), np.int64(-3), np.str_("é"), np.True_]))
    assert content == [1.5, -3, "é", True]


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_a_command_is_refused_by_its_name(tmp_path: Path, protocol: int) -> None:
    made = tmp_path / "made"
    message = refusal(tmp_path, pickle.dumps([1, Evil(made)], protocol))
    assert f"{os.system.__module__}.system" in message
    assert "only NumPy arrays and plain values are read" in message
    assert not made.exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (OrderedDict(a=1), "collections.OrderedDict"),
        (range(3), "builtins.range"),
        (Path("x"), "pathlib"),
        (np.ma.array([1.0]), "numpy.ma"),
        (len, "builtins.len"),
        (np.zeros(2, "i4,f4"), "V8"),
        (np.array(["2020"], "M8[D]"), "M8"),
    ],
)
def test_other_classes_are_refused_by_name(tmp_path: Path, value: Any, name: str) -> None:
    assert name in refusal(tmp_path, pickle.dumps(value))


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        (b"", "no bytes"),
        (b"N", "ends before"),
        (b"\xff.", "no protocol"),
        (b"\x80\x06N.", "protocol 6"),
        (b"(.", "without its values"),
        (b".", "without its values"),
        (b"t.", "without its mark"),
        (b"h\x05.", "5"),
        (b"T\xff\xff\xff\x7fabc.", "ends inside"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "ends inside"),
        (b"\x8b\xff\xff\xff\xff.", "ends inside"),
        (b"P0\n.", "persistent"),
        (b"\x82\x01.", "extension"),
        (b"\x97.", "buffer"),
        (b"(ios\nsystem\n.", "os.system"),
        (b"cbuiltins\nset\n)\x81.", "an instance"),
        # A call of a value; a call without arguments; a state for what has none.
        (b"K\x01)R.", "a call of something"),
        (b"cbuiltins\nset\nK\x01R.", "a call of something"),
        (b"]}b.", "a state for a list"),
        (b"cbuiltins\nset\n}b.", "a state for a Known"),
        (b"(K\x01d.", "without a value"),
        (b"]K\x01a}K\x02K\x03s0K\x01K\x02s.", "a list where a dict"),
        (b"}]Ns.", "a key that is a list"),
    ],
)
def test_malformed_programs_are_refused(tmp_path: Path, program: bytes, fault: str) -> None:
    assert fault in refusal(tmp_path, program)


def array_program(code: bytes, state: bytes, data: bytes) -> bytes:
    """A pickle of an array of two values, with the type's name and state, and the bytes, given."""
    return (
        b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR"
        b"(K\x01(K\x02tcnumpy\ndtype\n(U" + bytes([len(code)]) + code + b"I00\nI01\ntR"
        b"" + state + b"bI00\n" + data + b"tb."
    )


PLAIN_STATE = b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"


def test_bytes_are_never_taken_for_addresses(tmp_path: Path) -> None:
    # With flags of 0 in the state of its type, NumPy's own reader makes objects of any bytes.
    forged = array_program(b"O8", PLAIN_STATE, b"C\x10" + b"\x41" * 16)
    assert "without its objects" in refusal(tmp_path, forged)


@pytest.mark.parametrize(
    ("code", "state", "data", "fault"),
    [
        (b"f4", PLAIN_STATE, b"C\x04abcd", "in 4 bytes"),
        (b"U0", PLAIN_STATE, b"C\x00", "the type 'U0'"),
        (b"V8", PLAIN_STATE, b"C\x10" + bytes(16), "the type 'V8'"),
        (
            b"f4",
            b"(K\x03U\x01?NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t",
            b"C\x08" + bytes(8),
            "?",
        ),
        (
            b"f4",
            b"(K\x03U\x01<N(tNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t",
            b"C\x08" + bytes(8),
            "col",
        ),
        (b"f4", b"N", b"C\x08" + bytes(8), "columns"),
        (b"O8", PLAIN_STATE, b"(K\x01l", "without its objects"),
    ],
)
def test_arrays_that_do_not_fit_their_bytes_are_refused(
    tmp_path: Path, code: bytes, state: bytes, data: bytes, fault: str
) -> None:
    assert fault in refusal(tmp_path, array_program(code, state, data))


def test_a_small_file_cannot_ask_for_much_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same megabyte, converted a thousand times.
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x00"
    again = b"c_codecs\nencode\n(h\x00X\x06\x00\x00\x00latin1tR"
    assert "more copies" in refusal(tmp_path, b"(" + text + again * 1000 + b"l.")
    monkeypatch.setattr(pickled, "_STEPS", 1000)
    assert "more than 1000 instructions" in refusal(tmp_path, b"]" * 1001 + b".")
    # A place of the memo is a number, however large.
    assert read(tmp_path, b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.") is None


def test_tuples_within_tuples_are_no_keys(tmp_path: Path) -> None:
    # Their hash would take 2 ** 60 steps.
    doubled = b"K\x01" + b"q\x00h\x00\x86" * 60
    assert "a key that is a tuple" in refusal(tmp_path, b"}" + doubled + b"Ns.")
    assert "a key that is a tuple" in refusal(tmp_path, b"(" + doubled + b"\x91.")


def test_long_arrays_are_views_of_the_file(tmp_path: Path) -> None:
    array = read(tmp_path, pickle.dumps({"a": np.zeros(100_000)}, 4))["a"]
    while isinstance(array.base, np.ndarray):
        array = array.base
    assert isinstance(array.base, memoryview)
